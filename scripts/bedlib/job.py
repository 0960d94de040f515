# SPDX-License-Identifier: GPL-2.0-only
"""What L1 is told to do: a shell script of settings and COMMAND, and for a sealed run the files it needs."""

import os
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

from bedlib.cpio import Archive
from bedlib.initramfs import busybox_applets, stripped
from bedlib.paths import BUILD, ROOT, BedError

SEALED_BYTES = 256 << 20  # of --share


def script(options, stdin):
    """The job; `stdin` is none, pipe or tty."""
    settings = {
        "BED_ROOT": ROOT, "BED_BUILD": BUILD, "BED_SHARE": options.share or "", "BED_CWD": directory(options),
        "BED_LOAD": flag(options.load), "BED_MODULE": inside(options.module), "BED_NO_KVM": flag(options.no_kvm),
        "BED_SEALED": flag(options.sealed),
        "BED_DATE": "" if options.count else int(time.time()), "BED_STDIN": stdin,
        "BED_TERM": os.environ.get("TERM", "linux"),
    }
    if stdin == "tty":
        size = shutil.get_terminal_size()
        settings |= {"BED_ROWS": size.lines, "BED_COLS": size.columns}
    lines = [f"{name}={shlex.quote(str(value))}" for name, value in settings.items()]
    return os.fsencode("\n".join([*lines, "set -- " + shlex.join(options.command), ""]))


def inside(module):
    """Where L1 has the module."""
    return f"/opt/hwv/{module.relative_to(BUILD)}" if module else ""


def flag(value):
    return "1" if value else ""


def directory(options):
    """COMMAND runs where the user is, when L1 has that place."""
    here = Path.cwd()
    if not options.sealed and here.is_relative_to(ROOT):
        return here
    return "/share" if options.share else "/"


def module_for(kernel, wanted):
    """The hwv.ko that is made for L1's kernel: of this build, or of those for further kernels beside it. None: there is
    none, which is an error if it is wanted."""
    built = [m for m in [BUILD / "hwv.ko", *sorted(BUILD.glob("module/*/hwv.ko"))] if m.exists()]
    made_for = [release_of(module) for module in built]
    if kernel.release not in made_for:
        if not wanted:
            return None
        if not built:
            raise BedError(f"--load: no {BUILD / 'hwv.ko'}: run make")
        raise BedError(f"hwv.ko is made for {', '.join(made_for)}; L1 runs {kernel.release}: give --kernel, or make module KERNEL=")
    return built[made_for.index(kernel.release)]


def release_of(module):
    found = re.search(rb"vermagic=(\S+)", module.read_bytes())
    return found.group(1).decode() if found else "?"


def payload(options):
    """What a sealed run has on top of the base initramfs: nothing comes from outside, so all that COMMAND needs."""
    archive = Archive()
    archive.data("bed/job", script(options, "none"))
    archive.symlink("bin", "/bed/bin")
    # Busybox's shell would prefer its applets to what is put into the PATH.
    put(archive, "bin/sh", Path("/bin/sh"))
    for path in [BUILD / "hwvctl", options.module]:
        if path and path.exists():
            put(archive, f"opt/hwv/{path.relative_to(BUILD)}", path)
    put_command(archive, options)
    if options.share:
        check_size(options.share)
        put(archive, "share", options.share)
    for path in options.put:
        put(archive, str(path.absolute()), path)
    return archive.pack()


def check_size(directory):
    """All of it goes into L1's memory, and through ours."""
    total = 0
    for below in directory.rglob("*"):
        total += below.stat().st_size if below.is_file() else 0
        if total > SEALED_BYTES:
            raise BedError(f"--share: {directory} holds more than {SEALED_BYTES >> 20} MiB, which this bed cannot carry into L1: "
                           "share less, or give single files by --put")


def put_command(archive, options):
    """Words of COMMAND that name a file here, or in build/ or build/tests, have it in L1: at its path or in the PATH."""
    for word in options.command:
        for place in [BUILD, BUILD / "tests"]:
            if "/" not in word and (place / word).is_file():
                put(archive, f"opt/hwv/{word}", place / word)
        path = Path(word)
        if "/" in word and path.is_file() and not word.startswith(("/bed/", "/bin/")):
            put(archive, str(path.absolute()), path)
    program = shutil.which(options.command[0])
    if program and options.command[0] not in busybox_applets():
        put(archive, program, Path(program))


def put(archive, inside, path):
    """A file or a directory, and the libraries that the programs in it need."""
    if path.is_dir():
        archive.tree(inside, path)
        for below in sorted(path.rglob("*")):
            put_libraries(archive, below)
    elif path.is_file():
        put_file(archive, inside, path)
    else:
        raise BedError(f"{path} does not exist")


def put_file(archive, inside, path):
    """What we have built carries much for debuggers, which every run would have to load; strip does not know eBPF."""
    if path.resolve().is_relative_to(BUILD) and is_elf(path) and path.suffix != ".o":
        archive.data(inside, stripped(path.read_bytes()), 0o755)
    else:
        archive.file(inside, path)
    interpreter = re.match(rb"#! ?(/\S+)", path.open("rb").read(80))
    program = Path(interpreter.group(1).decode()) if interpreter else None
    if program and program.exists() and program.name not in busybox_applets():
        put(archive, str(program), program)
    put_libraries(archive, path)


def is_elf(path):
    return path.is_file() and path.open("rb").read(4) == b"\x7fELF"


def put_libraries(archive, path):
    """The dynamic linker and the libraries of a program, each under the path by which it is asked for."""
    if not is_elf(path) or path.suffix == ".ko":
        return
    listed = subprocess.run(["ldd", path], text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    for library in re.findall(r"(/\S+) \(0x", listed):
        archive.file(library, library)
