# SPDX-License-Identifier: GPL-2.0-only
"""Debian kernels for L1 and for guests: fetched as packages, unpacked under build/cache, never installed."""

import lzma
import re
import struct
import subprocess
import zlib
from pathlib import Path

from bedlib.packages import unpack_one
from bedlib.paths import BedError, cached

FLAVOURS = {"generic": "amd64", "cloud": "cloud-amd64"}


def version_key(version):
    return [int(n) for n in re.findall(r"\d+", version)]


def default_version():
    """The newest 6.1 kernel whose headers are installed: what hwv.ko is built for."""
    found = [m.group(1) for p in Path("/usr/src").glob("linux-headers-6.1.*-amd64")
             if (m := re.fullmatch(r"linux-headers-(6\.1\.\d+-\d+)-amd64", p.name))]
    if not found:
        raise BedError("no linux-headers-6.1.*-amd64 under /usr/src: run scripts/setup, or give a version")
    return max(found, key=version_key)


def release(flavour, version=None):
    """The full release name, from `6.1.0-56`, `6.1.0-56-amd64` or nothing."""
    bare = re.sub(r"(-cloud)?-amd64$", "", version or default_version())
    return f"{bare}-{FLAVOURS[flavour]}"


class Kernel:
    """One unpacked kernel package."""

    def __init__(self, name, directory):
        self.release = name
        self.directory = directory
        self.vmlinuz = directory / "boot" / f"vmlinuz-{name}"
        self.modules = directory / "lib" / "modules" / name

    @property
    def vmlinux(self):
        """The ELF inside vmlinuz: PVH enters it directly, without the seconds of decompression."""
        made = cached(f"kernel/{self.release}-elf",
                      lambda d: (d / "vmlinux").write_bytes(extract_elf(self.vmlinuz.read_bytes())))
        return made / "vmlinux"


def fetch(flavour, version=None):
    name = release(flavour, version)
    return Kernel(name, cached(f"kernel/{name}", lambda d: unpack_one(f"linux-image-{name}", d)))


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
