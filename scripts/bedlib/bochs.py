# SPDX-License-Identifier: GPL-2.0-only
"""Bochs as the emulator of L1: its configuration, its disks, its process. The loader (native/) starts the kernel."""

import ctypes
import hashlib
import json
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import threading
from pathlib import Path

from bedlib import native, packages
from bedlib.paths import BedError, cached, forget_old, mark_used

NAME = "bochs-bin"
CHANNELS = {1: "control", 2: "out", 3: "err", 4: "log"}
MARK = b"\2hwvbed"
FRAME = struct.Struct("<7sBI")
SECTOR, DISK = 512, 16 * 63 * 512
PLAN_HEAD = struct.Struct("<8sQIIII256s2048s")
PIECE = struct.Struct("<QIIII")
GRAIN = 65536
INITRD = 0x8000000
# Bochs 2.7: FSRM copies wrongly what the kernel patches into itself; the sizes of the XSAVE area with AVX-512 or PKU
# contradict each other, so that the kernel would do without XSAVE.
CLEARED = ["fsrm", "avx512f", "pku"]
# TSC ticks, which are instructions, a second. With more of them a timer interrupts a measurement less often.
IPS, COUNT_IPS = 100_000_000, 1_000_000_000
# A reset is a triple fault, on which Bochs ends.
BASE_APPEND = "console=ttyS0,115200 panic=-1 quiet reboot=t tsc=reliable no_timer_check cryptomgr.notests"
COUNT_APPEND = "norandmaps randomize_kstack_offset=off random.trust_cpu=off"
CONFIGURATION = """\
plugin_ctrl: unmapped=1, biosdev=1, speaker=0, extfpuirq=1, parallel=0, serial=1, gameport=0, iodebug=0
config_interface: textconfig
display_library: rfb, options="timeout=0"
cpu: model={cpu}, count={smp}, ips={ips}, reset_on_triple_fault=0, ignore_bad_msrs=1
memory: guest={mem}, host={mem}
romimage: file={bios}
vgaromimage: file={vgabios}
optromimage1: file={rom}, address=0xd0000
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, path={directory}/kernel.img, mode=flat
ata0-slave: type=disk, path={directory}/payload.img, mode=flat
boot: disk
port_e9_hack: enabled=1
clock: sync=none, time0=1000000000
log: {directory}/bochs.log
panic: action=fatal
error: action=report
info: action=report
debug: action=ignore
"""


class Build:
    """Which Bochs: the system's, or a newer one that is unpacked privately and runs with its own libraries."""

    def __init__(self, emulator):
        self.environment = dict(os.environ)
        root = Path("/")
        if emulator == "bochs":
            if not shutil.which(NAME):
                raise BedError(f"no {NAME}: run scripts/setup")
            self.command = [NAME]
        else:
            root = packages.of_release("emulator/bochs3", "trixie", ["bochs", "bochs-term", "bochsbios", "vgabios"])
            libraries = root / "usr/lib/x86_64-linux-gnu"
            self.command = [str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries),
                            str(root / "usr/bin" / NAME)]
            self.environment |= {"LTDL_LIBRARY_PATH": str(libraries / "bochs/plugins"), "BXSHARE": str(root / "usr/share/bochs")}
        self.bios = root / "usr/share/bochs/BIOS-bochs-latest"
        self.vgabios = root / "usr/share/vgabios/vgabios.bin"


def into_own_network():
    """The display is a server on a fixed port, on all addresses: each Bochs gets a network of its own. Where that is not
    allowed, it looks for a free port itself."""
    libc = ctypes.CDLL(None)
    new_user, new_network = 0x10000000, 0x40000000
    if libc.unshare(new_network):
        libc.unshare(new_user | new_network)
    libc.prctl(1, signal.SIGKILL) # after unshare, which forgets it


