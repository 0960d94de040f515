#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
"""A guest watched and steered by other processes: listed, counted exactly, paused, its registers and memory read and changed, killed."""

import json
import re

from guestlib import TMP, Case, assemble, finish, run_cases, tell

N = 1000
JSON = "=== json"
READY = "until grep -q R /tmp/com1 2>/dev/null; do sleep 0.1; done"


def start(name, image="exits", more=""):
    """A shell's words: the guest runs in the background and has made its exits."""
    return (f"rm -f /tmp/com1; hwvctl run --mem 16M --name {name} --kernel /share/{image}.bin --flat 0x200000,long --serial file:/tmp/com1 "
            f"--stats {more} >/tmp/table 2>/tmp/said & guest=$!; {READY}")


END = "wait $guest; echo status $?; cat /tmp/said /tmp/table"


def steered():
    """Each by a name, id or pid, whichever; the guest's end is what was written into a register."""
    return Case("steered", "; ".join([
        start("web"), "hwvctl ls", "hwvctl pause web", "hwvctl ls", "hwvctl pause id:1", "hwvctl stat pid:$guest --count 1 --interval 0.3",
        "hwvctl regs web", "hwvctl resume $guest", "hwvctl ls", "hwvctl resume web", "hwvctl regs 1 --set r15=0x15 | head -1", END]),
        0, [r"^ +1 web +\d+ \S+ +1 +\S+ runs +0$", "^VM 1 web is paused; to go on", r"^ +1 web +\d+ \S+ +1 +\S+ paused +0$",
            "^VM 1 web is paused already$", r"^total +0 ", "^r12 +1122334455667788 ", "^VM 1 web goes on$", "^VM 1 web was not paused$",
            "^status 149$", rf"^cpuid +{N} "])


def counted():
    watch = f"echo {JSON}; " + "".join(f"hwvctl {words}; echo {JSON}; " for words in [
        "stat web --json", "ls --json", "regs web --json", "mem web 0x200000 64 --json", "top web --json -n 1 -d 0.2", "prog list web --json", "policy get web --json"])
    return Case("counted", "; ".join([
        start("web"), watch + "true", "hwvctl stat web --keys", "hwvctl stat web --prom", "hwvctl stat web --vcpu 1; echo vcpu $?", "hwvctl kill web", END]),
        0, [rf"^cpuid +{N} .*\n  0x1 features +{N}$", rf"^io +{2 * N + 1} .*\n  0x80 POST code, delay +{2 * N}\n  0x3f8 COM1 +1$",
            rf'^hwv_exit_seconds_count{{vm="2",name="web",reason="cpuid"}} {N}$',
            rf'^hwv_exit_keys_total{{vm="2",name="web",reason="io",key="0x80"}} {2 * N}$', "no such vCPU|vCPU 1", "^vcpu 1$",
            "^VM 2 web is killed$", "^status 7$", "^hwvctl: killed by an observer"])


def coloured():
    """Colours are for terminals whose user wants them."""
    typist = "python3 /share/typist.py hwvctl stat web --"
    return Case("coloured", "; ".join([
        start("web"), "hwvctl pause web", rf"TERM=linux {typist} '\033[1mexit ' '' '\033[31m' ''", rf"TERM=linux NO_COLOR=1 {typist} '\ncpuid ' ''", rf"TERM=dumb {typist} '\ncpuid ' ''",
        "hwvctl stat web | grep -c '\033'", "hwvctl kill web"]),
        0, ["^saw \033\\[1mexit $", "^saw \033\\[31m$", r"^saw \ncpuid $(.|\n)*^saw \ncpuid $", "^0$"], refuse=["^missed", "Traceback"])


