#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Any bytes as a guest's port and memory accesses: no device may read or write outside itself, overflow or hang.
# timeout: 300
# beds: none
# FUZZ_SECONDS=N for longer; the corpus stays in build/fuzz/machine.
set -u
root=${HWV_ROOT:-$(realpath "$(dirname "$0")/../..")}
out=$root/build/fuzz/machine
cxx=${CLANGXX:-clang++}

if ! command -v "$cxx" >/dev/null; then
    echo "skip fuzz.machine - no $cxx"
    exit 0
fi
mkdir -p "$out/corpus"
mapfile -t sources < <(find "$root/userspace/machine" -name '*.cpp')
if ! "$cxx" -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
    -I"$root/userspace" -iquote "$root/tests" -iquote "$root/tests/unit/machine" -iquote "$root/tests/unit" \
    -o "$out/fuzzer" "$root"/tests/fuzz/machine_fuzz.cpp "${sources[@]}" -lfmt -luring -pthread; then
    echo "not ok fuzz.machine - does not build"
    exit 1
fi
if "$out/fuzzer" -max_total_time="${FUZZ_SECONDS:-10}" -max_len=16384 -timeout=10 -artifact_prefix="$out/" "$out/corpus" \
    >"$out/log" 2>&1; then
    tail -2 "$out/log"
    echo "ok fuzz.machine"
else
    grep -m1 -A12 -E 'ERROR|runtime error|Test unit' "$out/log"
    echo "not ok fuzz.machine - see build/fuzz/machine/log"
    exit 1
fi
