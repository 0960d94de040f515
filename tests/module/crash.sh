#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 240
# beds: vmx
# A crash under a guest: the kernel that is kept for that runs, which it cannot where VMX is left on, since the way to it clears
# CR4.VMXE. (SVM is in nobody's way.)
crash="$HWV_ROOT/build/tests/module/crash"
for cpus in 1 2; do
	said=$("$HWV_ROOT/scripts/bed" "$HWV_BED" --smp $cpus --load --no-kvm --timeout 300 --append crashkernel=32M \
		${HWV_KERNEL:+--kernel "$HWV_KERNEL"} -- "$crash" boom 2>&1)
	case "$said" in # a kernel that panics reboots, and does not power off
	*"L1 panicked"*"soft power off"*)
		echo "ok crash/next_kernel_runs_$cpus"
		;;
	*)
		echo "$said"
		echo "not ok crash/next_kernel_runs_$cpus - it did not come up"
		;;
	esac
done