def told():
    """Events of a VM's life, of rules and of a pause; what the VM keeps is everybody's who may: seen, taken back and gone with the VM."""
    return Case("told", "; ".join([
        "hwvctl events --json --count 7 >/tmp/json & json=$!; hwvctl events >/tmp/events & events=$!; sleep 1", start("web"),
        "hwvctl ls --vcpus", "hwvctl ls -v --json | grep -c entries", "echo 'io 0x80 -> count' | hwvctl policy set web -", "hwvctl policy get web", "hwvctl policy get web --json",
        "hwvctl pause web; hwvctl ls --vcpus", "hwvctl kick web --vcpu 0", "hwvctl kick web --vcpu 9; echo kick $?", "hwvctl resume web", "hwvctl regs web --set r15=1 >/dev/null", END,
        "sleep 1; kill -INT $events; wait $events; echo events $?; cat /tmp/events; wait $json; echo json $?; cat /tmp/json", "hwvctl ls --vcpus", "cat /sys/module/hwv/refcnt"]),
        0, [r"^ +\d+ +0 +\d+ (runs|halted|in user)$", "^1$", r"^ +\d+ +\d+  io 0x80 -> count$", '"holder": 0', r"^ +\d+ +0 +\d+ stands$", r"is kicked$", "no such vCPU\nkick 1$",
            "^status 129$", "^events 0$", r"^\[\d+\.\d{6}\] VM \d+ web vm_created pid=\d+ uid=0$", "web vm_started$", "web vm_paused$", "web vm_resumed$",
            "web vm_ended why=closed$", "^json 0$", r'^\{"time_seconds":[\d.]+,"vm":\d+,"name":"web","sequence":1,"event":"vm_created","pid":\d+,"uid":0\}$', "^0$"],
        refuse=["were lost"])


def memory():
    text = '"$(hwvctl mem web 0x200000 256 | tail -1)"'
    return Case("memory", "; ".join([
        start("web"), f"echo {text}", "hwvctl mem web 0x200000 4K --out /tmp/image", "cmp -n $(stat -c %s /share/exits.bin) /tmp/image /share/exits.bin && echo same",
        "hwvctl mem web 0x200000 256 | grep -c found", "hwvctl mem web 0x200000 64 >/tmp/physical", "hwvctl mem web 0x200000 64 --virtual | cmp - /tmp/physical && echo alike",
        "hwvctl mem web 0xfffff8 16; echo beyond $?", "hwvctl mem web 0x1234500000000 16 --virtual; echo unmapped $?",
        "printf '\\115\\211\\347\\260\\052\\346\\364' >/tmp/code", "hwvctl pause web; hwvctl mem web 0x300000 --write /tmp/code; hwvctl regs web --set rip=0x300000 >/dev/null; "
        "hwvctl resume web", END]),
        0, ["^00200100$", "^same$", "^alike$", r"^00fffff8  00 00 00 00 00 00 00 00 .*\|\.{8}\|\n01000000\nhwvctl: the guest has no memory at guest-physical address 0x1000000",
            "^beyond 1$", "nothing mapped at virtual address 0x1234500000000|not in memory", "^unmapped 1$", "^status 170$"])


# typist.py COMMAND... -- WANTED KEYS WANTED KEYS ...: on a terminal, types the keys when the text is there; then shows the end.
TYPIST = r"""
import os, pty, select, sys, time
command, script = sys.argv[1:sys.argv.index("--")], [w.encode().decode("unicode_escape").encode() for w in sys.argv[sys.argv.index("--") + 1:]]
pid, fd = pty.fork()
if pid == 0:
    os.execvp(command[0], command)
seen, at = b"", 0
for wanted, keys in zip(script[::2], script[1::2]):
    end = time.time() + 20
    while seen.find(wanted, at) < 0 and time.time() < end:
        if select.select([fd], [], [], 1)[0]:
            seen += os.read(fd, 65536)
    found = seen.find(wanted, at)
    print("saw" if found >= 0 else "missed", wanted.decode())
    at = found + len(wanted) if found >= 0 else len(seen)
    os.write(fd, keys)
while True:
    try:
        piece = os.read(fd, 65536)
    except OSError:
        break
    if not piece:
        break
    seen += piece
print("ended", os.waitpid(pid, 0)[1], "screen given back" if seen.endswith(b"\033[?25h\033[?1049l") else seen.decode()[-300:])
"""


def top():
    """Pictures for a pipe; and on a terminal: into the VM's exits, help, the end, and the screen is given back."""
    keys = r"'hwvctl top: 1 VM,' '\r' 'EXIT ' h 'this help' ' ' 'guest ' q"
    return Case("top", "; ".join([
        start("web"), "hwvctl top --batch -n 1 -d 0.5", "hwvctl top web -b -n 1 -d 0.5", "hwvctl top --delay 0; echo delay $?", "hwvctl top </dev/null; echo pipe $?",
        f"python3 /share/typist.py hwvctl top -- {keys}", "hwvctl kill web", "wait $guest; echo status $?"]),
        0, [r"^hwvctl top: 1 VM, \d+ exits/s; every 0.5 s$", r"^ +\d+ web +\d+ runs +\d", r"^VM \d+ web, pid \d+, runs, \S+ old: \d+ exits/s; every 0.5 s$",
            rf"^cpuid .* {N}$", "^delay 2$", "use --batch\npipe 1$", "^saw hwvctl top: 1 VM,$", "^saw EXIT $", "^saw this help$", "^ended 0 screen given back$",
            "^status 7$"],
        refuse=["^missed"])


