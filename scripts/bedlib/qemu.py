# SPDX-License-Identifier: GPL-2.0-only
"""QEMU as the emulator of L1: its command line, its process, and the saved state that makes a start quick."""

import ctypes
import hashlib
import os
import re
import selectors
import shlex
import shutil
import signal
import socket
import subprocess

from bedlib import native, packages, session
from bedlib.paths import BedError, cached, forget_old, mark_used
from bedlib.qmp import Qmp

NAME = "qemu-system-x86_64"
# Order is the port's number in L1; 0 is the terminal.
CHANNELS = ["tty", "control", "out", "err", "stdin"]
BASE_APPEND = "console=ttyS0 panic=-1 quiet tsc=reliable"
# BEDS: with these and -icount, L1's TSC counts instructions and two runs are the same.
COUNT_APPEND = "norandmaps randomize_kstack_offset=off random.trust_cpu=off"
COUNT_ARGS = ["-icount", "shift=0,sleep=off", "-rtc", "base=2024-01-01T00:00:00,clock=vm", "-seed", "1"]


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Build:
    """Which QEMU: the system's, or a newer one that is unpacked privately, with its own firmware and libraries."""

    def __init__(self, emulator):
        self.environment = dict(os.environ)
        if emulator == "qemu":
            if not shutil.which(NAME):
                raise BedError(f"no {NAME}: run scripts/setup")
            self.command = [NAME]
            return
        root = packages.backported("emulator/qemu10", "qemu-system-x86")
        libraries = root / "usr/lib/x86_64-linux-gnu"
        firmware = [root / "usr/share/qemu", root / "usr/share/seabios"]
        self.command = [str(root / "usr/bin" / NAME), *(word for path in firmware for word in ("-L", str(path)))]
        self.environment |= {"LD_LIBRARY_PATH": str(libraries), "QEMU_MODULE_DIR": str(libraries / "qemu")}

    def version(self):
        said = subprocess.run([*self.command, "--version"], env=self.environment, text=True, check=True,
                              stdout=subprocess.PIPE)
        return said.stdout.splitlines()[0]


class Machine:
    """A running QEMU, and the near ends of its channels."""

    def __init__(self, build, arguments, scratch, files=()):
        pairs = {name: socket.socketpair() for name in [*CHANNELS, "qmp"] if name not in files}
        self.errors = scratch / "qemu.err"
        command = [*build.command, *arguments, *channel_arguments(pairs, scratch)]
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(
                command, env=build.environment, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, preexec_fn=die_with_parent,
                start_new_session=True, pass_fds=[far.fileno() for _, far in pairs.values()])
        for _, far in pairs.values():
            far.close()
        self.channels = {name: near for name, (near, _) in pairs.items()}
        self.qmp = Qmp(self.channels.pop("qmp"))

    def start(self):
        try:
            self.qmp.connect()
        except BedError:
            self.process.wait()
            raise BedError(f"QEMU does not start:\n{self.error_text()}") from None

    def watch(self, selector):
        """Adds what else, besides the channels, tells of the emulator's life; data goes to the registered function."""
        selector.register(self.qmp.sock, selectors.EVENT_READ, self.qmp.take)

    def end_reason(self):
        """guest-shutdown, guest-reset, ... or None when the emulator went without a word."""
        return self.qmp.shutdown_reason()

    @staticmethod
    def without_own_doing(messages):
        """What L1's kernel says that is not the emulator's fault."""
        return messages

    def suspicions(self):
        """What of a hang is QEMU's own doing. A CPU without paging in long mode is one that README.md tells of, or was caught
        between host and guest: not three times."""
        self.qmp.sock.settimeout(3)
        lost = set.intersection(*(without_paging(self.qmp.human("info registers -a")) for _ in range(3)))
        return [f"QEMU has lost CPU {cpu} of L1: a guest exited with EFER.LME set, CR4.PAE and CR0.PG clear "
                "(scripts/bedlib/README.md)" for cpu in sorted(lost)]

    def interrupt_hang(self, log):
        """Saves the registers, and has the NMI make L1's kernel say where it is."""
        self.qmp.sock.settimeout(3)
        log.with_suffix(".registers").write_text(self.qmp.human("info registers -a"))
        self.qmp.execute("inject-nmi")

    def error_text(self):
        lines = self.errors.read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if "TCG doesn't support requested feature" not in line)

    def end(self):
        self.process.kill()
        self.process.wait()


def without_paging(registers):
    """The CPUs that are in long mode by EFER.LMA, and not by CR0.PG."""
    found = re.findall(r"^CPU#(\d+)$.*?^CR0=(\w+).*?^EFER=(\w+)", registers.replace("\r", ""), re.M | re.S)
    return {int(cpu) for cpu, cr0, efer in found if int(efer, 16) & 1 << 10 and not int(cr0, 16) & 1 << 31}


def value(path):
    """Of an option, in which a comma begins the next one."""
    return str(path).replace(",", ",,")


