# SPDX-License-Identifier: GPL-2.0-only
"""The conversation with L1's init, and the verdict on a run. Knows nothing of the emulator but its channels."""

import os
import re
import selectors
import sys
import threading
import time

from bedlib.paths import BedError

SPLAT = re.compile(
    r"BUG: |kernel BUG at|WARNING: |Oops|general protection fault|Kernel panic|UBSAN:|refcount_t:|"
    r"rcu.*detected.*stall|soft lockup|hard LOCKUP|task .* blocked for more than|scheduling while atomic|"
    r"sleeping function called|unchecked MSR access|Bad page state")
LOG_BEGIN, LOG_END = "bed: L1 is up", "bed: the end"
STATUS_SPLAT, STATUS_TIMEOUT, STATUS_BED = 123, 124, 125


def write_all(fd, data):
    try:
        while data:
            data = data[os.write(fd, data):]
    except BrokenPipeError:
        pass


def receive(sock):
    try:
        return sock.recv(262144)
    except ConnectionResetError:
        return b""


def wait_ready(machine, timeout):
    """True when init says that it is ready for a job."""
    control = machine.channels["control"]
    control.settimeout(timeout)
    seen = b""
    try:
        while data := receive(control):
            seen += data
            if b"ready\n" in seen:
                return True
    except TimeoutError:
        pass
    return False


class Session:
    """One run of COMMAND: passes output on, collects what init says, until the emulator ends or time is up."""

    def __init__(self, machine, log, timeout):
        self.machine = machine
        self.log = log
        self.deadline = time.monotonic() + timeout if timeout else None
        self.heard = b""
        self.received = {"out": 0, "err": 0}
        self.timed_out = self.finished = False
        self.selector = selectors.DefaultSelector()

    def tell(self, data):
        """To init; when there is none any more, the missing answer shows it."""
        try:
            self.machine.channels["control"].sendall(data)
        except OSError:
            pass

    def send_job(self, job):
        self.tell(b"job %d\n" % len(job) + job)

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

    def run(self):
        sinks = {"control": self.hear, "out": lambda d: self.pass_on("out", 1, d),
                 "err": lambda d: self.pass_on("err", 2, d), "tty": lambda d: write_all(1, d)}
        for name, sock in self.machine.channels.items():
            if name in sinks:
                self.selector.register(sock, selectors.EVENT_READ, sinks[name])
        self.machine.watch(self.selector)
        self.pump(lambda: False, self.deadline)
        if self.selector.get_map():
            self.timed_out = True
            self.end_hang()
        self.machine.process.wait()

    def pump(self, done, deadline):
        """Serves the channels until the emulator has closed them all, or done() holds, or the deadline is over."""
        while self.selector.get_map() and not done():
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return
            for key, _ in self.selector.select(left):
                self.serve(key)

    def serve(self, key):
        sink = key.data
        data = receive(key.fileobj)
        sink(data)
        if not data:
            self.selector.unregister(key.fileobj)
        self.say_goodbye()

    def pass_on(self, stream, fd, data):
        write_all(fd, data)
        self.received[stream] += len(data)

    def say_goodbye(self):
        """Lets init power off when all that it has sent is here."""
        said = self.lines("exit")
        if said and not self.finished:
            _, out, err = map(int, said[0].split())
            self.finished = self.received == {"out": out, "err": err}
            if self.finished:
                self.tell(b"bye\n")

    def hear(self, data):
        self.heard += data

    def end_hang(self):
        """Has a hanging L1 show where it is: by its init, and if that hangs too, by an NMI, which makes it panic."""
        try:
            for suspicion in self.machine.suspicions():
                print(f"bed: {suspicion}", file=sys.stderr)
            self.tell(b"dump\n")
            self.pump(lambda: self.lines("dumped"), time.monotonic() + 3)
            if not self.lines("dumped"):
                self.machine.interrupt_hang(self.log)
                self.pump(lambda: False, time.monotonic() + 3)
        except (OSError, BedError) as error:
            print(f"bed: the emulator does not answer: {error}", file=sys.stderr)
        self.machine.end()

    def lines(self, word):
        """What init has said after this word, one entry for each line."""
        text = self.heard[:self.heard.rfind(b"\n") + 1].decode(errors="replace")
        return [line[len(word) + 1:] for line in text.splitlines() if line.split(" ")[0] == word]

    def messages(self):
        """L1's kernel messages since it has been up."""
        if not self.log.exists():
            return ""
        text = self.log.read_bytes().decode(errors="replace").replace("\r", "")
        begin = max(text.find(LOG_BEGIN), 0)
        return text[text.rfind("\n", 0, begin) + 1:]

    def excerpt(self):
        """The messages to show on failure: from the first complaint on, else the last before the way down."""
        text = self.machine.without_own_doing(self.messages())
        if splat := SPLAT.search(text):
            return text[text.rfind("\n", 0, splat.start()) + 1:].splitlines()[:50]
        before, _, _ = text.partition(LOG_END)
        lines = [line for line in before.splitlines() if not re.fullmatch(r"\[[ .\d]+\] (bed: .*)?", line)]
        return lines[-50 if self.timed_out else -20:]

    def verdict(self):
        """The exit status of the bed, and why."""
        text = self.messages()
        said, problems, splat = self.lines("exit"), self.lines("problem"), SPLAT.search(self.machine.without_own_doing(text))
        end = self.machine.end_reason()
        if self.timed_out:
            return STATUS_TIMEOUT, "time is up"
        if not said:
            return STATUS_BED, death(text, end)
        status = int(said[0].split()[0])
        if problems:
            return status or STATUS_SPLAT, "; ".join(problems)
        if splat:
            return status or STATUS_SPLAT, f"L1's kernel complained: {splat.group(0).strip()}"
        if end != "guest-shutdown":
            return status or STATUS_BED, f"after COMMAND, {death(text, end)}"
        return status, f"COMMAND ended with status {status}"


def death(text, end):
    if "Kernel panic" in text:
        return "L1 panicked"
    if end == "guest-reset":
        return "L1 was reset: a triple fault, or COMMAND rebooted it"
    return "L1 was powered off" if end else "the emulator ended by itself"
