# SPDX-License-Identifier: GPL-2.0-only
"""What devices cost a guest, by hwvctl and by QEMU with KVM: Debian's cloud kernel with tests/bench/devices.c as its init; and a whole
Debian (debian.py) from its disk to its login."""

import re
import subprocess

from bedlib import debian, kernel
from bedlib.cpio import Archive
from bedlib.initramfs import ModuleTree
from bedlib.paths import ROOT

MODULES = ["virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net"]
DISK = "/tmp/disk"
# What a launcher loads without being linked with it.
SLIRP = "/usr/lib/x86_64-linux-gnu/libslirp.so.0"
# An image of 16 MiB in memory.
PREPARE = f"dd if=/dev/zero of={DISK} bs=1M count=16 2>/dev/null; ip link set lo up"
DRIVE = ["-drive", f"if=none,id=disk,file={DISK},format=raw,aio=io_uring", "-netdev", "user,id=net"]
OPTIONS = {
    "hwv": ["--disk", DISK, "--net", "user"],
    "kvm": [*DRIVE, "-device", "virtio-blk-device,drive=disk", "-device", "virtio-net-device,netdev=net"],
    "kvm_q35": [*DRIVE, "-device", "virtio-blk-pci,drive=disk", "-device", "virtio-net-pci,netdev=net,romfile="],
}
EVENTS = {"hwv": "hwv:hwv_exit", "kvm": "kvm:kvm_exit", "kvm_q35": "kvm:kvm_exit"}
ROWS = ["timer_wake", "blk_read", "net_send", "tcp_send_mib", "tcp_recv_mib"]
ALL = [f"{row}_{kind}" for row in ROWS for kind in ["exits", "instructions"]]
UNMEASURED = {
    "devices in the VMX bed": "in Bochs each boot of a guest's Linux under QEMU takes minutes",
}


# The whole Debian: L1 reads its disk from what is memory there, and what the guest writes is thrown away.
LOGIN_MEMORY = "512M"
L1_MEMORY = 2048
LOGIN_PROMPT = "login: "
LOGIN = [f"boot_login_{kind}" for kind in ["exits", "instructions"]]
LOGIN_APPEND = "console=ttyS0 quiet panic=-1 root=/dev/vda"
LOGIN_PREPARE = "mkdir -p /var/tmp" # where QEMU has what was written
LOGIN_DRIVE = ["-drive", "if=none,id=disk,file=/dev/pmem0,format=raw,snapshot=on,aio=io_uring"]
LOGIN_OPTIONS = {
    "hwv": ["--disk", "/dev/pmem0,cow", "--rng"],
    "kvm": [*LOGIN_DRIVE, "-device", "virtio-blk-device,drive=disk", "-device", "virtio-rng-device"],
    "kvm_q35": [*LOGIN_DRIVE, "-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci"],
}


def whole_debian():
    """Its initrd and its disk. Raises NotOffered."""
    return debian.initrd(kernel.fetch("cloud")), debian.image()


def at_login(said):
    """What the launcher's counter was at the login, of what tests/bench/launch has printed."""
    return int(re.search(r"^mark prompt 1 (\d+)$", said, re.M)[1])


def prepare(directory):
    """The guest's initrd."""
    init = directory / "devices"
    subprocess.run(["gcc-12", "-static", "-O2", "-o", init, ROOT / "tests/bench/devices.c"], check=True)
    archive = Archive()
    archive.file("init", init)
    archive.directory("dev")
    tree = ModuleTree(kernel.fetch("cloud").modules)
    for number, module in enumerate(tree.in_load_order(MODULES)):
        archive.data(f"modules/{number:02}-{module}.ko", tree.read(module))
    (directory / "initrd-devices").write_bytes(archive.pack())


def per_one(said):
    """{row: what the launcher's counter has gone on by, for one} of what tests/bench/launch has printed."""
    told, before = {}, 0
    for line in said.splitlines():
        words = line.split()
        if words[:1] == ["mark"]:
            if words[1] in ROWS:
                told[words[1]] = (int(words[3]) - before) / int(words[2])
            before = int(words[3])
    return told
