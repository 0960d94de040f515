#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 180
"""Real mode, virtual-8086 mode and what leads there and back: each case of realmode/ leaves the same registers and memory under
hwv as on the bare emulator that plays the bed's machine, which starts the same bytes from a ROM."""

import subprocess
import sys
import time

from guestlib import BED, HERE, ROOT, TMP, bed, finish, tell

sys.path.insert(0, str(ROOT / "scripts"))
from bedlib import bochs, qemu  # noqa: E402

FIELDS = "vector fault_cs:ip fault_flags eax ebx ecx edx esi edi ebp esp flags es:ds extra:ss memory".split()
# QEMU checks no segment's limit, where hwvctl does as it completes an instruction, and a guest finds what was read or written beyond.
NOT_JUDGED = {"svm": dict.fromkeys(["ins_across_limit", "ins_up_to_limit", "outs_across_limit_of_stack", "v86_limit"], "QEMU has no segment limits")
              | {"no_such_msr": "QEMU has every MSR"}, "vmx": {}}
BOCHS = """\
plugin_ctrl: unmapped=1, biosdev=1, speaker=0, extfpuirq=1, parallel=0, serial=1, gameport=0, iodebug=0
config_interface: textconfig
display_library: rfb, options="timeout=0"
cpu: model=corei7_skylake_x, count=1, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=0
memory: guest=16, host=16
romimage: file={rom}, address=0xffff0000
vgaromimage: file={vgabios}
boot: disk
com1: enabled=1, mode=null
port_e9_hack: enabled=1
clock: sync=none
log: {log}
panic: action=fatal
"""


def build():
    """The cases for hwvctl, and as a ROM."""
    def run(*command):
        subprocess.run([str(w) for w in command], check=True, cwd=TMP)
    run("gcc", "-m32", f"-I{HERE / 'realmode'}", f"-Wa,-I{HERE / 'realmode'}", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,-N",
        "-Wl,--no-warn-rwx-segments", "-Wl,-Ttext=0x7c00", "-o", "frame.elf", HERE / "realmode/frame.S")
    run("objcopy", "-O", "binary", "-j", ".text", "frame.elf", "frame.bin")
    run("gcc", "-m32", "-c", "-Wa,-I.", "-o", "rom.o", HERE / "realmode/rom.S")
    run("objcopy", "-O", "binary", "-j", ".text", "rom.o", "rom.bin")


def lines(path):
    """What each case said, by its name; None unless all have spoken."""
    said = path.read_text(errors="replace").splitlines() if path.exists() else []
    if "end" not in said:
        return None
    return {line.split()[0]: line.split()[1:] for line in said[:said.index("end")] if len(line.split()) == len(FIELDS) + 1}


def wait_for(process, path, seconds=60):
    """The emulator has no way to end by itself."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None and lines(path) is None:
        time.sleep(0.2)
    process.kill()
    process.wait()
    return lines(path)


def on_qemu():
    out = TMP / "bare"
    command = [*qemu.Build("qemu").command, "-accel", "tcg", "-cpu", "EPYC-v2", "-M", "q35", "-m", "16", "-bios", TMP / "rom.bin", "-display", "none",
               "-serial", "null", "-monitor", "none", "-no-reboot", "-debugcon", f"file:{out}"]
    return wait_for(subprocess.Popen([str(w) for w in command], stderr=subprocess.DEVNULL), out)


def on_bochs():
    out, build_of = TMP / "bare", bochs.Build("bochs3")
    (TMP / "bochsrc").write_text(BOCHS.format(rom=TMP / "rom.bin", vgabios=build_of.vgabios, log=TMP / "bochs.log"))
    (TMP / "rc").write_text("c\n")
    with open(out, "wb") as file:
        process = subprocess.Popen([*build_of.command, "-unlock", "-q", "-rc", str(TMP / "rc"), "-f", str(TMP / "bochsrc")], cwd=TMP, stdout=file,
                                   stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=build_of.environment, preexec_fn=bochs.into_own_network)
        return wait_for(process, out)


def under_hwv():
    # The file's name is its last word; the bed shows what is in it.
    status, said = bed(["sh", "-c", "hwvctl run --mem 16M --kernel /share/frame.bin --flat 0x7c00,real --serial null --debugcon /tmp/said; "
                        "echo status $?; cat /tmp/said"], "--load", "--share", TMP)
    (TMP / "hwv").write_text(said)
    print(*("| " + line for line in said.splitlines()), sep="\n")
    tell("ends_as_it_says", None if status == 0 and "status 148" in said.splitlines() else f"bed {status}, no 'status 148'")
    return lines(TMP / "hwv")


def differences(bare, hwv):
    return ", ".join(f"{field} {b}, under hwv {h}" for field, b, h in zip(FIELDS, bare, hwv) if b != h)


def main():
    build()
    bare = on_bochs() if BED == "vmx" else on_qemu()
    tell("bare_emulator_comes_to_the_end", None if bare else "the emulator's output has no end")
    hwv = under_hwv()
    tell("hwv_comes_to_the_end", None if hwv else "the output has no end")
    for name, said in (bare or {}).items():
        if name in NOT_JUDGED[BED]:
            print(f"skip {name} - {NOT_JUDGED[BED][name]}")
        elif hwv:
            tell(name, differences(said, hwv.get(name, [""] * len(FIELDS))) or None)
    finish()


main()
