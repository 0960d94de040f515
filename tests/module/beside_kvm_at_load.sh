#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# where: bed
# bed: --smp 2
# timeout: 180
# From Linux 6.12 on KVM has SVM/VMX on as long as its module is loaded, unless told otherwise, as the bed does: hwv can only
# ride then, and does, with no VM of KVM's running.
for vendor in kvm_amd kvm_intel; do
    if [ -d /sys/module/$vendor ]; then break; fi
done
if [ ! -e /sys/module/kvm/parameters/enable_virt_at_load ]; then
    echo "skip at_load - this kernel's KVM switches on with its first VM"
    exit 0
fi
rmmod $vendor kvm
insmod /bed/modules/kvm.ko enable_virt_at_load=1
insmod /bed/modules/$vendor.ko
if build/hwvctl doctor | grep -q "ride: KVM ($vendor)"; then
    echo "ok at_load/doctor"
else
    echo "not ok at_load/doctor - does not say that hwv rides"
fi
if build/tests/module/beside_kvm >/tmp/results; then
    echo "ok at_load/beside_kvm"
else
    echo "not ok at_load/beside_kvm - $(grep '^not ok' /tmp/results)"
fi
if grep -q '^skip own' /tmp/results; then
    echo "ok at_load/own_is_refused"
else
    echo "not ok at_load/own_is_refused - hwv could own the CPUs"
fi
