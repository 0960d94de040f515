#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 90
# beds: svm
"""The keys of a terminal: Ctrl-A h explains, Ctrl-A x ends the guest, everything else is the guest's."""

import os
import pty
import subprocess
import time

from guestlib import BED, ROOT, TMP, assemble, finish, tell


class Terminal:
    """hwvctl in the bed behind a pseudo-terminal."""

    def __init__(self):
        self.master, slave = pty.openpty()
        words = [ROOT / "scripts/bed", BED, "--timeout", 60, "--tty", "--share", TMP, "--load", "--", "hwvctl", "run", "--kernel",
                 "/share/echo.bin", "--flat", "0x200000,long", "--mem", "16M"]
        self.process = subprocess.Popen([str(w) for w in words], stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        self.seen = b""

    def type(self, keys):
        os.write(self.master, keys)

    def wait_for(self, text, seconds=40):
        """Whether it comes; the reader stops at the hang-up."""
        end = time.monotonic() + seconds
        os.set_blocking(self.master, False)
        while text not in self.seen and time.monotonic() < end:
            try:
                self.seen += os.read(self.master, 4096)
            except BlockingIOError:
                time.sleep(0.05)
            except OSError:
                break
        return text in self.seen


def expect(name, terminal, text):
    tell(name, None if terminal.wait_for(text) else f"no {text!r} in {terminal.seen!r}")


def main():
    assemble("end", bits=64, at=0x200000, defines=["ECHO"]).rename(TMP / "echo.bin")
    terminal = Terminal()
    # Keys typed before the guest runs are echoed by terminals or lost. The guest alone ends a line after '!'.
    for _ in range(40):
        terminal.type(b"up!")
        if terminal.wait_for(b"up!\r\n", 1):
            break
    expect("keys-reach-the-guest", terminal, b"up!\r\n")
    terminal.type(b"\x03ok!")
    expect("ctrl-c-is-a-key", terminal, b"\x03ok!\r\n")
    terminal.type(b"\x01h")
    expect("ctrl-a-h", terminal, b"Ctrl-A x: quit")
    terminal.type(b"\x01\x01!")
    expect("ctrl-a-ctrl-a", terminal, b"\x01!\r\n")
    terminal.type(b"\x01x")
    try:
        status = terminal.process.wait(30)
    except subprocess.TimeoutExpired:
        terminal.process.kill()
        status = "none, it did not end"
    tell("ctrl-a-x", f"exit status {status}" if status != 7 else None)
    finish()


if __name__ == "__main__":
    main()
