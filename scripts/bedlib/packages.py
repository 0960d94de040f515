# SPDX-License-Identifier: GPL-2.0-only
"""Debian packages, downloaded by apt and unpacked privately: nothing is installed and no setting of apt changes."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from bedlib.paths import BedError, cached

RELEASE, BACKPORTS = "bookworm", "bookworm-backports"
# Where a package comes from whose version ends in +debN: the kernels of Debian N, and its backports of newer ones.
SUITES = {"deb12": [BACKPORTS], "deb13": ["trixie", "trixie-backports"]}
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


class NotOffered(BedError):
    """The mirror does not have what was asked for."""


def mirror():
    """The address from which this machine's apt gets the release itself."""
    said = subprocess.run(["apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)"],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    for line in said.splitlines():
        if line.startswith(f"{RELEASE} main "):
            return line.split()[2]
    raise BedError(f"apt has no source for {RELEASE} main: backports cannot be found from it")


def suites_of(package):
    """Those that have a package by its name; none: the system's own sources."""
    found = re.search(r"\+(deb\d+)", package)
    return SUITES.get(found.group(1), []) if found else []


def own_lists(directory, suites=(), bare=False, architecture=None):
    """apt options for package lists of our own, fresh; of the system's sources, or of `suites` alone. `bare`: as on a
    machine that has no package yet; with an architecture, on one of that."""
    (directory / "lists" / "partial").mkdir(parents=True)
    (directory / "archives" / "partial").mkdir(parents=True)
    options = ["-o", f"Dir::State::Lists={directory / 'lists'}", "-o", f"Dir::Cache={directory}",
               "-o", "Debug::NoLocking=1"]
    if suites:
        sources = directory / "sources.list"
        sources.write_text("".join(f"deb {mirror()} {suite} main\n" for suite in suites))
        options += ["-o", f"Dir::Etc::SourceList={sources}", "-o", "Dir::Etc::SourceParts=/nonexistent"]
    if architecture:
        options += ["-o", f"APT::Architecture={architecture}", "-o", f"APT::Architectures={architecture}"]
    if bare or architecture:
        (directory / "status").touch()
        options += ["-o", f"Dir::State::Status={directory / 'status'}"]
    done = subprocess.run(["apt-get", *options, "-o", "APT::Update::Error-Mode=any", "update"], **QUIET)
    if suites and done.returncode:
        raise NotOffered(f"the mirror has no suite {' or no suite '.join(suites)}, or cannot be reached")
    return options


def offered(suite, prefix, architecture=None):
    """Names of the packages of a suite that begin with `prefix`."""
    with tempfile.TemporaryDirectory(prefix="hwv-apt-") as name:
        said = subprocess.run(["apt-cache", *own_lists(Path(name), [suite], architecture=architecture), "pkgnames", prefix],
                              text=True, check=True, stdout=subprocess.PIPE)
    return said.stdout.split()


def unpack(archives, directory):
    for archive in archives:
        subprocess.run(["dpkg-deb", "-x", archive, directory], check=True)
        archive.unlink()


def unpack_one(package, directory):
    """A package of the system's own sources, or of the suites that its name tells of."""
    archive = download(package, directory, [])
    if not archive:
        archive = download(package, directory, own_lists(directory / "apt", suites_of(package)))
    if not archive:
        raise BedError(f"cannot download {package}: the archive does not have it, or cannot be reached")
    unpack([archive], directory)
    shutil.rmtree(directory / "apt", ignore_errors=True)


def of_architecture(name, architecture, package):
    """A root directory with one package of this release for another architecture, without what it depends on."""
    return cached(name, lambda d: unpack_foreign(architecture, package, d))


def unpack_foreign(architecture, package, directory):
    archive = download(package, directory, own_lists(directory / "apt", [RELEASE], architecture=architecture))
    if not archive:
        raise NotOffered(f"{RELEASE} has no {package} for {architecture}")
    unpack([archive], directory)
    shutil.rmtree(directory / "apt")


def download(package, directory, options):
    """The package's file, or None."""
    subprocess.run(["apt-get", *options, "download", package], cwd=directory, **QUIET)
    return next(directory.glob("*.deb"), None)


def backported(name, package):
    """A root directory with a package of backports, and what it needs that this system lacks."""
    return cached(name, lambda d: unpack_backported(package, d))


def of_release(name, suite, packages):
    """A root directory with packages of another release, and all that they need: nothing there is this system's."""
    return cached(name, lambda d: unpack_release(suite, packages, d))


def unpack_release(suite, packages, directory):
    apt = directory / "apt"
    unpack(download_all(packages, apt, own_lists(apt, [suite], bare=True), suite), directory)
    shutil.rmtree(apt)


def unpack_backported(package, directory):
    apt = directory / "apt"
    archives = download_all([package], apt, own_lists(apt, [RELEASE, BACKPORTS]), BACKPORTS)
    unpack(archives, directory)
    shutil.rmtree(apt)


def download_all(packages, apt, options, suite):
    """The files of packages, from `suite` first, and of all that they need and the system (see own_lists) lacks."""
    said = subprocess.run(["apt-get", *options, "install", "--download-only", "--reinstall", "-y",
                           "--no-install-recommends", "-t", suite, *packages],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    archives = list((apt / "archives").glob("*.deb"))
    if said.returncode or not archives:
        raise NotOffered(f"cannot download {' '.join(packages)} of {suite}: {said.stdout.splitlines()[-1]}")
    return archives
