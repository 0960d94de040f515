#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 400
# beds: svm
"""A whole Debian on a disk: systemd comes up with all its services, a getty among them, and powers off when asked. In Bochs it would take
more than half an hour."""

from guestlib import TMP, Case, NotOffered, debian, finish, kernels, last_line, linux, newer_emulator, run_cases, skip, tell

SAID = [r"Welcome to .*Debian GNU/Linux 12", r"Reached target .*multi-user\.target", r"Started .*serial-getty@ttyS0", "HWV-SYSTEM running",
        r"HWV-ROOT /dev/vda ext4 of Debian 12\.", "reboot: Power down"]


def installed(name, flavour="cloud", options="", append="", want=()):
    """The image is where this machine has it, which the bed shows read-only."""
    kernel = linux(flavour).split(" --initrd")[0]
    (TMP / "debian-initrd").write_bytes(debian.initrd(kernels.fetch(flavour)).read_bytes())
    command = (f"hwvctl run {kernel} --initrd /share/debian-initrd --disk {debian.image()},cow --mem 512M {options} "
               f"--append 'console=ttyS0 panic=-1 quiet systemd.show_status=1 root=/dev/vda hwv.check {append}'")
    return Case(name, command, 0, [*SAID, *want], ["Kernel panic", "Call Trace"], seconds=300)


def main():
    try:
        emulator = newer_emulator()
        cases = [installed("debian-12")]
    except NotOffered as why:
        skip("debian-12", str(why))
        return
    status, output = run_cases(cases, *emulator, "--smp", 2, timeout=380)
    tell("bed-is-sane", f"the bed's exit status is {status}: {last_line(output)}" if status else None)
    finish()


if __name__ == "__main__":
    main()
