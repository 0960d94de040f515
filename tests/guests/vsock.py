#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
# beds: svm
"""Debian's cloud kernel with a vsock: a program of the host's reaches one of the guest's, and the other way round, both of which send
a mebibyte at once and compare sums; ports where nobody is. In the VMX bed each boot takes minutes."""

import hashlib
import subprocess

from guestlib import HERE, TMP, Archive, Case, finish, linux_with, run_cases

GUEST = """
vsock-end cid
seq 1 160000 | head -c 1048576 >/text
wait_for() { for i in $(seq 200); do [ -s $1 ] && return; sleep 0.1; done; }
vsock-end listen 5000 </text >/got 2>/said & end=$!
wait_for /said; echo "guest listens"
wait $end; echo "by the host: status $?, $(md5sum </got)"
vsock-end connect 7000 </text >/got; echo "by the guest: status $?, $(md5sum </got)"
for i in 1 2 3 4 5; do echo round $i | vsock-end connect 7000 >/got; md5sum </got; done
vsock-end connect 7001 </dev/null; echo "nobody: status $?"
"""

# Listens at its port 7000 from the start; connects to the guest's 5000 when that listens; says what came.
HOST = '''
import hashlib, os, socket, sys, threading, time

text = b"".join(b"%d!" % n for n in range(200000))[:1 << 20]

def exchange(end, name):
    sender = threading.Thread(target=lambda: (end.sendall(text), end.shutdown(socket.SHUT_WR)))
    sender.start()
    got = b""
    while piece := end.recv(1 << 16):
        got += piece
    sender.join()
    print(name, hashlib.md5(got).hexdigest(), flush=True)

def greet(port):
    end = socket.socket(socket.AF_UNIX)
    end.connect("/tmp/v")
    end.sendall(b"CONNECT %d\\n" % port)
    line = b""
    while not line.endswith(b"\\n"):
        byte = end.recv(1)
        if not byte:
            return None
        line += byte
    return end if line.startswith(b"OK ") else None

def serve(listener):
    while True:
        threading.Thread(target=exchange, args=(listener.accept()[0], "guest's")).start()

listener = socket.socket(socket.AF_UNIX)
listener.bind("/tmp/v_7000")
listener.listen()
threading.Thread(target=serve, args=(listener,), daemon=True).start()
while "guest listens" not in open("/tmp/said").read():
    time.sleep(0.1)
print("nobody there:", greet(4999), flush=True)
exchange(greet(5000), "host's")
while "nobody: status" not in open("/tmp/said").read():
    time.sleep(0.1)
'''


def md5(data):
    return hashlib.md5(data).hexdigest()


def launch():
    """The options of a guest that has the program for its end."""
    options = linux_with("vsock", ["vmw_vsock_virtio_transport"], GUEST)
    subprocess.run(["gcc-12", "-static", "-Os", "-Wall", "-Werror", "-o", TMP / "vsock-end", HERE / "vsock_end.c"], check=True)
    archive = Archive()
    archive.data("/bin/vsock-end", (TMP / "vsock-end").read_bytes(), 0o755)
    with open(TMP / "initrd-vsock", "ab") as out:
        out.write(archive.pack())
    return options


def main():
    (TMP / "host.py").write_text(HOST)
    theirs = md5("".join(f"{n}\n" for n in range(1, 160001)).encode()[:1 << 20])
    ours = md5(b"".join(b"%d!" % n for n in range(200000))[:1 << 20])
    run = f"hwvctl run --mem 256M {launch()} --vsock cid=42,path=/tmp/v"
    cases = [
        Case("both-ways", f": >/tmp/said; {run} >/tmp/said 2>&1 & guest=$!; until [ -S /tmp/v ]; do sleep 0.1; done; python3 /share/host.py; wait $guest; "
             "result=$?; cat /tmp/said; ls /tmp/v; exit $result", 0,
             ["^cid 42$", "^nobody there: None$", f"^host's {theirs}$", f"^by the host: status 0, {ours}  -$", f"^guest's {theirs}$",
              f"^by the guest: status 0, {ours}  -$", f"^guest's {md5(b'round 5' + bytes([10]))}$", "^connect: Connection reset by peer$",
              "^nobody: status 1$", "/tmp/v'?: No such file"], ["BUG:", "Call Trace", "WARNING: CPU: . PID: [1-9]"], seconds=120),
        Case("misspelt", "hwvctl run --kernel /share/vmlinuz-cloud --vsock cid=2,path=/tmp/w", 2, ["cid= is from 3"]),
        Case("taken", "echo >/tmp/w; hwvctl run --kernel /share/vmlinuz-cloud --vsock path=/tmp/w", 1, ["vsock /tmp/w: Address already in use"]),
    ]
    run_cases(cases, "--smp", 2, timeout=260)
    finish()


if __name__ == "__main__":
    main()
