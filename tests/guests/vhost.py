#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 600
# beds: svm
"""Debian's cloud kernel on a tap whose frames vhost-net moves, or hwvctl: a file by HTTP and pings both ways, also after the link was
down, after the driver let go of the card, and without MSI; who moved the frames is counted by the system calls of hwvctl. Interrupts
that move between processors meanwhile; a driver that breaks the rules. In the VMX bed each boot takes minutes."""

import hashlib
import os
import subprocess

from guestlib import HERE, TMP, Archive, Case, ModuleTree, finish, kernels, linux_with, run_cases

CONTENT = b"".join(b"line %d of a page\n" % n for n in range(60000))
SUM = hashlib.md5(CONTENT).hexdigest()
MODULES = ["tun", "vhost_net"]

GUEST = """
up() { ip link set eth0 up; ip addr add 10.8.0.2/24 dev eth0 2>/dev/null; }
ask() { wget -q -O - http://10.8.0.1:8080/$1; }
look() {
    echo "$1: file $(ask page | md5sum)"
    echo "$1: out $(ping -c 5 -i 0.1 -W 2 10.8.0.1 | grep loss)"
    echo "$1: in $(ask cgi-bin/ping)"
}
up
look first
cat /sys/class/net/eth0/address
set -- $(ask cgi-bin/count)
ping -q -c 500 -i 0.002 -W 2 10.8.0.1
ask page | md5sum >/dev/null
set -- $* $(ask cgi-bin/count)
echo "frames $(($3 - $1)), transfers $(($4 - $2))"
[ $(($3 - $1)) -ge 1000 ] && [ $((($4 - $2) * 10)) -lt $(($3 - $1)) ] && echo "moved by the kernel"
[ $(($4 - $2)) -gt $(($3 - $1)) ] && echo "moved by hwvctl"
ip link set eth0 down; sleep 0.2; up
look "down and up"
for round in 1 2; do
    echo virtio0 >/sys/bus/virtio/drivers/virtio_net/unbind; sleep 0.2
    echo virtio0 >/sys/bus/virtio/drivers/virtio_net/bind; up
done
look "another driver"
grep virtio /proc/interrupts
"""
# Its interrupts go from one processor to the other and back all the time, and are masked meanwhile: one that is lost ends all.
MOVING = GUEST.split("look first")[0] + """
irqs=$(sed -n 's/^ *\\([0-9]*\\):.*virtio0-.*put.*/\\1/p' /proc/interrupts)
while :; do for mask in 2 1; do for irq in $irqs; do echo $mask >/proc/irq/$irq/smp_affinity; done; done; done & mover=$!
for i in 1 2 3 4 5; do ask page | md5sum; done | sort -u
ping -A -q -c 500 -W 2 10.8.0.1 | grep loss
kill $mover
look "moved"
grep virtio0- /proc/interrupts
"""
BREAKER = GUEST.split("up\nlook first")[0] + """
device=$(readlink -f /sys/bus/virtio/devices/virtio0/..); name=${device##*/}
echo $name >/sys/bus/pci/drivers/virtio-pci/unbind
echo 1 >$device/enable
queue-breaker $device
echo $name >/sys/bus/pci/drivers/virtio-pci/bind; up
look "a good driver"
"""

# What L1 answers with: how many frames the tap has had and how often hwvctl has read and written; pings.
COUNT = """#!/bin/sh
echo; cd /sys/class/net/hwv0/statistics
echo $(($(cat rx_packets) + $(cat tx_packets))) $(($(sed -n 's/^sysc[rw]: //p' /proc/$(cat /tmp/pid)/io | paste -sd+ -)))
"""
PING = """#!/bin/sh
echo; ping -c 5 -i 0.1 -W 2 10.8.0.2 | grep loss
"""
SETUP = """
ip link set lo up; mkdir -p /tmp/www/cgi-bin; cp /share/page /tmp/www; cp /share/count /share/ping /tmp/www/cgi-bin; chmod +x /tmp/www/cgi-bin/*
tunctl -t hwv0 && ip addr add 10.8.0.1/24 dev hwv0 && ip link set hwv0 up; busybox httpd -p 8080 -h /tmp/www
"""


