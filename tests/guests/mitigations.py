#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 600
"""Mitigations against speculation, as the kernel chose them for L1's CPU and command line. Each boot of L1 is another choice; in
each the world switches' code, patched by the kernel, takes the same measures as KVM's, and those that are expected there. On AMD a
guest is told the same of its CPU as KVM's guest is; on Intel Bochs takes minutes for QEMU and a guest."""

import re
import subprocess

from guestlib import BED, HERE, ROOT, TMP, bed, finish, linux, tell

FUNCTIONS = {"svm": {"hwv": ["hwv_svm_switch"], "kvm": ["__svm_vcpu_run"]},
             "vmx": {"hwv": ["hwv_vmx_switch", "hwv_vmx_exit"], "kvm": ["__vmx_vcpu_run", "vmx_vmexit"]}}
CALLED = ["entry_untrain_ret", "srso_alias_untrain_ret", "entry_ibpb", "clear_bhb_loop"]
RETURNS = ["retbleed_return_thunk", "srso_return_thunk", "srso_alias_return_thunk", "its_return_thunk", "__x86_return_thunk"]
LAUNCH = {"hwv": "hwvctl run {} --mem 256M --append '{}'",
          "kvm": "qemu-system-x86_64 -accel kvm -cpu host -M q35 -m 256 -nodefaults -no-user-config -display none -serial stdio -no-reboot "
                 "{} -append '{}'"}

EXITS = ROOT / "build/tests/bench/exits"
FLUSHES = "\n".join(f"echo {mode} >/sys/module/kvm_intel/parameters/vmentry_l1d_flush; for who in hwv kvm; do for row in cpuid out_user; "
                    f"do echo {mode} $({EXITS} $who $row 300); done; done" for mode in ("never", "cond", "always"))
LINES_READ = 65536 // 64


class Code:
    """Functions as they are in L1's memory."""

    def __init__(self, output, names):
        self.symbols = {int(at, 16): name for name, at in re.findall(r"^at (\S+) ([0-9a-f]+)$", output, re.M)}
        self.roots, self.lines = [], {}
        for name in names:
            found = re.search(rf"^code {name} ([0-9a-f]+) ([0-9a-f]+)$", output, re.M)
            if not found:
                raise AssertionError(f"no code of {name} in L1")
            self.roots.append(int(found.group(1), 16))
            self.disassemble(self.roots[-1], bytes.fromhex(found.group(2)))

    def disassemble(self, at, code):
        (TMP / "code").write_bytes(code)
        text = subprocess.run(["objdump", "-D", "-b", "binary", "-m", "i386:x86-64", f"--adjust-vma={at:#x}", "--no-show-raw-insn", TMP / "code"],
                              capture_output=True, text=True, check=True).stdout
        here = [(int(a, 16), t.strip()) for a, t in re.findall(r"^\s*([0-9a-f]+):\t(.*)$", text, re.M)]
        for (a, t), (following, _) in zip(here, [*here[1:], (at + len(code), "")]):
            self.lines[a] = (t, following)

    def reached(self):
        """Addresses of what can be executed: code that a patched jump leaps over is not."""
        todo, seen = list(self.roots), set()
        while todo:
            at = todo.pop()
            if at in seen or at not in self.lines:
                continue
            seen.add(at)
            text, following = self.lines[at]
            branch = re.match(r"(?:cs |notrack |bnd )*(j\w+|call)\s+0x([0-9a-f]+)", text)
            if branch:
                todo.append(int(branch.group(2), 16))
            if text.split()[0] not in ("ret", "int3", "ud2") and not (branch and branch.group(1) == "jmp"):
                todo.append(following)
        return sorted(seen)

    def measures(self):
        found = set()
        for at in self.reached():
            text, following = self.lines[at]
            target = int(m.group(1), 16) if (m := re.match(r"(?:cs )?(?:call|jmp)\s+0x([0-9a-f]+)", text)) else None
            if text.startswith("verw"):
                found.add("VERW")
            elif target and self.symbols.get(target) in CALLED:
                found.add(self.symbols[target])
            elif target and self.symbols.get(target) in RETURNS:
                found.add(f"return by {self.symbols[target]}")
            elif text.startswith("call") and target == following + 1:
                found.add("return stack filled" if self.in_loop(target) else "one call")
        if "return stack filled" in found:
            found.discard("one call")
        return found

    def in_loop(self, target):
        """Whether a jump back comes within the next few instructions."""
        at = target
        for _ in range(6):
            text, following = self.lines.get(at, ("", 0))
            if (m := re.match(r"jne\s+0x([0-9a-f]+)", text)) and int(m.group(1), 16) < target:
                return True
            at = following
        return False


def marks_exit_to_user(output):
    """VMSCAPE: the straight way through what ends an entry writes this CPU's x86_ibpb_exit_to_user."""
    code = Code(output, ["hwv_host_guest_exit"])
    at = code.roots[0]
    for _ in range(8):
        text, following = code.lines.get(at, ("ret", 0))
        if re.match(r"movb\s+\$0x1,%gs:", text):
            return True
        jump = re.match(r"jmp\s+0x([0-9a-f]+)", text)
        at = int(jump.group(1), 16) if jump else following
    return False


def vulnerabilities(text):
    return dict(re.findall(r"^(\w+):(.*)$", text, re.M))


def differences(name, said):
    """A guest may be told more than KVM's, by a name that KVM's guest lacks, but nothing else."""
    hwv, kvm = (vulnerabilities(said.get(who, "")) for who in ("hwv", "kvm"))
    if len(hwv) < 10 or len(kvm) < 10:
        why = f"{len(hwv)} lines under hwv, {len(kvm)} under KVM"
    else:
        why = "; ".join(f"{v}: hwv '{hwv.get(v)}', KVM '{kvm[v]}'" for v in kvm if hwv.get(v) != kvm[v]) or None
    tell(f"{name}/guests-are-told-alike", why)


