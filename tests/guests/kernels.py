#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 400
"""Debian's kernels of several releases, as they are: each computes something, says it, and powers off. In the vmx bed the
cloud ones alone, whose decompression ends in time. Newer kernels meet what QEMU 7.2 has wrong: in the svm bed QEMU 10 runs all."""

from guestlib import BED, NotOffered, computes, finish, newer_emulator, run_cases, skip

VERSIONS = ["6.1", "6.12", "7.2"]


def releases():
    """The cases of all kernels that the mirror has; the first also by PVH, as the ELF that is inside."""
    yield computes("debian-6.1-cloud-pvh", "cloud", elf=True, options="--mem 512M --boot pvh")
    for version in VERSIONS:
        for flavour in ["cloud", "generic"] if BED == "svm" else ["cloud"]:
            name = f"debian-{version}-{flavour}"
            try:
                yield computes(name, flavour, version)
            except NotOffered as why:
                skip(name, str(why))


def main():
    try:
        emulator = newer_emulator()
    except NotOffered as why:
        skip("debian-kernels", str(why))
        return
    run_cases(list(releases()), *emulator, timeout=380)
    finish()


if __name__ == "__main__":
    main()
