# SPDX-License-Identifier: GPL-2.0-only
"""What the guests' tests share: images assembled at test time, and tables of launches that one bed run goes through."""

import hashlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/guests"
TMP = Path(os.environ.get("HWV_TMP") or tempfile.mkdtemp(prefix="hwv-guests-"))
BED = os.environ.get("HWV_BED") or "svm"
SLOWER = 3 if BED == "vmx" else 1

sys.path.insert(0, str(ROOT / "scripts"))
from bedlib import debian, kernel as kernels, qemu  # noqa: E402, F401
from bedlib.cpio import Archive  # noqa: E402
from bedlib.initramfs import ModuleTree  # noqa: E402
from bedlib.packages import NotOffered, of_architecture, unpack_one  # noqa: E402, F401
from bedlib.paths import BedError, cached  # noqa: E402, F401

failures = 0


def tell(name, why=None):
    """One result line; `why` is what is wrong."""
    global failures
    failures += bool(why)
    print(f"not ok {name} - {why}" if why else f"ok {name}", flush=True)


def skip(name, why):
    print(f"skip {name} - {why}", flush=True)


def finish():
    raise SystemExit(1 if failures else 0)


@dataclass
class Case:
    """A shell command in the bed: its exit status and what its output must and must not have."""

    name: str
    command: str
    status: int = 0
    want: list = field(default_factory=list)
    refuse: list = field(default_factory=list)
    lines: int | None = None
    seconds: int = 60

    def judge(self, status, output):
        if status != self.status:
            return f"exit status {status}, not {self.status}: {last_line(output)}"
        for pattern in self.want:
            if not re.search(pattern, output, re.M):
                return f"no '{pattern}' in the output: {last_line(output)}"
        for pattern in self.refuse:
            found = re.search(f".*(?:{pattern}).*", output)
            if found:
                return f"there is: {found.group(0).strip()}"
        if self.lines is not None and len(output.splitlines()) != self.lines:
            return f"{len(output.splitlines())} lines of output, not {self.lines}: {output!r}"
        return None


def last_line(output):
    return (output.strip().splitlines() or ["no output"])[-1][:200]


def tools(text):
    """Options for programs of this machine that a script uses, where the bed does not show them."""
    if BED != "vmx":
        return []
    paths = [f"/usr/bin/{name}" for name in ["timeout", "setpriv", "python3"] if name in text]
    if "python3" in text:
        library = Path("/usr/lib", Path("/usr/bin/python3").resolve().name)
        paths += [*library.glob("*.py"), *(library / n for n in ["__pycache__", "collections", "encodings", "lib-dynload", "re"])]
    return [word for path in paths for word in ("--put", path)]


def bed(command, *options, timeout=120, **how):
    """Exit status and output of a run in the bed."""
    kernel = ["--kernel", os.environ["HWV_KERNEL"]] if os.environ.get("HWV_KERNEL") else []
    words = [ROOT / "scripts/bed", BED, "--timeout", timeout * SLOWER, *kernel, *options, "--", *command]
    done = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **how)
    return done.returncode, done.stdout.decode(errors="replace").replace("\r", "")


def newer_emulator():
    """Options for guests that meet what QEMU 7.2 has wrong (scripts/bedlib/README.md); raises NotOffered."""
    if BED == "svm":
        qemu.Build("qemu10")
    return ["--emulator", "qemu10"] if BED == "svm" else []


MARK = "@@@"


def script(cases):
    """Runs the cases one after the other; each one's output stays apart from the others'."""
    lines = []
    for number, case in enumerate(cases):
        lines += [f"timeout {case.seconds} sh -c {shlex.quote(case.command)} >/tmp/out-{number} 2>&1 </dev/null",
                  f'printf "\\n{MARK} {number} $?\\n"', f"cat /tmp/out-{number}", f"rm -f /tmp/out-{number}"]
    return "\n".join(lines)


