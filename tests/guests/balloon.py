#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 360
# beds: svm
"""Debian's cloud kernel with a balloon: what it has free comes back to the host by itself, it gives what is asked for and takes it
back, and its memory holds what it wrote. The host's side is what the launcher's process has of memory. In the VMX bed the guest
would be minutes about it."""

import hashlib

from guestlib import Case, finish, linux_with, run_cases

SUM = hashlib.md5("".join(f"{n}\n" for n in range(1, 1000001)).encode()).hexdigest()

GUEST = r"""
free() { sed -n 's/^MemFree: *\([0-9]*\) kB/\1/p' /proc/meminfo; }
mkdir -p /mem; mount -t tmpfs -o size=400m mem /mem
dd if=/dev/zero of=/mem/fill bs=1M count=200 2>/dev/null; echo filled; sleep 4
rm /mem/fill; echo emptied
until [ $(free) -lt 200000 ]; do sleep 0.2; done; echo "squeezed, $(free) kB free"
until [ $(free) -gt 320000 ]; do sleep 0.2; done; echo "released, $(free) kB free"
seq 1000000 >/mem/text; md5sum </mem/text
"""

HOST = r"""
LAUNCH --name b --balloon >/tmp/said 2>&1 & guest=$!
rss() { sed -n 's/^Rss: *\([0-9]*\) kB/\1/p' /proc/$guest/smaps_rollup; }
said() { for i in $(seq 600); do grep -q "^$1" /tmp/said && return; sleep 0.1; done; echo "never said: $1"; }
below() { for i in $(seq 200); do [ $(rss) -lt $1 ] && return; sleep 0.1; done; echo "still $(rss) kB, not $1"; }
said filled; full=$(rss); hwvctl balloon b
said emptied; below $((full - 150000)); echo "of $full kB, $(rss) left" ; hwvctl balloon b --json
hwvctl balloon b 300 --wait 60; echo "status $?"; said squeezed; hwvctl balloon b
hwvctl balloon b 0 --wait 60; said released
wait $guest; result=$?; cat /tmp/said; exit $result
"""


def cases():
    bad = ["never said", "still [0-9]+ kB", "BUG:", "Call Trace", "WARNING: CPU: . PID: [1-9]"]
    launch = f"hwvctl run --mem 512M {linux_with('balloon', ['virtio_balloon'], GUEST)}"
    shown = [r"^asked for 0 MiB, given 0 MiB", '"reporting": true', r"^of [0-9]+ kB, [0-9]+ left$", "^status 0$",
             r"^asked for 300 MiB, given 300 MiB; back at the host so far 300 MiB asked for, [0-9]{3} MiB told of$",
             r"^in the guest: 4[0-9]{2} MiB, [0-9]+ available", f"^{SUM}  -$"]
    for name, options in (("huge-pages", ""), ("small-pages", " --no-hugepages")):
        yield Case(name, HOST.replace("LAUNCH", launch + options), 0, shown, bad, seconds=120)
    blind = "hwvctl run --kernel /share/vmlinuz-cloud --initrd /share/initrd --mem 128M --name blind --serial null & until hwvctl powerbutton blind 2>/dev/null; do sleep 0.3; done"
    yield Case("mistakes", "; ".join([blind, "hwvctl balloon blind", "hwvctl balloon blind x; echo number $?", "hwvctl balloon blind 9999999; echo size $?",
                                      "hwvctl kill blind; wait"]),
               0, ["^hwvctl: the guest has no balloon: launch it with --balloon", "^number 2$", "^size 2$"], seconds=60)


def main():
    run_cases(list(cases()), "--smp", 2, timeout=340)
    finish()


if __name__ == "__main__":
    main()
