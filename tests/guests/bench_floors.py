#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 420
"""What an exit costs, measured anew and exactly, against the floors that scripts/bench states. HWV_BENCH=FILE: figures that are
there already."""

import json
import os
import subprocess
from pathlib import Path

from guestlib import BED, ROOT, TMP, finish, tell


def figures():
    if os.environ.get("HWV_BENCH"):
        return Path(os.environ["HWV_BENCH"])
    out = TMP / "bench.json"
    subprocess.run([ROOT / "scripts/bench", "--quick", "--output", out], check=True)
    return out


def main():
    if BED != "svm":
        print(f"skip bench-floors - the bench has no rows for the bed {BED} yet")
        return
    rows = figures()
    judged = subprocess.run([ROOT / "scripts/bench", "--judge", rows], text=True, stdout=subprocess.PIPE, check=True).stdout
    for line in judged.splitlines():
        row, _, why = line.partition(" ")
        tell(f"floor-{row}", why or None)
    names = {row["exit"] for row in json.loads(rows.read_text())["rows"]}
    missing = {"cpuid", "out_user", "in_user", "mmio_read_user", "npf_alloc", "boot_exits"} - names
    tell("all-rows-measured", f"missing: {missing}" if missing else None)
    finish()


if __name__ == "__main__":
    main()
