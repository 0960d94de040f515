#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 60
# The machine goes down while a guest runs: cleanly, as if there were none.
bed="$HWV_ROOT/scripts/bed"
victim="$HWV_ROOT/build/tests/module/kill"
if "$bed" "$HWV_BED" --smp 2 --timeout 40 --put "$victim" ${HWV_KERNEL:+--kernel "$HWV_KERNEL"} -- \
	sh -c "insmod \"\$HWV_MODULE\"
		(echo 0 >/bed/cgroup/cgroup.procs; exec '$victim' run) </dev/null >/dev/null 2>&1 & # out of what the bed kills at the end
		sleep 1
		grep -q '^hwv .* [1-9]' /proc/modules"; then
	echo "ok poweroff_under_guest"
else
	echo "not ok poweroff_under_guest - the bed did not come down cleanly"
	exit 1
fi
