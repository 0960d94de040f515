#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What the world switches do against speculation, shown on the built objects: for each feature bit that the kernel may have set,
the alternatives are applied as the kernel would, and every way through the function is walked. Into the guest: VERW comes last,
SPEC_CTRL is followed by neither RET nor call nor indirect branch. Out of it: no value of the guest's is used or left in a
register, the return stack is filled before the first call or RET, SPEC_CTRL, untraining, IBPB and branch history in their order."""
import re
import struct
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
KMOD = ROOT / "build/kmod"
TEXT, REPLACEMENT = ".noinstr.text", ".altinstr_replacement"
SPEC_CTRL, PRED_CMD = 0x48, 0x49
REGISTERS = {"rax": "al", "rcx": "cl", "rdx": "dl", "rbx": "bl", "rbp": "bpl", "rsi": "sil", "rdi": "dil",
             **{f"r{n}": f"r{n}b" for n in range(8, 16)}}
NAMES = {alias: full for full, low in REGISTERS.items()
         for alias in (full, low, full + "d" if full[1].isdigit() else "e" + full[1:], full + "w" if full[1].isdigit() else full[1:])}


def run(*command):
    return subprocess.run([str(c) for c in command], capture_output=True, check=True).stdout


class Instruction:
    def __init__(self, place, text):
        self.place, self.symbol = place, None
        words = text.split(None, 1)
        while len(words) > 1 and words[0] in ("cs", "ds", "notrack", "bnd"):
            words = words[1].split(None, 1)
        self.name = words[0]
        self.operands = re.findall(r"(?:[^,(]|\([^)]*\))+", re.sub(r"\s*(#|<).*", "", words[1])) if len(words) > 1 else []
        self.end = None

    def __str__(self):
        return f"{self.place[1]:#x}: {self.name} {','.join(self.operands)} {self.symbol or ''}"


class Object:
    """An assembled file: its instructions, and which replacement takes whose place for which feature."""

    def __init__(self, path):
        self.code, self.symbols = {}, {}
        for section in (TEXT, REPLACEMENT):
            self.read_code(path, section)
        for line in run("nm", path).decode().splitlines():
            if m := re.match(r"([0-9a-f]+) [tT] (\S+)", line):
                self.symbols[m.group(2)] = (TEXT, int(m.group(1), 16))
        self.read_alternatives(path)

    def read_code(self, path, section):
        before = None
        for line in run("objdump", "-dr", "--no-show-raw-insn", "-j", section, path).decode().splitlines():
            if m := re.match(r"\s+([0-9a-f]+):\s+(?:(R_X86_64_\w+)\s+(\S+?)([-+]0x[0-9a-f]+)?$|(\S.*))", line):
                at, relocation, symbol, addend, text = m.groups()
                if relocation:
                    target = int(addend or "0", 16) + (4 if "PC32" in relocation or "PLT32" in relocation else 0)
                    before.symbol = (symbol, target) if symbol in (TEXT, REPLACEMENT) else symbol
                    continue
                place = (section, int(at, 16))
                if before:
                    before.end = place
                before = self.code[place] = Instruction(place, text.strip())
        if before:
            before.end = (section, -1)

    def read_alternatives(self, path):
        """struct alt_instr: two relocated words, then by kernel u16 cpuid or u32 with flags above it, two lengths."""
        places = re.findall(r"^([0-9a-f]{16})\s.*?(\.\S+) \+ ([0-9a-f]+)$", run("readelf", "-rW", path).decode()
                            .split("'.rela.altinstructions'")[1].split("\n\n")[0], re.M)
        starts = [int(at, 16) for at, *_ in places[::2]]
        dump = run("readelf", "-x", ".altinstructions", path).decode()
        data = bytes.fromhex("".join(re.findall(r"^  0x[0-9a-f]{8} ((?:[0-9a-f]{2,8} ){1,4})", dump, re.M)))
        size = len(data) // len(starts)
        self.alternatives = []
        for number, start in enumerate(starts):
            feature, = struct.unpack_from("<H", data, start + 8)
            flags = struct.unpack_from("<H", data, start + 10)[0] if size == 14 else feature >> 15
            length, replacement_length = data[start + size - 2], data[start + size - 1]
            (_, _, at), (_, _, by) = places[2 * number], places[2 * number + 1]
            self.alternatives.append((int(at, 16), length, int(by, 16), replacement_length, feature & 0x7fff, flags & 1))


class Patched:
    """The object's code on a CPU with these features."""

    def __init__(self, code, features):
        self.object = code
        self.instead, self.back = {}, {}
        for at, length, by, replacement_length, feature, inverted in code.alternatives:
            if (feature in features) == bool(inverted):
                continue
            after = (TEXT, at + length)
            self.instead[TEXT, at] = (REPLACEMENT, by) if replacement_length else after
            for offset in range(by, by + replacement_length):
                self.back[REPLACEMENT, offset] = ((REPLACEMENT, by + replacement_length), after)

    def fetch(self, place):
        while place in self.instead:
            place = self.instead[place]
        return self.object.code[place]

    def next(self, instruction):
        end, after = self.back.get(instruction.place, (None, None))
        at_end = end and (instruction.end == end or instruction.end[1] < 0)
        return after if at_end else instruction.end

    def target(self, instruction):
        """Where a direct branch goes: a place of this object, or a symbol of another."""
        if instruction.symbol:
            return instruction.symbol
        if not instruction.operands or "*" in instruction.operands[0]:
            return None
        return instruction.place[0], int(instruction.operands[0], 16)

    def ways(self, place, ends, way=()):
        """Every way from `place` to an instruction that `ends`, or to a RET; a loop is gone through once."""
        way = list(way)
        while True:
            instruction = self.fetch(place)
            if instruction.place in (i.place for i in way):
                return
            way.append(instruction)
            target = self.target(instruction) if re.match("j|call", instruction.name) else None
            if ends(instruction) or instruction.name == "ret" or target == "__x86_return_thunk":
                yield way
                return
            place = self.next(instruction)
            if isinstance(target, tuple):
                if instruction.name not in ("jmp", "call"):
                    yield from self.ways(target, ends, way)
                else:
                    place = target


