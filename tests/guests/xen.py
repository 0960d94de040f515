#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
# beds: svm
"""Debian's Xen, by multiboot 2, with Debian's kernel as its dom0: a hypervisor whose PV guest's userland computes and powers all off.
QEMU 10, because of what 7.2 has wrong; in Bochs it takes minutes."""


from guestlib import TMP, BedError, Case, NotOffered, cached, computes, finish, newer_emulator, run_cases, skip, unpack_one

PACKAGE = "xen-hypervisor-4.17-amd64"


def dom0(name, options):
    """The case of a kernel on its own, given to Xen as two modules."""
    alone = computes(name, "generic")
    kernel, initrd = TMP / "vmlinuz-generic", TMP / "initrd"
    xen = next(cached(f"guest/{PACKAGE}", lambda d: unpack_one(PACKAGE, d)).glob("boot/xen-*.gz"))
    (TMP / "xen.gz").write_bytes(xen.read_bytes())
    command = (f"hwvctl run --kernel /share/xen.gz --append 'console=com1 com1=115200,8n1 noreboot' --mem 512M {options} "
               f"--module '/share/{kernel.name} console=hvc0 panic=-1 loglevel=6 hwv.do=compute' --module /share/{initrd.name}")
    shown = [r"Xen version 4\.17", "Dom0 has maximum 1 VCPUs", r"\] Linux version 6\.1\.", *alone.want, "^on xen$", "Entering ACPI S5 state"]
    return Case(name, command, 0, shown, [r"\(XEN\).*(?:Panic|FATAL)", "Call Trace"], seconds=200)


def main():
    try:
        emulator = newer_emulator()
        cases = [dom0("dom0", "")]
    except (NotOffered, BedError) as why:
        skip("dom0", str(why))
        return
    run_cases(cases, *emulator, timeout=250)
    finish()


if __name__ == "__main__":
    main()
