#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 900
# beds: svm
"""The bed itself: what scripts/bed promises in --help, each promise once."""

import hashlib
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BED = ROOT / "scripts" / "bed"
TMP = Path(os.environ.get("HWV_TMP") or tempfile.mkdtemp(prefix="bed-test-"))
ENVIRONMENT = dict(os.environ, HWV_CACHE=os.environ.get("HWV_CACHE", str(ROOT / "build" / "cache")))
# Counts a loop, and what it costs to see the whole run so far: any difference between two boots shows in the second.
COUNTER = """
#include <stdio.h>
#include <x86intrin.h>
int main(void) {
    unsigned long long start = __rdtsc();
    unsigned turns = 100000;
    asm volatile("1: dec %0; jnz 1b" : "+r"(turns));
    printf("%llu\\n%llu\\n", __rdtsc() - start, __rdtsc());
}
"""


def start(*arguments, **how):
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, "env": ENVIRONMENT} | how
    return subprocess.Popen([BED, *map(str, arguments)], **how)


def bed(*arguments, **how):
    """Exit status, stdout, stderr of a run in the SVM bed."""
    process = start("svm", *arguments, **how)
    out, err = process.communicate()
    return process.returncode, out, err.decode(errors="replace")


def shell(text, *options, **how):
    return bed(*options, "--", "sh", "-c", text, **how)


def read_or_nothing(path):
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


class Command(unittest.TestCase):
    def test_status_and_both_streams(self):
        status, out, err = shell("echo to-out; echo to-err >&2; exit 7")
        self.assertEqual((status, out), (7, b"to-out\n"))
        self.assertTrue(err.startswith("to-err\n"), err)

    def test_success_adds_nothing(self):
        self.assertEqual(bed("--", "true"), (0, b"", ""))

    def test_signal(self):
        self.assertEqual(shell("kill -9 $$")[0], 137)

    def test_missing_program(self):
        self.assertEqual(bed("--", "no-such-program")[0], 127)

    def test_arguments_arrive_unchanged(self):
        words = ["a b", "", "'\"$x`", "new\nline", "-x", "ä"]
        self.assertEqual(bed("--", "printf", "<%s>", *words)[1].decode(), "".join(f"<{w}>" for w in words))

    def test_output_is_clean_and_whole(self):
        write = "import os,sys,hashlib; d=bytes(range(256))+os.urandom(3000000); sys.stdout.buffer.write(d);" \
                "sys.stderr.write(hashlib.sha256(d).hexdigest())"
        status, out, err = bed("--", "python3", "-c", write)
        self.assertEqual((status, err), (0, hashlib.sha256(out).hexdigest()))

    def test_slow_reader_loses_nothing(self):
        process = start("svm", "--", "head", "-c", "600000", "/dev/zero", stderr=None)
        time.sleep(4)
        self.assertEqual((process.communicate()[0], process.returncode), (bytes(600000), 0))

    def test_streams_can_be_opened_by_name(self):
        status, out, err = shell("echo a >/dev/stdout; echo b >/dev/stderr; echo c | cat /dev/stdin")
        self.assertEqual((status, out, err), (0, b"a\nc\n", "b\n"))

    def test_what_command_left_running_does_not_hold_the_run(self):
        begin = time.monotonic()
        self.assertEqual(shell("sleep 100 & echo done")[:2], (0, b"done\n"))
        self.assertLess(time.monotonic() - begin, 30)

    def test_stdin_without_terminal(self):
        with open("/etc/passwd", "rb") as given:
            self.assertEqual(bed("--tty", "--", "cat", stdin=given)[:2], (0, Path("/etc/passwd").read_bytes()))

    def test_terminal(self):
        pid, master = pty.fork()
        if pid == 0:
            os.execve(BED, [BED, "svm", "--timeout", "60", "--tty", "--", "sh", "-c", "tty; read x; exit $x"], ENVIRONMENT)
        seen = b""
        while b"hvc0" not in seen:
            seen += os.read(master, 100)
        os.write(master, b"9\r")
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 9)


