#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 180
"""What can be wrong with a launch: each mistake gets one line that names the problem, and exit status 1 or 2."""

import gzip
import struct

from guestlib import TMP, Case, assemble, finish, linux, run_cases

RUN = "hwvctl run"
SAY = "--kernel /share/say64.bin --flat 0x200000,long"


def mistake(name, command, status, *want):
    return Case(name, command, status, ["^hwvctl: ", *want], lines=1, seconds=20)


def usage():
    yield Case("no-command", "hwvctl", 2, ["usage: hwvctl COMMAND"])
    yield mistake("unknown-command", "hwvctl walk", 2, "no command 'walk'", "--help")
    yield mistake("no-kernel", RUN, 2, "--kernel FILE is missing", "hwvctl run --help")
    yield mistake("unknown-option", f"{RUN} --kernal x", 2, "--kernal")
    yield mistake("stray-word", f"{RUN} {SAY} stray", 2, "too many|stray")
    yield mistake("option-without-value", f"{RUN} --kernel", 2, "--kernel")
    yield mistake("option-twice", f"{RUN} {SAY} --mem 1G --mem 2G", 2, "--mem")
    for name, size in [("zero", "0"), ("words", "lots"), ("tail", "12Mx"), ("negative", "-5M"), ("empty", "''"), ("huge", "99999999999G")]:
        yield mistake(f"mem-{name}", f"{RUN} {SAY} --mem {size}", 2, "mem|size")
    yield mistake("mem-odd", f"{RUN} {SAY} --mem 1048577", 2, "--mem wants a multiple of 4K")
    yield mistake("mem-tiny", f"{RUN} {SAY} --mem 512K", 2, "from 1M up")
    for name, number in [("none", "0"), ("many", "65"), ("negative", "-1"), ("words", "all")]:
        yield mistake(f"cpus-{name}", f"{RUN} {SAY} --cpus {number}", 2, "--cpus")
    for name, text in [("no-number", "here"), ("mode", "0x8000,virtual"), ("empty", "''")]:
        yield mistake(f"flat-{name}", f"{RUN} --kernel /share/say64.bin --flat {text}", 2, "--flat .*ADDR\\[,real\\|prot\\|long\\]")
    yield mistake("boot-unknown", f"{RUN} --kernel /share/say64.bin --boot grub", 2, "--boot grub: wants auto, linux")
    yield mistake("boot-and-flat", f"{RUN} {SAY} --boot linux", 2, "--flat ADDR and --boot linux exclude each other")
    yield mistake("name-too-long", f"{RUN} {SAY} --name {'n' * 32}", 2, "--name: at most 31 bytes")
    yield mistake("serial-empty", f"{RUN} {SAY} --serial unix:", 2, "--serial: 'unix:' is none of")


def files():
    yield mistake("kernel-missing", f"{RUN} --kernel /no/such/kernel", 1, "/no/such/kernel", "No such file")
    yield mistake("kernel-directory", f"{RUN} --kernel /share", 1, "/share", "[Dd]irectory")
    yield mistake("kernel-unreadable", f"{RUN} --kernel /proc/self/mem", 1, "/proc/self/mem")
    yield mistake("kernel-empty", f"{RUN} --kernel /share/empty", 1, "/share/empty: not a kernel: the file is empty")
    yield mistake("kernel-text", f"{RUN} --kernel /share/text", 1, "/share/text: not a kernel: first bytes 68 65 6c 6c")
    yield mistake("kernel-gzip", f"{RUN} --kernel /share/gzip", 1, "not a kernel: first bytes 68 65")
    yield mistake("kernel-gzip-cut", f"{RUN} --kernel /share/cut-gzip", 1, "compressed \\(gzip\\), and cut off")
    yield mistake("kernel-program", f"{RUN} --kernel /bed/busybox", 1, "/bed/busybox: ELF without a PVH note")
    yield mistake("bzimage-cut", f"{RUN} --kernel /share/cut", 1, "/share/cut: .*truncated")
    yield mistake("elf-cut", f"{RUN} --kernel /share/cut.elf", 1, "/share/cut.elf: ")
    yield mistake("boot-other-kind", f"{RUN} --kernel /share/say64.bin --boot multiboot2", 1, "say64.bin: no multiboot2 header")
    yield mistake("initrd-missing", f"{RUN} {linux().split(' --')[0]} --initrd /no/initrd", 1, "/no/initrd", "No such file")
    yield mistake("module-missing", f"{RUN} --kernel /share/kernel32 --module '/no/module x'", 1, "/no/module", "No such file")
    yield mistake("serial-file", f"{RUN} {SAY} --serial file:/no/where", 1, "/no/where", "No such file")
    yield mistake("serial-read-only", f"{RUN} {SAY} --serial /share/serial", 1, "/share/serial", "Read-only")
    yield mistake("serial-unix", f"{RUN} {SAY} --serial unix:/no/socket", 1, "/no/socket")
    yield mistake("serial-unix-long", f"{RUN} {SAY} --serial unix:/tmp/{'s' * 120}", 1, "sss: File name too long")
    yield mistake("debugcon", f"{RUN} {SAY} --debugcon /no/file", 1, "/no/file", "No such file")


