#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 400
"""trace, record, report, diff and advise on guests whose exits are known, and on Debian's kernel: what is told is what happened."""

import json
import re
from dataclasses import dataclass
from typing import Callable

from guestlib import BED, TMP, Case, assemble, finish, linux, run_cases

COUNT, MORE = 1000, 1100
AMD = ["AMD"] if BED == "svm" else []
# The guest goes on when the recorder has made its file.
STORM = ("(until [ -s /tmp/{file} ]; do sleep 0.1; done; echo g) | hwvctl run --mem 16M --name storm --serial stdio "
         "--kernel /share/storm{count}.bin --flat 0x200000,long >/dev/null &")


@dataclass
class Told(Case):
    """A case whose output has a JSON object behind a line '@json'."""

    check: Callable = lambda told: None

    def judge(self, status, output):
        wrong = super().judge(status, output)
        if wrong:
            return wrong
        try:
            return self.check(json.loads(output.split("@json\n", 1)[1]))
        except (IndexError, KeyError, TypeError, json.JSONDecodeError) as error:
            return f"not the JSON that was expected: {error!r}"


def images():
    for count in [COUNT, MORE]:
        assemble("storm", bits=64, at=0x200000, defines=[f"COUNT={count}", *AMD]).rename(TMP / f"storm{count}.bin")


def counts(exits):
    return {row["reason"]: row["count"] for row in exits}


def keys(told):
    return {(row["reason"], row["key"]): row["count"] for row in told["keys"]}


def exact(count, lossless=True):
    """Each exit that the statistics counted has its record, and the guest's own are as many as it made."""

    def check(told):
        records = told["records"]
        if records["matched"] != records["count"] + records["dropped"] or records["gaps"] != records["dropped"]:
            return f"{records['matched']} matched, {records['count']} records, {records['dropped']} dropped, {records['gaps']} gaps"
        if not lossless:
            return None
        if records["dropped"] or not records["complete"]:
            return f"{records['dropped']} dropped, complete: {records['complete']}"
        if counts(told["exits"]) != counts(records["exits"]):
            return f"statistics {counts(told['exits'])}, records {counts(records['exits'])}"
        want = {("cpuid", 0x1234): count, ("io", 0x80): count, ("msr_read", 0x1b): count, ("hypercall", 0x68777600): 2}
        found = {key: keys(told).get(key) for key in want}
        if found != want:
            return f"{found}, not {want}"
        for row in records["exits"]:
            if sum(row["histogram"]) != row["count"]:
                return f"{row['reason']}: {row['count']} exits, a histogram of {sum(row['histogram'])}"
        return None

    return check


def record(name, file, count, options, lossless=True):
    command = (f"{STORM.format(file=file, count=count)} hwvctl record storm --wait {options} -o /tmp/{file} --json; s=$?; wait; "
               f"[ $s = 0 ] && echo @json && hwvctl report /tmp/{file} --json")
    return Told(name, command, want=[r"records, \d+ dropped; the VM has ended", r'^ *"vm": "storm"$'], check=exact(count, lossless), seconds=90)


def storms():
    yield record("lossless", "a.rec", COUNT, "--lossless --ring 64")
    yield record("lossless-roomy", "b.rec", MORE, "--lossless --ring 65536")
    yield record("dropping", "c.rec", COUNT, "--ring 64", lossless=False)
    yield Case("report-text", "hwvctl report /tmp/a.rec", want=[
        rf"^cpuid +{COUNT} ", rf"^io port 0x80 \(POST code, delay\) +{COUNT} ", "each exit that the statistics counted has its record"],
        refuse=["^warning"])
    yield Case("report-html", "hwvctl report /tmp/a.rec --html | grep -c '<svg'; hwvctl report /tmp/a.rec --html | grep -c http",
               status=1, want=["^([4-9]|[1-9][0-9]+)$", "^0$"], lines=2)
    yield Case("report-records", "hwvctl report /tmp/a.rec --format text --filter reason=hypercall", lines=2,
               want=['hwv_mark: "begin" rip 0x2', 'hwv_mark: "end" rip 0x2'])
    yield Case("report-order", "hwvctl report /tmp/a.rec --format csv --filter 'reason=io key=0x80' | cut -d, -f6 | tail -n +2 | "
               f"awk '{{ if ($1 != sprintf(\"0x%x\", (NR - 1) % 256)) bad++ }} END {{ print NR, bad + 0 }}'", want=[f"^{COUNT} 0$"])
    yield Told("report-perfetto", "echo @json; hwvctl report /tmp/a.rec --format perfetto --filter 'reason=hypercall,msr_read'",
               check=lambda told: None if len(told["traceEvents"]) == COUNT + 2 + 2 + 2 else f"{len(told['traceEvents'])} events")
    yield Case("report-folded", "hwvctl report /tmp/a.rec --folded", want=[rf"^storm;vCPU 0;kernel;0x2\w+;cpuid;leaf 0x1234 {COUNT}$"])
    yield Case("report-cut-off", "head -c 100000 /tmp/a.rec >/tmp/cut.rec; hwvctl report /tmp/cut.rec", want=["^warning: cut off at byte"])
    yield Case("report-not-one", "hwvctl report /share/cases.sh", status=1, want=["hwvctl: /share/cases.sh: not a recording"], lines=1)
    yield Case("diff-same", "hwvctl diff /tmp/a.rec /tmp/a.rec --fail-if 'exits>+0%' --fail-if 'exits<-0%'", want=[r"^cpuid +1000 +1000 +0 +\+0.0 %"])
    yield Case("diff-more", "hwvctl diff /tmp/a.rec /tmp/b.rec --fail-if 'exits.cpuid>+9%' --fail-if 'exits.cpuid>+11%'", status=3,
               want=[r"^cpuid +1000 +1100 +100 +\+10.0 %", r"diff: exits.cpuid>\+9%: 1000 became 1100"], refuse=[r"diff: exits.cpuid>\+11%"])
    yield Case("diff-json", "hwvctl report /tmp/a.rec --json >/tmp/a.json; hwvctl diff /tmp/a.json /tmp/b.rec --fail-if 'exits.hypercall>2'",
               want=[r"^msr_read +1000 +1100 "])
    yield Case("advise", "hwvctl advise /tmp/a.rec", want=["^ ?[0-9]+. writes to port 0x80, which only pass time: ", "io_delay=none"])