def channel_arguments(pairs, scratch):
    """The far ends: sockets that are connected from the start, so that L1 never sees a port without a reader, or files."""
    out = []
    for number, name in enumerate(CHANNELS):
        backend = f"socket,fd={pairs[name][1].fileno()}" if name in pairs else f"file,path={value(scratch / name)}"
        device = "virtconsole" if name == "tty" else f"virtserialport,name=bed.{name}"
        out += ["-chardev", f"{backend},id={name}", "-device", f"{device},nr={number},chardev={name}"]
    out += ["-chardev", f"socket,fd={pairs['qmp'][1].fileno()},id=qmp", "-mon", "chardev=qmp,mode=control"]
    return out


def append(options):
    parts = [BASE_APPEND, f"mitigations={options.mitigations}", COUNT_APPEND if options.count else "", options.append]
    return " ".join(p for p in parts if p)


def cpu(options):
    return options.cpu + (",-rdrand,-rdseed" if options.count else "")


def base_arguments(options, kernel, initrd):
    """What a saved state and its users must have in common."""
    threads = ",thread=multi" if options.smp > 1 else ""
    ioeventfd = ",ioeventfd=off" if options.count else ""
    out = ["-accel", f"tcg{threads}", "-cpu", cpu(options), "-smp", str(options.smp), "-m", str(options.mem),
           "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
           "-kernel", str(kernel.vmlinux), "-initrd", str(initrd), "-append", append(options),
           "-device", f"virtio-serial-pci{ioeventfd}"]
    if options.count:
        return out + (pmem_arguments(options) if options.pmem else ["-M", "q35"]) + COUNT_ARGS
    return out + ["-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap",
                  "-device", "virtio-9p-pci,fsdev=host,mount_tag=host"]


def pmem_arguments(options):
    """A file that is read without anybody's waiting, so that two runs are still the same."""
    size = options.pmem.stat().st_size
    return ["-M", "q35,nvdimm=on", "-m", f"{options.mem},slots=1,maxmem={options.mem + (size >> 20) + 1024}M",
            "-object", f"memory-backend-file,id=pmem,size={size},mem-path={value(options.pmem.resolve())},share=off",
            "-device", "nvdimm,memdev=pmem"]


def memory_arguments(options, path, share):
    return ["-M", "q35,memory-backend=ram",
            "-object", f"memory-backend-file,id=ram,size={options.mem}M,mem-path={value(path)},share={share}"]


def console_arguments(path):
    return ["-chardev", f"file,path={value(path)},id=console", "-serial", "chardev:console"]


def run_arguments(options, log):
    out = console_arguments(log)
    if options.trace:
        out += ["-d", options.trace, "-D", str(log.with_suffix(".trace"))]
    if options.profile:
        span = f",from={options.span[0]},to={options.span[1]}" if options.span else ""
        out += ["-plugin", f"{native.built() / 'profile.so'},out={options.profile}{span}"]
    if options.gdb:
        out += ["-gdb", f"tcp:127.0.0.1:{options.gdb}", "-S"]
    return out


def saved_state(build, options, kernel, initrd):
    """A directory with L1's memory and device state, taken when L1 waits for its job; made when there is none."""
    arguments = base_arguments(options, kernel, initrd)
    key = hashlib.sha256(repr((build.version(), CHANNELS, arguments)).encode()).hexdigest()[:16]
    state = cached(f"state/{key}", lambda d: save_state(build, options, arguments, d))
    mark_used(state)
    return state


def save_state(build, options, arguments, directory):
    """Memory goes to a file that later runs map privately; QEMU then saves only what is not memory."""
    forget_old("state")
    machine = Machine(build, [*arguments, *memory_arguments(options, directory / "ram", "on"),
                       *console_arguments(directory / "console.log")], directory)
    try:
        machine.start()
        if not session.wait_ready(machine, timeout=120):
            console = directory / "console.log"
            said = console.read_text(errors="replace").splitlines()[-20:] if console.exists() else []
            raise BedError("\n".join(["L1 does not come up", *said, machine.error_text()]))
        share_memory(machine.qmp)
        machine.qmp.migrate(f"exec:cat > {shlex.quote(str(directory / 'state'))}")
    finally:
        machine.end()


def share_memory(qmp):
    qmp.execute("migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": True}])


def launch(options, kernel, initrd, payload, log, scratch):
    """Starts L1: from its saved state, or with --count from its reset. The control channel then speaks."""
    build = Build(options.emulator)
    if options.count:
        (scratch / "initrd").write_bytes(initrd.read_bytes() + payload)
        arguments = base_arguments(options, kernel, scratch / "initrd")
        machine = Machine(build, [*arguments, *run_arguments(options, log)], scratch, files=("out", "err"))
        machine.start()
        return machine
    arguments = base_arguments(options, kernel, initrd)
    state = saved_state(build, options, kernel, initrd)
    machine = Machine(build, [*arguments, *memory_arguments(options, state / "ram", "off"), *run_arguments(options, log),
                       "-incoming", "defer"], scratch)
    machine.start()
    share_memory(machine.qmp)
    machine.qmp.execute("migrate-incoming", uri=f"exec:cat {shlex.quote(str(state / 'state'))}")
    return machine
