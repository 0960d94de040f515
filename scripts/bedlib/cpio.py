# SPDX-License-Identifier: GPL-2.0-only
"""Initramfs archives (cpio `newc`), the same bytes for the same content: no times, owners or inode numbers of the host."""

import os
import stat
from pathlib import Path


class Archive:
    """Collects files under their path in L1, parents included."""

    def __init__(self):
        self.entries = {}

    def directory(self, path):
        path = path.strip("/")
        if path and path not in self.entries:
            self.directory(os.path.dirname(path))
            self.entries[path] = (stat.S_IFDIR | 0o755, b"")

    def data(self, path, content, mode=0o644):
        self._put(path, stat.S_IFREG | mode, content)

    def symlink(self, path, target):
        self._put(path, stat.S_IFLNK | 0o777, os.fsencode(target))

    def file(self, path, source):
        """A host file, symbolic links followed."""
        source = Path(source)
        self.data(path, source.read_bytes(), 0o755 if os.access(source, os.X_OK) else 0o644)

    def tree(self, path, source):
        """All that is below a host directory: directories, files and links; nothing else."""
        self.directory(path)
        for entry in sorted(os.scandir(source), key=lambda e: e.name):
            inside = f"{path}/{entry.name}"
            if entry.is_symlink():
                self.symlink(inside, os.readlink(entry.path))
            elif entry.is_dir():
                self.tree(inside, entry.path)
            elif entry.is_file():
                self.file(inside, entry.path)

    def _put(self, path, mode, content):
        path = path.strip("/")
        self.directory(os.path.dirname(path))
        self.entries[path] = (mode, content)

    def pack(self):
        out = bytearray()
        for inode, path in enumerate(sorted(self.entries), 1):
            mode, content = self.entries[path]
            out += record(path, inode, mode, content)
        out += record("TRAILER!!!", 0, 0, b"")
        return bytes(out)


def record(path, inode, mode, content):
    name = os.fsencode(path) + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (inode, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % f for f in fields) + name
    return pad(head) + pad(content)


def pad(data):
    return data + bytes(-len(data) % 4)
