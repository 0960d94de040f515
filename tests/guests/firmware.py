#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 660
"""Debian's firmware, started at the reset vector: it finds its machine, and what it finds nothing in it says."""

from guestlib import BED, Case, finish, run_cases

BIOS = "/usr/share/seabios/bios-256k.bin"


def empty():
    """SeaBIOS to its end: nothing to start from. What it says goes to its debug port, and to COM1 as there is no screen."""
    return Case("seabios-finds-nothing", "hwvctl run --boot bios --mem 64M --debugcon /tmp/debug; echo status $?; cat /tmp/debug", 0,
                ["^status 3$", "the guest asked for a reset", "Found QEMU fw_cfg", r"qemu/e820: addr 0x0+ len 0x0*4000000 \[RAM\]",
                 "id=8086:29c0", r"ACPI: parse DSDT", r"Found 1 cpu\(s\)", r"^No bootable device\. +Retrying in 1 seconds", "^Rebooting"], seconds=100)


def uefi():
    """OVMF to its shell, which is told to switch off. The rule makes writes of CR8 leave the guest: QEMU aborts at one that the
    guest does by itself while an interrupt waits for its window (conformance/framework.hpp)."""
    return Case("ovmf-shell", "; ".join([
        "echo 'cr_write cr8 -> count' >/tmp/policy; mkfifo /tmp/keys",
        "hwvctl run --boot uefi --mem 256M --policy /tmp/policy </tmp/keys >/tmp/uefi 2>&1 & guest=$!", "exec 3>/tmp/keys",
        "n=0; until grep -aq 'Shell>' /tmp/uefi || [ $n = 90 ]; do sleep 1; n=$((n+1)); done", r"printf 'ver\r' >&3; sleep 3; printf 'reset -s\r' >&3",
        "wait $guest; echo status $?", "cat /tmp/uefi"]), 0, ["^status 0$", "UEFI Interactive Shell v2", "UEFI v2"], seconds=120)


def variables():
    """What the shell of one boot sets, that of the next one knows, in a file that is made of Debian's template."""
    boot = "; ".join([
        "rm -f /tmp/keys; mkfifo /tmp/keys",
        "hwvctl run --boot uefi --uefi-vars /tmp/vars --mem 256M --policy /tmp/policy </tmp/keys >/tmp/uefi 2>&1 & guest=$!", "exec 3>/tmp/keys",
        "n=0; until grep -aq 'Shell>' /tmp/uefi || [ $n = 150 ]; do sleep 1; n=$((n+1)); done", r"printf 'WHAT\r' >&3; sleep 3",
        r"n=0; while [ -e /proc/$guest/exe ] && [ $n -lt 10 ]; do printf '\rreset -s\r' >&3; sleep 3; n=$((n+1)); done", "wait $guest; echo status $?"])
    return Case("ovmf-variables", "; ".join([
        "echo 'cr_write cr8 -> count' >/tmp/policy", boot.replace("WHAT", "set hwv kept-in-flash"), boot.replace("WHAT", "set hwv"), "tr -d '\\r' </tmp/uefi",
        "cmp -s /tmp/vars /usr/share/OVMF/OVMF_VARS_4M.fd || echo changed; stat -c '%s bytes' /tmp/vars"]), 0,
        ["^status 0\nstatus 0$", "kept-in-flash", "^changed$", "^540672 bytes$"], seconds=380)


def mistakes():
    return Case("mistakes", "; ".join([
        "hwvctl run --boot bios --firmware /nothing; echo none $?", "echo short >/tmp/short; hwvctl run --boot bios --firmware /tmp/short; echo size $?",
        "hwvctl run --boot mbr; echo what $?", f"hwvctl run --kernel {BIOS} --firmware {BIOS}; echo both $?",
        "hwvctl run --boot bios --uefi-vars /tmp/v; echo vars $?", "hwvctl run --boot uefi --uefi-vars /tmp/short; echo short $?"]), 0,
        ["/nothing: No such file or directory\nnone 1$", "/tmp/short: not a firmware image.*\nsize 1$", "both 2$", "^hwvctl: --uefi-vars belongs to --boot uefi", "vars 2$", "no variables of Debian's OVMF.*\nshort 1$"])


def main():
    put = ["--put", BIOS] if BED == "vmx" else []
    run_cases([empty(), mistakes(), *([] if BED == "vmx" else [uefi(), variables()])], *put)
    finish()


if __name__ == "__main__":
    main()
