# SPDX-License-Identifier: GPL-2.0-only
"""The conversation with L1's init, and the verdict on a run. Knows nothing of the emulator but its channels."""

import os
import re
import selectors
import sys
import threading
import time

SPLAT = re.compile(r"BUG: |WARNING: |Oops|general protection fault|RCU.*stall|rcu.*detected stall|refcount_t:|"
                   r"kernel BUG at|INFO: task .* blocked|Kernel panic|soft lockup|hard LOCKUP|UBSAN:|"
                   r"sleeping function called|scheduling while atomic|unchecked MSR access")
STATUS_SPLAT, STATUS_TIMEOUT, STATUS_BED = 123, 124, 125


def tail(path, lines=20):
    try:
        return "".join(path.read_text(errors="replace").splitlines(keepends=True)[-lines:])
    except FileNotFoundError:
        return ""


def write_all(fd, data):
    try:
        while data:
            data = data[os.write(fd, data):]
    except BrokenPipeError:
        pass


def wait_ready(machine, timeout):
    """True when init says that it is ready for a job."""
    control = machine.channels["control"]
    control.settimeout(timeout)
    seen = b""
    try:
        while data := control.recv(4096):
            seen += data
            if b"ready\n" in seen:
                return True
    except TimeoutError:
        pass
    return False


class Session:
    """One run of COMMAND: passes output on, collects what init says, until the emulator has ended or time is up."""

    def __init__(self, machine, log, timeout):
        self.machine = machine
        self.log = log
        self.deadline = time.monotonic() + timeout if timeout else None
        self.heard = b""
        self.timed_out = False
        self.log_start = 0

    def send_job(self, job):
        self.machine.channels["control"].sendall(b"job %d\n" % len(job) + job)

    def feed(self, fd, channel):
        """Passes fd on to a channel until its end; a thread, for regular files cannot be waited for."""
        sock = self.machine.channels[channel]

        def copy():
            try:
                while data := os.read(fd, 65536):
                    sock.sendall(data)
                sock.shutdown(1)
            except OSError:
                pass

        threading.Thread(target=copy, daemon=True).start()

    def pump(self):
        sinks = {"control": self.hear, "out": lambda d: write_all(1, d), "err": lambda d: write_all(2, d),
                 "tty": lambda d: write_all(1, d)}
        with selectors.DefaultSelector() as selector:
            for name, sock in self.machine.channels.items():
                if name in sinks:
                    selector.register(sock, selectors.EVENT_READ, (sock, sinks[name]))
            qmp = self.machine.qmp
            selector.register(qmp.sock, selectors.EVENT_READ, (qmp, None))
            while selector.get_map() and not self.timed_out:
                self.pump_once(selector)
        self.machine.process.wait() if not self.timed_out else self.end_hang()

    def pump_once(self, selector):
        left = None if self.deadline is None else self.deadline - time.monotonic()
        if left is not None and left <= 0:
            self.timed_out = True
            return
        for key, _ in selector.select(left):
            source, sink = key.data
            if sink is None:
                more = source.drain()
            else:
                data = receive(source)
                sink(data)
                more = bool(data)
            if not more:
                selector.unregister(key.fileobj)

    def hear(self, data):
        if not self.heard and data and self.log.exists():
            self.log_start = self.log.stat().st_size
        self.heard += data

    def end_hang(self):
        """An NMI makes a hanging kernel show where it is; the registers go to the log as well."""
        try:
            self.machine.qmp.sock.settimeout(5)
            registers = self.machine.qmp.human("info registers -a")
            with open(self.log, "a") as log:
                log.write(f"bed: time is up; registers:\n{registers}\n")
        except Exception as error:
            print(f"bed: the emulator does not answer: {error}", file=sys.stderr)
        self.machine.end()

    def lines(self, word):
        text = self.heard.decode(errors="replace")
        return [line[len(word) + 1:] for line in text.splitlines() if line.split(" ")[0] == word]

    def messages(self):
        """L1's kernel messages since it was given its job."""
        if not self.log.exists():
            return ""
        return self.log.read_bytes()[self.log_start:].decode(errors="replace").replace("\r", "")

    def verdict(self):
        """The exit status of the bed, and why, if it is not COMMAND's own."""
        said = self.lines("exit")
        splat = SPLAT.search(self.messages())
        problems = self.lines("problem")
        if self.timed_out:
            return STATUS_TIMEOUT, "time is up"
        if not said:
            return STATUS_BED, f"L1 died ({self.machine.qmp.shutdown_reason() or 'the emulator ended'})"
        status = int(said[0])
        if problems:
            return status or STATUS_SPLAT, "; ".join(problems)
        if splat:
            return status or STATUS_SPLAT, f"L1's kernel complained: {splat.group(0)}"
        if self.machine.qmp.shutdown_reason() != "guest-shutdown":
            return status or STATUS_BED, f"L1 did not go down cleanly ({self.machine.qmp.shutdown_reason()})"
        return status, None


def receive(sock):
    try:
        return sock.recv(262144)
    except ConnectionResetError:
        return b""
