#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Any bytes as a recording, a table of symbols, statistics in JSON or a filter: read or refused, and nothing else.
# timeout: 400
# beds: none
# FUZZ_SECONDS=N for longer; the corpus stays in build/fuzz/records.
set -u
root=${HWV_ROOT:-$(realpath "$(dirname "$0")/../..")}
out=$root/build/fuzz/records
cxx=${CLANGXX:-clang++}

if ! command -v "$cxx" >/dev/null; then
    echo "skip fuzz.records - no $cxx"
    exit 0
fi
mkdir -p "$out/corpus" "$out/seeds"
read -ra netlink < <(pkg-config --cflags libnl-genl-3.0)
flags=(-std=c++20 -g -O1 "-fsanitize=address,undefined" -fno-sanitize-recover=all -I"$root/userspace" -I"$root/include/uapi"
    -iquote "$root/tests/unit" "${netlink[@]}")
libs=(-lfmt -lelf -lnl-genl-3 -lnl-3 -pthread)
sources=("$root"/userspace/records/*.cpp "$root"/userspace/hwv/*.cpp)
if ! "$cxx" "${flags[@]}" -fsanitize=fuzzer -o "$out/fuzzer" "$root/tests/fuzz/records_fuzz.cpp" "${sources[@]}" "${libs[@]}"; then
    echo "not ok fuzz.records - does not build"
    exit 1
fi
# A whole recording to begin with; an ELF is at hand.
python3 - "$out/seeds" <<'PYTHON'
import json, struct, sys
from pathlib import Path

seeds = Path(sys.argv[1])

def chunk(kind, payload, vcpu=0):
    return struct.pack("<IIQ", kind, vcpu, len(payload)) + payload + bytes(-len(payload) % 8)

identity = json.dumps({"vm": 1, "name": "guest", "tsc_khz": 1000000, "start_tsc": 5}).encode()
record = lambda n, reason, key: struct.pack("<7QIBBH", 100 * n, 100 * n + 50, 0xffffffff81000000 + n, 0x1000, 0, key, 65, n, reason, 4, 0)
body = b"".join(record(n, reason, key) for n, (reason, key) in enumerate([(7, 0x3f8), (6, 0), (10, 0x68777600), (5, 0)]))
whole = b"hwv-rec\n" + struct.pack("<II", 1, 16) + chunk(1, identity) + chunk(3, body) + chunk(4, struct.pack("<4Q", 4, 4, 0, 0))
(seeds / "recording").write_bytes(b"\0" + whole + chunk(5, struct.pack("<Q", 4)))
(seeds / "symbols").write_bytes(b"\1ffffffff81000000 T a\nffffffff81000100 t idle\t[m]\n")
(seeds / "json").write_bytes(b"\3" + json.dumps({"tsc_khz": 1, "exits": [{"reason": "io", "count": 2, "histogram": [2]}]}).encode())
(seeds / "filter").write_bytes(b"\4reason=io key!=1-3 took>3us !user")
PYTHON
if "$out/fuzzer" -max_total_time="${FUZZ_SECONDS:-10}" -max_len=16384 -timeout=10 -artifact_prefix="$out/" "$out/corpus" "$out/seeds" \
    >"$out/log" 2>&1; then
    tail -2 "$out/log"
    echo "ok fuzz.records"
else
    grep -m1 -A12 -E 'ERROR|runtime error|Test unit' "$out/log"
    echo "not ok fuzz.records - see build/fuzz/records/log"
    exit 1
fi