def fault(text, way):
    raise AssertionError(text + "".join(f"\n    {i}" for i in way[-12:]))


def touches_memory(instruction):
    return any("(" in o or ":" in o for o in instruction.operands) or instruction.name.startswith(("push", "pop"))


def writes_msr(way, number):
    """Indices of the WRMSRs of the MSR."""
    found, value = [], None
    for index, i in enumerate(way):
        if i.operands and i.operands[-1] == "%ecx":
            value = int(i.operands[0][1:], 16) if i.operands[0].startswith("$") else None
        if i.name == "wrmsr" and value == number:
            found.append(index)
    return found


def fills(way):
    """Where the return stack begins to be filled, and with how many calls: they go to their own next but one instruction."""
    calls = [n for n, i in enumerate(way) if i.name == "call" and (not i.symbol or isinstance(i.symbol, tuple))]
    if not calls:
        return -1, 0
    loop = re.fullmatch(r"\$(0x[0-9a-f]+)", way[calls[0] - 1].operands[0]) if way[calls[0] - 1].name == "mov" else None
    return calls[0], len(calls) * (int(loop.group(1), 16) if loop else 1)


def leaves(instruction):
    """A call of another function, a RET, or an indirect branch: what the CPU would predict."""
    call = instruction.name == "call" and isinstance(instruction.symbol, str)
    indirect = instruction.name in ("call", "jmp") and not instruction.symbol and "*" in "".join(instruction.operands)
    return call or indirect or instruction.name == "ret" or instruction.symbol == "__x86_return_thunk"


