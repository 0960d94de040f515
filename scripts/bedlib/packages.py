# SPDX-License-Identifier: GPL-2.0-only
"""Debian packages, downloaded by apt and unpacked privately: nothing is installed and no setting of apt changes."""

import shutil
import subprocess

from bedlib.paths import BedError, cached

RELEASE, BACKPORTS = "bookworm", "bookworm-backports"
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def mirror():
    """The address from which this machine's apt gets the release itself."""
    said = subprocess.run(["apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)"],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    for line in said.splitlines():
        if line.startswith(f"{RELEASE} main "):
            return line.split()[2]
    raise BedError(f"apt has no source for {RELEASE} main: backports cannot be found from it")


def own_lists(directory, suites=()):
    """apt options for package lists of our own, fresh; of the system's sources, or of `suites` alone."""
    (directory / "lists" / "partial").mkdir(parents=True)
    (directory / "archives" / "partial").mkdir(parents=True)
    options = ["-o", f"Dir::State::Lists={directory / 'lists'}", "-o", f"Dir::Cache={directory}",
               "-o", "Debug::NoLocking=1"]
    if suites:
        sources = directory / "sources.list"
        sources.write_text("".join(f"deb {mirror()} {suite} main\n" for suite in suites))
        options += ["-o", f"Dir::Etc::SourceList={sources}", "-o", "Dir::Etc::SourceParts=/nonexistent"]
    subprocess.run(["apt-get", *options, "update"], **QUIET)
    return options


def unpack(archives, directory):
    for archive in archives:
        subprocess.run(["dpkg-deb", "-x", archive, directory], check=True)
        archive.unlink()


def unpack_one(package, directory):
    """A package of the system's own sources, or of backports."""
    suites = [BACKPORTS] if "+deb" in package else []
    archive = download(package, directory, [])
    if not archive:
        archive = download(package, directory, own_lists(directory / "apt", suites))
    if not archive:
        raise BedError(f"cannot download {package}: the archive does not have it, or cannot be reached")
    unpack([archive], directory)
    shutil.rmtree(directory / "apt", ignore_errors=True)


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
    (apt / "empty").parent.mkdir()
    (apt / "empty").touch()
    options = own_lists(apt, [suite]) + ["-o", f"Dir::State::Status={apt / 'empty'}"]
    download_all(options, apt, packages, suite)
    unpack((apt / "archives").glob("*.deb"), directory)
    shutil.rmtree(apt)


def unpack_backported(package, directory):
    apt = directory / "apt"
    options = own_lists(apt, [RELEASE, BACKPORTS])
    download_all(options, apt, [package], BACKPORTS)
    unpack((apt / "archives").glob("*.deb"), directory)
    shutil.rmtree(apt)


def download_all(options, apt, packages, suite):
    said = subprocess.run(["apt-get", *options, "install", "--download-only", "--reinstall", "-y",
                           "--no-install-recommends", "-t", suite, *packages],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if said.returncode or not any((apt / "archives").glob("*.deb")):
        raise BedError(f"cannot download {' '.join(packages)} of {suite}: {said.stdout.splitlines()[-1]}")
