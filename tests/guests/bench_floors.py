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

WANTED = {"cpuid", "out_user", "in_user", "mmio_read_user", "npf_alloc"}
WATCHED = {"stats_off", "stats", "ring", "tracepoint", "program", "filter"}


def figures():
    """A file of them. That a bed is not to be had, scripts/bench says as a skip."""
    if os.environ.get("HWV_BENCH"):
        return Path(os.environ["HWV_BENCH"])
    out = TMP / "bench.json"
    subprocess.run([ROOT / "scripts/bench", "--bed", BED, "--quick", "--output", out], check=True)
    return out


def main():
    path = figures()
    if not path.exists():
        finish()
    judged = subprocess.run([ROOT / "scripts/bench", "--judge", path], text=True, stdout=subprocess.PIPE, check=True).stdout
    for line in judged.splitlines():
        row, _, why = line.split(" ", 2)
        tell(f"floor-{row}", why or None)
    told = json.loads(path.read_text())
    for name, tables in {told["bed"]: told, **told.get("beds", {})}.items():
        wanted = WANTED | ({"boot_exits"} if name != "svm-bochs" else set())
        missing = wanted - {row["exit"] for row in tables["rows"]}
        tell(f"all-rows-measured-{name}", f"missing: {missing}" if missing else None)
        unwatched = WATCHED - {row["what"] for row in tables["overhead"] if row["hwv"] > 0}
        tell(f"all-watching-measured-{name}", f"missing: {unwatched}" if unwatched else None)
    finish()


if __name__ == "__main__":
    main()
