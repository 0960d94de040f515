#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 240
"""Small guests, assembled here: every kind of image and mode, every way to end, serial ports, several guests at once."""

from guestlib import TMP, Case, assemble, finish, run_cases

RUN = "hwvctl run --mem 16M"


def end(what):
    """A 64-bit flat image that ends as `what` says."""
    made = assemble("end", bits=64, at=0x200000, defines=[what])
    name = what.split("=")[0].lower()
    made.rename(TMP / f"{name}.bin")
    return f"--kernel /share/{name}.bin --flat 0x200000,long"


def images():
    for bits, at in [(16, 0x8000), (32, 0x200000), (64, 0x200000)]:
        assemble("say", bits=bits, at=at)
    assemble("tasks", bits=32, at=0x200000)
    for kind in ["MULTIBOOT", "PVH"]:
        assemble("kernel", bits=32, defines=[kind]).rename(TMP / f"{kind.lower()}.elf")
    (TMP / "one").write_text("first module")
    (TMP / "two").write_text("second module")


def kinds():
    modules = "--module '/share/one with words' --module /share/two --append 'a line'"
    said = [r"^\[first module\]$", r"^\[/share/one with words\]$", r"^\[second module\]$", r"^\[/share/two\]$"]
    yield Case("flat-real", f"{RUN} --kernel /share/say16.bin --flat 0x8000,real", 128 + 16, ["^guest of 16 bits$"])
    yield Case("flat-real-is-the-default", f"{RUN} --kernel /share/say16.bin --flat 0x8000", 128 + 16, ["^guest of 16 bits$"])
    yield Case("flat-prot", f"{RUN} --kernel /share/say32.bin --flat 0x200000,prot", 128 + 32, ["^guest of 32 bits$"])
    yield Case("flat-long", f"{RUN} --kernel /share/say64.bin --flat 2097152,long", 128 + 64, ["^guest of 64 bits$"])
    yield Case("tasks", f"{RUN} --kernel /share/tasks32.bin --flat 0x200000,prot", 128 + 3)
    yield Case("multiboot", f"{RUN} --kernel /share/multiboot.elf {modules}", 128 + 2, [r"^\[/share/multiboot.elf a line\]$", *said])
    yield Case("multiboot-bare", f"{RUN} --kernel /share/multiboot.elf", 128, [r"^\[/share/multiboot.elf\]$"])
    yield Case("pvh", f"{RUN} --kernel /share/pvh.elf {modules}", 128 + 2, [r"^\[a line\]$", *said])


def ends():
    yield Case("triple-fault", f"{RUN} {end('TRIPLE')}", 5, ["triple fault at rip 0x20000", "rbx 0x1234567$"])
    yield Case("panic-port", f"{RUN} {end('PANIC')}", 4, ["the guest's kernel panicked"])
    yield Case("reset-port", f"{RUN} {end('RESET')}", 3, ["the guest asked for a reset"])
    yield Case("keyboard-reset", f"{RUN} {end('KEYBOARD_RESET')}", 3, ["the guest asked for a reset"])
    yield Case("power-off", f"{RUN} {end('POWEROFF')}", 0, lines=0)
    for name, signal, image in [("sigterm", "TERM", end("SPIN")), ("sigint", "INT", end("SPIN")), ("sigterm-halted", "TERM", end("HALT"))]:
        # A shell starts background commands with SIGINT ignored.
        yield Case(name, f"timeout -s {signal} 1 {RUN} {image} --serial null; s=$?; [ $s = 124 ] || exit $s",
                   0, ["hwvctl: ended by a signal"], lines=1)
    yield Case("sigterm-status", f"timeout --preserve-status 1 {RUN} {end('SPIN')} --serial null", 7, ["ended by a signal"])


def serials():
    say, echo = "--kernel /share/say64.bin --flat 0x200000,long", end("ECHO")
    yield Case("serial-file", f"{RUN} {say} --serial file:/tmp/serial; echo status $?; cat /tmp/serial", 0, ["^status 192$", "^guest of 64 bits$"])
    yield Case("serial-path", f"{RUN} {say} --serial /tmp/serial; echo status $?; cat /tmp/serial", 0, ["^status 192$", "^guest of 64 bits$"])
    yield Case("serial-null", f"{RUN} {say} --serial null", 192, lines=0)
    yield Case("debugcon-file", f"{RUN} {say} --serial null --debugcon /tmp/debug; cat /tmp/debug", 0, ["^guest of 64 bits$"])
    yield Case("debugcon-stderr", f"{RUN} {say} --serial null --debugcon - 2>&1 >/dev/null", 192, ["^guest of 64 bits$"])
    yield Case("serial-stdin-pipe", f"echo 'abc!q' | {RUN} {echo}", 128 + 7, ["^abc!$"])
    client = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(\"/tmp/s\"); s.send(b\"xyz!\"); " \
             "print(s.makefile().readline()); s.send(b\"q\")"
    yield Case("serial-unix", f"{RUN} {echo} --serial unix:/tmp/s & until [ -S /tmp/s ]; do sleep 0.1; done; python3 -c '{client}'; "
               "wait $!; echo status $?; [ ! -e /tmp/s ]", 0, ["^xyz!$", "^status 135$"])
    typist = "import sys,os,re; p=re.search(\"/dev/pts/[0-9]+\", open(\"/tmp/notice\").read()).group(0); f=os.open(p, os.O_RDWR); " \
             "os.write(f, b\"pts!\"); print(os.read(f, 9).decode()); os.write(f, b\"q\")"
    yield Case("serial-pty", f"{RUN} {echo} --serial pty 2>/tmp/notice & until grep -q pts /tmp/notice; do sleep 0.1; done; "
               f"python3 -c '{typist}'; wait $!; echo status $?", 0, ["^pts!", "^status 135$"])


def many():
    """Eight guests at once, of all modes; each has its own memory, output and status."""
    launches = []
    for n in range(8):
        bits, at, mode = [(16, 0x8000, "real"), (32, 0x200000, "prot"), (64, 0x200000, "long")][n % 3]
        launches.append(f"({RUN} --name vm{n} --kernel /share/say{bits}.bin --flat {at},{mode}; echo vm{n} ended $?) >/tmp/vm{n} 2>&1 &")
    want = [f"^vm{n} ended {128 + [16, 32, 64][n % 3]}$" for n in range(8)]
    return Case("eight-at-once", " ".join(launches) + " wait; cat /tmp/vm?", 0, want, lines=16)


def main():
    images()
    cases = [*kinds(), *ends(), *serials(), many()]
    run_cases(cases, timeout=200)
    finish()


if __name__ == "__main__":
    main()
