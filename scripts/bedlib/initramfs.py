# SPDX-License-Identifier: GPL-2.0-only
"""L1's initramfs: busybox, the kernel modules that the bed itself needs, and the init script."""

import hashlib
import lzma
import re
import subprocess
import tempfile
from pathlib import Path

from bedlib import native
from bedlib.cpio import Archive
from bedlib.paths import BedError, cached

HERE = Path(__file__).parent
BUSYBOX = Path("/bin/busybox")
VIRTIO = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p"]
PMEM = ["nfit", "nd_pmem"]
MSR = "msr" # for tests that look at the host's
KVM = {"svm": "kvm-amd", "vmx": "kvm-intel"}
# From 6.12 on KVM would hold the CPUs as long as it is loaded; tests have it and hwv take turns. Bochs 3.0 refuses KVM's
# posted-interrupt descriptors, since it wants them on a page boundary (the SDM: on 64 bytes).
PARAMETERS = {"kvm": "enable_virt_at_load=0", "kvm_intel": "enable_apicv=0"}


def canonical(name):
    return name.replace("-", "_")


class ModuleTree:
    """Finds modules and what they depend on; depmod's index is not in the package."""

    def __init__(self, directory):
        self.paths = {canonical(p.name.split(".ko")[0]): p for p in directory.rglob("*.ko*")}

    def read(self, name):
        data = self.paths[name].read_bytes()
        return lzma.decompress(data) if self.paths[name].suffix == ".xz" else data

    def depends(self, name):
        found = re.search(rb"\0depends=([^\0]*)\0", b"\0" + self.read(name))
        return [canonical(d.decode()) for d in found.group(1).split(b",") if d] if found else []

    def parameters(self, name):
        """Ours for this module, if it knows them."""
        wanted = PARAMETERS.get(name, "")
        return wanted if wanted and f"parmtype={wanted.split('=')[0]}:".encode() in self.read(name) else ""

    def in_load_order(self, names):
        order = []

        def visit(name):
            if name not in order and name in self.paths:
                for needed in self.depends(name):
                    visit(needed)
                order.append(name)

        for name in names:
            visit(canonical(name))
        return order


def base(kernel, vendor, virtio, pmem=False):
    """The cached archive that every run of this kernel starts from; without virtio, with native/port.c's program."""
    if not BUSYBOX.exists():
        raise BedError("no /bin/busybox: run scripts/setup (package busybox-static)")
    modules = (VIRTIO if virtio else []) + (PMEM if pmem else []) + [MSR, KVM[vendor]]
    port = [] if virtio else [native.built() / "port"]
    key = hashlib.sha256(repr((kernel.release, modules, PARAMETERS)).encode())
    for path in [*port, BUSYBOX, HERE / "init.sh", Path(__file__), HERE / "cpio.py"]:
        key.update(path.read_bytes())
    made = cached(f"initramfs/{key.hexdigest()[:16]}", lambda d: (d / "base.cpio").write_bytes(pack_base(kernel, modules, port)))
    return made / "base.cpio"


def busybox_applets():
    return subprocess.run([BUSYBOX, "--list"], check=True, text=True, stdout=subprocess.PIPE).stdout.split()


def pack_base(kernel, modules, programs):
    archive = Archive()
    for program in programs:
        archive.file(f"bed/{program.name}", program)
    archive.file("bed/busybox", BUSYBOX)
    for applet in busybox_applets():
        archive.symlink(f"bed/bin/{applet}", "/bed/busybox")
    tree = ModuleTree(kernel.modules)
    order = tree.in_load_order(modules)
    for name in order:
        # Each traceable function of a module is looked up in all its symbols when it is loaded.
        archive.data(f"bed/modules/{name}.ko", stripped(tree.read(name), "--strip-unneeded"))
    archive.data("bed/modules/order", "".join(f"{n} {tree.parameters(n)}\n" for n in order).encode())
    archive.data("init", (HERE / "init.sh").read_bytes(), 0o755)
    for empty in ["proc", "sys", "dev", "tmp", "run", "share", "root", "bed/host", "bed/cgroup", "opt/hwv"]:
        archive.directory(empty)
    return archive.pack()


def stripped(module, how="--strip-debug"):
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(module)
        subprocess.run(["strip", how, file.name], check=True)
        return Path(file.name).read_bytes()
