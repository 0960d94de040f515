#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 240
"""What a guest does to its host: its time is guest time, its memory is charged to whoever started it, its end frees all."""

import re

from guestlib import TMP, Case, assemble, finish, run_cases, tell

# Field 43 of /proc/PID/stat: guest time in ticks of 10 ms; the name in field 2 has no blanks.
GUEST_TIME = """
hwvctl run --kernel /share/spin.bin --flat 0x200000,long --mem 16M --serial null &
sleep 1
set -- $(cat /proc/$!/stat); before=${43}; read up rest </proc/uptime
sleep 3
set -- $(cat /proc/$!/stat); guest=$((${43} - before)); read now rest </proc/uptime
echo guest $guest of $(echo "($now - $up) * 100 / 1" | busybox bc)
kill $!; wait $!; [ $? = 7 ]
"""

# A group with a limit; $limit, $mem, $image, $more are set before. What is charged is read while the guest halts.
CHARGED = """
echo +memory >/bed/cgroup/cgroup.subtree_control
mkdir /bed/cgroup/small && echo $limit >/bed/cgroup/small/memory.max
(echo 0 >/bed/cgroup/small/cgroup.procs; exec hwvctl run --kernel /share/$image.bin --flat 0x200000,long --mem $mem $more --serial file:/tmp/said) &
until grep -q T /tmp/said 2>/dev/null || ! [ -d /proc/$! ]; do sleep 0.2; done
grep -E '^(anon|kernel|pagetables|sec_pagetables|slab|percpu) ' /bed/cgroup/small/memory.stat
kill $! 2>/dev/null; wait $!; echo status $?
grep oom_kill /bed/cgroup/small/memory.events
rm -f /tmp/said; sleep 0.5; rmdir /bed/cgroup/small
"""


def image(what):
    assemble("end", bits=64, at=0x200000, defines=[what]).rename(TMP / f"{what.split('=')[0].lower()}{what.partition('=')[2]}.bin")


def charged(name, limit, mem, touched, more, want):
    settings = f"limit={limit} mem={mem} image=touch{touched} more='{more}'\n"
    return Case(name, settings + CHARGED, 0, want, seconds=60)


def number(pattern, text):
    found = re.search(pattern, text)
    return int(found.group(1)) if found else -1


def judge_guest_time(output):
    """Some of a guest's time goes into the host's ticks and into the emulator; none of it is more than there was."""
    ticks, elapsed = number(r"guest (\d+) of", output), number(r"guest \d+ of (\d+)", output)
    wrong = not elapsed * 0.2 <= ticks <= elapsed + 5
    tell("guest-time-is-in-stat", f"a spinning guest got {ticks} ticks of {elapsed}" if wrong else None)


def judge_charge(output):
    """Small pages want a nested table for each 2 MiB, 56 in all; large ones do without, but for a few where the guest executes on
    Intel. Both are the group's."""
    small, large = (output.split(f"@@@ {n} ")[1].split("@@@")[0] for n in (1, 2))
    anon = number(r"\nanon (\d+)", small)
    tables = number(r"\nkernel (\d+)", small) - number(r"\nkernel (\d+)", large)
    tell("memory-is-charged", f"{anon} bytes for 112 MiB touched" if anon < 112 << 20 else None)
    tell("page-tables-are-charged", f"{tables} bytes for 112 MiB in small pages" if tables < 48 * 4096 else None)


def main():
    for what in ["SPIN", "TOUCH=128", "TOUCH=448"]:
        image(what)
    cases = [Case("guest-spins", GUEST_TIME, 0, ["^guest "], seconds=30),
             charged("group-with-room", "max", "160M", 128, "--no-hugepages", ["^status 7$", "^oom_kill 0$"]),
             charged("huge-pages", "max", "160M", 128, "", ["^status 7$", "^oom_kill 0$"]),
             charged("group-too-small", "67108864", "512M", 448, "--no-hugepages", ["^status (137|6)$", "^oom_kill [1-9]"]),
             Case("host-lives-on", "hwvctl doctor", 0)]
    output = run_cases(cases, timeout=200)
    judge_guest_time(output)
    judge_charge(output)
    finish()


if __name__ == "__main__":
    main()
