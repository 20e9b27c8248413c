#!/usr/bin/python3
"""A damaged database: one or forty flipped bits, page headers included; a file cut short at any length, at rest or under a
running fobd. There must be no wrong VALID, no NOT_FOUND for a key or account that exists, no end of the process, also
under writes, and no effect on the other environment. Also a file of last-used times that is cut short. TORTURE=1: 1,500
flips and 200 cuts."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import collections
import random
import unittest

import daemon
import fobwire
import pb
import tap
from pb import LIVE, SECRET, TEST

FLIPS = 1500 if os.environ.get("TORTURE") else 60
CUTS = 200 if os.environ.get("TORTURE") else 16
ACCOUNTS = 60
PAGE = 4096


class Damage(unittest.TestCase):
    def setUp(self):
        self.fobd = daemon.Daemon().start()
        self.addCleanup(self.fobd.kill)
        with self.fobd.client("admin") as c:
            self.live = c.create(LIVE, "other").secret_key.secret
            made = [c.create(TEST, "acct_%d" % i) for i in range(ACCOUNTS)]
            for i in range(0, ACCOUNTS, 5):
                c.roll(TEST, "acct_%d" % i)
            self.ended = []
            for i in range(10):
                self.ended.append(c.create(TEST, "ended_%d" % i).secret_key.secret)
                c.revoke(TEST, "ended_%d" % i, SECRET, 1)
        self.fobd.stop()
        self.keys = [k for m in made for k in (m.secret_key.secret, m.publishable_key.secret)]
        self.path = os.path.join(self.fobd.database("test"), "data.mdb")
        with open(self.path, "rb") as f:
            self.whole = f.read()
        self.seen = collections.Counter()

    def damage(self, flips):
        broken = bytearray(self.whole)
        for at, bit in flips:
            broken[at] ^= 1 << bit
        with open(self.path, "wb") as f:
            f.write(broken)

    def answer(self, c, method, message):
        """The name of the reply's code or verdict; "closed" when the daemon has ended."""
        r = c.response(method, message)
        if r.code != pb.rpc.OK or not method.endswith("VerifyKey"):
            return fobwire.code_name(r.code)
        return fobwire.verdict_name(pb.keys.VerifyKeyResponse.FromString(r.body).verdict)

    def ask_everything(self, pick, write=False):
        verdicts = ("VALID", "UNAVAILABLE")
        with self.fobd.client("admin") as c:
            for secret in pick.sample(self.keys, 40):
                got = self.answer(c, "fob.v1.Keys/VerifyKey", fobwire.verify_request(secret))
                self.assertIn(got, verdicts)
                self.seen[got] += 1
            for secret in pick.sample(self.ended, 4):
                got = self.answer(c, "fob.v1.Keys/VerifyKey", fobwire.verify_request(secret))
                self.assertIn(got, tuple(v.replace("VALID", "REVOKED") for v in verdicts))
                self.seen[got] += 1
            for i in pick.sample(range(ACCOUNTS), 6):
                account = "acct_%d" % i
                got = self.answer(c, "fob.v1.Admin/ListKeys", pb.admin.ListKeysRequest(environment=TEST, account=account))
                self.assertIn(got, ("OK", "UNAVAILABLE"))
                self.seen["keys listed " + got] += 1
                if write:
                    got = self.answer(c, "fob.v1.Admin/RollKey", fobwire.roll_request(TEST, account))
                    # A page count that is too high looks like a full database: a refusal, and so no wrong answer.
                    self.assertIn(got, ("OK", "UNAVAILABLE", "INTERNAL", "RESOURCE_EXHAUSTED"))
                    self.seen["roll " + got] += 1
            for method, message in (("ListEvents", pb.admin.ListEventsRequest(environment=TEST)),
                                    ("ListAccounts", pb.admin.ListAccountsRequest(environment=TEST))):
                self.assertIn(self.answer(c, "fob.v1.Admin/" + method, message), ("OK", "UNAVAILABLE"))
            self.assertEqual(c.verdict(self.live), "VALID")
            self.assertEqual(c.environment_stats(LIVE).corrupt_records, 0)

    def test_flipped_bits(self):
        pick = random.Random(tap.seed())
        pages = len(self.whole) // PAGE
        for n in range(FLIPS):
            # Every other one in a page's header and its list of entries, where LMDB believes what it reads.
            page = pick.randrange(2, pages)
            at = page * PAGE + (pick.randrange(8, 120) if n % 2 else pick.randrange(PAGE))
            flips = [(at, pick.randrange(8))]
            with self.subTest(flips=flips):
                self.damage(flips)
                self.fobd.start(init=False)
                try:
                    self.ask_everything(pick, write=True)
                finally:
                    self.fobd.kill()
        tap.comment("count: %d flips: %s" % (FLIPS, dict(self.seen)))
        self.assertGreater(self.seen["VALID"], 0)

    def test_many_at_once(self):
        pick = random.Random(tap.seed())
        pages = len(self.whole) // PAGE
        for _ in range(max(6, FLIPS // 10)):
            flips = [(pick.randrange(2, pages) * PAGE + pick.randrange(8, 120), pick.randrange(8)) for _ in range(40)]
            with self.subTest(flips=flips):
                self.damage(flips)
                self.fobd.start(init=False)
                try:
                    self.ask_everything(pick, write=True)
                finally:
                    self.fobd.kill()
        tap.comment("count: %d times forty flips: %s" % (max(6, FLIPS // 10), dict(self.seen)))
        self.assertGreater(self.seen["UNAVAILABLE"], 0, "no flip hit anything")

    def test_cuts(self):
        """Cut at any length, within a page or between two: what is left may be answered from, and no answer is wrong."""
        pick = random.Random(tap.seed())
        pages = len(self.whole) // PAGE
        # The first two pages say where all others are.
        plan = [(length, running) for length in (0, PAGE, PAGE + 100, 2 * PAGE) for running in (False, True)]
        for n in range(len(plan), CUTS):
            plan.append((pick.randrange(pages) * PAGE if n % 4 < 2 else pick.randrange(len(self.whole)), n % 2 == 1))
        for length, running in plan:
            with self.subTest(length=length, running=running):
                said = len(self.fobd.log())
                with open(self.path, "wb") as f:
                    f.write(self.whole if running else self.whole[:max(1, length)])
                self.fobd.start(init=False)
                try:
                    if running:
                        os.truncate(self.path, length)
                    self.ask_everything(pick)
                    if not running:
                        with self.fobd.client("admin") as c:
                            served = pb.health.CheckResponse.ServingStatus.Name(c.check("test")) == "SERVING"
                        told = "this environment is not served" in self.fobd.log()[said:]
                        self.assertNotEqual(served, told)
                        self.seen["served" if served else "not served, and said why"] += 1
                finally:
                    self.fobd.kill()
        tap.comment("count: %d cuts, half of them under a running fobd: %s" % (CUTS, dict(self.seen)))
        self.assertGreater(self.seen["UNAVAILABLE"], 0)

    def test_one_that_is_cut_short_leaves_the_other_alone(self):
        # Not merely the last page, which may be a free one: then nothing is missing.
        for pages in (1, 2, len(self.whole) // PAGE // 2):
            with self.subTest(pages=pages):
                with open(self.path, "wb") as f:
                    f.write(self.whole[:pages * PAGE])
                self.fobd.start(init=False)
                with self.fobd.client("verify") as c:
                    self.assertEqual(c.verdict(self.live), "VALID")
                    self.assertEqual(self.answer(c, "fob.v1.Keys/VerifyKey", fobwire.verify_request(self.keys[0])),
                                     "UNAVAILABLE")
                    self.assertEqual(pb.health.CheckResponse.ServingStatus.Name(c.check("live")), "SERVING")
                    self.assertEqual(pb.health.CheckResponse.ServingStatus.Name(c.check("test")), "NOT_SERVING")
                    self.assertEqual(pb.health.CheckResponse.ServingStatus.Name(c.check("")), "NOT_SERVING")
                self.fobd.kill()


class LastUsed(unittest.TestCase):
    """Damage to the file of last-used times causes no fault: verifies do not depend on it."""

    def last_used(self, c, environment):
        return [key.last_used_ms for key in c.keys(environment, "acct") if key.kind == SECRET]

    def test_cut_short_under_a_running_fobd(self):
        fobd = daemon.Daemon().start()
        self.addCleanup(fobd.kill)
        with fobd.client("admin") as c:
            secrets = {e: c.create(e, "acct").secret_key.secret for e in (LIVE, TEST)}
            for e in (LIVE, TEST):
                self.assertEqual(c.verdict(secrets[e]), "VALID")
                self.assertGreater(self.last_used(c, e)[0], 0)
            os.truncate(os.path.join(fobd.database("live"), "lastused"), 0)
            for _ in range(3):
                self.assertEqual([c.verdict(secrets[e]) for e in (LIVE, TEST)], ["VALID", "VALID"])
            self.assertGreater(min(self.last_used(c, LIVE) + self.last_used(c, TEST)), 0)
            c.roll(LIVE, "acct")
            self.assertEqual(c.verdict(c.create(LIVE, "more").secret_key.secret), "VALID")
        fobd.restart()
        with fobd.client("admin") as c:
            self.assertEqual([c.verdict(secrets[e]) for e in (LIVE, TEST)], ["VALID", "VALID"])
        fobd.stop()


tap.main()
