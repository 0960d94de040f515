# SPDX-License-Identifier: GPL-2.0-only
"""What watching costs: a CPUID, guest to guest, with each instrument of hwv's on by itself, and Linux's own tools on hwv and on KVM."""

import shutil
from pathlib import Path

from bedlib.paths import BUILD

TOOLS = ["perf", "bpftrace"]
RIPS = BUILD / "programs/rips.bpf.o"
EXITS = {"hwv": ("hwv/hwv_exit", "reason"), "kvm": ("kvm/kvm_exit", "exit_reason")}


def cpuid(kind, how=""):
    return f'"$BENCH" {kind} cpuid 512 {how}'


def traced(kind):
    switch = f"/sys/kernel/tracing/events/{EXITS[kind][0]}/enable"
    return f"echo 1 > {switch}; {cpuid(kind)}; echo 0 > {switch}"


def recorded(kind):
    return f'perf record -q -o /tmp/perf.data -e {EXITS[kind][0].replace("/", ":")} {cpuid(kind)}; rm /tmp/perf.data'


def counted(kind):
    event, reason = EXITS[kind]
    return f"""bpftrace -e 'tracepoint:{event.replace("/", ":")} {{ @[args->{reason}] = count(); }}' -c "$BENCH {kind} cpuid 512" """


# what: what it is, for hwv and for KVM, and the commands that measure it. The last one has another module then.
WATCHING = {
    "stats": ("as always: of hwv counted, timed and keyed", {"hwv": cpuid("hwv"), "kvm": cpuid("kvm")}),
    "ring": ("each exit recorded in a ring", {"hwv": cpuid("hwv", "ring")}),
    "filter": ("each asked a rule that it does not meet", {"hwv": cpuid("hwv", "filter")}),
    "program": ("an eBPF program that lets each pass", {"hwv": cpuid("hwv", "program")}),
    "program_rips": ("one that counts them by RIP (rips.bpf.o)", {"hwv": cpuid("hwv", RIPS)}),
    "tracepoint": ("tracepoint hwv_exit, kvm_exit on", {kind: traced(kind) for kind in EXITS}),
    "perf_record": ("perf record of it", {kind: recorded(kind) for kind in EXITS}),
    "bpftrace": ("bpftrace, counting it by reason", {kind: counted(kind) for kind in EXITS}),
    "stats_off": ("statistics=off", {"hwv": f'rmmod hwv; insmod "$HWV_MODULE" statistics=0; {cpuid("hwv")}'}),
}
ORDER = ["stats_off", *(what for what in WATCHING if what != "stats_off")]


def tools():
    """Those of this machine's."""
    return {tool: path for tool in TOOLS if (path := shutil.which(tool))}


def can(command, quick):
    """Can it be measured? A tool's start takes a minute in Bochs."""
    tool = command.split()[0]
    return tool not in TOOLS or (tool in tools() and not quick)


def script(program, quick):
    """For a shell in L1."""
    steps = [f"echo what {what}; {command}; " for what, (_, commands) in WATCHING.items() for command in commands.values()
             if can(command, quick)]
    return f'set -e; BENCH={program}; [ -d /sys/kernel/tracing/events ] || mount -t tracefs none /sys/kernel/tracing; {"".join(steps)}'


def files(quick):
    """What L1 needs for it, beside the program."""
    return [RIPS, *([] if quick else map(Path, tools().values()))]


def figures(said):
    """{what: {"hwv": instructions, "kvm": instructions}} of the script's output."""
    told, what = {}, None
    for line in said.splitlines():
        words = line.split()
        if words[:1] == ["what"]:
            what = words[1]
        elif len(words) == 3 and words[0] == "cpuid" and what:
            told.setdefault(what, {})[words[1]] = int(words[2])
    return told


def table(told):
    """[{"what": .., "hwv": N, "kvm": N}] as bench.json has it; what KVM has not, is hwv's alone."""
    return [{"what": what, **told[what]} for what in ORDER if what in told]


def show(title, told):
    print(f"\n{title}: a CPUID while somebody watches{'hwv':>14}{'KVM':>10}")
    for what in ORDER:
        if what in told:
            kvm = f"{told[what]['kvm']:,}" if "kvm" in told[what] else ""
            print(f"  {WATCHING[what][0]:45}{told[what]['hwv']:>8,}{kvm:>10}")
    for tool in set(TOOLS) - set(tools()):
        print(f"  (no {tool} on this machine: its row is missing)")
