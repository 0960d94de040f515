#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
"""What the types must refuse: each *.cpp here fails to compile, with an error that matches its `// expect: REGEX` line (each
compiler: `// expect-clang: REGEX` where clang words it differently), and compiles with -DHWV_CONTROL, so that it fails for
that reason alone."""
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
KMOD = ["-std=gnu++20", "-funsigned-char", f"-iquote{ROOT}/kmod", f"-iquote{ROOT}/tests/unit/fakes"]
USER = ["-std=c++20", f"-I{ROOT}/userspace"]
COMPILERS = {"g++-12": [], "clang++": ["-Wno-everything"]}


def flags(text):
    user = re.search(r'#include "(hwv|hwvctl|machine|boot|assist)/', text)
    return ["-fsyntax-only", f"-I{ROOT}/include/uapi", *(USER if user else KMOD)]


def compiles(compiler, source, text, control):
    command = [compiler, *COMPILERS[compiler], *flags(text), *(["-DHWV_CONTROL"] if control else []), str(source)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return run.returncode == 0, run.stderr


def expected(compiler, text):
    special = re.search(r"^// expect-clang: (.*)$", text, re.M) if compiler.startswith("clang") else None
    general = re.search(r"^// expect: (.*)$", text, re.M)
    return (special or general).group(1) if special or general else None


def judge(compiler, source):
    text = source.read_text()
    want = expected(compiler, text)
    if not want:
        return "no `// expect: REGEX` line"
    good, errors = compiles(compiler, source, text, control=True)
    if not good:
        return "the control does not compile: " + errors.strip().splitlines()[0]
    good, errors = compiles(compiler, source, text, control=False)
    if good:
        return "it compiles"
    if not re.search(want, errors):
        return f"another error than /{want}/: " + next((e for e in errors.splitlines() if "error" in e), "none")
    return None


def main():
    work = [(c, s) for s in sorted(HERE.glob("*.cpp")) for c in COMPILERS]
    print(f"1..{len(work)}")
    with ThreadPoolExecutor(2) as pool:
        for (compiler, source), why in zip(work, pool.map(lambda w: judge(*w), work)):
            name = f"nocompile/{source.stem}[{compiler}]"
            print(f"not ok {name} - {why}" if why else f"ok {name}")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
