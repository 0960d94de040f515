#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 400
# beds: svm
# A kernel that draws takes Bochs many minutes; what the devices do is in the unit tests.
"""What a guest shows on its VGA, and what is typed into it: Linux in text and with a picture, seen and steered from outside."""

import base64
import re
import struct
import zlib

from guestlib import Case, finish, linux, run_cases, tell

PNG = "=== png"


def started(flavour, vga, append):
    """A shell's words: the guest has its shell on tty0 and a serial port of its own."""
    return (f"hwvctl run {linux(flavour)} --mem 256M --name g --vga {vga} --serial file:/tmp/serial --stats "
            f"--append 'console=ttyS0 console=tty0 {append} hwv.do=shell' >/tmp/table 2>&1 & guest=$!; "
            "until grep -qs 'shell in the guest' /tmp/serial; do sleep 0.5; done; sleep 1")


TYPED = "until grep -q '^typed 42' /tmp/serial; do sleep 0.5; done; grep '^typed' /tmp/serial"
SHOT = f"hwvctl screenshot g /tmp/shot.png && echo '{PNG}' && base64 /tmp/shot.png; echo '{PNG}'"
END = "hwvctl sendkey g --text 'poweroff -f' ret; wait $guest; echo status $?; cat /tmp/table"


def text():
    """The kernel's messages and the shell's prompt are characters; keys reach the shell; none of the drawing exits."""
    return Case("text", "; ".join([
        started("cloud", "text", "tsc=reliable"), "hwvctl screenshot g --text", "hwvctl screenshot g --json", SHOT,
        "hwvctl sendkey g --text 'echo typed $((40+2)) \"Ab|{~}\" >/dev/ttyS0' ret", TYPED,
        "hwvctl sendkey g shift-x y backspace equal 1 ret; sleep 1; hwvctl screenshot g --text | grep -c '^/ # X=1'", "hwvctl stat g --keys", END]),
        want=[r"^\[ +\d+\.\d+\] Run /init as init process", r"^A shell in the guest", '"columns": 80', '"mode": "text"', '"row": ', "^typed 42 Ab\\|\\{~\\}$", "^1$", "^status 0$"],
        refuse=["0xb8000"], seconds=150)


def picture():
    """vesafb takes the picture that the zero page names."""
    return Case("picture", "; ".join([
        started("generic", "800x600", ""), "hwvctl screenshot g --text; echo text $?", "hwvctl screenshot g --json", SHOT,
        "grep -E 'vesafb|fb0:|frame buffer device' /tmp/serial", "hwvctl sendkey g --text 'echo typed $((40+2)) >/dev/ttyS0' ret", TYPED, END]),
        want=["^hwvctl: the screen shows graphics of 800 x 600, no text", "^text 1$", '"mode": "graphics"', "vesafb: mode is 800x600x32", "^typed 42$", "^status 0$"],
        seconds=200)


def mistakes():
    blind = "hwvctl run --kernel /share/vmlinuz-cloud --initrd /share/initrd --mem 128M --name blind --serial null & sleep 2"
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
    _, output = run_cases([text(), mistakes(), picture()], "--smp", "2")
    judge_pictures(re.sub(r"^\| ", "", output, flags=re.M), {"text": (720, 400), "picture": (800, 600)})
    finish()


if __name__ == "__main__":
    main()
