#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Any bytes as a kernel image for the loaders.
# timeout: 300
# beds: none
# FUZZ_SECONDS=N for longer; the corpus stays in build/fuzz/boot.
set -u
root=${HWV_ROOT:-$(realpath "$(dirname "$0")/../..")}
out=$root/build/fuzz/boot
cxx=${CLANGXX:-clang++}

if ! command -v "$cxx" >/dev/null; then
    echo "skip fuzz.boot - no $cxx"
    exit 0
fi
mkdir -p "$out/corpus"
if ! "$cxx" -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
    -I"$root/userspace" -I"$root/include/uapi" -o "$out/fuzzer" "$root"/tests/fuzz/boot_fuzz.cpp \
    "$root"/userspace/boot/*.cpp "$root"/userspace/machine/guest_memory.cpp -lfmt -lz; then
    echo "not ok fuzz.boot - does not build"
    exit 1
fi
if "$out/fuzzer" -max_total_time="${FUZZ_SECONDS:-10}" -max_len=8192 -timeout=10 -artifact_prefix="$out/" "$out/corpus" \
    >"$out/log" 2>&1; then
    tail -2 "$out/log"
    echo "ok fuzz.boot"
else
    grep -m1 -A12 -E 'ERROR|runtime error|Test unit' "$out/log"
    echo "not ok fuzz.boot - see build/fuzz/boot/log"
    exit 1
fi
