#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The instructions of device_memory.S through hwvctl, in the bed.
# timeout: 120
set -u
root=${HWV_ROOT:-$(realpath "$(dirname "$0")/../..")}
tmp=${HWV_TMP:-$(mktemp -d)}
name=guests.device_memory
success=148 # 128 + what the guest wrote

if ! { as --32 -I "$root/tests/guests" -o "$tmp/guest.o" "$root/tests/guests/device_memory.S" &&
    ld -m elf_i386 -Ttext 0x100000 --oformat binary -o "$tmp/guest.bin" "$tmp/guest.o"; }; then
    echo "not ok $name - cannot assemble the guest"
    exit 1
fi
timeout 100 "$root/scripts/bed" "${HWV_BED:-svm}" ${HWV_KERNEL:+--kernel "$HWV_KERNEL"} --load --share "$tmp" -- \
    hwvctl run --kernel /share/guest.bin --flat 0x100000,prot --serial null --debugcon - >"$tmp/log" 2>&1
status=$?
cat "$tmp/log"
if [ "$status" -ne "$success" ]; then
    echo "not ok $name - ended with $status, not $success: 128 and the number of the failed check, or an error of hwvctl"
    exit 1
fi
if ! grep -q "string output arrives" "$tmp/log"; then
    echo "not ok $name - OUTS did not reach its port"
    exit 1
fi
echo "ok $name"
