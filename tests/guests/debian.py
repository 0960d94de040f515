#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 400
# beds: svm
"""A whole Debian on a disk: systemd comes up with all its services, a getty and the network among them, fetches a file by HTTP from where it
runs, and powers off when asked. In Bochs it would take more than half an hour."""

import hashlib

from guestlib import TMP, Case, NotOffered, debian, finish, kernels, linux, newer_emulator, run_cases, skip

SAID = [r"Welcome to .*Debian GNU/Linux 12", r"Reached target .*multi-user\.target", r"Started .*serial-getty@ttyS0", "HWV-SYSTEM running",
        r"HWV-ROOT /dev/vda ext4 of Debian 12\.", "reboot: Power down"]
CONTENT = b"".join(b"%d of a page\n" % line for line in range(20_000))


def installed(name, flavour="cloud", options="", append="", want=()):
    """The image is where this machine has it, which the bed shows read-only."""
    kernel = linux(flavour).split(" --initrd")[0]
    (TMP / "debian-initrd").write_bytes(debian.initrd(kernels.fetch(flavour)).read_bytes())
    (TMP / "page").write_bytes(CONTENT)
    command = ("ip link set lo up; busybox httpd -f -p 127.0.0.1:8080 -h /share & web=$!; "
               f"hwvctl run {kernel} --initrd /share/debian-initrd --disk {debian.image()},cow --mem 512M {options} "
               f"--append 'console=ttyS0 panic=-1 quiet systemd.show_status=1 root=/dev/vda hwv.check {append}'; result=$?; kill $web; exit $result")
    return Case(name, command, 0, [*SAID, *want], ["Kernel panic", "Call Trace"], seconds=300)


def main():
    try:
        emulator = newer_emulator()
        cases = [installed("debian-12", options="--net user", append="hwv.fetch=http://10.0.2.2:8080/page",
                           want=[r"^e\w+ +UP +10\.0\.2\.15/24", f"HWV-FETCHED {hashlib.md5(CONTENT).hexdigest()}"])]
    except NotOffered as why:
        skip("debian-12", str(why))
        return
    run_cases(cases, *emulator, "--smp", 2, timeout=380)
    finish()


if __name__ == "__main__":
    main()