class Machine:
    """A running Bochs, and the near ends of its channels, into which a thread sorts what L1 sends."""

    def __init__(self, build, configuration, directory, log):
        self.directory = directory
        self.log = open(log, "wb", buffering=0)
        pairs = {name: socket.socketpair() for name in CHANNELS.values() if name != "log"}
        self.channels = {name: near for name, (near, _) in pairs.items()}
        self.far = {name: far for name, (_, far) in pairs.items()}
        self.console, console = os.pipe()
        (directory / "bochsrc").write_text(f"{configuration}com1: enabled=1, mode=file, dev=/dev/fd/{console}\n")
        (directory / "rc").write_text("c\n")
        command = [*build.command, "-unlock", "-q", "-f", str(directory / "bochsrc"), "-rc", str(directory / "rc")]
        with open(directory / "bochs.err", "wb") as errors:
            self.process = subprocess.Popen(command, env=build.environment, cwd=directory, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=errors, preexec_fn=into_own_network,
                                            start_new_session=True, pass_fds=[console])
        os.close(console)
        self.said = self.rest = b""
        self.sorter = threading.Thread(target=self.sort, daemon=True)
        self.sorter.start()

    def sort(self):
        """Until Bochs ends. What L1 has sent before a message on its console is also taken before that."""
        stream = self.process.stdout.fileno()
        while True:
            ready = select.select([stream, self.console], [], [])[0]
            if stream in ready:
                data = os.read(stream, 262144)
                if not data:
                    break
                self.take(data)
            else:
                self.log.write(os.read(self.console, 65536))
        while data := os.read(self.console, 65536):
            self.log.write(data)
        self.said += self.rest
        for far in self.far.values():
            far.close()

    def take(self, data):
        """Passes on whole frames; what is between them is Bochs's own. Keeps the rest."""
        data = self.rest + data
        while (start := data.find(MARK)) >= 0:
            self.said += data[:start]
            data = data[start:]
            if len(data) < FRAME.size:
                break
            _, channel, size = FRAME.unpack_from(data)
            if len(data) < FRAME.size + size:
                break
            self.pass_on(CHANNELS[channel], data[FRAME.size:FRAME.size + size])
            data = data[FRAME.size + size:]
        self.rest = data

    def pass_on(self, channel, data):
        if channel == "log":
            self.log.write(data)
            return
        try:
            self.far[channel].sendall(data)
        except OSError: # the bed has given up on this run
            pass

    def watch(self, selector):
        """The channels tell all."""

    def log_lines(self):
        path = self.directory / "bochs.log"
        return path.read_text(errors="replace").splitlines() if path.exists() else []

    def end_reason(self):
        """guest-shutdown, guest-reset, or None when the emulator went without a word."""
        text = "\n".join(self.log_lines()[-100:])
        if "soft power off" in text:
            return "guest-shutdown"
        return "guest-reset" if re.search(r"exception\(\): 3rd|[Tt]riple fault", text) else None

    def interrupt_hang(self, log):
        """Bochs's debugger shows the registers."""
        self.process.send_signal(signal.SIGINT)
        self.process.stdin.write(b"regs\nsreg\ncreg\nprint-stack 32\nquit\n")
        self.process.stdin.flush()
        self.sorter.join(3)
        log.with_suffix(".registers").write_bytes(self.said)

    def error_text(self):
        """Panics, and why VM entries failed."""
        told = [line for line in self.log_lines() if re.search(r">>PANIC<<|VMFAIL", line)]
        errors = (self.directory / "bochs.err").read_text(errors="replace").splitlines()
        return "\n".join(told[-20:] or [line for line in errors[-20:] if not re.match(r"\d{11}[a-z]\[", line)])

    def end(self):
        self.process.kill()
        self.process.wait()


def pieces_of(data, address):
    """(address, bytes) of what is not zero, whole sectors each; neighbours make one piece."""
    out = []
    for offset in range(0, len(data), GRAIN):
        grain = data[offset:offset + GRAIN]
        if not any(grain):
            continue
        grain += bytes(-len(grain) % SECTOR)
        if out and out[-1][0] + len(out[-1][1]) == address + offset:
            out[-1][1].extend(grain)
        else:
            out.append((address + offset, bytearray(grain)))
    return out


