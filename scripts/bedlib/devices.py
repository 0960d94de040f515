# SPDX-License-Identifier: GPL-2.0-only
"""What devices cost a guest: Debian's cloud kernel with tests/bench/devices.c as its init, by hwvctl and by QEMU with KVM."""

import subprocess

from bedlib import kernel
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
ROWS = ["timer_wake", "blk_read", "net_send"]
ALL = [f"{row}_{kind}" for row in ROWS for kind in ["exits", "instructions"]]
UNMEASURED = {
    "boot to login of a whole Debian": "the counting bed has all that a run needs in its memory, and carries no image of that size",
    "devices in the VMX bed": "in Bochs each boot of a guest's Linux under QEMU takes minutes",
}


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
