#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 400
"""Debian's kernels, unmodified, to their init and back: sizes, pages, processors of the host, and every way to end."""

from guestlib import BED, Case, finish, last_line, linux, run_cases, tell

# Linux prefers the TSC itself where CPUID says that it never stops, which the svm bed's CPU does not.
CLOCK = f"clock source: {'tsc' if BED == 'vmx' else 'kvm-clock'}"
CONSOLE = "console=ttyS0 panic=-1"
COMPLAINTS = r"WARNING: CPU|BUG:|unchecked MSR access|[Uu]nstable|Call Trace|soft lockup|stall"


def boot(name, what, *, options="--mem 256M", flavour="cloud", status=0, want=(), refuse=(), append="quiet"):
    command = f"hwvctl run {linux(flavour)} --append '{CONSOLE} {append} hwv.do={what}' {options}"
    return Case(name, command, status, [f"^HWV-GUEST-DONE {what}$" if what != "panic" else "Kernel panic", *want], list(refuse), seconds=150)


def launches():
    shown = ["^Linux .* GNU/Linux$|^Linux .*-cloud-amd64", CLOCK, "^flags .*hypervisor|^model name"]
    yield boot("powers-off", "show", want=shown)
    yield boot("reboots", "reboot", status=3, want=["the guest asked for a reset"])
    yield boot("panics", "panic", status=3, want=["sysrq triggered crash", "the guest asked for a reset"])


def sizes():
    yield boot("memory-96M", "show", options="--mem 96M", want=["MemTotal: +[4-9][0-9]{4} kB"])
    yield boot("memory-512M-small-pages", "show", options="--mem 512M --no-hugepages", want=["MemTotal: +4[0-9]{5} kB"])
    yield boot("memory-5G", "show", options="--mem 5G", want=["MemTotal: +[45][0-9]{6} kB"])
    yield boot("no-legacy", "show", options="--mem 256M --no-legacy", want=[CLOCK])


def clean_log():
    """The emulator of the default bed runs the guest's XSETBV unseen by the hypervisor, so Linux finds CPUID's XSAVE size
    wrong (under KVM too). A guest that does not see XSAVE has no such trouble."""
    return boot("log-is-clean", "log", append="quiet noxsave", want=["kvm-clock: Using msrs", "Hypervisor detected: KVM", "x2apic enabled"],
                refuse=[COMPLAINTS])


def two_processors():
    """The launcher's threads on two processors of the host. Bochs 3.0 loses guests' exceptions there: scripts/bedlib/README.md."""
    case = boot("host-with-two-processors", "show")
    emulator = ["--emulator", "bochs"] if BED == "vmx" else []
    run_cases([case], "--smp", 2, *emulator, timeout=250)


def main():
    status, output = run_cases([*launches(), *sizes(), clean_log()], timeout=380)
    tell("bed-is-sane", f"the bed's exit status is {status}: {last_line(output)}" if status else None)
    two_processors()
    finish()


if __name__ == "__main__":
    main()