def check_registers(way, clean):
    """From the exit on: the guest's values are stored, never used, and gone before anything can be predicted from them."""
    tainted = set(REGISTERS) - set(clean)
    for index, i in enumerate(way):
        used = {NAMES[n] for o in i.operands if "(" in o for n in re.findall(r"%(\w+)", o[o.index("("):]) if n in NAMES}
        if used & tainted:
            fault("a value of the guest's is an address", way[:index + 1])
        if tainted and leaves(i):
            fault(f"left with the guest's {sorted(tainted)}", way[:index + 1])
        last = i.operands[-1][1:] if i.operands and i.operands[-1].startswith("%") else None
        if last not in NAMES:
            if i.name == "xchg" and i.operands[0][1:] in NAMES:
                tainted.discard(NAMES[i.operands[0][1:]])
            continue
        first = i.operands[0]
        from_tainted = first[1:] in NAMES and NAMES[first[1:]] in tainted
        # A POP that misses the cache may be executed later than what follows it: the callee's registers are to be cleared.
        popped = i.name == "pop" and NAMES[last] not in ("rbx", "rbp", "r12", "r13", "r14", "r15")
        if (i.name == "xor" and first == i.operands[-1]) or popped or (i.name == "mov" and not from_tainted):
            tainted.discard(NAMES[last])
        elif i.name == "mov" or (i.name not in ("cmp", "test", "push") and from_tainted):
            tainted.add(NAMES[last])
    if tainted:
        fault(f"left with the guest's {sorted(tainted)}", way)


class Switch:
    def __init__(self, vendor, function, enters, exit_symbol, clean):
        self.vendor, self.function, self.enters, self.exit_symbol, self.clean = vendor, function, enters, exit_symbol, clean
        self.object = Object(KMOD / vendor / "enter.o")
        deps = (KMOD / vendor / ".enter.o.cmd").read_text()
        header = Path(re.search(r"\S*/asm/cpufeatures\.h", deps).group(0)).read_text()
        self.numbers = {m[0]: int(m[1]) * 32 + int(m[2])
                        for m in re.findall(r"#define X86_(?:FEATURE_)?(\w+)\s+\(\s*(\d+)\*32\s*\+\s*(\d+)\)", header)}

    def pick(self, *names):
        """The first of these that the kernel knows."""
        return next((n for n in names if n in self.numbers), None)

    def patched(self, *features):
        return Patched(self.object, {self.numbers[f] for f in ("ALWAYS", *features) if f in self.numbers})

    def is_entry(self, instruction):
        return instruction.name in self.enters

    def ways_in(self, *features):
        """Each way to an entry. What ends in a RET before it is an error's way out."""
        found = [w for w in self.patched(*features).ways(self.object.symbols[self.function], self.is_entry) if self.is_entry(w[-1])]
        if {w[-1].name for w in found} != set(self.enters):
            fault(f"entries found: {sorted({w[-1].name for w in found})}", [])
        return found

    def ways_out(self, *features):
        place = self.object.symbols.get(self.exit_symbol)
        if not place:
            place = next(i for i in self.object.code.values() if self.is_entry(i)).end
        return list(self.patched(*features).ways(place, lambda _: False))


def in_order(way, *indices):
    """-1: need not be there, and nothing is asked of it."""
    present = [n for n in indices if n >= 0]
    if present != sorted(present):
        fault(f"order {indices}", way)


def buffers(s):
    feature = "CLEAR_CPU_BUF_VM" if s.vendor == "svm" else s.pick("CLEAR_CPU_BUF_VM_MMIO") and "CLEAR_CPU_BUF_VM" or "CLEAR_CPU_BUF"
    for way in s.ways_in(feature):
        last = max((n for n, i in enumerate(way[:-1]) if touches_memory(i)), default=-1)
        if last < 0 or way[last].name != "verw" or any(not i.name.startswith("j") and i.name != "nop" for i in way[last + 1:-1]):
            fault("VERW is not the last before the entry", way)
    if any(i.name == "verw" for way in s.ways_in() for i in way):
        fault("VERW on a CPU that is not affected", [])


def spec_ctrl_in(s):
    for features in ([], ["KERNEL_IBRS"], ["RETPOLINE", "RSB_VMEXIT"]):
        ways = s.ways_in(*features)
        if not any(writes_msr(w, SPEC_CTRL) for w in ways):
            fault("no SPEC_CTRL for the guest", ways[0])
        for way in ways:
            for at in writes_msr(way, SPEC_CTRL):
                if any(leaves(i) or i.name == "call" for i in way[at:]):
                    fault("a prediction between SPEC_CTRL and the entry", way)


