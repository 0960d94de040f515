#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 400
# beds: svm
"""Debian's 32-bit kernels, with and without PAE, with a 32-bit userland; and one beside a 64-bit guest on the same host. QEMU 7.2
has CMPXCHG8B wrong, which they cannot do without, so QEMU 10 runs them; in Bochs each takes minutes."""

from guestlib import NotOffered, computes, finish, newer_emulator, run_cases, skip


def side_by_side():
    """Both run when either computes: neither has a word or a register of the other."""
    both = [computes("", "686-pae"), computes("", "cloud")]
    case = computes("beside-amd64", "686-pae")
    runs = " ".join(f"({one.command} >/tmp/guest-{n} 2>&1; echo ended {n} $? >>/tmp/guest-{n}) &" for n, one in enumerate(both))
    case.command = f"{runs} wait; cat /tmp/guest-0 /tmp/guest-1"
    case.want = [want for one in both for want in one.want] + ["^ended 0 0$", "^ended 1 0$"]
    return case


def main():
    try:
        emulator = newer_emulator()
        cases = [computes("debian-686", "686"), computes("debian-686-pae-4G", "686-pae", options="--mem 4G"), side_by_side()]
    except NotOffered as why:
        skip("debian-i386", str(why))
        return
    run_cases(cases, *emulator, "--smp", 2, timeout=380)
    finish()


if __name__ == "__main__":
    main()
