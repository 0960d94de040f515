# SPDX-License-Identifier: GPL-2.0-only
"""Where things are, and how a cache entry comes to be when several beds want it at once."""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("HWV_BUILD", ROOT / "build")).resolve()
CACHE = Path(os.environ.get("HWV_CACHE", BUILD / "cache")).resolve()
LOGS = BUILD / "log"


class BedError(Exception):
    """The bed cannot do what was asked; the text is for the user."""


@contextlib.contextmanager
def locked(name):
    """One process at a time makes the cache entry `name`; the lock ends with the process."""
    directory = CACHE / "lock"
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / name.replace("/", "-"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cached(name, make):
    """The directory CACHE/name, filled by make(directory) if it is not there; never seen half made."""
    final = CACHE / name
    if final.is_dir():
        return final
    with locked(name):
        if final.is_dir():
            return final
        final.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".making-", dir=final.parent))
        try:
            make(work)
            work.chmod(0o755)
            work.rename(final)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return final


def forget_old(name, keep=12):
    """Removes entries of CACHE/name, longest unused first; what was used in the last minutes may be in use."""

    def used(entry):
        with contextlib.suppress(FileNotFoundError):
            return entry.stat().st_mtime
        return 0

    for entry in sorted((CACHE / name).glob("*"), key=used, reverse=True)[keep:]:
        if time.time() - used(entry) > 600:
            shutil.rmtree(entry, ignore_errors=True)


def mark_used(entry):
    with contextlib.suppress(OSError):
        os.utime(entry)