def spec_ctrl_out(s):
    ways = s.ways_out()
    if not any(writes_msr(w, SPEC_CTRL) for w in ways) or all(writes_msr(w, SPEC_CTRL) for w in ways):
        fault("SPEC_CTRL is not compared", ways[0])
    for way in ways:
        first = next(n for n, i in enumerate(way) if leaves(i))
        if any(at > first for at in writes_msr(way, SPEC_CTRL)):
            fault("the guest's SPEC_CTRL at a call or RET", way)
    if s.vendor == "svm":
        if any(writes_msr(w, SPEC_CTRL) for w in s.ways_out("V_SPEC_CTRL") + s.ways_in("V_SPEC_CTRL")):
            fault("SPEC_CTRL is written where the CPU switches it", [])
        return
    for way in s.ways_out("KERNEL_IBRS"):
        at = writes_msr(way, SPEC_CTRL)
        if not at or not any(i.name == "lfence" for i in way[at[0]:]):
            fault("IBRS is not written, or no barrier after it", way)


def return_stack(s):
    wanted = {(): 0, ("RSB_VMEXIT",): 32}
    wanted |= {("RETPOLINE",): 32} if s.vendor == "svm" else {("RSB_VMEXIT_LITE",): 1}
    for features, number in wanted.items():
        for way in s.ways_out(*features):
            at, filled = fills(way)
            first = next(n for n, i in enumerate(way) if leaves(i))
            if filled != number or at > first:
                fault(f"{features}: {filled} entries filled, at {at}, first call or RET at {first}", way)


def untraining(s):
    """Retbleed, SRSO: AMD alone. The function for each, or IBPB itself; after the return stack, before RET."""
    for feature, symbols in {"UNRET": ["entry_untrain_ret"], "SRSO_ALIAS": ["srso_alias_untrain_ret"],
                             "IBPB_ON_VMEXIT": ["entry_ibpb", "write_ibpb"]}.items():
        for way in s.ways_out("RSB_VMEXIT", feature):
            calls = [n for n, i in enumerate(way) if i.symbol in symbols]
            calls += writes_msr(way, PRED_CMD) if feature == "IBPB_ON_VMEXIT" else []
            if not calls:
                fault(f"{feature}: nothing done", way)
            in_order(way, fills(way)[0], max(writes_msr(way, SPEC_CTRL), default=-1), calls[0], len(way) - 1)
    if any(isinstance(i.symbol, str) and "untrain" in i.symbol or writes_msr(w, PRED_CMD) for w in s.ways_out() for i in w):
        fault("untraining on a CPU that is not affected", [])


def branch_history(s):
    feature = s.pick("CLEAR_BHB_LOOP_ON_VMEXIT", "CLEAR_BHB_VMEXIT")
    symbols = ["clear_bhb_loop", "hwv_vmx_clear_branch_history"]
    for way in s.ways_out("RSB_VMEXIT", feature):
        calls = [n for n, i in enumerate(way) if i.symbol in symbols]
        if not calls:
            fault("branch history is not cleared", way)
        in_order(way, fills(way)[0], max(writes_msr(way, SPEC_CTRL), default=-1), calls[0], len(way) - 1)
    if any(i.symbol in symbols for w in s.ways_out() for i in w):
        fault("branch history is cleared on a CPU that is not affected", [])


def registers(s):
    for features in ([], ["RSB_VMEXIT", "UNRET", "IBPB_ON_VMEXIT"], ["KERNEL_IBRS", "RSB_VMEXIT_LITE"]):
        for way in s.ways_out(*features):
            check_registers(way, s.clean)


def main():
    if not (KMOD / "hwv.ko").exists():
        print("skip world-switch - the module is not built")
        return 0
    switches = [Switch("svm", "hwv_svm_switch", ["vmrun"], None, ["rax"]),
                Switch("vmx", "hwv_vmx_switch", ["vmresume", "vmlaunch"], "hwv_vmx_exit", [])]
    for s in switches:
        for check in (buffers, spec_ctrl_in, spec_ctrl_out, return_stack, untraining if s.vendor == "svm" else branch_history, registers):
            name = f"world-switch/{s.vendor}-{check.__name__.replace('_', '-')}"
            try:
                check(s)
                print(f"ok {name}")
            except AssertionError as e:
                print(e)
                print(f"not ok {name} - {str(e).splitlines()[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
