#!/usr/bin/python3
"""A pepper's rotation, begun by SIGHUP, that is killed at each write, sync, truncation and allocation of its way; and a full disk.
After each: the files are whole, every key is what it was, a token has its reply, and the rotation comes to its end.
TORTURE=1: every one of those calls; otherwise those of its beginning, and some of the rest."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import errno
import random
import shutil
import signal
import unittest

import shimmed

import daemon
import fobwire
import tap
from pb import LIVE, SECRET

TORTURE = bool(os.environ.get("TORTURE"))
ACCOUNTS = 24
FIRST = 8  # calls: those of the commit that begins, and of the first that moves


class RotationCut(unittest.TestCase):
    def setUp(self):
        self.fobd = shimmed.Daemon(environments=("live",))
        self.addCleanup(self.fobd.kill)
        self.fresh = os.path.join(self.fobd.place, "fresh")
        self.fobd.start()
        self.sent, self.keys = [], []  # (request, reply); (secret, verdict)
        with self.fobd.client("admin") as c:
            for i in range(ACCOUNTS):
                made = c.create(LIVE, "a%d" % i)
                data = fobwire.request("fob.v1.Admin/RollKey", fobwire.roll_request(LIVE, "a%d" % i, grace=3600))
                reply = c.connection.exchange(data)
                rolled = fobwire.result("fob.v1.Admin/RollKey", fobwire.response(reply))
                self.sent.append((data, reply))
                if i % 3 == 0:
                    c.revoke(LIVE, "a%d" % i, SECRET, 1)
                self.keys += [(made.secret_key.secret, "REVOKED" if i % 3 == 0 else "VALID"),
                              (made.publishable_key.secret, "VALID"), (rolled.new_key.secret, "VALID")]
        self.fobd.stop()
        shutil.copytree(self.fobd.database("live"), self.fresh)
        shutil.copy(self.fobd.pepper("live"), self.fresh + ".pepper")
        self.moved = 0

    def check_keys(self, c):
        items = c.verify_many([fobwire.verify_request(secret) for secret, _ in self.keys])
        self.assertEqual([fobwire.verdict_name(x.result.verdict) for x in items], [v for _, v in self.keys])

    def check_all(self):
        with self.fobd.client("admin") as c:
            self.check_keys(c)
            for data, reply in self.sent:
                self.assertEqual(c.connection.exchange(data), reply)
            e = c.environment_stats(LIVE)
            self.assertEqual((e.corrupt_records, e.keys, e.pepper_lines), (0, 3 * ACCOUNTS, 2))

    def begin(self, n, action, kinds=shimmed.CHANGING, **kw):
        """On the database as it was: SIGHUP with a new line, and at the ${n}th call from there it happens."""
        self.fobd.kill()
        self.fobd.handle.disarm()
        shutil.rmtree(self.fobd.database("live"))
        shutil.copytree(self.fresh, self.fobd.database("live"))
        shutil.copy(self.fresh + ".pepper", self.fobd.pepper("live"))
        self.fobd.start(init=False, shim=True)
        self.assertEqual(self.fobd.run("--rotate-pepper", "live").returncode, 0)
        self.moved = self.fobd.log().count('"pepper rotated"')
        self.fobd.handle.arm(kinds, n, action, **kw)
        self.fobd.process.send_signal(signal.SIGHUP)

    def rotated(self):
        return self.fobd.log().count('"pepper rotated"') > self.moved

    def at_each(self, what):
        chance, n, done = random.Random(tap.seed()), 1, 0
        while what(n):  # not in a subtest: one that fails would have no end
            done += 1
            n += 1 if TORTURE or n < FIRST else chance.randrange(1, 16)
        tap.comment("TEST_SEED=%d: %d times, up to the %dth call; nothing lost" % (tap.seed(), done, n))
        self.assertGreaterEqual(done, FIRST)

    def killed(self, n, action):
        self.begin(n, action)
        daemon.wait_until("its end, or ours", lambda: self.fobd.process.poll() is not None or self.rotated())
        if self.fobd.process.poll() is None:
            return False
        self.assertEqual(self.fobd.process.wait(), -9)
        done = self.fobd.run("--check", timeout_s=60)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.fobd.start(init=False)
        with self.fobd.client("admin") as c:
            self.check_keys(c)
        daemon.wait_until("the rotation's end", self.rotated)
        self.check_all()
        return True

    def test_killed_before_the_nth_call(self):
        self.at_each(lambda n: self.killed(n, shimmed.KILL))

    def test_killed_in_the_middle_of_the_nth_call(self):
        self.at_each(lambda n: self.killed(n, shimmed.KILL_TORN))

    def test_a_full_disk(self):
        """It does not begin, says so, and does by itself when there is room; revocations go on."""
        self.begin(1, shimmed.FAIL, kinds=shimmed.ALLOCATE, error=errno.ENOSPC, last=shimmed.FOREVER)
        daemon.wait_until("a complaint", lambda: '"pepper rotation cannot begin"' in self.fobd.log())
        with self.fobd.client("admin") as c:
            self.check_keys(c)
            c.revoke(LIVE, "a1", SECRET, 1)
            self.keys = [(s, "REVOKED" if i == 3 else v) for i, (s, v) in enumerate(self.keys)]
            self.assertEqual(c.environment_stats(LIVE).pepper_lines, 1)
            self.check_keys(c)
        self.fobd.handle.disarm()
        daemon.wait_until("the rotation's end", self.rotated)
        self.check_all()
        self.fobd.stop()


tap.main()
