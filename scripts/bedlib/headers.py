# SPDX-License-Identifier: GPL-2.0-only
"""Kernel headers for building hwv.ko: the system's, or a private root with those of another kernel.

Headers of a later Debian come with the compiler and tools that they want, built for a later C library. These stay programs of
their own root: each is started, by a wrapper in its place, by the root's dynamic linker with the root's libraries."""

import os
import re
import shutil
from pathlib import Path

from bedlib import packages
from bedlib.kernel import release
from bedlib.paths import BedError, cached

SYSTEM = ["deb12"]  # what this Debian's own compiler and tools can build for
LOADER, LIBRARIES = "usr/lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu"
INTERPRETER = b"/lib64/ld-linux-x86-64.so.2\0"
# The directory above the Makefile that is being read.
ABOVE = "$(realpath $(dir $(lastword $(MAKEFILE_LIST)))..)"
WRAPPER = """\
#!/bin/sh
here=${{0%/*}}
exec "$here/{up}/{loader}" --argv0 "$0" --library-path "$here/{up}/{libraries}" "$here/{program}" "$@"
"""


def directory(version=None):
    """What KDIR is for a kernel."""
    name = release("generic", version)
    installed = Path(f"/usr/src/linux-headers-{name}")
    if installed.is_dir():
        return installed
    return cached(f"headers/{name}", lambda d: make_root(name, d)) / "usr/src" / f"linux-headers-{name}"


def make_root(name, root):
    bare = name.removesuffix("-amd64")
    debian = re.search(r"\+(deb\d+)$", bare)
    headers = [f"linux-headers-{name}", f"linux-headers-{bare}-common", f"linux-kbuild-{bare}"]
    if not debian:
        raise BedError(f"no linux-headers-{name} under /usr/src: install it")
    for package in headers:
        packages.unpack_one(package, root)
    if debian.group(1) not in SYSTEM:
        unpack_tools(headers[2], compiler(root / "usr/src" / headers[0]), root)
        for place in ["usr/bin", "usr/libexec/gcc", f"usr/lib/{headers[2]}"]:
            wrap_programs(root, place)
    makefile = root / "usr/src" / headers[0] / "Makefile"
    makefile.write_text(makefile.read_text().replace("/usr/src", ABOVE))


def compiler(headers):
    """The C++ compiler of the version that built the kernel, as a package."""
    found = re.search(r"gcc(-\d+)$", (headers / ".kernelvariables").read_text(), re.MULTILINE)
    if not found:
        raise BedError(f"{headers}/.kernelvariables names no compiler")
    return "g++" + found.group(1)


def unpack_tools(kbuild, compiler_package, root):
    """The compiler, pahole, and all that they and kbuild's tools need."""
    apt = root / "apt"
    suites = packages.suites_of(kbuild)
    options = packages.own_lists(apt, suites, bare=True)
    packages.unpack(packages.download_all([kbuild, compiler_package, "pahole"], apt, options, suites[-1]), root)
    for unused in [apt, root / "usr/share/doc", root / "usr/share/locale", root / "usr/share/man"]:
        shutil.rmtree(unused, ignore_errors=True)


def wrap_programs(root, place):
    for path in sorted((root / place).rglob("*")):
        if path.is_file() and not path.is_symlink() and os.access(path, os.X_OK) and is_program(path):
            wrap(root, path)


def is_program(path):
    """An ELF file that asks for the dynamic linker."""
    with path.open("rb") as file:
        start = file.read(4096)
    return start[:4] == b"\x7fELF" and INTERPRETER in start


def wrap(root, path):
    program = path.rename(path.with_name(path.name + ".program"))
    up = "/".join([".."] * (len(path.relative_to(root).parts) - 1))
    path.write_text(WRAPPER.format(up=up, loader=LOADER, libraries=LIBRARIES, program=program.name))
    path.chmod(0o755)
