# SPDX-License-Identifier: GPL-2.0-only
"""A whole Debian for guests: a disk image made by debootstrap, without a loop mount, and an initramfs that finds it."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from bedlib.cpio import Archive
from bedlib.initramfs import BUSYBOX, ModuleTree, busybox_applets, stripped
from bedlib.packages import RELEASE, NotOffered, mirror
from bedlib.paths import BedError, cached

PACKAGES = ["systemd-sysv", "udev", "iproute2", "wget"]
MODULES = ["virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net", "virtio_rng", "crc32c_generic", "ext4"]
SIZE = "768M" # room of the file system; the file has holes
EDITION = 2 # of what is configured below

INIT = """#!/bin/sh
# Loads what the root file system needs, waits for the disk that root= names, and hands over to its init.
mount -t devtmpfs dev /dev
mount -t proc proc /proc
for module in $(cat /modules/order); do
	insmod "/modules/$module.ko"
done
root=/dev/vda
for word in $(cat /proc/cmdline); do
	case $word in root=*) root=${word#root=} ;; esac
done
for _ in $(seq 100); do
	[ -b "$root" ] && break
	sleep 0.1
done
mount -o ro -t ext4 "$root" /root || { echo "initrd: no file system on $root"; poweroff -f; }
umount /proc
exec switch_root /root /sbin/init
"""

CHECK = """#!/bin/sh
# For tests, with hwv.check on the kernel's command line: how the system is, what a URL has (hwv.fetch=URL), and off.
exec >/dev/console 2>&1
echo "HWV-SYSTEM $(systemctl is-system-running --wait)"
systemctl --failed --no-legend --plain
echo "HWV-ROOT $(findmnt -n -o SOURCE,FSTYPE /) of Debian $(cat /etc/debian_version)"
for word in $(cat /proc/cmdline); do
	case $word in
	hwv.fetch=*)
		/lib/systemd/systemd-networkd-wait-online --timeout=60
		ip -4 -br address
		echo "HWV-FETCHED $(wget -q -T 20 -O - "${word#hwv.fetch=}" | md5sum)"
		;;
	esac
done
systemctl poweroff
"""

CHECK_UNIT = """[Unit]
Description=What a test wants to know
ConditionKernelCommandLine=hwv.check
After=multi-user.target
[Service]
ExecStart=/usr/local/sbin/hwv-check
[Install]
WantedBy=multi-user.target
"""

NETWORK = """[Match]
Type=ether
[Network]
DHCP=yes
"""


def image():
    """The raw disk: one ext4 file system, with a root user who needs no password. Raises NotOffered."""
    return cached(f"guest/debian-{RELEASE}-{EDITION}", make_image) / "disk.img"


def make_image(directory):
    if os.geteuid() != 0:
        raise NotOffered("debootstrap wants root, to make a Debian root file system")
    if not shutil.which("debootstrap"):
        raise BedError("no debootstrap: run scripts/setup")
    root = directory / "root"
    done = subprocess.run(["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", RELEASE, root, mirror()],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise NotOffered(f"debootstrap: {done.stdout.strip().splitlines()[-1]}")
    configure(root)
    disk = directory / "disk.img"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", "debian", "-d", root, disk, SIZE], check=True)
    shutil.rmtree(root)


def configure(root):
    for rubbish in ["var/cache/apt/archives", "var/lib/apt/lists"]:
        shutil.rmtree(root / rubbish)
        (root / rubbish / "partial").mkdir(parents=True)
    write(root / "etc/hostname", "guest\n")
    write(root / "etc/hosts", "127.0.0.1 localhost guest\n")
    write(root / "etc/fstab", "LABEL=debian / ext4 defaults 0 0\n")
    write(root / "usr/local/sbin/hwv-check", CHECK).chmod(0o755)
    write(root / "etc/systemd/system/hwv-check.service", CHECK_UNIT)
    write(root / "etc/systemd/network/80-ether.network", NETWORK)
    passwords = root / "etc/shadow"
    passwords.write_text(passwords.read_text().replace("root:*:", "root::", 1))
    subprocess.run(["systemctl", "--quiet", f"--root={root}", "enable", "hwv-check.service", "systemd-networkd.service"], check=True)
    # Without a network this would be waited for.
    subprocess.run(["systemctl", "--quiet", f"--root={root}", "disable", "systemd-networkd-wait-online.service"], check=True)


def write(path, text):
    path.write_text(text)
    return path


def initrd(kernel):
    """An initramfs with the modules for a disk and a network, of the kernel that is to boot."""
    key = hashlib.sha256(repr((INIT, MODULES)).encode()).hexdigest()[:8]
    made = cached(f"guest/initrd-{kernel.release}-{key}", lambda d: (d / "initrd").write_bytes(pack_initrd(kernel.modules)))
    return made / "initrd"


def pack_initrd(modules: Path):
    archive = Archive()
    archive.file("busybox", BUSYBOX)
    for applet in busybox_applets():
        archive.symlink(f"bin/{applet}", "/busybox")
    tree = ModuleTree(modules)
    order = tree.in_load_order(MODULES)
    for name in order:
        archive.data(f"modules/{name}.ko", stripped(tree.read(name)))
    archive.data("modules/order", "".join(f"{name}\n" for name in order).encode())
    archive.data("init", INIT.encode(), 0o755)
    for empty in ["proc", "dev", "root"]:
        archive.directory(empty)
    return archive.pack()