def sizes():
    yield mistake("mem-below-kernel", f"{RUN} {linux()} --mem 8M", 1, "vmlinuz-cloud: kernel needs \\d+ MiB.*guest has 8 MiB")
    yield mistake("mem-below-initrd", f"{RUN} {linux().split(' --')[0]} --initrd /share/large --mem 96M", 1, "does not fit")
    yield mistake("flat-above-memory", f"{RUN} --kernel /share/say64.bin --flat 0x2000000,long --mem 16M", 1, "flat image .*guest has 16 MiB")
    yield mistake("flat-real-too-high", f"{RUN} --kernel /share/say16.bin --flat 0x200000", 1, "real mode starts below 1 MiB")
    yield mistake("flat-empty", f"{RUN} --kernel /share/empty --flat 0x8000", 1, "empty")
    yield mistake("append-too-long", f"{RUN} {linux()} --append {'a' * 5000}", 1, "command line has 5000 characters, the kernel takes \\d+")
    yield mistake("mem-above-address-space", f"ulimit -v 4000000; {RUN} {SAY} --mem 1000G", 1, "guest memory", "Cannot allocate memory")


def instruments():
    yield mistake("negative", "hwvctl top --batch --count=-1", 2, "--count: '-1' is no number from 0 on")
    yield mistake("negative-every", "hwvctl trace web --every=-1", 2, "--every: '-1' is no number from 0 on")
    yield mistake("policy-interval", "hwvctl policy set web /share/text --foreground --interval 1e300", 2, "--interval|/share/text:1")
    yield mistake("prog-for", "hwvctl prog attach web x.bpf.o --for -1", 2, "'-1' is no number of seconds")
    yield mistake("prog-reason", "hwvctl prog attach web x.bpf.o --on walk", 2, "no exit reason 'walk'")
    yield mistake("report-into-itself", "cp /share/empty.rec /tmp/own.rec; hwvctl report /tmp/own.rec --out /tmp/../tmp/own.rec; s=$?; "
                  "cmp /share/empty.rec /tmp/own.rec || s=9; exit $s", 2, "is the recording itself")
    yield mistake("output-full", "hwvctl --help >/dev/full", 1, "standard output did not take all")
    yield mistake("output-of-command-full", "hwvctl report /share/empty.rec --json >/dev/full", 1, "write standard output|did not take all")


def hosts():
    yield mistake("device-taken-away", f"mv /dev/hwv /dev/away; {RUN} {SAY}; s=$?; mv /dev/away /dev/hwv; exit $s", 1,
                  "/dev/hwv does not exist: load the module")
    yield mistake("device-forbidden", f"chmod 0 /dev/hwv; setpriv --reuid 65534 --clear-groups {RUN} {SAY}; s=$?; chmod 660 /dev/hwv; exit $s", 1,
                  "no permission for /dev/hwv")


def helps():
    for name, command in [("help", "hwvctl --help"), ("help-run", "hwvctl run --help"), ("help-doctor", "hwvctl doctor --help")]:
        yield Case(name, command, 0, ["hwvctl"])


def make_files():
    assemble("say", bits=16, at=0x8000)
    assemble("say", bits=64, at=0x200000)
    assemble("kernel", bits=32, defines=["MULTIBOOT"])
    linux()
    (TMP / "empty").write_bytes(b"")
    (TMP / "text").write_text("hello\n")
    (TMP / "gzip").write_bytes(gzip.compress(b"hello"))
    (TMP / "cut-gzip").write_bytes(gzip.compress(b"hello")[:-9])
    (TMP / "cut").write_bytes((TMP / "vmlinuz-cloud").read_bytes()[:100000])
    identity = b'{"vm": 1, "name": "web", "tsc_khz": 1000000}'
    (TMP / "empty.rec").write_bytes(b"hwv-rec\n" + struct.pack("<IIIIQ", 1, 16, 1, 0, len(identity)) + identity + bytes(-len(identity) % 8)
                                    + struct.pack("<IIQQ", 5, 0, 8, 0))
    elf = (TMP / "kernel32").read_bytes()
    (TMP / "cut.elf").write_bytes(elf[:150])
    with open(TMP / "large", "wb") as large:
        large.truncate(90 << 20)


def main():
    make_files()
    run_cases([*usage(), *files(), *sizes(), *instruments(), *hosts(), *helps()], timeout=150)
    absent = mistake("module-not-loaded", f"{RUN} {SAY}", 1, "/dev/hwv does not exist: load the module")
    run_cases([absent, Case("doctor-without-module", "hwvctl doctor", 1, ["hwv"])], load=False)
    finish()


if __name__ == "__main__":
    main()
