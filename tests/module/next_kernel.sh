#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
# Another kernel follows while a guest runs: by kexec, or after a crash. It runs, which it cannot where VMX is left on, since the
# way to it clears CR4.VMXE. (SVM is in nobody's way.)
crash="$HWV_ROOT/build/tests/module/crash"

# check NAME HOW CPUS END: the bed says at last what became of the kernel; that which follows powers off, a panic resets.
check() {
	said=$("$HWV_ROOT/scripts/bed" "$HWV_BED" --smp "$3" --load --no-kvm --timeout 300 --append crashkernel=32M \
		${HWV_KERNEL:+--kernel "$HWV_KERNEL"} -- "$crash" "$2" 2>&1)
	if echo "$said" | tr '\n' ' ' | grep -q "$4"; then
		echo "ok next_kernel/$1"
	else
		echo "$said"
		echo "not ok next_kernel/$1 - it did not come up"
	fi
}

check kexec kexec 2 "L1 was powered off"
if [ "$HWV_BED" = vmx ]; then
	for cpus in 1 2; do check crash_$cpus boom $cpus "L1 panicked.*soft power off"; done
fi