def asked():
    """Stops that somebody on a terminal decides."""
    lines = r"'end> ' 'regs\n' 'r15 ' '' 'end> ' 'what\n' 'is no reply' '' 'end> ' 'pass\n' 'end> ' 'answer eax=0x17 ebx=0x12345678\n'"
    return Case("asked", "; ".join([
        start("ask", "ask"), "echo 'cpuid 0x40000000 -> stop' >/tmp/stop", f"python3 /share/typist.py hwvctl policy set ask /tmp/stop --foreground -- {lines}", END]),
        0, [r"^ +2 +2  cpuid 0x40000000 -> stop$", "^ended 0 ", "^status 151$"], refuse=["^missed"])


def ruled():
    """Rules of the launcher's own count exactly; those of another process reach a running guest, answer it and stop it."""
    rules = "printf 'cpuid 1 -> count\\nio 0x80 every=4 -> skip\\n' >/tmp/rules; "
    asking = start("ask", "ask") + "; "
    return Case("ruled", "; ".join([
        rules + start("web", more="--policy /tmp/rules"), "hwvctl regs web --set r15=1 >/dev/null", END,
        asking + "echo 'cpuid 0x40000000 -> count' | hwvctl policy set ask -", "sleep 0.3; hwvctl policy get ask", "hwvctl policy get ask --json", "hwvctl policy reset ask", "hwvctl policy get ask",
        "echo 'cpuid 0x40000000 -> answer eax=0x15 ebx=0x12345678' | hwvctl policy set ask -", END,
        asking + "echo 'cpuid 0x40000000 cpl=0 -> stop' >/tmp/stop; hwvctl policy set ask /tmp/stop; echo nobody $?",
        "hwvctl policy set ask /tmp/stop --on-stop 'inject 2'; sleep 0.5; hwvctl policy get ask",
        "hwvctl policy set ask /tmp/stop --on-stop 'answer eax=0x16 ebx=0x12345678'", END,
        "printf 'hlt -> count\\nhlt -> answer 1\\n' >/tmp/bad; " + asking + "hwvctl policy set ask /tmp/bad; echo bad $?; hwvctl kill ask", END]),
        0, ["^status 129$", rf"^ +{N} +{N}  cpuid 0x1 -> count$", rf"^ +{2 * N} +{N // 2}  io 0x80 every=4 -> skip$", rf"^io +{2 * N + 2} .* {2 * N - N // 2 + 2}$",
            r"^ +[1-9]\d* +[1-9]\d*  cpuid 0x40000000 -> count$", r'"rule": "cpuid 0x40000000 -> count"', r"^ +[1-9]\d* +[1-9]\d*  cpuid 0x40000000 cpl=0 -> stop$", "these rules are gone", r"^VM \d+ has no rules$", "^status 149$", "rules that stop.*\nnobody 2$", "^status 150$",
            "^hwvctl: /tmp/bad:2: that action cannot be taken at that exit: hlt -> answer 0x1\nbad 1$", "^status 7$"])


# squatter.py ID: another user takes the name that the process which replies to stops has.
SQUATTER = r'''
import os, socket, sys, time
os.setuid(65534)
s = socket.socket(socket.AF_UNIX)
s.bind("\0hwvctl/policy/0/" + sys.argv[1])
s.listen()
open(sys.argv[2], "w").close()
time.sleep(30)
'''


