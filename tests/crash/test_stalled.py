#!/usr/bin/python3
"""A disk that does not answer: changes wait for it and have a limit, and nothing else waits."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import time
import unittest

import shimmed

import daemon
import fobwire
import pb
import tap
from pb import LIVE

IN_FLIGHT = 8
CHANGES = 40
VERIFIES = 200
VERIFY = "fob.v1.Keys/VerifyKey"
ROLL = "fob.v1.Admin/RollKey"


class Stalled(unittest.TestCase):
    def setUp(self):
        self.fobd = shimmed.Daemon(settings="in_flight = %d\n" % IN_FLIGHT)
        self.addCleanup(self.fobd.kill)
        self.fobd.start(shim=True)
        with self.fobd.client("admin") as c:
            self.secret = c.create(LIVE, "verified").secret_key.secret
            c.create(LIVE, "changed")
        self.fobd.handle.arm(shimmed.SYNC, 1, shimmed.HANG, last=shimmed.FOREVER)
        self.addCleanup(self.fobd.handle.disarm)

    def verify(self):
        return fobwire.request(VERIFY, fobwire.verify_request(self.secret))

    def rolls(self, n):
        return [fobwire.request(ROLL, fobwire.roll_request(LIVE, "changed", grace=0), timeout_ms=60_000)
                for _ in range(n)]

    def stall(self, c):
        """More changes than may be under way, with verifies behind them. Returns the ids of those that wait."""
        changes = c.send_many(self.rolls(CHANGES))
        verifies = c.send_many([self.verify()] * VERIFIES)
        start, refused, valid = time.monotonic(), [], 0
        for _ in range(CHANGES - IN_FLIGHT + VERIFIES):
            ident, data = c.recv()
            r = fobwire.response(data)
            if ident in changes:
                self.assertEqual(fobwire.code_name(r.code), "RESOURCE_EXHAUSTED")
                self.assertIn("under way", r.message)
                refused.append(ident)
            else:
                self.assertIn(ident, verifies)
                valid += fobwire.result(VERIFY, r).verdict == pb.keys.VALID
        self.assertEqual((len(refused), valid), (CHANGES - IN_FLIGHT, VERIFIES))
        self.assertLess(time.monotonic() - start, 2 * daemon.SLOWER, "not at once")
        return [ident for ident in changes if ident not in refused]

    def test_changes_have_a_limit_and_verifies_go_on(self):
        for listener in ("admin", "tcpadmin"):
            with self.subTest(listener=listener), self.fobd.connection(listener) as c, self.fobd.client("verify") as v:
                waiting = self.stall(c)
                self.assertEqual(v.stats().in_flight, IN_FLIGHT)
                for _ in range(200):
                    self.assertEqual(v.verdict(self.secret), "VALID")
                    self.valid(c)
                self.fobd.handle.disarm()
                got = dict(c.recv() for _ in waiting)
                self.assertEqual(sorted(got), sorted(waiting))
                for data in got.values():
                    self.assertEqual(fobwire.code_name(fobwire.response(data).code), "OK")
                for data in c.exchange_many(self.rolls(IN_FLIGHT)):  # there is room again
                    self.assertEqual(fobwire.code_name(fobwire.response(data).code), "OK")
                self.fobd.handle.arm(shimmed.SYNC, 1, shimmed.HANG, last=shimmed.FOREVER)
        self.fobd.handle.disarm()
        self.fobd.stop()

    def valid(self, c):
        got = fobwire.result(VERIFY, fobwire.response(c.exchange(self.verify())))
        self.assertEqual(got.verdict, pb.keys.VALID)

    def test_each_connection_has_its_own_limit(self):
        with self.fobd.connection("admin") as one, self.fobd.connection("admin") as two:
            waiting = {one: self.stall(one), two: self.stall(two)}
            self.fobd.handle.disarm()
            for c, ids in waiting.items():
                for _ in ids:
                    self.assertEqual(fobwire.response(c.recv()[1]).code, pb.rpc.OK)
        self.fobd.stop()

    def test_a_connection_that_leaves_takes_nothing_along(self):
        """Its changes are applied when the disk answers, once, and their replies go nowhere."""
        with self.fobd.client("admin") as other:
            c = self.fobd.connection("admin")
            waiting = self.stall(c)
            c.close()
            daemon.wait_until("it is gone", lambda: other.stats().connections == 1)
            self.assertEqual(other.verdict(self.secret), "VALID")
            self.assertEqual(other.stats().in_flight, IN_FLIGHT)
            self.fobd.handle.disarm()
            daemon.wait_until("they are applied", lambda: other.stats().in_flight == 0)
            account = [a for a in other.accounts(LIVE) if a.account == "changed"][0]
            self.assertEqual(account.secret_generation, 1 + len(waiting))
        self.fobd.stop()


tap.main()