# What hwv has to do something about, by the kernel's names.
CONCERNS = ["spectre_v2", "retbleed", "spec_rstack_overflow", "indirect_target_selection", "mds", "tsx_async_abort", "mmio_stale_data",
            "reg_file_data_sampling", "tsa", "l1tf", "vmscape", "itlb_multihit", "spec_store_bypass"]


def judge_doctor(name, said):
    host = vulnerabilities(said.get("host", ""))
    unaffected = re.search(r"the CPU is not affected by (.*)", said.get("doctor", ""))
    unaffected = unaffected.group(1).split(", ") if unaffected else []
    wrong = [v for v in CONCERNS if v not in host or (v in unaffected) != (host[v] == "Not affected")
             or (v not in unaffected and f" {v}: {host[v]}" not in said["doctor"])]
    tell(f"{name}/doctor-says-so", f"not as the kernel says: {wrong}" if wrong else None)


def boot(name, *options, mitigations="auto", append="", expected=(), vmscape=False, guests=(), commands=""):
    """One L1: what its world switches do, what its guests are told; the output of `commands` is returned."""
    names = [f for who in FUNCTIONS[BED].values() for f in who]
    script = [f"/share/kernel_text {' '.join(names)} hwv_host_guest_exit -- {' '.join(CALLED + RETURNS)}"]
    kernel = linux()
    (TMP / "cases.sh").write_text("\n".join([*script, *(
        f"echo @@@ {who}; timeout 150 {LAUNCH[who].format(kernel, 'console=ttyS0 quiet panic=-1 hwv.do=vulnerabilities')} </dev/null" for who in guests),
        "echo @@@ doctor; hwvctl doctor", "echo @@@ host; (cd /sys/devices/system/cpu/vulnerabilities; grep . *)",
        "echo @@@ rest", commands]) + "\n")
    words = [*options, "--share", TMP, "--load", "--mitigations", mitigations, *(["--append", append] if append else [])]
    status, output = bed(["sh", "/share/cases.sh"], *words, timeout=400)
    print("\n".join("| " + line[:300] for line in output.splitlines()), flush=True)
    pieces = re.split(r"^@@@ (\w+)$", output, flags=re.M)
    said = dict(zip(pieces[1::2], pieces[2::2]))
    try:
        hwv, kvm = (Code(pieces[0], FUNCTIONS[BED][who]).measures() for who in ("hwv", "kvm"))
        wanted = set(expected)
        tell(f"{name}/same-measures-as-kvm", None if hwv == kvm else f"hwv {sorted(hwv)}, KVM {sorted(kvm)}")
        tell(f"{name}/measures", None if hwv == wanted else f"{sorted(hwv)}, not {sorted(wanted)}")
        marks = marks_exit_to_user(pieces[0])
        tell(f"{name}/vmscape", None if marks == vmscape else f"the exit to user is {'' if marks else 'not '}marked")
    except AssertionError as e:
        tell(f"{name}/measures", str(e))
    judge_doctor(name, said)
    if guests:
        differences(name, said)
    tell(f"{name}/bed-is-sane", f"the bed's exit status is {status}: {output[-300:]}" if status else None)
    return said.get("rest", "")


def judge_flushes(output):
    """L1TF by software, in instructions: on the way to user and back with `cond`, at each entry with `always`, with `never` not."""
    cost = {(mode, who, row): float(n) for mode, row, who, n in re.findall(r"^(\w+) (\w+) (hwv|kvm) ([0-9.]+)$", output, re.M)}
    if len(cost) != 12:
        tell("l1tf/flushes", f"{len(cost)} of 12 costs measured")
        return
    for mode, row, flushed in (("cond", "cpuid", 0), ("cond", "out_user", 1), ("always", "cpuid", 1), ("always", "out_user", 1)):
        more = {who: cost[mode, who, row] - cost["never", who, row] for who in ("hwv", "kvm")}
        wrong = [who for who, n in more.items() if (n > LINES_READ) != bool(flushed)]
        tell(f"l1tf/{mode}-{row}", f"instructions more than with never: {more}" if wrong else None)


def svm():
    untrained = {"return stack filled", "entry_untrain_ret"}
    boot("zen1", "--cpu", "EPYC", expected=untrained | {"return by srso_return_thunk"}, guests=("hwv", "kvm"))
    boot("zen3", "--cpu", "EPYC-Milan", expected={"return stack filled", "srso_alias_untrain_ret", "return by srso_alias_return_thunk", "VERW"},
         guests=("hwv", "kvm"))
    boot("off", mitigations="off")


def vmx():
    """Legacy IBRS and the branch history loop, which no model of Bochs's needs, are shown by tests/unit/build/world_switch.py."""
    emulator = ("--emulator", "bochs3")
    boot("arrow-lake", *emulator, expected={"VERW", "one call"}, vmscape=True)
    output = boot("l1tf", *emulator, "--cpu", "corei7_haswell_4770", "--count", "--put", EXITS, commands=FLUSHES,
                  expected={"VERW", "return stack filled"})
    judge_flushes(output)
    boot("off", *emulator, mitigations="off")


def main():
    subprocess.run(["gcc", "-O1", "-static", "-o", TMP / "kernel_text", HERE / "images/kernel_text.c"], check=True)
    svm() if BED == "svm" else vmx()
    finish()


if __name__ == "__main__":
    main()
