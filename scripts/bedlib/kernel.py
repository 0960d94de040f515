# SPDX-License-Identifier: GPL-2.0-only
"""Debian kernels for L1 and for guests: fetched as packages, unpacked under build/cache, never installed."""

import lzma
import re
import struct
import subprocess
import zlib
from pathlib import Path

from bedlib.packages import BACKPORTS, RELEASE, NotOffered, of_architecture, offered, unpack_one
from bedlib.paths import BedError, cached

FLAVOURS = {"generic": "amd64", "cloud": "cloud-amd64", "686": "686", "686-pae": "686-pae"}
I386 = ["686", "686-pae"] # of this release alone: later ones have no 32-bit kernels
DEFAULT = "6.1"


def version_key(version):
    return [int(n) for n in re.findall(r"\d+", version)]


def newest_installed(series):
    """The newest kernel of a series like 6.1 whose headers are installed, or None."""
    pattern = rf"linux-headers-({re.escape(series)}\.\d[^-]*(?:-\d+)?)-amd64"
    found = [m.group(1) for p in Path("/usr/src").glob("linux-headers-*-amd64") if (m := re.fullmatch(pattern, p.name))]
    return max(found, key=version_key, default=None)


def newest_offered(series):
    """The newest one that a suite of this machine's mirror has, the oldest suite first; asked once and remembered."""
    return (cached(f"offered/{series}", lambda d: (d / "version").write_text(ask(series))) / "version").read_text()


def ask(series):
    pattern = rf"linux-headers-({re.escape(series)}\.\d+\+deb\d+)-amd64"
    reasons = []
    for suite in [BACKPORTS, "trixie", "trixie-backports"]:
        try:
            names = offered(suite, f"linux-headers-{series}.")
        except NotOffered as error:
            reasons.append(str(error))
            continue
        found = [m.group(1) for name in names if (m := re.fullmatch(pattern, name))]
        if found:
            return max(found, key=version_key)
        reasons.append(f"{suite} has no linux-headers-{series}.*-amd64")
    raise NotOffered("; ".join(reasons))


def resolve(version=None):
    """A version like 6.1.0-56 or 6.12.95+deb12, from itself, a release name, or a series: its newest installed or offered."""
    bare = re.sub(r"(-cloud)?-amd64$", "", version or DEFAULT)
    if not re.fullmatch(r"\d+\.\d+", bare):
        return bare
    found = newest_installed(bare)
    if found is None and bare == DEFAULT:
        raise BedError(f"no linux-headers-{bare}.*-amd64 under /usr/src: run scripts/setup, or give a version")
    return found or newest_offered(bare)


def newest_i386():
    """The version of this release's 32-bit kernels; asked once and remembered."""
    return (cached("offered/i386", lambda d: (d / "version").write_text(ask_i386())) / "version").read_text()


def ask_i386():
    names = [re.fullmatch(r"linux-image-(\d+\.\d+\.\d+-\d+)-686", name) for name in offered(RELEASE, "linux-image-", "i386")]
    found = [name.group(1) for name in names if name]
    if not found:
        raise NotOffered(f"{RELEASE} has no linux-image-*-686 for i386")
    return max(found, key=version_key)


def release(flavour, version=None):
    """The full release name, from `6.1.0-56`, `6.1.0-56-amd64`, `6.1` or nothing."""
    if flavour in I386:
        return f"{version or newest_i386()}-{flavour}"
    return f"{resolve(version)}-{FLAVOURS[flavour]}"


class Kernel:
    """One unpacked kernel package."""

    def __init__(self, name, directory):
        self.release = name
        self.directory = directory
        merged = directory / "usr/lib/modules" / name  # where later Debians have all of it
        self.modules = merged if merged.is_dir() else directory / "lib/modules" / name
        self.vmlinuz = merged / "vmlinuz" if merged.is_dir() else directory / "boot" / f"vmlinuz-{name}"

    @property
    def vmlinux(self):
        """The ELF inside vmlinuz: PVH enters it directly, without the seconds of decompression."""
        made = cached(f"kernel/{self.release}-elf",
                      lambda d: (d / "vmlinux").write_bytes(extract_elf(self.vmlinuz.read_bytes())))
        return made / "vmlinux"


def fetch(flavour, version=None):
    name = release(flavour, version)
    if flavour in I386:
        return Kernel(name, of_architecture(f"kernel/{name}", "i386", f"linux-image-{name}"))
    return Kernel(name, cached(f"kernel/{name}", lambda d: unpack_image(name, d)))


def unpack_image(name, directory):
    """One package; in later Debians that one is empty and names two others."""
    unpack_one(f"linux-image-{name}", directory)
    if not (directory / "boot").is_dir():
        unpack_one(f"linux-binary-{name}", directory)
        unpack_one(f"linux-modules-{name}", directory)


def extract_elf(image):
    """The payload of a bzImage; its place is in the setup header (Linux boot protocol 2.08)."""
    if image[0x202:0x206] != b"HdrS":
        raise BedError("not a bzImage")
    setup = ((image[0x1f1] or 4) + 1) * 512
    offset, length = struct.unpack_from("<II", image, 0x248)
    elf = decompress(image[setup + offset:setup + offset + length])
    if elf[:4] != b"\x7fELF":
        raise BedError("no ELF inside the bzImage")
    return elf


def decompress(payload):
    if payload[:6] == b"\xfd7zXZ\0":
        return lzma.LZMADecompressor().decompress(payload)
    if payload[:2] == b"\x1f\x8b":
        return zlib.decompressobj(31).decompress(payload)
    tools = {b"\x02\x21\x4c\x18": "lz4", b"\x28\xb5\x2f\xfd": "zstd"}
    tool = tools.get(payload[:4])
    if tool is None:
        raise BedError(f"unknown kernel compression {payload[:4].hex()}")
    # The last four bytes are the unpacked size, which the tools take for garbage: they complain after all is out.
    done = subprocess.run([tool, "-dc"], input=payload[:-4], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout
