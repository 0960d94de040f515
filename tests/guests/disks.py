#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
# beds: svm
"""Debian's cloud kernel on virtio disks: reads a file system made here, writes, trims; what it wrote is in the file afterwards, or
is not with cow, or was refused with ro. Of what carries the requests, each kind. In the VMX bed each boot takes minutes."""

import hashlib
import subprocess

from guestlib import TMP, Case, finish, linux_with, run_cases

CONTENT = "".join(f"line {n} of a file\n" for n in range(200000)).encode()
SUM = hashlib.md5(CONTENT).hexdigest()
RUN = "hwvctl run --mem 256M --stats"

# Reads go to the disk: the cache is dropped before.
GUEST = """
cat /sys/block/vda/serial; echo; cat /sys/block/vda/ro /sys/block/vda/size
echo "queues: $(ls /sys/block/vda/mq | wc -l)"
mount -t ext4 $(grep -q 1 /sys/block/vda/ro && echo -o ro,noload) /dev/vda /tmp || echo cannot mount
md5sum /tmp/content
{ echo written by the guest >/tmp/note; } 2>&1
dd if=/tmp/content of=/tmp/copy bs=64k 2>/dev/null && sync
echo 3 >/proc/sys/vm/drop_caches
md5sum /tmp/copy; cat /tmp/note
rm -f /tmp/copy; fstrim /tmp && echo trimmed
umount /tmp
dd if=/dev/zero of=/dev/vda bs=512 seek=$(cat /sys/block/vda/size) count=1 2>&1 | grep -i space
grep virtio /proc/interrupts
dmesg | grep -i -E 'I/O error|EXT4-fs error|corrupt'
"""


def image():
    folder = TMP / "folder"
    folder.mkdir()
    (folder / "content").write_bytes(CONTENT)
    made = TMP / "disk.img"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", folder, made, "32M"], check=True, stdin=subprocess.DEVNULL)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", made, TMP / "disk.qcow2"], check=True)


def main():
    image()
    guest = f"cp /share/disk.img /tmp/d.img; {RUN} {linux_with('disks', ['virtio_blk'], GUEST)} --disk /tmp/d.img"
    after = "result=$?; grep -c 'written by the guest' /tmp/d.img; cmp /tmp/d.img /share/disk.img && echo unchanged; exit $result"
    good = [f"^{SUM}  /tmp/content$", f"^{SUM}  /tmp/copy$", "^written by the guest$", "^trimmed$", "PCI-MSI.*virtio0-req", "HWV-GUEST-DONE"]
    bad = ["I/O error", "error:", "corrupt", "cannot mount", "BUG:", "Call Trace"]
    cases = [
        Case("written", f"{guest},serial=hwv-disk; {after}", 0, [*good, "^hwv-disk$", "^65536$", "^queues: 1$", "^1$"], [*bad, "^unchanged"]),
        Case("threads", f"{guest},aio=threads,queues=2 --cpus 2; {after}", 0, [*good, "^queues: 2$", "virtio0-req.1"], [*bad, "^unchanged"]),
        Case("thrown-away", f"{guest},cow; {after}", 0, [*good, "^unchanged$", "^0$"], bad),
        Case("read-only", f"{guest},ro; {after}", 0, [f"^{SUM}  /tmp/content$", "Read-only file system", "^unchanged$"], bad),
        Case("no-pic", f"{guest} --no-legacy; {after}", 0, good, bad),
        Case("by-pin", f"{guest.replace('hwv.do', 'pci=nomsi hwv.do')}; {after}", 0,
             [*(g for g in good if "MSI" not in g), "IO-APIC.*fasteoi.*virtio0"], bad),
        Case("locked", f"{guest} --disk /tmp/d.img,ro", 1, [r"^hwvctl.*disk '/tmp/d.img': another one writes to it"]),
        Case("qcow2", f"cp /share/disk.qcow2 /tmp/d.img; {RUN} {linux_with('disks', ['virtio_blk'], GUEST)} --disk /tmp/d.img,format=qcow2; "
             "result=$?; qemu-img convert -O raw /tmp/d.img /tmp/e.img; grep -c 'written by the guest' /tmp/e.img; "
             "pidof qemu-nbd && echo left; exit $result", 0, [*good, "^1$"], [*bad, "^left$"]),
        Case("qcow2-not-named", f"{RUN} --kernel /share/vmlinuz-cloud --disk /share/disk.qcow2,ro", 1, ["say format=qcow2"]),
        Case("no-such-file", f"{RUN} --kernel /share/vmlinuz-cloud --disk /nowhere", 1, ["disk '/nowhere': No such file"]),
        Case("misspelt", f"{RUN} --kernel /share/vmlinuz-cloud --disk /tmp/d.img,rw", 2, ["'rw' is not known"]),
    ]
    run_cases(cases, "--smp", 2, timeout=280)
    finish()


if __name__ == "__main__":
    main()
