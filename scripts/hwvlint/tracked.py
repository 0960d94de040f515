# SPDX-License-Identifier: GPL-2.0-only
"""What git keeps is text that somebody wrote: nothing built, nothing downloaded."""
import subprocess

from hwvlint import sources

LARGEST = 200 << 10
BUILT = (".o", ".d", ".a", ".ko", ".so", ".mod", ".mod.c", ".cmd", ".pyc", ".symvers", ".order", ".gcda", ".gcno", ".cpio", ".gz", ".xz", ".img")
ADVICE = "take it out (git rm --cached), and let .gitignore name it"


def files(root):
    """What git has of the tree, staged or committed; without git, all that is there."""
    try:
        run = subprocess.run(["git", "-C", root, "ls-files", "-z"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        yield from sources.all_files(root)
        return
    for name in sorted(run.stdout.decode().split("\0")):
        if name and (root / name).is_file() and not (root / name).is_symlink():
            yield root / name


def fault(path):
    with open(path, "rb") as f:
        begins = f.read(8192)
    if begins.startswith(b"\177ELF"):
        return f"an ELF file: built; {ADVICE}"
    if begins.startswith(b"!<arch>\n"):
        return f"a library: built; {ADVICE}"
    if path.name.endswith(BUILT):
        return f"built, by its name; {ADVICE}"
    if b"\0" in begins:
        return f"binary: nobody can review it; make it when it is needed, or {ADVICE}"
    if path.stat().st_size > LARGEST:
        return f"{path.stat().st_size >> 10} KiB, at most {LARGEST >> 10}: made or downloaded; {ADVICE}"
    return None


def check(root):
    for path in files(root):
        if why := fault(path):
            yield path, 1, why
