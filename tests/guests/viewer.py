# SPDX-License-Identifier: GPL-2.0-only
"""A VNC viewer that types: viewer.py DISPLAY|PATH TEXT says what the server offers, and types TEXT (RFC 6143); for screen.py, in the bed."""

import socket
import struct
import sys


class Server:
    def __init__(self, where):
        path = where.startswith("/")
        self.socket = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self.socket.settimeout(20)
        self.socket.connect(where if path else ("127.0.0.1", 5900 + int(where)))

    def take(self, count):
        data = b""
        while len(data) < count:
            data += self.socket.recv(count - len(data)) or sys.exit("the server hung up")
        return data

    def key(self, down, keysym):
        self.socket.sendall(struct.pack(">BBHI", 4, down, 0, keysym))

    def shake_hands(self):
        """Width and height; nothing where a password is wanted."""
        self.socket.sendall(self.take(12))
        types = self.take(self.take(1)[0])
        print("security", *types)
        if 1 not in types:
            sys.exit(0)
        self.socket.sendall(b"\1")
        self.take(4)
        self.socket.sendall(b"\1")
        width, height = struct.unpack(">HH", self.take(4))
        self.take(16)
        self.take(struct.unpack(">I", self.take(4))[0])
        return width, height


def main():
    server = Server(sys.argv[1])
    width, height = server.shake_hands()
    print("screen", width, height)
    for character in sys.argv[2] + "\n":
        shifted = character in '~!@#$%^&*()_+{}|:"<>?' or character.isupper()
        keysyms = ([0xffe1] if shifted else []) + [0xff0d if character == "\n" else ord(character)]
        for keysym in keysyms:
            server.key(1, keysym)
        for keysym in reversed(keysyms):
            server.key(0, keysym)
    for x, y in (10, 10), (15, 12):
        server.socket.sendall(struct.pack(">BBHH", 5, 0, x, y))
    server.socket.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, width, height))
    print("update", server.take(1)[0])


main()
