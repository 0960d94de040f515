#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 480
"""Guests of several processors on two of the host. Debian's kernel brings each up, has each work and tell the next one something,
takes each off and on again, and stays content; small guests end in one processor's thread while others sleep. In the VMX bed, which
takes minutes for each boot, Linux has two."""

from guestlib import BED, TMP, Case, assemble, finish, linux, run_cases

# The svm bed's CPU does not say that its TSC never stops: with several processors Linux on AMD's gives it up without a look.
COMPLAINTS = r"WARNING: CPU|BUG:|unchecked MSR access|TSC warp|nstable due to (?!TSCs unsynchronized)|Call Trace|lockup|stall|check_tsc"
APPEND = "console=ttyS0 panic=-1 quiet noxsave"
TSC = ["Switched to clocksource tsc"] if BED == "vmx" else []
RUN = "hwvctl run --mem 16M --serial null --flat 0x8000,real"


def image(what):
    assemble("processors", bits=16, at=0x8000, defines=[what]).rename(TMP / f"{what.lower()}.bin")
    return f"--kernel /share/{what.lower()}.bin"


def small():
    """What one processor does is the whole guest's end, and said of that one."""
    yield Case("another-one-faults", f"{RUN} --cpus 2 {image('FAULT')}", 5, [r"^hwvctl: vCPU 1: triple fault at rip 0x"])
    yield Case("another-one-ends", f"{RUN} --cpus 64 {image('EXIT')}", 128 + 5, lines=0)
    yield Case("listed", "; ".join([
        f"{RUN} --cpus 3 --name trio {image('SPIN')} & guest=$!", "sleep 2", "hwvctl ls", "hwvctl ls --vcpus", "hwvctl stat trio --json",
        "hwvctl kill trio", "wait $guest; echo status $?"]),
        0, [r" trio .* 3 +\S+ runs ", r"^ +\d+ +0 +\d+ halted$", r"^ +\d+ +1 +\d+ runs$", r"^ +\d+ +2 +0 waits for SIPI$", "^status 7$"])


def held():
    """One vCPU stands, and the rest goes on: a small guest's by its entries, Linux by what it says, which no one's absence disturbs."""
    stands, goes = r"^ +\d+ +1 +(\d+) stands$", "^status 0$"
    yield Case("one-held", "; ".join([
        f"{RUN} --cpus 3 --name trio {image('SPIN')} & guest=$!", "sleep 2", "hwvctl resume trio", "hwvctl pause trio --vcpu 1", "hwvctl ls --vcpus",
        "sleep 1", "hwvctl ls --vcpus", "hwvctl regs trio --vcpu 1", "hwvctl ls", "hwvctl pause trio --vcpu 5; echo five $?",
        "hwvctl resume trio --vcpu 1", "sleep 1", "hwvctl ls --vcpus", "hwvctl pause trio --vcpu 1", "hwvctl resume trio", "hwvctl kill trio",
        "wait $guest; echo status $?"]),
        0, ["was not paused$", r"^vCPU 1 of VM \d+ trio stands; to go on", rf"(?m){stands}(?s:.*)^ +\d+ +1 +\1 stands$", r"^cs +0900 base 0*9000 ",
            r" trio .* runs ", "no such vCPU", "^five 1$", "^vCPU 1 of .* goes on$", r"^ +\d+ +1 +\d+ runs$", r"^VM \d+ trio goes on$", "^status 7$"])
    if BED == "vmx":
        return
    yield Case("one-held-of-linux", "; ".join([
        f"hwvctl run {linux()} --append '{APPEND} hwv.do=smp' --mem 256M --cpus 2 --name duo --serial file:/tmp/com1 & guest=$!",
        "until grep -q 'worked on 1' /tmp/com1; do sleep 0.1; done", "hwvctl pause duo --vcpu 1", "sleep 2", "hwvctl ls --vcpus", "hwvctl resume duo --vcpu 1",
        "wait $guest; echo status $?; cat /tmp/com1"]),
        0, [stands, goes, "^back on 1$", "^HWV-GUEST-DONE smp$"], [COMPLAINTS], seconds=120)


def others(one, count):
    """As Linux writes the list of all but one."""
    ranges = [(0, one - 1), (one + 1, count - 1)]
    return ",".join(f"{a}-{b}" if a < b else str(a) for a, b in ranges if a <= b)


def smp(processors):
    command = f"hwvctl run {linux()} --append '{APPEND} hwv.do=smp' --mem 256M --cpus {processors} --stats"
    every = range(processors)
    return Case(f"linux-{processors}", command, 0, [
        "^HWV-GUEST-DONE smp$", "KVM setup pv remote TLB flush", "setup PV IPIs", "setup PV sched yield", *TSC, rf"Brought up 1 node, {processors} CPUs", rf"^siblings\s+: {processors}$", rf"^cpu cores\s+: {processors}$",
        *(rf"^apicid\s+: {n}$" for n in every), *(f"^worked on {n}$" for n in every), *(f"^back on {n}$" for n in every if n),
        *(rf"^without {n}: {others(n, processors)}$" for n in every if n),
        # Rescheduling and call interrupts came to each, as did its timer's; sending one is no exit to user.
        *(rf"^ *{name}:(?: +[1-9]\d*){{{processors}}} " for name in ["RES", "CAL", "LOC"]), r"^msr_write +[1-9].* 0$"],
        [COMPLAINTS], seconds=120)


def main():
    counts = [2] if BED == "vmx" else [2, 4, 8]
    emulator = ["--emulator", "bochs"] if BED == "vmx" else []
    cases = [*small(), *held(), *(smp(n) for n in counts)]
    run_cases(cases, "--smp", 2, *emulator, timeout=460)
    finish()


if __name__ == "__main__":
    main()
