#!/usr/bin/python3
"""fobd is killed at random times under concurrent changes and verifies, and at each write, sync, truncation and block
allocation of some 20 commits, before and within the call. After each restart everything is compared with a client's
record. TORTURE=1: 500 random rounds, and every one of those calls."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import random
import shutil
import threading
import time
import unittest

import ledger
import shimmed

import daemon
import fobwire
import tap
from pb import LIVE, TEST

TORTURE = bool(os.environ.get("TORTURE"))
ROUNDS = 500 if TORTURE else 10
WORKERS = 6


def check(test, fobd):
    """What `fob check` says of the files as they were left. A file that lacks its last free pages is made whole at the
    start."""
    done = fobd.run("--check", timeout_s=60)
    test.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Kill(unittest.TestCase):
    def test_at_random_moments(self):
        pick = random.Random(tap.seed())
        fobd = daemon.Daemon().start()
        self.addCleanup(fobd.kill)
        book = ledger.Ledger()
        for i in range(WORKERS):
            book.worker("w%d" % i, (LIVE, TEST)[i % 2], random.Random(pick.random()))
        for _ in range(ROUNDS):
            ended = threading.Event()
            threads = [threading.Thread(target=w.run, args=(fobd, ended), daemon=True) for w in book.workers]
            for t in threads:
                t.start()
            time.sleep(pick.uniform(0.01, 0.4))  # the moment is what is random
            fobd.kill()
            ended.set()
            for t in threads:
                t.join(60)
                self.assertFalse(t.is_alive(), "a request without a reply on an open connection")
            check(self, fobd)
            fobd.start(init=False)
            book.judge(fobd, pick)
        book.judge(fobd, pick, everything=True)
        fobd.stop()
        tap.count("%d kills, %d changes acknowledged, %d tokens used again, %d verifies compared while it ran and %d after, "
                  "%d events; 0 lost" % (ROUNDS, book.acknowledged(), book.replayed,
                                         sum(w.verified for w in book.workers), book.verified, book.events))
        self.assertGreater(book.acknowledged(), ROUNDS)


class KillAtTheNth(unittest.TestCase):
    COMMITS = 20

    def setUp(self):
        self.fobd = shimmed.Daemon()
        self.addCleanup(self.fobd.kill)
        self.fobd.start()
        self.fobd.stop()
        self.fresh = os.path.join(self.fobd.place, "fresh")
        for name in ("live", "test"):
            shutil.copytree(self.fobd.database(name), os.path.join(self.fresh, name))

    def attempt(self, n, action, pick):
        """COMMITS changes on a new database, killed at the ${n}th system call. Returns False if there were fewer."""
        for name in ("live", "test"):
            shutil.rmtree(self.fobd.database(name))
            shutil.copytree(os.path.join(self.fresh, name), self.fobd.database(name))
        book = ledger.Ledger()
        workers = [book.worker("w%d" % i, (LIVE, TEST)[i], random.Random(i)) for i in range(2)]
        self.fobd.start(init=False, shim=True)
        try:
            with self.fobd.connection("admin") as connection:
                self.fobd.handle.arm(shimmed.CHANGING, n, action)
                for i in range(self.COMMITS):
                    workers[i % 2].send(connection, *workers[i % 2].next_change())
        except (fobwire.Closed, OSError):
            pass
        fired = self.fobd.handle.disarm()
        if fired:
            self.assertEqual(self.fobd.process.wait(20), -9)
            self.killed += 1
        self.assertEqual(book.acknowledged() < self.COMMITS, bool(fired))
        self.fobd.kill()
        check(self, self.fobd)
        self.fobd.start(init=False)
        book.judge(self.fobd, pick, everything=True)
        self.fobd.kill()
        return bool(fired)

    def at_each(self, action):
        pick = random.Random(tap.seed())
        self.killed = 0
        # In the short form a few of some 200.
        n = shimmed.at_each(lambda n: self.attempt(n, action, pick), lambda _: 1 if TORTURE else pick.randrange(1, 70))
        tap.count("%d kills up to the %dth call in %d commits; 0 lost" % (self.killed, n, self.COMMITS))
        self.assertGreater(self.killed, 0)

    def test_before_the_nth_call(self):
        self.at_each(shimmed.KILL)

    def test_in_the_middle_of_the_nth_call(self):
        self.at_each(shimmed.KILL_TORN)


tap.main()
