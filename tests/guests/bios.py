#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 240
"""A small system of bios/, which Debian's SeaBIOS starts from an IDE disk. It asks the BIOS and the devices from real mode, protected
mode and between both, and judges each answer; what it wrote is on the disk, on COM1 and on the screen afterwards."""

import re
import struct
import subprocess

from guestlib import BED, HERE, TMP, Case, finish, run_cases, tell

SECTORS = 16384
FIRMWARE = ["/usr/share/seabios/bios-256k.bin", "/usr/share/seabios/vgabios-stdvga.bin"]
SCREEN = "hwvctl screenshot g --text"


def judged():
    """The names of all that the guest judges."""
    return re.findall(r"^ *(?:[0-9]: +)?judge ([a-z0-9-]+)", "".join(path.read_text() for path in sorted((HERE / "bios").glob("*.inc"))), re.M)


def disk():
    """Sector n holds dwords n << 16 | i; from the first one on, the system."""
    def run(*command):
        subprocess.run([str(w) for w in command], check=True, cwd=TMP)
    run("gcc", "-m32", f"-Wa,-I{HERE / 'bios'}", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,-N", "-Wl,--no-warn-rwx-segments",
        "-Wl,-Ttext=0x7c00", "-o", "boot.elf", HERE / "bios/boot.S")
    run("objcopy", "-O", "binary", "-j", ".text", "boot.elf", "boot.bin")
    system = (TMP / "boot.bin").read_bytes()
    sectors = b"".join(struct.pack("<128I", *range(n << 16, (n << 16) + 128)) for n in range(SECTORS))
    (TMP / "disk.img").write_bytes(system + sectors[len(system):])


def until(command, words):
    return f"until {command} 2>/dev/null | grep -q '{words}'; do sleep 0.3; done"


def word(sector, offset):
    """A shell's words for the dword that is there now."""
    return f"dd if=/tmp/d.img bs=512 skip={sector} count=1 2>/dev/null | od -An -tx4 -j{offset} -N4"


def main():
    disk()
    case = Case("starts-and-ends", "; ".join([
        "cp /share/disk.img /tmp/d.img; hwvctl run --boot bios --disk /tmp/d.img,bus=ide --mem 16M --vga text --name g --serial file:/tmp/s & guest=$!",
        until("cat /tmp/s", "waiting for keys"), "hwvctl sendkey g a b", until("cat /tmp/s", "keyboard-interrupt"), "hwvctl sendkey g c",
        until(SCREEN, "^done"), "echo; echo screen; hwvctl screenshot g --text; hwvctl sendkey g ret", "wait $guest; echo status $?", "cat /tmp/s",
        word(4000, 0), word(4001, 4), word(6000, 508), word(6001, 0)]), 0,
        ["^screen\n(.*\n)*ok .* written to the page\n(.*\n)*done$", "^status 0$", "^hwv: real mode from a disk", "^done$",
         r"^ *abcd0000\n *0fa10001\n *1234007f\n *17710000$"], ["still on"], seconds=100)
    put = [word for path in FIRMWARE for word in ("--put", path)] if BED == "vmx" else []
    output = run_cases([case], "--smp", 2, *put)
    for name in judged():
        tell(name, None if re.search(f"^\\| ok {name}$", output, re.M) or re.search(f"^ok {name}$", output, re.M) else "not said")
    finish()


if __name__ == "__main__":
    main()
