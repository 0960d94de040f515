#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Small guests that check the state in which each boot protocol starts them; bzImage has whole Linux guests.
# timeout: 150
set -u
root=${HWV_ROOT:-$(realpath "$(dirname "$0")/../..")}
here=$root/tests/guests
tmp=${HWV_TMP:-$(mktemp -d)}
success=148 # 128 + what the guest wrote

build() { # NAME AS-OPTION LD-OPTIONS...
    local name=$1 bits=$2
    shift 2
    as "$bits" -I "$here" -o "$tmp/$name.o" "$here/$name.S" && ld "$@" -o "$tmp/$name" "$tmp/$name.o"
}
if ! { build multiboot --32 -m elf_i386 -Ttext 0x200000 &&
    build multiboot2 --32 -m elf_i386 -Ttext 0x200000 && build pvh --32 -m elf_i386 -Ttext-segment=0x200000 &&
    build flat_real --32 -m elf_i386 -Ttext 0x7c00 --oformat binary &&
    build flat_long --64 -Ttext 0x100000 --oformat binary; }; then
    echo "not ok guests.boot_protocols - cannot assemble the guests"
    exit 1
fi
printf first >"$tmp/first"
printf second >"$tmp/second"
cat >"$tmp/run" <<'RUN'
cd /share || exit 1
run() {
    name=$1
    shift
    hwvctl run --kernel "${name%.*}" --serial null --mem 32M "$@"
    echo "status $name $?"
}
run multiboot --append "one two" --module "first a" --module second
run multiboot2 --append "one two" --module "first a" --module second
run multiboot2.told --boot multiboot2 --append "one two" --module "first a" --module second
run multiboot2.screen --append "one two" --module "first a" --module second --vga 640x480
run multiboot2.as_1 --boot multiboot
run pvh --append "one" --module first
run flat_real --flat 0x7c00,real
run flat_real.told --boot flat
run flat_long --flat 0x100000,long
RUN
timeout 130 "$root/scripts/bed" "${HWV_BED:-svm}" ${HWV_KERNEL:+--kernel "$HWV_KERNEL"} --load --share "$tmp" -- sh /share/run \
    >"$tmp/log" 2>&1
cat "$tmp/log"
failed=0
for name in multiboot multiboot2 multiboot2.told multiboot2.screen multiboot2.as_1 pvh flat_real flat_real.told flat_long; do
    wanted=$success
    [ "$name" != multiboot2.as_1 ] || wanted=$((128 + 21))
    [ "$name" != multiboot2.screen ] || wanted=$((128 + 22))
    if grep -q "status $name $wanted\$" "$tmp/log"; then
        echo "ok guests.boot_$name"
    else
        echo "not ok guests.boot_$name - ended otherwise than with $wanted: 128 and the number of the failed check, or hwvctl's error"
        failed=1
    fi
done
exit "$failed"