def segments(elf):
    """Entry point, and (physical address, bytes) of what an ELF file has to be loaded."""
    entry, table = struct.unpack_from("<QQ", elf, 24)
    count, = struct.unpack_from("<H", elf, 56)
    out = []
    for index in range(count):
        kind, _, offset, _, address, size = struct.unpack_from("<IIQQQQ", elf, table + 56 * index)
        if kind == 1:
            out.append((address, elf[offset:offset + size]))
    return entry, out


def kernel_disk(kernel, initrd):
    """A directory with the disk of kernel and base initramfs, and the plan for it."""
    base = initrd.read_bytes()
    key = hashlib.sha256(Path(__file__).read_bytes() + kernel.release.encode() + base).hexdigest()[:16]
    made = cached(f"bochs/{key}", lambda d: make_kernel_disk(kernel, base, d))
    mark_used(made)
    return made


def make_kernel_disk(kernel, base, directory):
    forget_old("bochs", keep=6)
    entry, loads = segments(kernel.vmlinux.read_bytes())
    plan, sector = [], 0
    with open(directory / "kernel.img", "wb") as image:
        for address, data in [*loads, (INITRD, base)]:
            for where, piece in pieces_of(data, address):
                plan.append((where, sector, len(piece) // SECTOR, 0, 0))
                image.write(piece)
                sector += len(piece) // SECTOR
        image.write(bytes(-image.tell() % DISK))
    setup = kernel.vmlinuz.read_bytes()[0x1f1:0x2f1]
    (directory / "plan.json").write_text(json.dumps({"entry": entry, "setup": setup.hex(), "pieces": plan}))


def payload_disk(cached_plan, base_size, payload, command_line):
    """The disk that differs from run to run: the whole plan, and what is appended to the initramfs."""
    plan = json.loads(cached_plan.read_text())
    start = INITRD + base_size + (-base_size % SECTOR)
    sectors = (PLAN_HEAD.size + PIECE.size * (len(plan["pieces"]) + 1) + SECTOR - 1) // SECTOR
    payload += bytes(-len(payload) % SECTOR)
    pieces = [*plan["pieces"], (start, sectors, len(payload) // SECTOR, 1, 0)]
    head = PLAN_HEAD.pack(b"HWVPLAN", plan["entry"], INITRD, start + len(payload) - INITRD, len(pieces), sectors,
                          bytes.fromhex(plan["setup"]), command_line.encode())
    table = b"".join(PIECE.pack(*piece) for piece in pieces)
    image = (head + table).ljust(sectors * SECTOR, b"\0") + payload
    return image + bytes(-len(image) % DISK)


def append(options):
    clear = CLEARED + (["rdrand", "rdseed"] if options.count else [])
    parts = [BASE_APPEND, f"mitigations={options.mitigations}", f"tsc_early_khz={ips(options) // 1000}",
             f"clearcpuid={','.join(clear)}", "idle=halt" if options.smp > 1 else "",
             COUNT_APPEND if options.count else "random.trust_cpu=on", options.append]
    return " ".join(part for part in parts if part)


def ips(options):
    return COUNT_IPS if options.count else IPS


def launch(options, kernel, initrd, payload, log, scratch):
    """Starts L1 from its reset, with the payload unpacked over the base initramfs."""
    build = Build(options.emulator)
    disk = kernel_disk(kernel, initrd)
    (scratch / "kernel.img").symlink_to(disk / "kernel.img")
    image = payload_disk(disk / "plan.json", initrd.stat().st_size, payload, append(options))
    (scratch / "payload.img").write_bytes(image)
    configuration = CONFIGURATION.format(
        cpu=options.cpu, smp=options.smp, ips=ips(options), mem=options.mem, bios=build.bios, vgabios=build.vgabios,
        rom=native.built() / "loader.rom", directory=scratch)
    return Machine(build, configuration, scratch, log)
