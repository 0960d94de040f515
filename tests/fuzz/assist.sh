#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Any instruction, register and page table for the emulator.
# timeout: 300
# beds: none
# FUZZ_SECONDS=N for longer; the corpus stays in build/fuzz/assist.
set -u
root=${HWV_ROOT:-$(realpath "$(dirname "$0")/../..")}
out=$root/build/fuzz/assist
cxx=${CLANGXX:-clang++}

if ! command -v "$cxx" >/dev/null; then
    echo "skip fuzz.assist - no $cxx"
    exit 0
fi
mkdir -p "$out/corpus"
if ! "$cxx" -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
    -I"$root/userspace" -I"$root/include/uapi" -o "$out/fuzzer" "$root"/tests/fuzz/assist_fuzz.cpp \
    "$root"/userspace/assist/*.cpp -lZydis -lZycore; then
    echo "not ok fuzz.assist - does not build"
    exit 1
fi
if "$out/fuzzer" -max_total_time="${FUZZ_SECONDS:-10}" -max_len=8192 -timeout=10 -artifact_prefix="$out/" "$out/corpus" \
    >"$out/log" 2>&1; then
    tail -2 "$out/log"
    echo "ok fuzz.assist"
else
    grep -m1 -A12 -E 'ERROR|runtime error|Test unit' "$out/log"
    echo "not ok fuzz.assist - see build/fuzz/assist/log"
    exit 1
fi