class Machine(unittest.TestCase):
    def test_share(self):
        with tempfile.TemporaryDirectory() as share:
            Path(share, "file").write_text("from outside")
            self.assertEqual(shell("cat file /share/file", "--share", share, cwd="/")[1], b"from outside" * 2)

    def test_two_processors(self):
        self.assertEqual(bed("--smp", 2, "--", "nproc")[:2], (0, b"2\n"))

    def test_memory_size(self):
        total = int(shell("awk '/MemTotal/ {print $2}' /proc/meminfo", "--mem", 512)[1])
        self.assertTrue(400 << 10 < total < 512 << 10, total)

    def test_command_line(self):
        out = bed("--append", "hello=bed", "--mitigations", "off", "--", "cat", "/proc/cmdline")[1]
        self.assertIn(b" hello=bed", out)
        self.assertIn(b" mitigations=off", out)

    def test_kvm(self):
        self.assertEqual(shell("test -c /dev/kvm")[0], 0)
        self.assertEqual(shell("test -e /dev/kvm", "--no-kvm")[0], 1)

    def test_two_side_by_side(self):
        text = "echo $0; sleep 2; echo $0"
        pair = [start("svm", "--", "sh", "-c", text, name, stderr=None) for name in ("one", "two")]
        self.assertEqual([p.communicate()[0] for p in pair], [b"one\none\n", b"two\ntwo\n"])

    def test_caches_made_by_two_at_once(self):
        cache = TMP / "cache, of two"
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir()
        (cache / "kernel").symlink_to(Path(ENVIRONMENT["HWV_CACHE"]) / "kernel")
        own = ENVIRONMENT | {"HWV_CACHE": str(cache)}
        pair = [start("svm", "--", "echo", "x", env=own, stderr=None) for _ in range(2)]
        self.assertEqual([p.communicate()[0] for p in pair], [b"x\n"] * 2)
        self.assertEqual(len(list((cache / "state").iterdir())), 1)
        shutil.rmtree(cache)

    def test_second_emulator(self):
        self.assertEqual(bed("--emulator", "qemu10", "--", "echo", "x")[:2], (0, b"x\n"))

    def test_warm_start_takes_about_a_second(self):
        shell("true")
        times = []
        for _ in range(3):
            begin = time.monotonic()
            shell("true")
            times.append(time.monotonic() - begin)
        self.assertLess(min(times), 2)


class Failure(unittest.TestCase):
    def test_lost_processor(self):
        sys.path.insert(0, str(ROOT / "scripts"))
        from bedlib.qemu import without_paging
        text = "".join(f"CPU#{n}\r\nRAX=0\r\nCR0={cr0} CR2=0 CR3=0\r\nDR7=400\r\nEFER={efer}\r\n\r\n" for n, (cr0, efer) in enumerate(
            [("80050033", "0000000000001d01"), ("00000010", "0000000000001d01"), ("00000010", "0000000000000000")]))
        self.assertEqual(without_paging(text), {1})

    def test_time_is_up(self):
        status, out, err = shell("echo before; sleep 100", "--timeout", 3)
        self.assertEqual((status, out), (124, b"before\n"))
        self.assertRegex(err, r"process \d+ \(sleep 100 \) is in:\n.*nanosleep")

    def test_panic(self):
        status, out, err = shell("echo before; sleep 0.2; echo c >/proc/sysrq-trigger")
        self.assertEqual((status, out), (125, b"before\n"))
        self.assertIn("L1 panicked", err)
        self.assertIn("Kernel panic - not syncing: sysrq triggered crash", err)

    def test_power_off_by_command(self):
        self.assertEqual(shell("/bed/bin/poweroff -f")[0], 125)

    def test_bad_processor_model(self):
        status, _, err = bed("--cpu", "i4004", "--", "true")
        self.assertEqual(status, 125)
        self.assertIn("i4004", err)

    def test_refusals_take_one_line(self):
        for arguments in (["vmx", "--tty", "--", "true"], ["vmx", "--emulator", "qemu", "--", "true"],
                          ["svm", "--share", "/nowhere", "--", "true"],
                          ["svm", "--kernel", "6.1.0-9999", "--", "true"]):
            process = start(*arguments)
            _, err = process.communicate()
            self.assertEqual((process.returncode, err.count(b"\n")), (125, 1), err)

    def test_killed_bed_leaves_no_emulator(self):
        marker = f"bed_test={os.getpid()}"
        process = start("svm", "--append", marker, "--timeout", 60, "--", "sh", "-c", "echo up; sleep 50")
        self.assertEqual(process.stdout.readline(), b"up\n")
        process.kill()
        process.communicate()
        time.sleep(0.5)
        self.assertEqual([p for p in Path("/proc").glob("[0-9]*/cmdline") if marker in read_or_nothing(p)], [])


