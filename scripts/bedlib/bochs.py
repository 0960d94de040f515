# SPDX-License-Identifier: GPL-2.0-only
"""Bochs as the emulator of L1: its configuration, its process, and the saved state that makes a start quick."""

import ctypes
import hashlib
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
from itertools import pairwise
from pathlib import Path

from bedlib import disks, native, packages
from bedlib.paths import BedError, cached, forget_old, mark_used

NAME = "bochs-bin"
CHANNELS = {1: "control", 2: "out", 3: "err", 4: "log"}
MARK = b"\2hwvbed"
FRAME = struct.Struct("<7sBI")
# Bochs 2.7: FSRM copies wrongly what the kernel patches into itself; the sizes of the XSAVE area with AVX-512 or PKU
# contradict each other, so that the kernel would do without XSAVE; XRSTORS refuses what XSAVES has stored of some new threads
# (3.0 does not).
CLEARED = ["fsrm", "avx512f", "pku"]
CLEARED_IN_27 = ["xsaves", "xsavec"]
# What L1's kernel says of a CPU that gives no sign of life, to which it sends an NMI, within so many seconds; and where that finds a CPU
# that Bochs has kept in one of hwv's guests.
STALL = re.compile(r"^.*rcu: INFO: rcu_preempt .*detected .*stall.*\n", re.M)
STALL_SECONDS = 5
NMI_FOUND = re.compile(r"NMI backtrace for cpu \d+\n(?:.*\n){0,4}?.*RIP: 0010:(\w+)")
LEFT_BY_NMI = {"hwv_vmx_nmi"}
# TSC ticks, which are instructions, a second. With more of them a timer interrupts a measurement less often.
SAVE_TIMEOUT = 300
# Stands in a saved configuration for the directory of the run.
PLACE = "@RUN@"
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
ata0-master: type=disk, path={directory}/boot.img, mode=flat
ata0-slave: type=disk, path={directory}/payload.img, mode=flat
boot: disk
port_e9_hack: enabled=1
clock: sync=none, time0=1000000000
log: {directory}/bochs.log
com1: enabled=1, mode=file, dev=/dev/fd/0
panic: action=fatal
error: action=report
info: action=report
debug: action=ignore
"""
# The debugger's commands for --profile, as often as the program may come by.
TRACE = "lb {}\nlb {}\n" + 100 * "c\ntrace on\nc\ntrace off\n" + "quit\n"
TRACED = re.compile(r"\(0\)\.\[(\d+)\] \[0x[0-9a-f]+\] [0-9a-f]+:([0-9a-f]+) \([^)]*\): (.*?) +; [0-9a-f]+$|(Tracing enabled)|Next at t=(\d+)")


def unpacked():
    """The root of Bochs 3.0, which is the next Debian's."""
    return packages.of_release("emulator/bochs3", "trixie", ["bochs", "bochs-term", "bochsbios", "vgabios"])


