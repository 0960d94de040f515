#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 500
# beds: svm
# Its initrd of 40 MB alone takes Bochs an hour to unpack.
"""Debian's installer, as its netboot images are, to its first question, which is answered by keys: on the screen only."""

from guestlib import TMP, BedError, Case, cached, finish, run_cases, skip, unpack_one

PACKAGE = "debian-installer-12-netboot-amd64"
IMAGES = "usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64"


def asks():
    """bochs-drm, which would draw the text, is left out: then it is characters."""
    def shown(text):
        return f"until hwvctl screenshot g --text 2>/dev/null | grep -q '{text}'; do sleep 2; done; hwvctl screenshot g --text"
    return Case("language", "; ".join([
        "hwvctl run --kernel /share/linux --initrd /share/initrd.gz --append 'tsc=reliable quiet module_blacklist=bochs' --mem 1G --vga text --name g --serial null & guest=$!",
        shown("language"), "hwvctl sendkey g ret", shown("location"), "hwvctl kill g; wait $guest; echo status $?"]),
        want=["(Choose|Select a) language", "English", "Select your location", "^status 7$"], seconds=420)


def main():
    try:
        images = cached(f"guest/{PACKAGE}", lambda directory: unpack_one(PACKAGE, directory)) / IMAGES
    except BedError as error:
        skip("language", error)
        finish()
    for name in "linux", "initrd.gz":
        (TMP / name).write_bytes((images / name).read_bytes())
    run_cases([asks()], "--smp", "2", "--mem", "2048")
    finish()


if __name__ == "__main__":
    main()
