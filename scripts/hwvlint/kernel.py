# SPDX-License-Identifier: GPL-2.0-only
"""Checks that need the flags of a kernel build."""
import re
import subprocess

from hwvlint.uapi import first_error, headers


class Skip(Exception):
    """Why a check could not run."""


def compile_command(root):
    """The C compiler's call for kmod/linux/module.c as Kbuild saved it, without output files."""
    saved = root / "build/kmod/linux/.module.o.cmd"
    if not saved.exists():
        raise Skip("the module has not been built, so there are no kernel flags to use")
    first = saved.read_text().splitlines()[0]
    command = re.split(r"\s+;\s+", re.sub(r"^\S+ := ", "", first))[0].replace("$(pound)", "#")
    words = re.sub(r"-Wp,-MM?D,\S+", "", command)
    return re.sub(r"-c -o \S+ \S+$", "", words.strip())


def uapi(root, tmp):
    """Every uapi header compiles alone inside the kernel."""
    command = compile_command(root)
    kdir = (root / "build/kdir").read_text().strip()
    for header in headers(root):
        probe = tmp / "kernel.c"
        probe.write_text(f'#include "{header.name}"\n')
        run = subprocess.run(f"{command} -fsyntax-only {probe}", shell=True, cwd=kdir, capture_output=True, text=True, check=False)
        if run.returncode:
            yield header, 1, "in the kernel: " + first_error(run.stderr)
