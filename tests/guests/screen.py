#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 700
# beds: svm
# A kernel that draws takes Bochs many minutes; what the devices do is in the unit tests.
"""What a guest shows on its VGA, and what is typed into it: Linux in text and with a picture, seen and steered from outside."""

import base64
import re
import struct
import zlib

from guestlib import HERE, TMP, Case, finish, linux, run_cases, tell

PNG = "=== png"


def started(flavour, vga, append):
    """A shell's words: the guest has its shell on tty0 and a serial port of its own."""
    return (f"rm -f /tmp/serial; hwvctl run {linux(flavour)} --mem 256M --name g --vga {vga} --serial file:/tmp/serial --stats "
            f"--append 'console=ttyS0 console=tty0 {append} hwv.do=shell' >/tmp/table 2>&1 & guest=$!; "
            "until grep -qs 'Run /init' /tmp/serial; do sleep 0.5; done")


TYPED = "until grep -q '^typed 42' /tmp/serial; do sleep 0.5; done; grep '^typed' /tmp/serial"
SHOT = f"hwvctl screenshot g /tmp/shot.png && echo '{PNG}' && base64 /tmp/shot.png; echo '{PNG}'"
END = "hwvctl sendkey g --text 'poweroff -f' ret; wait $guest; echo status $?; cat /tmp/table"


PROMPT = "until hwvctl screenshot g --text 2>/dev/null | grep -q '^/ #'; do sleep 0.5; done"


def text():
    """The kernel's messages and the shell's prompt are characters; keys reach the shell; none of the drawing exits."""
    return Case("text", "; ".join([
        started("cloud", "text", "tsc=reliable"), PROMPT, "hwvctl screenshot g --text", "hwvctl screenshot g --json", SHOT,
        "hwvctl sendkey g --text 'echo typed $((40+2)) \"Ab|{~}\" >/dev/ttyS0' ret", TYPED,
        "hwvctl sendkey g shift-x y backspace equal 1 ret; sleep 1; hwvctl screenshot g --text | grep -c '^/ # X=1'", "hwvctl stat g --keys", "hwvctl doctor --guest g", END]),
        want=[r"^\[ +\d+\.\d+\] Run /init as init process", r"^A shell in the guest", '"columns": 80', '"mode": "text"', '"row": ', "^typed 42 Ab\\|\\{~\\}$", "^1$", "^status 0$", "^ok +x2APIC", "^ok +kvmclock is in use", "^ok +PV EOI is in use"],
        refuse=["0xb8000"], seconds=150)


def picture():
    """vesafb takes the picture that the zero page names."""
    return Case("picture", "; ".join([
        started("generic", "800x600", "tsc=reliable"), "sleep 5", "hwvctl screenshot g --text; echo text $?", "hwvctl screenshot g --json", SHOT,
        "grep -E 'vesafb|fb0:|frame buffer device' /tmp/serial",
        "until grep -q '^typed 42' /tmp/serial; do hwvctl sendkey g --text 'echo typed $((40+2)) >/dev/ttyS0' ret; sleep 3; done", TYPED, END]),
        want=["^hwvctl: the screen shows graphics of 800 x 600, no text", "^text 1$", '"mode": "graphics"', "vesafb: mode is 800x600x32", "^typed 42$", "^status 0$"],
        seconds=300)


def viewers():
    """A viewer of Debian's gets the picture, a typing one types; a socket's file and a password keep others out; nothing listens but on 127.0.0.1."""
    run = f"hwvctl run {linux()} --mem 256M --name g --append 'console=ttyS0 console=tty0 tsc=reliable hwv.do=shell'"
    return Case("viewers", "; ".join([
        "busybox ip link set lo up; rm -f /tmp/serial; echo secret >/tmp/password", f"{run} --display vnc=:1 --serial file:/tmp/serial >/dev/null 2>&1 & guest=$!",
        PROMPT, "vncsnapshot -quiet 127.0.0.1:1 /tmp/shot.jpg >/dev/null 2>&1; file -b /tmp/shot.jpg",
        """python3 /share/viewer.py 1 'echo "Typed|there" $((40+2)) >/dev/ttyS0'""", "until grep -q '^Typed' /tmp/serial; do sleep 0.5; done; grep '^Typed' /tmp/serial",
        "grep -c '00000000:170D 00000000:0000 0A' /proc/net/tcp; grep -c '0100007F:170D 00000000:0000 0A' /proc/net/tcp", "hwvctl kill g; wait $guest",
        f"{run} --display vnc=unix:/tmp/vnc,password=/tmp/password --serial null >/dev/null 2>&1 & guest=$!", "until [ -S /tmp/vnc ]; do sleep 0.2; done; sleep 1",
        "stat -c '%F %a' /tmp/vnc", "python3 /share/viewer.py /tmp/vnc ''", "hwvctl kill g; wait $guest; ls /tmp/vnc", "hwvctl run --kernel x --display vnc; echo status $?"]),
        want=["^JPEG image data.*720x400", "^security 1$", "^screen 720 400$", "^update 0$", r"^Typed\|there 42$", "^0\n1$", "^socket 600$", "^security 2$",
              "^hwvctl: --display: 'vnc' is none of", "cannot access '/tmp/vnc'", "^status 2$"], seconds=150)


