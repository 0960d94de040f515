# SPDX-License-Identifier: GPL-2.0-only
"""What watching costs: a CPUID, guest to guest, with each instrument of hwv's on by itself, and with KVM's beside it."""

# what it is called, and what to do before and after the figure is taken
CPUID = '"$BENCH" %s cpuid 512 %s'
TRACING = "/sys/kernel/tracing/events/%s/enable"


def traced(event, kind):
    return [f"echo 1 > {TRACING % event}", CPUID % (kind, ""), f"echo 0 > {TRACING % event}"]


STEPS = {
    "stats": [CPUID % ("hwv", "")],
    "ring": [CPUID % ("hwv", "ring")],
    "filter": [CPUID % ("hwv", "filter")],
    "tracepoint": traced("hwv/hwv_exit", "hwv"),
    "kvm": [CPUID % ("kvm", "")],
    "kvm_tracepoint": traced("kvm/kvm_exit", "kvm"),
    # Last: another module then.
    "stats_off": ["rmmod hwv", 'insmod "$HWV_MODULE" statistics=0', CPUID % ("hwv", "")],
}
SAYS = {
    "stats_off": "statistics=off",
    "stats": "as always: counted and timed",
    "ring": "and each exit recorded in a ring",
    "filter": "and each asked a rule that it does not meet",
    "tracepoint": "and hwv:hwv_exit on",
    "kvm": "KVM",
    "kvm_tracepoint": "KVM with kvm:kvm_exit on",
}


def script(program):
    """For a shell in L1."""
    steps = "".join(f"echo what {name}; {'; '.join(commands)}; " for name, commands in STEPS.items())
    return f'set -e; BENCH={program}; [ -d /sys/kernel/tracing/events ] || mount -t tracefs none /sys/kernel/tracing; {steps}'


def figures(said):
    """{what: instructions} of the script's output."""
    told, what = {}, None
    for line in said.splitlines():
        words = line.split()
        if words[:1] == ["what"]:
            what = words[1]
        elif len(words) == 3 and words[0] == "cpuid" and what:
            told[what] = int(words[2])
    return told


def table(told):
    """[{"what": .., "hwv": N} or {"what": .., "kvm": N}] as bench.json has it."""
    return [{"what": name.removeprefix("kvm_"), "kvm" if name.startswith("kvm") else "hwv": told[name]} for name in SAYS if name in told]


def show(title, told):
    print(f"\n{title}: a CPUID while somebody watches")
    for name, words in SAYS.items():
        if name in told:
            print(f"  {words:45}{told[name]:>8,}")