def launch(name, options, parameters="", text=GUEST, more=""):
    """A guest whose tap has the options; which thread of the kernel's serves it is said at its start."""
    line = linux_with(name, ["virtio_net"], text).replace("quiet", f"quiet {parameters}")
    return (f"hwvctl run --mem 256M {more} {line} --net tap,ifname=hwv0,mac=52:54:00:01:02:03{options} --stats & guest=$!; echo $guest >/tmp/pid; sleep 2; "
            'cat /proc/[0-9]*/comm /proc/$guest/task/*/comm | sort -u | sed -n "s/^vhost-$guest$/the kernel serves/p"; wait $guest')


def breaker(options):
    """A guest with a driver that breaks the rules, which is said once."""
    command = launch("breaker", options, "", BREAKER)
    archive = Archive()
    archive.data("/bin/queue-breaker", (TMP / "queue-breaker").read_bytes(), 0o755)
    with open(TMP / "initrd-breaker", "ab") as out:
        out.write(archive.pack())
    return command.replace("--stats", "2>/tmp/said") + "; result=$?; echo said $(grep -c 'vhost-net cannot go on' /tmp/said); exit $result"


def good(*rounds):
    return [pattern for name in rounds for pattern in [f"^{name}: file {SUM}  -$", f"^{name}: out 5 packets .* 0% packet loss",
                                                        f"^{name}: in 5 packets .* 0% packet loss"]]


def main():
    (TMP / "page").write_bytes(CONTENT)
    (TMP / "count").write_text(COUNT)
    (TMP / "ping").write_text(PING)
    subprocess.run(["gcc-12", "-static", "-Os", "-Wall", "-Werror", "-o", TMP / "queue-breaker", HERE / "queue_breaker.c"], check=True)
    tree = ModuleTree(kernels.fetch("generic", os.environ.get("HWV_KERNEL") or None).modules)
    order = tree.in_load_order(MODULES)
    for module in order:
        (TMP / f"{module}.ko").write_bytes(tree.read(module))
    insmod = "; ".join(f"insmod /share/{module}.ko" for module in order)
    bad = ["BUG:", "Call Trace", "WARNING: CPU: . PID: [1-9]", "network card"]
    works = [*good("first", "down and up", "another driver"), "^52:54:00:01:02:03$"]
    kernels_part = [*works, "^moved by the kernel$", "^the kernel serves$"]
    absent = "hwvctl run --kernel /share/vmlinuz-cloud --net tap,ifname=hwv1,vhost=on"
    # Newer kernels take what the index promises first.
    broken = [r"^index: wants a reset, \d+ frames sent$",
              *(f"^{what}: wants a reset, 0 frames sent$" for what in ["head", "address", "loop", "nothing", "size", "ring", "unaligned"])]
    cases = [
        Case("not-there", f"insmod /share/tun.ko; {absent}", 1, ["/dev/vhost-net: .*modprobe vhost_net"]),
        Case("without", f"{SETUP}{launch('plain', '')}", 0, [*works, "^moved by hwvctl$"], [*bad, "the kernel serves"], seconds=90),
        Case("asked-for", f"{insmod}; {launch('plain', ',vhost=on')}", 0, [*kernels_part, "PCI-MSI.*virtio0-input"], bad, seconds=90),
        Case("not-asked-for", launch("plain", ""), 0, kernels_part, bad, seconds=90),
        Case("off", launch("plain", ",vhost=off"), 0, [*works, "^moved by hwvctl$"], [*bad, "the kernel serves"], seconds=90),
        Case("no-msi", launch("plain", ",vhost=on", "pci=nomsi"), 0, [*works, "^the kernel serves$", "IO-APIC.*virtio"], [*bad, "PCI-MSI"],
             seconds=90),
        Case("moving", launch("moving", ",vhost=on", "", MOVING, "--cpus 2"), 0,
             [f"^{SUM}  -$", "^500 packets .* 500 packets received", *good("moved"), r"^ *\d+: +[1-9]\d+ +[1-9]\d+ .*virtio0-input"], bad, seconds=90),
        Case("broken", breaker(",vhost=on"), 0, ["^good: goes on, 1 frames sent$", *broken, "^good again: goes on, 1 frames sent$",
                                                 *good("a good driver"), "^the kernel serves$", "^said 1$"], bad, seconds=90),
        Case("misspelt", "hwvctl run --kernel /share/vmlinuz-cloud --net tap,ifname=hwv1,vhost=yes", 2, ["'vhost=yes' is not known"]),
    ]
    run_cases(cases, "--smp", 2, timeout=580)
    finish()


if __name__ == "__main__":
    main()
