#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
# beds: svm
"""Debian's cloud kernel on virtio networks: gets its address by DHCP and a file by HTTP from the machine that runs hwvctl, answers
on a forwarded port, reaches nothing when restricted; two guests talk over a cable between them; a tap. And a console and random
numbers by virtio. In the VMX bed each boot takes minutes."""

import hashlib
import os

from guestlib import TMP, Case, ModuleTree, finish, kernels, linux_with, run_cases

CONTENT = b"".join(b"line %d of a page\n" % n for n in range(60000))
SUM = hashlib.md5(CONTENT).hexdigest()
RUN = "hwvctl run --mem 256M"

DHCP = """
ip link set lo up; ip link set eth0 up
cat >/lease <<'LEASE'
[ "$1" = bound ] || exit 0
ip addr add $ip/24 dev $interface; ip route add default via $router; echo "lease $ip from $router, names at $dns"
LEASE
chmod +x /lease
udhcpc -i eth0 -n -q -t 5 -s /lease
"""
FETCH = DHCP + """
wget -q -O - http://10.0.2.2:8080/page | md5sum
{ timeout 10 wget -q -O - http://10.0.2.2:8080/page >/dev/null && echo reached; } || echo unreached
grep virtio /proc/interrupts
"""
SERVE = DHCP + """
mkdir /www; echo hello from the guest >/www/page
httpd -p 80 -h /www
echo ready
for i in $(seq 1 300); do [ -e /tmp/stop ] && break; wget -q -O /tmp/stop http://10.0.2.2:8080/stop || rm -f /tmp/stop; sleep 0.2; done
"""
CABLE = """
ip link set eth0 up; ip addr add 10.9.0.%d/24 dev eth0
for i in $(seq 1 100); do ping -c 1 -W 1 10.9.0.%d >/dev/null && break; done
ping -c 5 -W 2 10.9.0.%d
ping -c 3 -W 2 -s 1400 10.9.0.%d | grep loss
sleep 2
"""
TAP = """
ip link set eth0 up; ip addr add 10.8.0.2/24 dev eth0
ping -c 5 -W 2 10.8.0.1
cat /sys/class/net/eth0/address
"""
CONSOLE = """
cat /sys/class/misc/hw_random/rng_current
dd if=/dev/hwrng bs=1000 count=20 2>/dev/null | wc -c
seq 1 300 >/dev/hvc0
read line </dev/hvc0; echo "typed: $line"
"""


def guest(name, text, modules=("virtio_net",)):
    return f"{RUN} {linux_with(name, list(modules), text)}"


def main():
    (TMP / "page").write_bytes(CONTENT)
    tree = ModuleTree(kernels.fetch("generic", os.environ.get("HWV_KERNEL") or None).modules)
    (TMP / "tun.ko").write_bytes(tree.read("tun"))
    web = "ip link set lo up; mkdir -p /tmp/www; cp /share/page /tmp/www; rm -f /tmp/www/stop; busybox httpd -f -p 127.0.0.1:8080 -h /tmp/www & web=$!; "
    stop = "; result=$?; kill $web; exit $result"
    serve = guest("serve", SERVE)
    cable = [guest(f"cable{n}", CABLE % (n, *[3 - n] * 3)) for n in (1, 2)]
    console = guest("console", CONSOLE, ["virtio_console", "virtio_rng"])
    bad = ["BUG:", "Call Trace", "WARNING: CPU: . PID: [1-9]"]
    cases = [
        Case("fetch", f"{web}{guest('fetch', FETCH)} --net user --stats{stop}", 0,
             [r"^lease 10\.0\.2\.15 from 10\.0\.2\.2, names at 10\.0\.2\.3$", f"^{SUM}  -$", "^reached$", "PCI-MSI.*virtio0-input"], bad),
        Case("restricted", f"{web}{guest('fetch', FETCH)} --net user,restrict=on{stop}", 0, [r"^lease 10\.0\.2\.15 ", "^unreached$"],
             [*bad, "^reached$"]),
        Case("forwarded", "\n".join([
            f"{web}{serve} --net user,hostfwd=tcp:127.0.0.1:2080-:80 >/tmp/served & guest=$!",
            "for i in $(seq 1 60); do grep -q ready /tmp/served && break; sleep 1; done",
            "busybox wget -q -O - http://127.0.0.1:2080/page; echo 1 >/tmp/www/stop; wait $guest; result=$?; kill $web; exit $result"]),
             0, ["^hello from the guest$"], bad),
        Case("cable", f"{cable[0]} --net unix:/tmp/cable >/tmp/one & one=$!; {cable[1]} --net unix:/tmp/cable; wait $one && cat /tmp/one", 0,
             [r"64 bytes from 10\.9\.0\.1: ", r"64 bytes from 10\.9\.0\.2: "], bad),
        Case("tap", "insmod /share/tun.ko; "
             f"{guest('tap', TAP)} --net tap,ifname=hwv0,mac=52:54:00:01:02:03 & guest=$!; "
             "for i in $(seq 1 50); do ip addr add 10.8.0.1/24 dev hwv0 2>/dev/null && ip link set hwv0 up && break; sleep 0.2; done; wait $guest",
             0, [r"64 bytes from 10\.8\.0\.1: ", "^52:54:00:01:02:03$"], bad),
        Case("console-and-random", f"(while sleep 1; do echo hello; done) 2>/dev/null | {console} --serial file:/tmp/serial --console stdio --rng; "
             "result=$?; cat /tmp/serial; exit $result", 0, ["^virtio_rng", "^20000$", "^300$", "^typed: hello$", "HWV-GUEST-DONE"], bad),
        Case("console-file", f"{guest('quiet', 'seq 1 300 >/dev/hvc0', ['virtio_console'])} --console file:/tmp/text && md5sum </tmp/text", 0,
             [hashlib.md5("".join(f"{n}\r\n" for n in range(1, 301)).encode()).hexdigest()], bad),
        Case("misspelt", "hwvctl run --kernel /share/vmlinuz-cloud --net user,hostfwd=tcp:80", 2, ["hostfwd= wants tcp:"]),
    ]
    run_cases(cases, "--smp", 2, timeout=280)
    finish()


if __name__ == "__main__":
    main()