class Build:
    """Which Bochs: the system's, or a newer one that is unpacked privately and runs with its own libraries."""

    def __init__(self, emulator):
        self.environment = dict(os.environ)
        self.preloaded = native.built() / "state.so"
        root = Path("/")
        if emulator == "bochs":
            if not shutil.which(NAME):
                raise BedError(f"no {NAME}: run scripts/setup")
            self.command, self.debugger = [NAME], []
            self.environment["LD_PRELOAD"] = str(self.preloaded)
        else:
            root = unpacked()
            libraries = root / "usr/lib/x86_64-linux-gnu"
            self.command = [str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries),
                            "--preload", str(self.preloaded), str(root / "usr/bin" / NAME)]
            self.debugger = ["-dbg"] # 2.7 has it always on
            self.environment |= {"LTDL_LIBRARY_PATH": str(libraries / "bochs/plugins"), "BXSHARE": str(root / "usr/share/bochs")}
        self.bios = root / "usr/share/bochs/BIOS-bochs-latest"
        self.vgabios = root / "usr/share/vgabios/vgabios.bin"

    def version(self):
        """What tells one build from another."""
        program = shutil.which(self.command[-1])
        return [(str(path), os.stat(path).st_size, os.stat(path).st_mtime) for path in [program, self.bios, self.vgabios]]


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

    def __init__(self, build, arguments, configuration, directory, log, environment=None, profile=None, span=None):
        self.directory = directory
        self.profile = profile
        self.without_debugger = build.debugger and not set(build.debugger) <= set(arguments)
        self.log = open(log, "wb", buffering=0)
        pairs = {name: socket.socketpair() for name in CHANNELS.values() if name != "log"}
        self.channels = {name: near for name, (near, _) in pairs.items()}
        self.far = {name: far for name, (_, far) in pairs.items()}
        self.console, console = os.pipe()
        configuration.write_text(re.sub(r"/dev/fd/\d+", f"/dev/fd/{console}", configuration.read_text()))
        (directory / "rc").write_text(TRACE.format(*span) if span else "c\n")
        command = [*build.command, "-unlock", "-q", "-rc", str(directory / "rc"), *arguments]
        with open(directory / "bochs.err", "wb") as errors:
            self.process = subprocess.Popen(
                command, env=build.environment | (environment or {}), cwd=directory, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=errors, preexec_fn=into_own_network, start_new_session=True, pass_fds=[console])
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
        if self.profile:
            write_profile(self.said.decode(errors="replace"), self.profile)
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

    @staticmethod
    def without_own_doing(messages):
        """Without the first lines of stalls whose CPUs were all in guests that Bochs let no interrupt end (README.md)."""
        kept, *stalls = [messages[start:end] for start, end in pairwise([0, *(m.start() for m in STALL.finditer(messages)), len(messages)])]
        return kept + "".join(STALL.sub("", stall) if set(NMI_FOUND.findall(stall)) == LEFT_BY_NMI else stall for stall in stalls)

    def suspicions(self):
        return []

    def interrupt_hang(self, log):
        """Bochs's debugger shows the registers; 3.0's would slow all runs down, so it is off."""
        if self.without_debugger:
            return
        self.process.send_signal(signal.SIGINT)
        self.process.stdin.write(b"regs\nsreg\ncreg\nprint-stack 32\nquit\n")
        self.process.stdin.flush()
        self.sorter.join(3)
        log.with_suffix(".registers").write_bytes(self.said)

    def error_text(self):
        """Panics, and why VM entries failed."""
        told = [line for line in self.log_lines() if re.search(r">>PANIC<<|VMFAIL|VMENTER FAIL", line)]
        errors = (self.directory / "bochs.err").read_text(errors="replace").splitlines()
        return "\n".join(told[-20:] or [line for line in errors[-20:] if not re.match(r"\d{11}[a-z]\[", line)])

    def end(self):
        self.process.kill()
        self.process.wait()


def write_profile(said, path):
    """What the debugger has traced between the two addresses, the last time: for each address the ticks that it took."""
    span, last = {}, None
    for line in said.splitlines():
        found = TRACED.match(line)
        if not found:
            continue
        tick, address, text, begin, end = found.groups()
        if begin:
            span, last = {}, None
            continue
        if last:
            count = span.get(last[1], (0, ""))[0] + int(tick or end) - last[0]
            span[last[1]] = count, last[2]
        last = (int(tick), int(address, 16), text) if tick else None
    path.write_text("".join(f"{address:x} {count} {text}\n" for address, (count, text) in span.items()))


def append(options):
    clear = CLEARED + (CLEARED_IN_27 if options.emulator == "bochs" else []) + (["rdrand", "rdseed"] if options.count else [])
    parts = [BASE_APPEND, f"mitigations={options.mitigations}", f"tsc_early_khz={ips(options) // 1000}",
             f"clearcpuid={','.join(clear)}",
             f"rcupdate.rcu_cpu_stall_timeout={STALL_SECONDS}", "idle=halt" if options.smp > 1 else "",
             COUNT_APPEND if options.count else "random.trust_cpu=on", options.append]
    return " ".join(part for part in parts if part)