def traces():
    command = (f"{STORM.format(file='t.csv', count=COUNT)} hwvctl trace storm --wait --lossless --format csv "
               "--filter 'reason=cpuid,msr_read cpl=0' -o /tmp/t.csv; s=$?; wait; grep -c ,cpuid,0x1234, /tmp/t.csv; grep -c ,msr_read,0x1b, /tmp/t.csv; "
               "exit $s")
    yield Case("trace", command, want=[f"^{COUNT}\n{COUNT}$"], seconds=90)
    command = (f"{STORM.format(file='never', count=COUNT)} hwvctl trace storm --wait | head -3; hwvctl trace storm --count 2; "
               "hwvctl advise storm | head -2; hwvctl advise storm | grep -A 1 kvmclock; hwvctl advise storm --json | grep -c '\"kvmclock is not in use'; "
               "touch /tmp/never; echo go >/tmp/never; wait")
    yield Case("trace-into-head", command, want=[r"^ +storm-\d+ \[000\] +\d+\.\d+: hwv_exit: reason io port 0x3fd \(COM1\) in 1 bytes",
                                                  "^  - kvmclock is not in use\n +do: .*no-kvmclock$", "^1$"],
               refuse=["roken pipe", "hwvctl: "], lines=11, seconds=90)
    yield Case("no-such-vm", "hwvctl trace nobody; [ $? = 1 ] && hwvctl record -o /tmp/x nobody", status=1,
               want=["there is no VM 'nobody'"], lines=2)
    yield Case("wrong-usage", "hwvctl record nobody; hwvctl trace x --filter reason=foo; hwvctl report; hwvctl diff a b --fail-if x", status=2,
               want=["-o FILE is missing", "'foo' is no exit reason", "FILE is missing", "METRIC>VALUE"], lines=4)


def kernel():
    """The bed's own kernel, which no loader has moved, is the guest's too: its symbols are those of the guest, less what KASLR did."""
    run = f"hwvctl run {linux('generic')} --name lin --mem 256M --append 'console=ttyS0 quiet hwv.do=marks'"
    command = ("cat /proc/kallsyms >/tmp/kallsyms; grep ' _text$' /proc/kallsyms; "
               f"{run} </dev/null & hwvctl record lin --wait --lossless -o /tmp/lin.rec; wait; "
               "hwvctl report /tmp/lin.rec --symbols /tmp/kallsyms --top 40; hwvctl report /tmp/lin.rec --format text --filter reason=hypercall; "
               "hwvctl advise /tmp/lin.rec")
    return Kernel("linux-symbols", command, want=[
        "each exit that the statistics counted has its record", 'hwv_mark: "begin"', 'hwv_mark: "end"', r"^native_cpuid\+0x\w+ +\d+ .* cpuid$",
        r"^native_(read|write)_msr\w*\+0x\w+ +\d+ .* msr_(read|write)$", "^ ?[0-9]+. the serial console"], refuse=["^warning"], seconds=200)


class Kernel(Case):
    def judge(self, status, output):
        wrong = super().judge(status, output)
        if wrong:
            return wrong
        host, guest = (int(at, 16) for at in re.findall(r"^([0-9a-f]{16}) T _text$", output, re.M))
        said = re.search(r"KASLR offset (0x[0-9a-f]+)", output)
        if not said or int(said.group(1), 16) != guest - host:
            return f"the guest was moved by {guest - host:#x}, hwvctl says {said and said.group(1)}"
        return None


def main():
    images()
    run_cases([*storms(), *traces(), kernel()], timeout=380)
    finish()


if __name__ == "__main__":
    main()
