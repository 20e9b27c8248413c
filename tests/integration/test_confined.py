#!/usr/bin/python3
"""The restrictions of a serving fobd: which are in effect, and that its log says so correctly."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import ctypes
import re
import shutil
import subprocess
import unittest

import daemon
import tap
from pb import LIVE, TEST

UNIT = os.path.join(daemon.pb.ROOT, "service", "fobd.service")
EXPOSURE_MOST = 1.5


def landlock_abi():
    """The kernel's Landlock ABI version; 0 without Landlock."""
    return max(0, ctypes.CDLL(None).syscall(444, 0, 0, 1))  # landlock_create_ruleset, VERSION


def status_of(pid):
    """The lines of /proc/PID/status of each thread."""
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, task)) as f:
            yield dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


class Confined(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.fobd = daemon.Daemon().start()
        cls.addClassCleanup(cls.fobd.kill)

    def confined_line(self):
        return re.search(r'msg=confined seccomp=(\w+) landlock=(\w+) no_new_privs=(\w+) uid=(\d+)', self.fobd.log())

    @unittest.skipIf(daemon.SANITIZED, "a sanitizer's runtime is not confined")
    def test_the_log_says_what_is_in_effect(self):
        seccomp, landlock, no_new_privs, uid = self.confined_line().groups()
        threads = list(status_of(self.fobd.pid))
        self.assertGreater(len(threads), 4)
        for status in threads:
            self.assertEqual(status["Seccomp"] == "2", seccomp == "on", status["Name"])
            self.assertEqual(status["NoNewPrivs"] == "1", no_new_privs == "true", status["Name"])
            self.assertEqual(status["Uid"].split()[1], uid)
        abi = landlock_abi()
        self.assertEqual(landlock, "abi%d" % abi if abi else "off")
        self.assertEqual(no_new_privs, "true")

    @unittest.skipUnless(daemon.SANITIZED, "for a build with a sanitizer")
    def test_a_sanitizer_says_so(self):
        self.assertEqual(self.confined_line().groups()[:2], ("off", "off"))
        self.assertIn("this is a build with a sanitizer", self.fobd.log())

    def test_it_is_confined_before_it_serves(self):
        log = self.fobd.log()
        self.assertLess(log.index("msg=confined"), log.index("msg=listening"))

    def test_it_works_and_asks_for_nothing_else(self):
        with self.fobd.client("admin") as c, self.fobd.client("tcp") as v:
            for environment in (LIVE, TEST):
                made = c.create(environment, "confined")
                rolled = c.roll(environment, "confined")
                self.assertEqual(v.verdict(made.secret_key.secret), "VALID")
                self.assertEqual(v.verdict(rolled.new_key.secret), "VALID")
            c.stats()
        self.assertNotIn("a system call that", self.fobd.log())


class Unit(unittest.TestCase):
    def analyze(self, *args):
        if not shutil.which("systemd-analyze"):
            self.skipTest("systemd-analyze is not there")
        return subprocess.run(["systemd-analyze", *args], capture_output=True, text=True, timeout=60)

    def test_the_systemd_unit_is_tight(self):
        done = self.analyze("security", "--offline=true", UNIT)
        found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
        if found is None and "offline" in done.stderr:
            self.skipTest("this systemd-analyze has no --offline")
        self.assertLessEqual(float(found.group(1)), EXPOSURE_MOST, done.stdout)

    def test_the_units_calls_are_those_of_fobd(self):
        """The unit allows every call on the list of confine_calls.c."""
        done = self.analyze("syscall-filter", "@system-service", "@privileged")
        if done.returncode != 0:
            self.skipTest("this systemd-analyze does not know: " + done.stderr[:80])
        sets, name = {}, None
        for line in self.analyze("syscall-filter").stdout.splitlines():
            if line.startswith("@"):
                name = line
                sets[name] = []
            elif name and line.startswith("    ") and not line.lstrip().startswith("#"):
                sets[name].append(line.strip())

        def expand(word):
            return set().union(*map(expand, sets[word])) if word.startswith("@") else {word}
        with open(os.path.join(daemon.pb.ROOT, "service", "process", "confine_calls.c")) as f:
            table = re.search(r"allowed\[\] = \{(.*?)\n\};", f.read(), re.S).group(1)
        ours = set(re.findall(r"SCMP_SYS\((\w+)\)", table)) | {"clone", "clone3", "mmap", "mprotect", "socket",
                                                               "socketpair", "tgkill", "rt_sigaction", "prctl",
                                                               "prlimit64", "ioctl", "seccomp",
                                                               "landlock_create_ruleset", "landlock_add_rule",
                                                               "landlock_restrict_self"}
        with open(UNIT) as f:
            filters = re.findall(r"^SystemCallFilter=(~?)(\S.*)$", f.read(), re.M)
        allowed = set()
        for refused, words in filters:
            for word in words.split():
                allowed = allowed - expand(word) if refused else allowed | expand(word)
        self.assertGreater(len(ours), 100)
        self.assertEqual(sorted(ours - allowed), [])


tap.main()