def ips(options):
    return COUNT_IPS if options.count else IPS


def saved_state(build, options, kernel, initrd):
    """A directory with Bochs's saved state, taken when L1 waits for its job; made when there is none."""
    values = {"cpu": options.cpu, "smp": options.smp, "ips": ips(options), "mem": options.mem, "bios": build.bios,
              "vgabios": build.vgabios, "rom": native.built() / "loader.rom"}
    what = (build.version(), values, str(build.preloaded), append(options), CONFIGURATION, kernel.release, str(initrd))
    key = hashlib.sha256(repr(what).encode()).hexdigest()[:16]
    state = cached(f"state/bochs-{key}", lambda d: save_state(build, options, kernel, initrd, values, d))
    mark_used(state)
    return state


def save_state(build, options, kernel, initrd, values, directory):
    forget_old("state")
    with tempfile.TemporaryDirectory(prefix="hwv-bed-") as name:
        scratch = Path(name)
        (scratch / "boot.img").write_bytes(disks.boot_disk(kernel, initrd.read_bytes(), append(options)))
        (scratch / "payload.img").write_bytes(disks.payload_disk(b""))
        (scratch / "bochsrc").write_text(CONFIGURATION.format(directory=scratch, **values))
        log = directory / "console.log"
        machine = Machine(build, [*build.debugger, "-f", str(scratch / "bochsrc")], scratch / "bochsrc", scratch, log,
                          {"BED_SAVE": str(directory)})
        try:
            machine.sorter.join(SAVE_TIMEOUT)
        finally:
            machine.end()
        if not (directory / "memory.ram").exists():
            said = log.read_text(errors="replace").splitlines()[-20:]
            raise BedError("\n".join(["L1 does not come up", *said, machine.error_text()]))
        make_portable(directory, scratch)
    subprocess.run(["fallocate", "--dig-holes", directory / "memory.ram"], stderr=subprocess.DEVNULL)


def make_portable(state, scratch):
    """What Bochs saves does not fit everything that it does when it starts from that."""
    configuration = state / "config"
    text = configuration.read_text().replace(str(scratch), PLACE)
    # Timers are saved by number, which comes from the order of the plugins.
    text = re.sub(r"^plugin_ctrl: .*$", CONFIGURATION.splitlines()[0], text, flags=re.M)
    configuration.write_text(text)
    # Without the debugger, time moves by the growth of this number, of which the last value is not saved.
    for cpu in state.glob("cpu?"):
        cpu.write_text(re.sub(r"\bicount = \w+", "icount = 0", cpu.read_text()))
    for image in state.glob("hard_drive.0.drive?.image"):
        image.unlink()


def own_copy(state, payload, scratch):
    """A state for one run: all as saved, but the files of the run. Bochs puts the disks' saved images in place."""
    copy = scratch / "state"
    copy.mkdir()
    for path in state.iterdir():
        (copy / path.name).symlink_to(path)
    (copy / "config").unlink()
    (copy / "config").write_text((state / "config").read_text().replace(PLACE, str(scratch)))
    for number, (name, image) in enumerate([("boot.img", bytes(disks.CYLINDER)), ("payload.img", disks.payload_disk(payload))]):
        (scratch / name).write_bytes(bytes(disks.CYLINDER))
        (copy / f"hard_drive.0.drive{number}.image").write_bytes(image)
    return copy


def launch(options, kernel, initrd, payload, log, scratch):
    """Starts L1 from its saved state, with the payload to be unpacked over the base initramfs."""
    build = Build(options.emulator)
    copy = own_copy(saved_state(build, options, kernel, initrd), payload, scratch)
    arguments = [*(build.debugger if options.profile else []), "-r", str(copy)]
    return Machine(build, arguments, copy / "config", scratch, log, profile=options.profile, span=options.span)
