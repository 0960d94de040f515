#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 400
"""Debian's kernels, unmodified, to their init and back: sizes, pages, processors of the host, and every way to end."""

from guestlib import BED, Case, finish, linux, linux_with, run_cases

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


HPET = """
dmesg | grep -E 'hpet|HPET'
cd /sys/devices/system/clocksource/clocksource0
echo "available: $(cat available_clocksource)"
echo hpet >current_clocksource; echo "clock: $(cat current_clocksource)"
moment() { cut -d' ' -f1 /proc/uptime | tr -d .; cat /sys/class/rtc/rtc0/since_epoch; }
set -- $(moment); sleep 4; set -- $* $(moment)
echo "$(($3 - $1)) hundredths, by the RTC $(($4 - $2)) s"
[ $(($3 - $1)) -ge 400 ] && [ $(($3 - $1)) -le $((($4 - $2 + 1) * 100 + 50)) ] && echo "time goes on"
grep -E '^ *[08]:' /proc/interrupts
"""


def hpet():
    """As one clock source among several; then as all that there is for time, its interrupts in the place of the PIT's."""
    launch = linux_with("hpet", [], HPET) + " --mem 256M --hpet"
    shown = ["^available: .*hpet", "^clock: hpet$", "^time goes on$", r"hpet0: 3 comparators, 64-bit 100\.0+ MHz counter"]
    yield Case("hpet-offered", f"hwvctl run {launch}", 0, shown, [COMPLAINTS], seconds=150)
    if BED == "vmx":
        return  # a tick 250 times a second, of which Bochs has too little
    alone = launch.replace("quiet", "quiet nolapic_timer no-kvmclock notsc")
    yield Case("hpet-alone", f"hwvctl run {alone}", 0, [*shown, r"^ *0: +[0-9]{3,} .*timer$"], [COMPLAINTS], seconds=150)


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
    run_cases([*launches(), *sizes(), *hpet(), clean_log()], timeout=380)
    two_processors()
    finish()


if __name__ == "__main__":
    main()
