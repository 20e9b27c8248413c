#!/usr/bin/python3
"""fob check: whole databases, damaged and truncated ones, copies, and what it does not touch."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import random
import shutil
import subprocess
import unittest

import daemon
import tap
from pb import LIVE, PUBLISHABLE, SECRET, TEST

FOB = os.path.join(daemon.BUILD, "fob")
FLIPS = 3000 if os.environ.get("TORTURE") else 20 if daemon.SANITIZED else 100


class Check(unittest.TestCase):
    def setUp(self):
        self.fobd = daemon.Daemon().start()
        self.addCleanup(self.fobd.kill)
        with self.fobd.client() as c:
            for i in range(40):
                c.create(LIVE, "a%d" % i)
                if i % 3 == 0:
                    c.roll(LIVE, "a%d" % i)
            c.revoke(LIVE, "a1", SECRET, 1)
            c.revoke(LIVE, "a2", PUBLISHABLE, 1)
            c.revoke(LIVE, "a3", SECRET, 1)
            c.roll(LIVE, "a1")
            c.suspend(LIVE, "a4")
            c.create(TEST, "b")

    def check(self, *args):
        return subprocess.run([FOB, "check", "--config", self.fobd.config, *args], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60 * daemon.SLOWER)

    def test_whole(self):
        self.fobd.stop()
        before = {p: os.stat(os.path.join(self.fobd.database("live"), p)) for p in os.listdir(self.fobd.database("live"))}
        done = self.check()
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        live, test = done.stdout.splitlines()
        self.assertIn("live: whole: accounts 40 (suspended 1), keys 95 (current 79, in grace 13, expired 0, revoked 3), "
                      "tokens 59, events 1 to 59, revision 59, violations 0", live)
        self.assertIn("test: whole: accounts 1 ", test)
        self.assertEqual(self.check("test").stdout.splitlines(), [test])
        self.assertEqual(daemon.secrets_in(done.stdout.encode()), [])
        for name, old in before.items():
            now = os.stat(os.path.join(self.fobd.database("live"), name))
            self.assertEqual((now.st_mtime_ns, now.st_size), (old.st_mtime_ns, old.st_size), name)
        self.assertEqual(sorted(before), sorted(os.listdir(self.fobd.database("live"))))

    def test_one_that_is_served_is_refused(self):
        done = self.check("live")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("a fobd serves this folder; stop it first", done.stderr)
        # A stopped fobd's files, elsewhere, without lock files and read-only.
        copy = os.path.join(self.fobd.place, "copy")
        self.fobd.stop()
        os.mkdir(copy)
        shutil.copy(os.path.join(self.fobd.database("live"), "data.mdb"), copy)
        os.chmod(os.path.join(copy, "data.mdb"), 0o400)
        os.chmod(copy, 0o500)
        self.fobd.start()
        done = self.check("live", copy)
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(os.listdir(copy), ["data.mdb"])
        os.chmod(copy, 0o700)
        self.fobd.stop()

    def test_what_it_cannot_do(self):
        self.fobd.stop()
        for args, says in ((("lve",), "is not an environment"), (("live", "/nowhere"), "no database here"),
                           (("test", self.fobd.database("live")), "this is a live database"),
                           (("live", "a", "b"), "too many arguments")):
            done = self.check(*args)
            self.assertEqual((done.returncode, done.stdout), (1, ""), done)
            self.assertIn(says, done.stderr)
        shutil.copy(self.fobd.pepper("test"), self.fobd.pepper("live"))
        done = self.check()
        self.assertEqual(done.returncode, 1)
        self.assertIn("does not belong to the database", done.stderr)
        self.assertIn("test: whole", done.stdout)

    def test_flips(self):
        """A flipped bit in a record is found. One that is in no record leaves all counts unchanged."""
        self.fobd.stop()
        path = os.path.join(self.fobd.database("live"), "data.mdb")
        with open(path, "rb") as f:
            good = f.read()
        whole = self.check("live").stdout
        rng = random.Random(tap.seed())
        seen = 0
        try:
            for _ in range(FLIPS):
                at, bit = rng.randrange(len(good)), rng.randrange(8)
                with open(path, "r+b") as f:
                    f.seek(at)
                    f.write(bytes([good[at] ^ 1 << bit]))
                done = self.check("live")
                what = "byte %d bit %d: %s" % (at, bit, done)
                self.assertIn(done.returncode, (0, 1, 2), what)
                if done.returncode == 0:
                    self.assertEqual(done.stdout, whole, what)
                else:
                    seen += 1
                    self.assertTrue(done.returncode == 1 or "live: NOT WHOLE" in done.stdout, what)
                with open(path, "r+b") as f:
                    f.seek(at)
                    f.write(good[at:at + 1])
        finally:
            tap.count("%d flips in %d bytes, %d told" % (FLIPS, len(good), seen))
        self.assertGreater(seen, FLIPS // 50)
        for length in (len(good) - 1, len(good) // 2 + 100, 8192):
            with open(path, "wb") as f:
                f.write(good[:length])
            done = self.check("live")
            self.assertEqual(done.returncode, 2, done)
            self.assertIn("cut short", done.stdout)


tap.main()