def run_cases(cases, *options, share=TMP, load=True, timeout=None):
    """One bed run for all cases, one result line for each; then one for the bed itself. What was said."""
    (share / "cases.sh").write_text(script(cases))
    options = [*options, *tools(script(cases)), "--share", share, *(["--load"] if load else [])]
    status, output = bed(["sh", "/share/cases.sh"], *options, timeout=timeout or 30 + sum(c.seconds for c in cases))
    pieces = re.split(rf"\n{MARK} (\d+) (\d+)\n", output)
    said = {int(n): (int(s), text) for n, s, text in zip(pieces[1::3], pieces[2::3], pieces[3::3])}
    for number, case in enumerate(cases):
        shown = [f"--- {case.name}: {case.command}", *map(str, said.get(number, ()))]
        print(*("| " + line for part in shown for line in part.splitlines()), sep="\n", flush=True)  # no result lines of our own
        tell(case.name, case.judge(*said[number]) if number in said else f"did not run: {last_line(output)}")
    tell("bed-is-sane", f"the bed's exit status is {status}: {last_line(output)}" if status else None)
    return output


def assemble(name, *, bits, at=None, source=None, defines=()):
    """HERE/name.S as an ELF, or with `at` as a flat binary for that address; its path."""
    out = TMP / f"{name}{bits}"
    source = source or HERE / "images" / f"{name}.S"
    command = ["gcc", "-m64" if bits == 64 else "-m32", f"-DBITS={bits}", *(f"-D{d}" for d in defines), "-nostdlib", "-static", "-no-pie",
               "-Wl,--build-id=none", "-Wl,-N", "-Wl,--no-warn-rwx-segments", "-Wl,--section-start=.note.Xen=0x108000",
               f"-Wl,-Ttext={at or 0x100000:#x}", "-o", out, source]
    subprocess.run([str(w) for w in command], check=True)
    if at is not None:
        subprocess.run(["objcopy", "-O", "binary", "-j", ".text", out, f"{out}.bin"], check=True)
        return Path(f"{out}.bin")
    return out


def initrd(busybox=None):
    """Its name in TMP; of this system's busybox, or of another one."""
    target = TMP / ("initrd" if busybox is None else "initrd-i386")
    if not target.exists():
        subprocess.run([ROOT / "scripts/guest-initramfs", target, *([busybox] if busybox else [])], check=True)
    return target.name


def linux(flavour="cloud", version=None, elf=False):
    """The kernel, or the ELF inside it, and an initrd for it are in TMP: the options that launch them from /share. Raises NotOffered."""
    target = TMP / "-".join(["vmlinux" if elf else "vmlinuz", flavour, *([version] if version else [])])
    if not target.exists():
        kernel = kernels.fetch(flavour, version)
        target.write_bytes((kernel.vmlinux if elf else kernel.vmlinuz).read_bytes())
    busybox = of_architecture("i386/busybox-static", "i386", "busybox-static") / "bin/busybox" if flavour in kernels.I386 else None
    return f"--kernel /share/{target.name} --initrd /share/{initrd(busybox)}"


def linux_with(name, modules, text, flavour="cloud", parameters=None):
    """Options that launch a Debian kernel, which loads these of its modules, with what they need, and then runs a script."""
    options = linux(flavour)
    archive, loading = Archive(), []
    tree = ModuleTree(kernels.fetch(flavour).modules)
    for module in tree.in_load_order(["virtio_pci", *modules]):
        archive.data(f"/modules/{module}.ko", tree.read(module))
        loading.append(f"insmod /modules/{module}.ko {(parameters or {}).get(module, '')}")
    archive.data("/run", "\n".join([*loading, text, ""]).encode())
    (TMP / f"initrd-{name}").write_bytes((TMP / "initrd").read_bytes() + archive.pack())
    return f"{options}-{name} --append 'console=ttyS0 panic=-1 quiet hwv.do=run'"


CHECKSUM = hashlib.md5("".join(f"{n}\n" for n in range(1, 20001)).encode()).hexdigest()


def computes(name, flavour, version=None, options="--mem 512M", elf=False):
    """A Debian kernel, that says its release and something computed, and powers off. Raises NotOffered."""
    command = f"hwvctl run {linux(flavour, version, elf)} --append 'console=ttyS0 panic=-1 quiet hwv.do=compute' {options}"
    release, machine = kernels.release(flavour, version), "i686" if flavour in kernels.I386 else "x86_64"
    return Case(name, command, 0, [f"^Linux .* {re.escape(release)} .* {machine} GNU/Linux$", f"^checksum {CHECKSUM} ",
                                   "^HWV-GUEST-DONE compute$"], ["WARNING: CPU", "BUG:", "Call Trace"], seconds=150)
