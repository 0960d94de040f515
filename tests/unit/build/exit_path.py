#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""No indirect branch on the in-kernel exit path, shown on the built object: from the run loop, through every call that
stays in the C++ core, there is neither an indirect call nor an indirect jump (with retpolines each costs more than a handler).
Calls into Linux (hwv_host_*) end the search."""
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CORE = ROOT / "build/kmod/hwv-core.o"
ROOTS = {"svm": r"^hwv::VcpuOf<hwv::svm::\w+>::(step|run_guest)\(", "vmx": r"^hwv::VcpuOf<hwv::vmx::\w+>::(step|run_guest)\("}
FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")
BRANCH = re.compile(r"^\s+[0-9a-f]+:\s+(?:notrack |bnd |cs |ds )*(call|jmp|j\w+)\s+(.*)$")
RELOCATION = re.compile(r"^\s+[0-9a-f]+: R_X86_64_\w+\s+(\S.*?)(?:[+-]0x[0-9a-f]+)?$")


def call_graph():
    """{function: (callees, indirect branches)}, names as the linker knows them."""
    text = subprocess.run(["objdump", "-dr", "--no-show-raw-insn", CORE], capture_output=True, text=True, check=True).stdout
    graph, name, branch = {}, None, None
    for line in text.splitlines():
        if m := FUNCTION.match(line):
            name, branch = m.group(1), None
            graph[name] = (set(), [])
        elif m := BRANCH.match(line):
            branch = m.group(2)
            if "*" in branch:
                graph[name][1].append(line.strip())
            elif target := re.search(r"<(.+?)(?:\+0x[0-9a-f]+)?>", branch):
                graph[name][0].add(target.group(1))
        elif (m := RELOCATION.match(line)) and branch is not None:
            target = m.group(1)
            if target.startswith("__x86_indirect"):
                graph[name][1].append(f"through {target}")
            graph[name][0].add(target)
        else:
            branch = None
    return graph


def demangle(names):
    out = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    return dict(zip(names, out.splitlines()))


def search(graph, start):
    """{function reachable from `start`: its caller on the way}"""
    way, todo = {start: None}, [start]
    while todo:
        here = todo.pop()
        for callee in graph[here][0] & graph.keys() - way.keys():
            way[callee] = here
            todo.append(callee)
    return way


def path_to(way, name):
    path = [name]
    while way[path[-1]]:
        path.append(way[path[-1]])
    return path[::-1]


def judge(vendor, pattern, graph, plain):
    name = f"exit-path/{vendor}-no-indirect-branch"
    roots = [n for n in graph if re.search(pattern, plain[n])]
    if not roots:
        return print(f"not ok {name} - no function matches {pattern}")
    ways = [search(graph, root) for root in roots]
    found = [(branch, path_to(way, n)) for way in ways for n in way for branch in graph[n][1]]
    for branch, path in found:
        print(f"{branch}\n    in " + "\n    -> ".join(plain[p] for p in path))
    print(f"{vendor}: {len({n for way in ways for n in way})} functions on the exit path")
    print(f"not ok {name} - {len(found)} indirect branches" if found else f"ok {name}")


def main():
    if not CORE.exists():
        print("skip exit-path - the module is not built")
        return 0
    graph = call_graph()
    plain = demangle(list(graph))
    for vendor, pattern in ROOTS.items():
        if (ROOT / "kmod" / vendor).is_dir():
            judge(vendor, pattern, graph, plain)
    return 0


if __name__ == "__main__":
    sys.exit(main())