def squatted():
    """Another user's process in the place of the one that would reply to stops: rules are not said to hold. A pause needs none."""
    return Case("squatted", "; ".join([
        start("web"), "id=$(hwvctl ls | sed -n 's/^ *\\([0-9]*\\) web.*/\\1/p')", "mkdir -m 777 /tmp/open; python3 /share/squatter.py $id /tmp/open/up & squatter=$!",
        "until [ -e /tmp/open/up ]; do sleep 0.1; done; echo 'cpuid 0x40000000 -> stop' >/tmp/stop; hwvctl policy set web /tmp/stop --on-stop pass; echo set $?; "
        "hwvctl policy get web; hwvctl pause web; kill $squatter; wait $squatter; hwvctl kill web", END]),
        0, ["under way.*\nset 1$", r"^VM \d+ has no rules$", r"^VM \d+ web is paused; to go on", "^status 7$"])


def mistakes():
    return Case("mistakes", "; ".join([
        "hwvctl stat nobody; echo none $?", start("web"), "hwvctl stat nobody; echo other $?", "hwvctl regs web --set rip; echo set $?",
        "hwvctl regs web --set rflags=0; echo refused $?", "hwvctl stat; echo usage $?", "hwvctl pause web --foreground & pause=$!; sleep 1; hwvctl resume web; echo held $?; "
        "kill -INT $pause; kill -TERM $pause; wait $pause; hwvctl resume web", "(hwvctl run --mem 16M --name web --kernel /share/exits.bin --flat 0x200000,long --serial null & "
        "sleep 1; hwvctl kill web; echo twice $?; hwvctl kill pid:$!)", "hwvctl pause web; hwvctl kill web", END, "sleep 1; cat /sys/module/hwv/refcnt"]),
        0, ["no VM runs that you may observe\nnone 1$", r"^hwvctl: there is no VM 'nobody'; there is id \d+ 'web' \(pid \d+\)\nother 1$",
            "--set rip: wants NAME=VALUE.*\nset 2$", "the CPU would refuse these values\nrefused 1$", "^usage 2$", "stays paused: another observer.*\nheld 1$",
            r"^VM \d+ web was not paused$", r"^hwvctl: 'web' names several VMs: id \d+ 'web' \(pid \d+\), id \d+ 'web' \(pid \d+\); say id:N\ntwice 1$", "^status 7$", "^0$"])


def exact(output):
    """Sums that have to hold in what the guest `counted` told."""
    pieces = output.split(JSON + "\n")
    if len(pieces) < 8:
        return "no JSON came"
    stat, ls, regs, mem, pictures, programs, rules = (json.loads(piece) for piece in pieces[1:8])
    exits = {e["reason"]: e for e in stat["exits"]}
    for reason, count in [("cpuid", N), ("io", 2 * N + 1)]:
        if exits[reason]["count"] != count:
            return f"{reason}: {exits[reason]['count']}, not {count}"
    for e in stat["exits"]:
        keyed = sum(k["count"] for k in e.get("keys", [])) + e["other"] if "keys" in e else e["count"]
        if sum(e["histogram"]) != e["count"] or keyed != e["count"]:
            return f"{e['reason']}: {e['count']} exits, {sum(e['histogram'])} in the histogram, {keyed} with keys"
    if sum(e["count"] for e in stat["exits"]) != stat["total"]:
        return "the exits do not add up"
    if sum(stat["time_cycles"].values()) != stat["cycles"]:
        return f"the segments do not add up: {stat['time_cycles']}, {stat['cycles']}"
    if [vm["name"] for vm in ls] != ["web"] or ls[0]["vcpus"] != [0] or regs["r12"] != 0x1122334455667788:
        return f"ls or regs: {ls}, {regs}"
    if bytes.fromhex(mem["bytes"]) != (TMP / "exits.bin").read_bytes()[:64] or programs or rules:
        return f"memory, programs or rules: {mem}, {programs}, {rules}"
    if [vm["name"] for vm in pictures["vms"]] != ["web"] or pictures["vms"][0]["seconds"] < 0.2:
        return f"top: {pictures}"
    return None


def main():
    for name, what in [("exits", f"EXITS={N}"), ("ask", "ASK=0x12345678")]:
        assemble("end", bits=64, at=0x200000, defines=[what]).rename(TMP / f"{name}.bin")
    (TMP / "typist.py").write_text(TYPIST)
    (TMP / "squatter.py").write_text(SQUATTER)
    output = run_cases([steered(), counted(), coloured(), told(), memory(), top(), ruled(), asked(), squatted(), mistakes()], timeout=200)
    tell("sums-are-exact", exact(re.sub(r"^\| ", "", output, flags=re.M)))
    finish()


if __name__ == "__main__":
    main()
