#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 700
# beds: svm
"""What a BIOS starts from disks and discs. In Bochs, thirty times slower, firmware.py has the BIOS alone."""

import shutil
import subprocess

from guestlib import ROOT, TMP, Case, finish, linux, run_cases


def until(command, words):
    """A shell's words; the case's own time is the limit."""
    return f"until {command} 2>/dev/null | grep -aq '{words}'; do sleep 0.5; done"


SCREEN = "hwvctl screenshot g --text"
KEYS = "hwvctl sendkey g"


def grub():
    """GRUB from a hybrid ISO: as a disc, on a VGA and with its keyboard, what it says read back from the screen; as a disk, on the serial
    port. There Debian's kernel starts, here `halt` switches off."""
    linux()
    iso = TMP / "grub.iso"
    subprocess.run([ROOT / "scripts/guest-iso", iso, TMP / "vmlinuz-cloud", TMP / "initrd", "console=ttyS0 quiet hwv.do=compute", "60"], check=True)
    yield Case("grub-cd-screen", "; ".join([
        "cp /share/grub.iso /tmp/; hwvctl run --cd /tmp/grub.iso --mem 256M --vga text --name g --serial file:/tmp/s & guest=$!",
        until(SCREEN, "another one"), SCREEN, f"{KEYS} down", until(SCREEN, r"\*another one"), f"{KEYS} c", until(SCREEN, "grub>"),
        f"{KEYS} --text 'echo \"$grub_platform\" -Says' ret", until(SCREEN, "^pc -Says"), SCREEN, f"{KEYS} esc up", until(SCREEN, r"\*the guest"), f"{KEYS} ret",
        "wait $guest; echo status $?; cat /tmp/s"]), 0,
        [r"^ +GNU GRUB  version 2", r"^ *│\*the guest's kernel +│", r"^ *│ another one +│", "will be executed automatically in [0-9]+s", "^pc -Says",
         "Linux .*-cloud-amd64 #1", "^HWV-GUEST-DONE compute", "^status 0$"], seconds=120)
    yield Case("grub-disk-serial", "; ".join([
        "mkfifo /tmp/keys; hwvctl run --disk /tmp/grub.iso,bus=ide,ro --mem 256M </tmp/keys >/tmp/s & guest=$!; exec 3>/tmp/keys",
        until("cat /tmp/s", "another one"), r"printf '\016\r' >&3", "wait $guest; echo status $?; cat /tmp/s"]), 0,
        ["GNU GRUB  version 2", "another one", "^status 0$"], seconds=60)


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
    run_cases([*grub(), ipxe(), memtest()], "--mem", 2048, "--smp", 2)
    finish()


if __name__ == "__main__":
    main()
