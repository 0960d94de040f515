# SPDX-License-Identifier: GPL-2.0-only
"""QEMU's machine protocol, as much of it as the bed needs."""

import json
import time

from bedlib.paths import BedError


class Qmp:
    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""
        self.events = []

    def connect(self):
        self._next()
        self.execute("qmp_capabilities")

    def execute(self, command, **arguments):
        try:
            self.sock.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        except ConnectionError:
            raise BedError("QEMU ended unexpectedly") from None
        while True:
            message = self._next()
            if "error" in message:
                raise BedError(f"QEMU refuses {command}: {message['error']['desc']}")
            if "return" in message:
                return message["return"]

    def human(self, line):
        return self.execute("human-monitor-command", **{"command-line": line})

    def take(self, data):
        """Takes in what has arrived between commands: events."""
        self.buffer += data
        while b"\n" in self.buffer:
            self._keep(self._line())

    def shutdown_reason(self):
        reasons = [e["data"]["reason"] for e in self.events if e["event"] == "SHUTDOWN"]
        return reasons[0] if reasons else None

    def migrate(self, uri, timeout=60):
        self.execute("migrate", uri=uri)
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            status = self.execute("query-migrate").get("status")
            if status == "completed":
                return
            if status in ("failed", "cancelled"):
                break
            time.sleep(0.02)
        raise BedError("QEMU could not save its state")

    def _line(self):
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def _keep(self, message):
        if "event" in message:
            self.events.append(message)
        return message

    def _next(self):
        """The next message that is not an event."""
        while True:
            while b"\n" not in self.buffer:
                try:
                    data = self.sock.recv(65536)
                except ConnectionError: # it died with our request unread
                    data = b""
                if not data:
                    raise BedError("QEMU ended unexpectedly")
                self.buffer += data
            message = self._keep(self._line())
            if "event" not in message:
                return message
