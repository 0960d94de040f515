#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 240
# beds: svm
"""Debian's kernels on IDE disks and a CD-ROM, by ata_piix: what they read by bus master and by port, what they write, and that no command
fails. In the VMX bed each boot takes minutes; bios.py has IDE there."""

import hashlib
import subprocess

from guestlib import TMP, Case, finish, linux_with, run_cases

CONTENT = "".join(f"line {n} of a file\n" for n in range(40000)).encode()
SUM = hashlib.md5(CONTENT).hexdigest()
DISC = CONTENT[::-1]
DISC_SUM = hashlib.md5(DISC).hexdigest()
MODULES = ["crc32c_generic", "ata_piix", "sd_mod", "sr_mod", "ext4", "isofs"]

# Reads go to the disk: the cache is dropped before.
GUEST = """
for n in 1 2 3 4 5 6 7 8 9 10; do [ -e /dev/sdb ] && [ -e /dev/sr0 ] && break; sleep 0.5; done
grep . /sys/class/ata_device/dev*/xfer_mode | cut -d/ -f5-
disk=$(grep -l '^32768$' /sys/block/sd?/size | cut -d/ -f4)
other=$(grep -l '^2048$' /sys/block/sd?/size | cut -d/ -f4)
mkdir /disk /disc
mount -t ext4 /dev/$disk /disk || echo cannot mount
mount -t iso9660 -o ro /dev/sr0 /disc || echo cannot mount
md5sum /disk/content /disc/content
cp /disk/content /disk/copy && echo written by the guest >/disk/note && sync
echo 3 >/proc/sys/vm/drop_caches
md5sum /disk/copy; cat /disk/note; rm /disk/copy
umount /disk /disc
dd if=/dev/$other of=/tmp/b bs=64k 2>/dev/null; md5sum </tmp/b
tr '\\0-\\377' '\\1-\\377\\0' </tmp/b | dd of=/dev/$other bs=64k 2>/dev/null
sync; echo 3 >/proc/sys/vm/drop_caches; md5sum </dev/$other
grep ata_piix /proc/interrupts
cat /sys/block/$disk/device/model
dmesg | grep -iE 'I/O error|failed command|exception|EXT4-fs error|lost interrupt|timeout|soft reset'
"""


def images():
    for name, content in {"folder": CONTENT, "disc": DISC}.items():
        (TMP / name).mkdir()
        (TMP / name / "content").write_bytes(content)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", TMP / "folder", TMP / "disk.img", "16M"], check=True, stdin=subprocess.DEVNULL)
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", TMP / "disc.iso", TMP / "disc"], check=True, stderr=subprocess.DEVNULL)
    second = (CONTENT * 2)[: 1 << 20]
    (TMP / "second.img").write_bytes(second)
    return hashlib.md5(second).hexdigest(), hashlib.md5(bytes((b + 1) & 255 for b in second)).hexdigest()


def main():
    before, after = images()
    drives = "--disk /tmp/d.img,bus=ide --disk /share/second.img,bus=ide,cow --cd /share/disc.iso --mem 256M"
    written = "result=$?; grep -c 'written by the guest' /tmp/d.img; exit $result"
    want = [f"^{SUM}  /disk/content$", f"^{DISC_SUM}  /disc/content$", f"^{SUM}  /disk/copy$", "^written by the guest$", f"^{before}  -$", f"^{after}  -$",
            "14: .*ata_piix", "15: .*ata_piix", "^HWV DISK", "^1$", "HWV-GUEST-DONE"]
    refuse = ["I/O error", "failed command", "exception Emask", "EXT4-fs error", "lost interrupt", "soft reset", "cannot mount", "BUG:", "Call Trace"]

    def case(name, flavour, parameters, mode):
        launch = f"cp /share/disk.img /tmp/d.img; hwvctl run {linux_with(name, MODULES, GUEST, flavour, parameters)} {drives} --stats; {written}"
        return Case(name, launch, 0, [*want, *(rf"^dev{drive}/xfer_mode:XFER_{mode}_[2-5]$" for drive in ["1.0", "1.1", "2.0"])], refuse)

    run_cases([case("bus-master", "generic", None, "UDMA"), case("by-port", "cloud", {"libata": "dma=0"}, "PIO")], "--smp", 2)
    finish()


if __name__ == "__main__":
    main()
