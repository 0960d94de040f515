# SPDX-License-Identifier: GPL-2.0-only
"""Raw disks for L1 under Bochs: one that native/loader.c boots, one that native/port.c fetches a run's files from."""

import struct

SECTOR = 512
CYLINDER = 16 * 63 * SECTOR # a disk has whole ones
PLAN_HEAD = struct.Struct("<8sQIIII256s2048s")
PIECE = struct.Struct("<QII")
GRAIN = 65536
INITRD = 0x8000000


def whole(data, unit):
    return data + bytes(-len(data) % unit)


def payload_disk(payload):
    return whole(struct.pack("<Q", len(payload)).ljust(SECTOR, b"\0") + payload, CYLINDER)


def boot_disk(kernel, initrd, command_line):
    """The plan of what belongs where in L1's memory, and that: the kernel's segments and the initramfs."""
    entry, loads = segments(kernel.vmlinux.read_bytes())
    pieces = [piece for address, data in [*loads, (INITRD, initrd)] for piece in pieces_of(data, address)]
    plan_sectors = -(-(PLAN_HEAD.size + PIECE.size * len(pieces)) // SECTOR)
    sector, table, body = plan_sectors, b"", []
    for address, data in pieces:
        table += PIECE.pack(address, sector, len(data) // SECTOR)
        sector += len(data) // SECTOR
        body.append(data)
    setup = kernel.vmlinuz.read_bytes()[0x1f1:0x2f1]
    head = PLAN_HEAD.pack(b"HWVPLAN", entry, INITRD, len(initrd), len(pieces), plan_sectors, setup, command_line.encode())
    return whole(whole(head + table, SECTOR) + b"".join(body), CYLINDER)


def segments(elf):
    """Entry point, and (physical address, bytes) of what an ELF file has to be loaded."""
    entry, table = struct.unpack_from("<QQ", elf, 24)
    count, = struct.unpack_from("<H", elf, 56)
    out = []
    for index in range(count):
        kind, _, offset, _, address, size = struct.unpack_from("<IIQQQQ", elf, table + 56 * index)
        if kind == 1:
            out.append((address, elf[offset:offset + size]))
    return entry, out


def pieces_of(data, address):
    """(address, bytes) of what is not zero, whole sectors each; neighbours make one piece."""
    out = []
    for offset in range(0, len(data), GRAIN):
        grain = data[offset:offset + GRAIN]
        if not any(grain):
            continue
        if out and out[-1][0] + len(out[-1][1]) == address + offset:
            out[-1][1].extend(whole(grain, SECTOR))
        else:
            out.append((address + offset, bytearray(whole(grain, SECTOR))))
    return out