class Module(unittest.TestCase):
    """With a module of hwv's name that does wrong on demand."""

    @classmethod
    def setUpClass(cls):
        headers = subprocess.run([ROOT / "scripts/fetch-kernel", "generic", "--release"], env=ENVIRONMENT, check=True,
                                 text=True, stdout=subprocess.PIPE).stdout.strip()
        folder = TMP / "probe"
        shutil.copytree(Path(__file__).parent / "bed_probe", folder, dirs_exist_ok=True)
        subprocess.run(["make", "-s", "-C", f"/usr/src/linux-headers-{headers}", f"M={folder}"], check=True,
                       stdout=sys.stderr)
        cls.own = {"env": ENVIRONMENT | {"HWV_BUILD": str(folder)}}

    def act(self, what, *options):
        return shell(f"echo before; sleep 0.1; echo {what} >/sys/module/hwv/parameters/act; echo after",
                     "--load", *options, **self.own)

    def test_module_is_loaded(self):
        self.assertEqual(shell("test -d /sys/module/hwv", "--load", **self.own)[0], 0)
        self.assertEqual(shell("test -d /sys/module/hwv", **self.own)[0], 1)

    def test_warning_fails_the_run(self):
        status, out, err = self.act("warn")
        self.assertEqual((status, out), (123, b"before\nafter\n"))
        self.assertRegex(err, r"WARNING: CPU: 0 PID: \d+ at .*set_act")

    def test_module_that_stays(self):
        status, out, err = self.act("leak")
        self.assertEqual((status, out), (123, b"before\nafter\n"))
        self.assertIn("hwv.ko does not unload", err)

    def test_triple_fault(self):
        status, out, err = self.act("triple")
        self.assertEqual((status, out), (125, b"before\n"))
        self.assertIn("triple fault", err)

    def test_hang_with_interrupts_off(self):
        status, out, err = self.act("hang", "--timeout", 4)
        self.assertEqual((status, out), (124, b"before\n"))
        self.assertRegex(err, r"RIP: \S+:set_act")

    def test_missing_module(self):
        status, _, err = bed("--load", "--", "true", env=ENVIRONMENT | {"HWV_BUILD": str(TMP)})
        self.assertEqual(status, 125)
        self.assertIn("hwv.ko", err)


class Count(unittest.TestCase):
    """Sealed and deterministic."""

    @classmethod
    def setUpClass(cls):
        cls.program = TMP / "counter"
        subprocess.run(["gcc", "-O1", "-x", "c", "-", "-o", cls.program], input=COUNTER.encode(), check=True)

    def test_two_runs_count_the_same(self):
        pair = [start("svm", "--count", "--", self.program, stderr=None) for _ in range(2)]
        first, second = [p.communicate()[0] for p in pair]
        self.assertEqual(first, second)
        loop, total = map(int, first.split())
        # Two instructions for each turn of the loop, and what timer interrupts there are.
        self.assertTrue(200_000 <= loop < 260_000, loop)
        self.assertGreater(total, loop)

    def test_status_and_streams(self):
        self.assertEqual(shell("echo a; echo b >&2; exit 5", "--count")[:2], (5, b"a\n"))

    def test_share_and_put(self):
        (TMP / "share").mkdir(exist_ok=True)
        (TMP / "share" / "x").write_text("shared ")
        status, out, _ = shell(f"cat /share/x; {shutil.which('sha256sum')} </dev/null", "--count", "--share", TMP / "share",
                               "--put", shutil.which("sha256sum"))
        self.assertEqual((status, out.split()[:2]), (0, [b"shared", hashlib.sha256().hexdigest().encode()]))

    def test_time_is_up(self):
        status, out, _ = shell("echo before; while :; do :; done", "--count", "--timeout", 20)
        self.assertEqual((status, out), (124, b"before\n"))


class Lines(unittest.TestResult):
    """Results as tests/README.md wants them."""

    def said(self, test, why=None):
        name = re.sub(r"^__main__\.|test_", "", test.id())
        print(f"not ok {name} - {why}" if why else f"ok {name}", flush=True)

    def addSuccess(self, test):
        self.said(test)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        print(self.failures[-1][1])
        self.said(test, str(error[1]).splitlines()[0])

    def addError(self, test, error):
        super().addError(test, error)
        print(self.errors[-1][1])
        self.said(test, f"{error[0].__name__}: {error[1]}".splitlines()[0])


def main():
    pattern = sys.argv[1] if len(sys.argv) > 1 else ""
    loader = unittest.TestLoader()
    loader.testNamePatterns = [f"*{pattern}*"]
    suite = loader.loadTestsFromModule(sys.modules["__main__"])
    print(f"1..{suite.countTestCases()}")
    result = Lines()
    suite.run(result)
    return 0 if result.testsRun and result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
