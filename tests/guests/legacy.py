#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 700
# beds: svm
"""What a BIOS starts from disks and discs. In Bochs, thirty times slower, firmware.py has the BIOS alone."""

import shutil
import subprocess

from guestlib import ROOT, TMP, Case, finish, last_line, linux, run_cases, tell


def grub():
    """GRUB from a hybrid ISO, as a disc and as a disk, and the Debian kernel that it starts."""
    linux()
    iso = TMP / "grub.iso"
    subprocess.run([ROOT / "scripts/guest-iso", iso, TMP / "vmlinuz-cloud", TMP / "initrd", "console=ttyS0 quiet hwv.do=compute"], check=True)
    wants = ["GNU GRUB  version", "the guest's kernel", "another one", "^Linux .*-cloud-amd64", "^HWV-GUEST-DONE compute"]
    for how in ["cd"]:
        yield Case(f"grub-{how}", f"cp /share/grub.iso /tmp/; hwvctl run --{how} /tmp/grub.iso --mem 256M", 0, wants, seconds=180)


def memtest():
    """memtest86+, by Linux's boot protocol: a whole pass over little memory. Most of its time it waits for bits to fade."""
    shutil.copy("/boot/memtest86+x64.bin", TMP / "memtest")
    return Case("memtest86", "; ".join([
        "hwvctl run --kernel /share/memtest --append 'console=ttyS0,115200 nosmp nopause nobench nosm nobigstatus' --mem 8M --serial file:/tmp/s & guest=$!",
        "n=0; until grep -aq 'Pass:  1 ' /tmp/s || [ $n = 330 ]; do sleep 1; n=$((n+1)); done", "kill $guest; wait $guest; echo status $?",
        "grep -ao 'Pass: *[0-9]* *Errors: *[0-9]*' /tmp/s | tail -1"]), 0, ["^status 7$", r"^Pass: +1 +Errors: +0$"], seconds=360)


def ipxe():
    """iPXE from its CD image, to its banner; there is no card that it knows."""
    return Case("ipxe", "; ".join([
        "hwvctl run --cd /share/ipxe.iso --mem 64M --serial file:/tmp/s & guest=$!",
        "n=0; until grep -aq 'No more network devices' /tmp/s || [ $n = 60 ]; do sleep 1; n=$((n+1)); done", "kill $guest; wait $guest", "cat /tmp/s"]),
        0, ["Booting from DVD/CD", "iPXE initialising devices", "Open Source Network Boot Firmware"], seconds=90)


def main():
    shutil.copy("/usr/lib/ipxe/ipxe.iso", TMP / "ipxe.iso")
    status, output = run_cases([*grub(), ipxe(), memtest()], "--mem", 2048)
    tell("bed-is-sane", f"the bed's exit status is {status}: {last_line(output)}" if status else None)
    finish()


if __name__ == "__main__":
    main()
