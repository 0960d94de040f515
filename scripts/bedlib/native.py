# SPDX-License-Identifier: GPL-2.0-only
"""What is compiled for L1 under Bochs: the loader's option ROM, the program that speaks with the bed; and what is
preloaded into Bochs or plugged into QEMU."""

import hashlib
import subprocess
from pathlib import Path

from bedlib.paths import BedError, cached

SOURCES = Path(__file__).parent / "native"
ROM_SIZE = 8 * 512
FREESTANDING = ("-O2 -m64 -ffreestanding -fno-pic -mno-red-zone -mno-sse -fno-stack-protector -fcf-protection=none "
                "-fno-asynchronous-unwind-tables -mcmodel=small -Wall").split()


def built():
    """The directory with loader.rom, port and the rest, made when the sources are new."""
    key = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(SOURCES.iterdir()):
        key.update(path.read_bytes())
    return cached(f"native/{key.hexdigest()[:16]}", build)


def build(directory):
    run("gcc", *FREESTANDING, "-c", SOURCES / "loader.c", "-o", directory / "loader-c.o")
    run("gcc", "-m64", "-c", SOURCES / "loader.S", "-o", directory / "loader-S.o")
    run("ld", "-nostdlib", "-static", "-z", "max-page-size=4096", "-T", SOURCES / "loader.lds", "-e", "_start",
        "-o", directory / "loader.elf", directory / "loader-S.o", directory / "loader-c.o")
    run("objcopy", "-O", "binary", "-j", ".rom", directory / "loader.elf", directory / "loader.rom")
    (directory / "loader.rom").write_bytes(rom((directory / "loader.rom").read_bytes()))
    run("gcc", "-O2", "-Wall", "-shared", "-fPIC", SOURCES / "state.c", "-o", directory / "state.so", "-ldl")
    run("gcc", "-O2", "-Wall", "-shared", "-fPIC", SOURCES / "profile.c", "-o", directory / "profile.so")
    run("gcc", "-O2", "-static", "-Wall", SOURCES / "port.c", "-o", directory / "port")
    run("strip", directory / "port")


def run(*command):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise BedError(f"{' '.join(map(str, command))}:\n{done.stdout}")


def rom(code):
    """An option ROM fills its sectors, and its bytes add up to 0."""
    if len(code) >= ROM_SIZE:
        raise BedError(f"the loader has {len(code)} bytes, its ROM {ROM_SIZE}")
    code = code.ljust(ROM_SIZE - 1, b"\0")
    return code + bytes([-sum(code) & 255])