def bios():
    """SeaBIOS runs the VGA's own, and both say something on the screen."""
    return Case("bios", "; ".join([
        "hwvctl run --boot bios --mem 64M --vga text --name b --serial null --debugcon /tmp/debug >/dev/null 2>&1 & guest=$!",
        "for i in $(seq 100); do hwvctl screenshot b --text >/tmp/text 2>/dev/null && grep -q 'No bootable' /tmp/text && break; sleep 0.1; done; cat /tmp/text",
        "wait $guest; grep SeaVGABIOS /tmp/debug"]), want=["^SeaBIOS \\(version", "^No bootable device", "^Start SeaVGABIOS"], seconds=60)


def mistakes():
    blind = "hwvctl run --kernel /share/vmlinuz-cloud --initrd /share/initrd --mem 128M --name blind --serial null & until hwvctl powerbutton blind 2>/dev/null; do sleep 0.3; done"
    return Case("mistakes", "; ".join([
        blind, "hwvctl screenshot blind --text", "hwvctl sendkey blind ret", "hwvctl sendkey blind any", "hwvctl sendkey blind; echo keys $?", "hwvctl screenshot blind; echo shot $?",
        "hwvctl screenshot nobody --text; echo nobody $?", "hwvctl powerbutton blind && echo pressed", "setpriv --reuid 65534 --clear-groups hwvctl screenshot blind --text; echo stranger $?",
        "hwvctl kill blind; wait", "hwvctl run --kernel x --vga 100x7; echo size $?"]),
        want=["^hwvctl: the guest has no screen: launch it with --vga", "^hwvctl: the guest has no keyboard: launch it with", "'any' is no key", "^keys 2$", "^shot 2$",
              "^nobody 1$", "^pressed$", "^stranger 1$", "^hwvctl: --vga: from 320x200 on", "^size 2$"], seconds=60)


def decode(png):
    """Width, height and rows of RGB bytes; the filters are undone ("PNG (Portable Network Graphics) Specification", "Filter Algorithms")."""
    chunks, at = {}, 8
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at:at + 8])
        chunks[kind] = chunks.get(kind, b"") + png[at + 8:at + 8 + size]
        at += 12 + size
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    data, pitch, above, rows = zlib.decompress(chunks[b"IDAT"]), width * 3, bytes(width * 3), []
    for start in range(0, height * (pitch + 1), pitch + 1):
        kind, row = data[start], bytearray(data[start + 1:start + 1 + pitch])
        for i in range(pitch):
            left, up, corner = (row[i - 3], above[i], above[i - 3]) if i > 2 else (0, above[i], 0)
            paeth = min((left, up, corner), key=lambda v: abs(left + up - corner - v))
            row[i] = row[i] + (0, left, up, (left + up) // 2, paeth)[kind] & 255
        rows.append(bytes(row))
        above = row
    return width, height, rows


def judge_pictures(output, sizes):
    shots = [base64.b64decode(text) for text in output.split(PNG)[1::2]]
    for (name, size), png in zip(sizes.items(), shots + [b""] * len(sizes)):
        if not png.startswith(b"\x89PNG"):
            tell(f"png-{name}", "there is none")
            continue
        width, height, rows = decode(png)
        lines = sum(any(row) for row in rows)  # the text of a console in white on black
        tell(f"png-{name}", f"{width} x {height}" if (width, height) != size else f"only {lines} lines have a dot" if lines < height // 8 else None)


def main():
    (TMP / "viewer.py").write_bytes((HERE / "viewer.py").read_bytes())
    output = run_cases([text(), mistakes(), bios(), viewers(), picture()], "--smp", "2")
    judge_pictures(re.sub(r"^\| ", "", output, flags=re.M), {"text": (720, 400), "picture": (800, 600)})
    finish()


if __name__ == "__main__":
    main()
