# SPDX-License-Identifier: GPL-2.0-only
"""Where the instructions go that scripts/bed --profile has counted: per function, and per instruction."""

import bisect
import re
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

from bedlib.initramfs import ModuleTree, canonical

KERNEL = 0xffff800000000000
# L1's programs are above this, micro-guests below.
PROGRAMS = 0x400000
# What L1 prints for Symbols: the functions of its kernel, whose place never changes, and where modules are in this run.
KERNEL_PLACES = "grep -i ' [tw] ' /proc/kallsyms | grep -v ']$'"
MODULE_PLACES = """for s in /sys/module/*/sections/.*text*; do case $s in *.init*|*.exit*) ;; *) echo section $s $(cat $s) ;; esac; done"""


class Symbols:
    """The functions of L1's kernel: its own from what L1 told, those of modules from their files."""

    def __init__(self, told, kernel, ours):
        self.found = {}
        self.tree = ModuleTree(kernel.modules)
        self.ours = ours
        self.sections = sections = defaultdict(dict)
        for line in told.splitlines():
            words = line.split()
            if words[:1] == ["section"] and len(words) == 3:
                _, _, _, module, _, section = words[1].split("/")
                sections[module][section] = int(words[2], 16)
            elif len(words) == 3 and re.fullmatch(r"[0-9a-f]{16}", words[0]):
                self.found.setdefault(int(words[0], 16), (words[2], ""))
        for module, places in sections.items():
            self.add_module(module, places)
        self.addresses = sorted(self.found)

    def add_module(self, module, places):
        with tempfile.NamedTemporaryFile() as file:
            if module == "hwv":
                path = self.ours
            elif canonical(module) in self.tree.paths:
                file.write(self.tree.read(canonical(module)))
                file.flush()
                path = file.name
            else:
                return
            for section, offset, name in functions(path):
                if section in places:
                    self.found[places[section] + offset] = (name, module)

    def at(self, address):
        """(name, start) of the function that has this address."""
        if address < KERNEL:
            where = "guest" if address < PROGRAMS else "program in L1"
            return f"[{where}]", None
        index = bisect.bisect_right(self.addresses, address) - 1
        if index < 0:
            return f"{address:x}", address
        start = self.addresses[index]
        name, module = self.found[start]
        return f"{name} [{module}]" if module else name, start


def functions(path):
    """(section, offset, name) of each in an object file."""
    told = subprocess.run(["objdump", "--demangle", "-t", path], check=True, text=True, stdout=subprocess.PIPE).stdout
    for line in told.splitlines():
        if m := re.match(r"([0-9a-f]{16}) (.{7}) (\.\S*text\S*)\t[0-9a-f]{16}(?: \.(?:hidden|protected|internal))? (.+)", line):
            if "d" not in m.group(2):
                yield m.group(3), int(m.group(1), 16), m.group(4)


def per_exit(path, exits):
    """{address: (executions for an exit, instruction)} of the file that bed --profile has made."""
    out = {}
    for line in Path(path).read_text().splitlines():
        address, count, text = line.split(" ", 2)
        out[int(address, 16)] = (int(count) / exits, text)
    return out


def by_function(counts, symbols):
    """[(function, instructions for an exit, calls for an exit or None)], dearest first."""
    cost, calls = defaultdict(float), {}
    for address, (count, _) in counts.items():
        name, start = symbols.at(address)
        cost[name] += count
        if address == start:
            calls[name] = count
    return sorted(((name, count, calls.get(name)) for name, count in cost.items()), key=lambda row: -row[1])


def by_line(counts, symbols):
    """[(inlined function, file:line, instructions for an exit)] of hwv's own, in the order of the source."""
    cost = defaultdict(float)
    places = symbols.sections["hwv"]
    for section, start in places.items():
        following = min([place for place in places.values() if place > start], default=start + (1 << 20))
        here = sorted(address for address in counts if start <= address < following)
        for address, frame in zip(here, frames(symbols.ours, section, [address - start for address in here])):
            cost[frame] += counts[address][0]
    in_order = sorted(cost, key=lambda frame: (frame[0], frame[1].split(":")[0], int("0" + re.sub(r"\D", "", frame[1].split(":")[-1]))))
    return [(function, line, cost[function, line]) for function, line in in_order]


def frames(path, section, offsets):
    """For each offset (function, file:line): the innermost of our functions, be it inlined."""
    asked = "".join(f"{offset:x}\n" for offset in offsets)
    told = subprocess.run(["addr2line", "-e", path, "-j", section, "-aifCs"], input=asked, text=True, check=True, stdout=subprocess.PIPE)
    for one in re.split(r"^0x[0-9a-f]{16}\n", told.stdout, flags=re.M)[1:]:
        lines = one.splitlines()
        pairs = [(function, line.split(" ")[0]) for function, line in zip(lines[::2], lines[1::2])]
        yield next((pair for pair in pairs if not pair[0].startswith("std::")), pairs[-1])


def instructions(counts, symbols, pattern):
    """Of functions that match, lines like those of a disassembler: address, executions for an exit, instruction."""
    last = None
    for address, (count, text) in sorted(counts.items()):
        name, start = symbols.at(address)
        if start is None or not re.search(pattern, name):
            continue
        if name != last:
            yield f"\n{name}"
            last = name
        yield f"{address:16x} {address - start:6x} {count:8.3f}  {text}"
