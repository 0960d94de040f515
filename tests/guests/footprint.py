#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What one more VM takes of the host's memory besides the guest's own: of the launcher and of the module together, as a memory
cgroup has it, at most 5 MiB."""

from guestlib import TMP, assemble, bed, finish, tell

LIMIT = 5 << 20
VMS, OWN = 4, 64 << 10  # what the little guest touches: its image, and the loader's tables

SCRIPT = f"""
set -e
mkdir -p /tmp/cg; mount -t cgroup2 none /tmp/cg
echo +memory >/tmp/cg/cgroup.subtree_control
mkdir /tmp/cg/vms
used() {{ sleep 1; cat /tmp/cg/vms/memory.current; }}
launch() {{
    sh -c 'echo $$ >/tmp/cg/vms/cgroup.procs; exec hwvctl run --mem 256M --no-hugepages --name '$1' --kernel /share/spin.bin --flat 0x200000,long --serial null' &
    until hwvctl ls | grep -q "$1"; do sleep 0.1; done
}}
launch first
one=$(used)
for n in 2 3 4; do launch vm$n; done
all=$(used)
echo "one $one"
echo "each $(( (all - one) / {VMS - 1} ))"
for p in $(cat /tmp/cg/vms/cgroup.procs); do kill $p; done
wait
"""


def main():
    assemble("end", bits=64, at=0x200000, defines=["SPIN"]).rename(TMP / "spin.bin")
    (TMP / "footprint.sh").write_text(SCRIPT)
    status, said = bed(["sh", "/share/footprint.sh"], "--load", "--share", TMP)
    print(*("| " + line for line in said.splitlines()), sep="\n")
    told = dict(line.split() for line in said.splitlines() if line.startswith(("one ", "each ")))
    tell("four_vms_run", None if status == 0 and len(told) == 2 else f"exit status {status}")
    if len(told) == 2:
        over = int(told["each"]) - OWN
        tell("one_more_takes_at_most_5_MiB", None if 0 < over <= LIMIT else f"{over / (1 << 20):.2f} MiB")
    finish()


main()
