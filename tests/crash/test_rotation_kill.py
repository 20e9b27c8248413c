#!/usr/bin/python3
"""fobd is killed at each write, sync, truncation and block allocation of a pepper rotation, alone and under changes; and a
rotation meets a full disk. After each: the files are whole, every key has its verdict, every acknowledged change is there,
a token gets its reply, and the rotation finishes by itself.
TORTURE=1: every one of those calls; otherwise the first ones and a sample of the rest."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import copy
import errno
import random
import shutil
import signal
import threading
import unittest

import ledger
import shimmed

import daemon
import fobwire
import tap
from pb import LIVE, SECRET

TORTURE = bool(os.environ.get("TORTURE"))
ACCOUNTS = 24
FIRST = 8  # calls: those of the commit that begins, and of the first that moves


class Base(unittest.TestCase):
    def setUp(self):
        self.fobd = shimmed.Daemon(environments=("live",))
        self.addCleanup(self.fobd.kill)
        self.fresh = os.path.join(self.fobd.place, "fresh")
        self.pick = random.Random(tap.seed())
        self.kills = 0
        self.fobd.start()
        self.fill()
        self.fobd.stop()
        shutil.copytree(self.fobd.database("live"), self.fresh)
        shutil.copy(self.fobd.pepper("live"), self.fresh + ".pepper")
        self.moved = 0

    def begin(self, n, action, kinds=shimmed.CHANGING, beside=(), **kw):
        """On a copy of the database, with the threads ${beside}: SIGHUP with a new line, and a kill at the ${n}th call."""
        self.fobd.kill()
        self.fobd.handle.disarm()
        shutil.rmtree(self.fobd.database("live"))
        shutil.copytree(self.fresh, self.fobd.database("live"))
        shutil.copy(self.fresh + ".pepper", self.fobd.pepper("live"))
        self.fobd.start(init=False, shim=True)
        self.assertEqual(self.fobd.run("--rotate-pepper", "live").returncode, 0)
        self.moved = self.fobd.log().count('"pepper rotated"')
        for t in beside:
            t.start()
        self.fobd.handle.arm(kinds, n, action, **kw)
        self.fobd.process.send_signal(signal.SIGHUP)

    def rotated(self):
        return self.fobd.log().count('"pepper rotated"') > self.moved

    def await_kill(self):
        """Returns whether the kill came before the rotation's end."""
        daemon.wait_until("its end, or ours", lambda: self.fobd.process.poll() is not None or self.rotated(), 30)
        before = not self.rotated()
        if self.fobd.handle.disarm():
            self.assertEqual(self.fobd.process.wait(20), -9)
        self.kills += before
        return before

    def restart(self):
        self.fobd.kill()
        done = self.fobd.run("--check", timeout_s=60)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.fobd.start(init=False)

    def await_end(self):
        def seen():
            with self.fobd.client("admin") as c:
                e = c.environment_stats(LIVE)
            self.assertEqual(e.corrupt_records, 0)
            return e.pepper_lines == 2 and not e.rotating
        daemon.wait_until("the rotation's end", seen, 30)


class RotationCut(Base):
    def fill(self):
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

    def killed(self, n, action):
        self.begin(n, action)
        if not self.await_kill():
            return False
        self.restart()
        with self.fobd.client("admin") as c:
            self.check_keys(c)
        self.await_end()
        self.check_all()
        return True

    def at_each(self, action, first):
        n = shimmed.at_each(lambda n: self.killed(n, action),
                            lambda n: 1 if TORTURE or n < first else self.pick.randrange(8, 32))
        tap.count("%d kills up to the %dth call of a pepper's rotation; 0 lost" % (self.kills, n))
        self.assertGreaterEqual(self.kills, first)

    def test_killed_before_the_nth_call(self):
        self.at_each(shimmed.KILL, FIRST)

    def test_killed_in_the_middle_of_the_nth_call(self):
        self.at_each(shimmed.KILL_TORN, 2)

    def test_a_full_disk(self):
        """The rotation does not begin, logs that, and begins by itself when there is room. Revocations work meanwhile."""
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


class RotationCutUnderChanges(Base):
    """Creates, rolls, revocations and verifies run from before SIGHUP until the kill, which may hit their commits or the
    rotation's. Then all that was acknowledged is checked: see ledger.py."""

    WORKERS = 3
    BEFORE = 90  # changes

    def fill(self):
        self.before = ledger.Ledger()
        workers = [self.before.worker("w%d" % i, LIVE, random.Random(i)) for i in range(self.WORKERS)]
        with self.fobd.connection("admin") as connection:
            for i in range(self.BEFORE):
                workers[i % self.WORKERS].send(connection, *workers[i % self.WORKERS].next_change())

    def killed(self, n):
        book, ended = copy.deepcopy(self.before), threading.Event()
        for w in book.workers:
            w.pick = random.Random(self.pick.random())
        threads = [threading.Thread(target=w.run, args=(self.fobd, ended), daemon=True) for w in book.workers]
        self.begin(n, (shimmed.KILL, shimmed.KILL_TORN)[n % 2], beside=threads)
        before = self.await_kill()
        ended.set()
        for t in threads:
            t.join(60)
            self.assertFalse(t.is_alive(), "a request without a reply on an open connection")
        self.restart()
        self.await_end()
        book.judge(self.fobd, self.pick, everything=True)
        self.acknowledged += book.acknowledged() - self.before.acknowledged()
        self.verified += book.verified
        return before

    def test_killed_at_the_nth_call(self):
        self.acknowledged = self.verified = 0
        n = shimmed.at_each(self.killed, lambda n: 1 if TORTURE else self.pick.randrange(16, 64))
        tap.count("%d kills up to the %dth call of a pepper's rotation and of changes beside it; %d changes acknowledged "
                  "meanwhile, %d verifies compared; 0 lost" % (self.kills, n, self.acknowledged, self.verified))
        self.assertGreater(self.kills, 0)
        self.assertGreater(self.acknowledged, 0)


tap.main()
