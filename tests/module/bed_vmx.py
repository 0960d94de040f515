#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 600
# beds: vmx
"""The bed in Bochs: what differs from QEMU's, which bed_test.py tests."""

import subprocess
import sys
import unittest

import bed_test
from bed_test import BED, ENVIRONMENT, ROOT, TMP

sys.path.insert(0, str(ROOT / "scripts"))
from bedlib import bochs # pylint: disable=wrong-import-position
from bedlib.session import SPLAT # pylint: disable=wrong-import-position


def bed(*arguments, vendor="vmx"):
    """Exit status, stdout, stderr."""
    done = subprocess.run([BED, vendor, *map(str, arguments)], capture_output=True, stdin=subprocess.DEVNULL, env=ENVIRONMENT)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def shell(text, *options, **how):
    return bed(*options, "--", "sh", "-c", text, **how)


class Bochs(unittest.TestCase):
    def test_processors(self):
        for vendor, emulator, flag in (("vmx", "bochs", "vmx"), ("vmx", "bochs3", "vmx"), ("svm", "bochs3", "svm")):
            status, out, err = shell(f"grep -cw {flag} /proc/cpuinfo; ls /dev/kvm", "--emulator", emulator, vendor=vendor)
            self.assertEqual((status, out.split()[1:]), (0, [b"/dev/kvm"]), err)
            self.assertGreaterEqual(int(out.split()[0]), 1)

    def test_status_and_both_streams(self):
        status, out, err = shell("echo to-out; echo to-err >&2; exit 7")
        self.assertEqual((status, out), (7, b"to-out\n"))
        self.assertIn("to-err\n", err)

    def test_much_output_is_whole(self):
        status, out, _ = shell("seq 100000; seq 50000 >&2")
        self.assertEqual((status, out), (0, "".join(f"{n}\n" for n in range(1, 100001)).encode()))

    def test_files_of_the_command(self):
        (TMP / "shared").mkdir()
        (TMP / "shared" / "file").write_text("shared")
        (TMP / "put").write_text("put")
        status, out, err = shell(f"cat /share/file {TMP}/put; hwvctl --help | head -c 1 | wc -c", "--share", TMP / "shared",
                                 "--put", TMP / "put")
        self.assertEqual((status, out.split()), (0, [b"sharedput1"]), err)
        self.assertEqual(bed("--", "perl", "-e", "exit 5")[0], 5)

    def test_a_share_that_is_too_large_is_named(self):
        (TMP / "large").mkdir()
        with open(TMP / "large" / "disk", "wb") as disk:
            disk.truncate(1 << 40)
        status, out, err = shell("true", "--share", TMP / "large")
        self.assertEqual((status, out), (125, b""), err)
        self.assertIn(f"--share: {TMP / 'large'} holds more than", err)

    def test_a_cpu_kept_in_a_guest_is_no_complaint(self):
        (TMP / "closed").write_bytes(b"\xfa\xeb\xfe") # cli; jmp .
        launch = f"taskset 1 hwvctl run --kernel {TMP}/closed --flat 0x1000,real"
        status, _, err = shell(f"{launch} & sleep 8; kill -9 $!; wait $!; [ $? = 137 ]", "--load", "--smp", 2, "--put", TMP / "closed")
        self.assertEqual(status, 0, err)

    def test_other_stalls_are_complaints(self):
        def stall(*found):
            nmis = "".join(f"[ 2.0] NMI backtrace for cpu {n}\n[ 2.1] CPU: {n} PID: 2 Comm: x\n[ 2.1] Hardware name: Bochs\n[ 2.1] RIP: 0010:{where}+0x13/0x20\n"
                           for n, where in enumerate(found))
            return f"[ 1.9] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\n{nmis}[ 2.2] Call Trace:\n"

        def complained(messages):
            return SPLAT.search(bochs.Machine.without_own_doing(messages)) is not None
        guest, other = stall("hwv_vmx_nmi"), stall("set_act")
        self.assertFalse(complained("up\n" + guest + guest))
        for messages in (other, stall(), stall("hwv_vmx_nmi", "set_act"), guest + other, other + guest, guest + "BUG: x\n"):
            self.assertTrue(complained(messages), messages)

    def test_two_processors(self):
        self.assertEqual(shell("nproc", "--smp", 2)[:2], (0, b"2\n"))

    def test_time_passes_as_it_should(self):
        status, out, _ = shell("read a b </proc/uptime; sleep 2; read c d </proc/uptime; echo $a $c", "--emulator", "bochs3")
        before, after = map(float, out.split())
        self.assertEqual(status, 0)
        self.assertAlmostEqual(after - before, 2, delta=0.2)

    def test_count_is_the_same_twice(self):
        command = ["--count", "--", ROOT / "build/tests/bench/exits", "kvm", "cpuid"]
        first, second = bed(*command), bed(*command)
        self.assertEqual(first, second)
        self.assertEqual(first[0], 0)

    def test_profile_adds_up(self):
        exits = 20
        for vendor, emulator in (("vmx", "bochs3"), ("svm", "qemu")):
            status, out, err = bed("--emulator", emulator, "--count", "--profile", TMP / "profile", "--span", "0x100000", "0x100080",
                                   "--", ROOT / "build/tests/bench/exits", "kvm", "cpuid", exits, vendor=vendor)
            self.assertEqual(status, 0, err)
            total = sum(int(line.split(" ")[1]) for line in (TMP / "profile").read_text().splitlines())
            # The empty loop's three, which the row is told without; and what is before and after the loop.
            self.assertAlmostEqual(total / exits, int(out.split()[2]) + 3, delta=3)

    def test_panic(self):
        status, _, err = shell("echo c >/proc/sysrq-trigger")
        self.assertEqual(status, 125)
        self.assertIn("L1 panicked", err)

    def test_reset(self):
        status, _, err = shell("/bed/bin/reboot -f")
        self.assertEqual(status, 125)
        self.assertIn("L1 was reset", err)

    def test_time_is_up(self):
        status, out, _ = shell("echo before; while :; do :; done", "--timeout", 10)
        self.assertEqual((status, out), (124, b"before\n"))

    def test_two_side_by_side(self):
        both = [subprocess.Popen([BED, "vmx", "--", "echo", str(n)], stdout=subprocess.PIPE, env=ENVIRONMENT) for n in (1, 2)]
        self.assertEqual([p.communicate()[0] for p in both], [b"1\n", b"2\n"])

    def test_module_is_loaded(self):
        self.assertEqual(shell("grep -c ^hwv /proc/modules", "--load")[1], b"1\n")

    def test_bad_processor_model(self):
        status, _, err = bed("--cpu", "i4004", "--", "true")
        self.assertEqual(status, 125)
        self.assertIn("cpu directive malformed", err)


if __name__ == "__main__":
    sys.exit(bed_test.main())
