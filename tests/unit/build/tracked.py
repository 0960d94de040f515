#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Lint refuses what was built and committed, and nothing that was written."""
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(os.environ.get("HWV_ROOT") or Path(__file__).resolve().parents[3])
sys.path.insert(0, str(ROOT / "scripts"))

from hwvlint import tracked  # noqa: E402

WRITTEN = {"a.cpp": b"int a;\n", "Makefile": b"all:\n", "folder/table.txt": b"x" * (200 << 10)}
BUILT = {"a.out": b"\177ELF\2\1\1", "lib": b"!<arch>\n", "a.o": b"text", "deps/a.d": b"a.o: a.c\n", "hwv.ko": b"", "hwv.mod.c": b"\n",
         "disk": b"a\0b", "large.json": b"x" * ((200 << 10) + 1)}


def main():
    with tempfile.TemporaryDirectory() as tmp:
        root = Path(tmp)
        for name, content in {**WRITTEN, **BUILT, "untracked.o": b""}.items():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(content)
        subprocess.run(["git", "init", "-q", root], check=True)
        subprocess.run(["git", "-C", root, "add", "-f", *WRITTEN, *BUILT], check=True)
        found = {str(path.relative_to(root)) for path, _, _ in tracked.check(root)}
    wrong = found ^ set(BUILT)
    print(f"not ok tracked-files - {sorted(wrong)}" if wrong else "ok tracked-files")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
