#!/usr/bin/python3
"""Rolls, revocations and suspensions: no customer is locked out, and no old key is valid for too long."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import threading
import time
import unittest

import daemon
import fobwire
import pb
import tap
from pb import LIVE, PUBLISHABLE, SECRET, TEST

STATE = pb.types.KeyState.Name


class Rolls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.fobd = daemon.Daemon().start()
        cls.addClassCleanup(cls.fobd.stop)
        cls.admin = cls.fobd.client("admin")
        cls.addClassCleanup(cls.admin.close)

    def fault(self, want, call, *args, words=(), **kw):
        with self.assertRaises(fobwire.Fault) as caught:
            call(*args, **kw)
        self.assertEqual(caught.exception.name, want, caught.exception.message)
        for word in words:
            self.assertIn(word, caught.exception.message)
        return caught.exception.message

    def states(self, account, environment=LIVE):
        return [(k.generation, STATE(k.state)[10:]) for k in self.admin.keys(environment, account) if k.kind == SECRET]

    def test_each_old_key_has_its_own_24_hours(self):
        secrets = [self.admin.create(LIVE, "double").secret_key.secret]
        ends = []
        for generation in range(2, 6):
            rolled = self.admin.roll(LIVE, "double")
            secrets.append(rolled.new_key.secret)
            ends.append(rolled.old_key.expires_ms)
            self.assertEqual(rolled.old_key.expires_ms - rolled.new_key.key.created_ms, 86_400_000)
            daemon.wait_until("the next millisecond", lambda: time.time() * 1000 > rolled.new_key.key.created_ms + 2)
        self.assertEqual(ends, sorted(set(ends)))
        for i, secret in enumerate(secrets):
            got = self.admin.verify(secret)
            self.assertEqual(fobwire.verdict_name(got.verdict), "VALID")
            self.assertEqual((got.generation, got.current_generation, got.superseded), (i + 1, 5, i < 4))
            self.assertEqual(got.expires_ms, (ends + [0])[i], "a later roll moved an earlier key's end")
        self.assertEqual([k.expires_ms for k in self.admin.keys(LIVE, "double") if k.kind == SECRET], ends + [0])
        account = [a for a in self.admin.accounts(LIVE) if a.account == "double"][0]
        self.assertEqual((account.secret_generation, account.keys_in_grace), (5, 4))

    def test_a_ninth_key_in_grace_is_refused_and_says_when(self):
        self.admin.create(TEST, "ninth")
        first = self.admin.roll(TEST, "ninth", grace=3000).old_key.expires_ms
        for _ in range(7):
            self.admin.roll(TEST, "ninth")
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(-(-first // 1000)))
        self.fault("RESOURCE_EXHAUSTED", self.admin.roll, TEST, "ninth", words=(when,))
        self.assertEqual(len(self.states("ninth", TEST)), 9)
        # one that leaves no ninth behind is not refused: a leaked key must be replaceable at once
        self.assertEqual(self.admin.roll(TEST, "ninth", grace=0).new_key.key.generation, 10)
        self.fault("RESOURCE_EXHAUSTED", self.admin.roll, TEST, "ninth")
        # and room is made by ending one
        self.admin.revoke(TEST, "ninth", SECRET, 3)
        self.assertEqual(self.admin.roll(TEST, "ninth").new_key.key.generation, 11)
        self.fault("RESOURCE_EXHAUSTED", self.admin.roll, TEST, "ninth", words=(when,))

    def test_shorter_grace_ends_on_time(self):
        old = self.admin.create(LIVE, "short").secret_key.secret
        rolled = self.admin.roll(LIVE, "short", grace=1)
        end = rolled.old_key.expires_ms
        self.assertEqual(end, rolled.new_key.key.created_ms + 1000)
        self.assertEqual(self.admin.verify(old).expires_ms, end)
        seen = []

        def ended():
            before = time.time() * 1000
            verdict = self.admin.verdict(old)
            after = time.time() * 1000
            seen.append(verdict)
            if after < end:
                self.assertEqual(verdict, "VALID")
            elif before >= end:
                self.assertEqual(verdict, "EXPIRED")
                return True
            return False
        daemon.wait_until("the grace ends", ended, 5, 0.001)
        self.assertIn("VALID", seen)
        self.assertNotIn("VALID", seen[seen.index("EXPIRED"):])
        self.assertEqual(self.states("short"), [(1, "EXPIRED"), (2, "CURRENT")])

        def expired():
            return [(e.kind, e.generation) for e in self.admin.events(LIVE, "short") if e.type == pb.admin.KEY_EXPIRED]
        daemon.wait_until("the sweeper has made it a fact", expired)
        self.assertEqual(expired(), [(SECRET, 1)])
        self.assertGreaterEqual(self.admin.environment_stats(LIVE).keys_expired, 1)
        self.assertEqual(self.admin.verdict(rolled.new_key.secret), "VALID")

    def test_no_grace_ends_at_once(self):
        old = self.admin.create(LIVE, "none").secret_key.secret
        rolled = self.admin.roll(LIVE, "none", grace=0)
        self.assertEqual(self.admin.verdict(old), "REVOKED")
        self.assertEqual(STATE(rolled.old_key.state), "KEY_STATE_REVOKED")
        self.assertGreater(rolled.old_key.ended_ms, 0)
        self.assertEqual(self.states("none"), [(1, "REVOKED"), (2, "CURRENT")])
        self.assertEqual(self.admin.verdict(rolled.new_key.secret), "VALID")

    def test_publishable_keys_do_not_roll(self):
        made = self.admin.create(LIVE, "pub")
        self.fault("FAILED_PRECONDITION", self.admin.roll, LIVE, "pub", kind=PUBLISHABLE, words=("secret",))
        self.assertEqual(self.admin.verdict(made.publishable_key.secret), "VALID")
        self.assertEqual(self.admin.roll(LIVE, "pub", kind=SECRET).new_key.key.generation, 2)

    def test_expected_generation(self):
        self.admin.create(LIVE, "expect")
        self.assertEqual(self.admin.roll(LIVE, "expect", expected_generation=1).new_key.key.generation, 2)
        for wrong in (1, 3, 2**32 - 1):
            self.fault("ABORTED", self.admin.roll, LIVE, "expect", expected_generation=wrong, words=("2",))
        self.assertEqual(self.states("expect"), [(1, "GRACE"), (2, "CURRENT")])
        self.assertEqual(self.admin.roll(LIVE, "expect", expected_generation=2).new_key.key.generation, 3)

    def test_of_concurrent_rolls_that_expect_one_generation_one_wins(self):
        self.admin.create(LIVE, "cas")
        data = [fobwire.request("fob.v1.Admin/RollKey", fobwire.roll_request(LIVE, "cas",
                                                                             expected_generation=1)) for _ in range(32)]
        with self.fobd.connection() as c:
            codes = [fobwire.code_name(fobwire.response(r).code) for r in c.exchange_many(data)]
        self.assertEqual(sorted(codes), ["ABORTED"] * 31 + ["OK"])

    def test_authorizing_secret(self):
        made = self.admin.create(LIVE, "auth")
        other, test = self.admin.create(LIVE, "auth-other"), self.admin.create(TEST, "auth")
        roll = self.admin.roll
        for wrong in (other.secret_key.secret, made.publishable_key.secret, test.secret_key.secret,
                      b"sk_live_" + b"0" * 36, b"", ):
            if wrong:
                self.fault("PERMISSION_DENIED", roll, LIVE, "auth", authorizing_secret=wrong)
        self.assertEqual(self.states("auth"), [(1, "CURRENT")])
        rolled = roll(LIVE, "auth", authorizing_secret=made.secret_key.secret)
        self.assertEqual(rolled.new_key.key.generation, 2)
        self.assertEqual(self.admin.verdict(made.secret_key.secret), "VALID")
        self.fault("PERMISSION_DENIED", roll, LIVE, "auth", authorizing_secret=made.secret_key.secret)  # superseded
        self.admin.revoke(LIVE, "auth", SECRET, 1)
        self.fault("PERMISSION_DENIED", roll, LIVE, "auth", authorizing_secret=made.secret_key.secret)  # revoked
        self.assertEqual(roll(LIVE, "auth", authorizing_secret=rolled.new_key.secret).new_key.key.generation, 3)

    def test_a_superseded_key_may_not_ask_for_a_roll(self):
        old = self.admin.create(LIVE, "ask").secret_key.secret
        self.assertEqual(self.admin.verdict(old, operation="keys.roll"), "VALID")
        new = self.admin.roll(LIVE, "ask").new_key.secret
        self.assertEqual(self.admin.verdict(old, operation="keys.roll"), "FORBIDDEN")
        self.assertEqual(self.admin.verdict(old, operation="charges.create"), "VALID")
        self.assertEqual(self.admin.verdict(new, operation="keys.roll"), "VALID")

    def test_revoke_the_current_key_and_go_on(self):
        made = self.admin.create(LIVE, "cur")
        ended = self.admin.revoke(LIVE, "cur", SECRET, 1)
        self.assertEqual(STATE(ended.state), "KEY_STATE_REVOKED")
        self.assertEqual(self.admin.verdict(made.secret_key.secret), "REVOKED")
        self.assertEqual(self.admin.verdict(made.publishable_key.secret), "VALID")
        rolled = self.admin.roll(LIVE, "cur")  # the way back in
        self.assertEqual(rolled.new_key.key.generation, 2)
        self.assertEqual(STATE(rolled.old_key.state), "KEY_STATE_REVOKED")
        self.assertEqual(self.admin.verdict(made.secret_key.secret), "REVOKED", "a roll gave a revoked key a grace")
        self.assertEqual(self.admin.verdict(rolled.new_key.secret), "VALID")

    def test_revoke_in_grace_and_twice(self):
        old = self.admin.create(LIVE, "twice").secret_key.secret
        self.admin.roll(LIVE, "twice")
        first = self.admin.revoke(LIVE, "twice", SECRET, 1)
        self.assertEqual(self.admin.verdict(old), "REVOKED")
        events = len(self.admin.events(LIVE, "twice"))
        second = self.admin.revoke(LIVE, "twice", SECRET, 1)
        self.assertEqual(second, first)
        self.assertEqual(len(self.admin.events(LIVE, "twice")), events)
        self.assertEqual(self.states("twice"), [(1, "REVOKED"), (2, "CURRENT")])

    def test_revoke_an_expired_key_leaves_it_expired(self):
        old = self.admin.create(LIVE, "late").secret_key.secret
        self.admin.roll(LIVE, "late", grace=1)
        daemon.wait_until("expired", lambda: self.admin.verdict(old) == "EXPIRED", 5)
        ended = self.admin.revoke(LIVE, "late", SECRET, 1)
        self.assertEqual(STATE(ended.state), "KEY_STATE_EXPIRED")
        self.assertEqual(self.admin.verdict(old), "EXPIRED")

    def test_revoke_a_publishable_key(self):
        made = self.admin.create(TEST, "pubrev")
        self.admin.revoke(TEST, "pubrev", PUBLISHABLE, 1)
        self.assertEqual(self.admin.verdict(made.publishable_key.secret), "REVOKED")
        self.assertEqual(self.admin.verdict(made.publishable_key.secret, operation="tokenize"), "REVOKED")
        self.assertEqual(self.admin.verdict(made.secret_key.secret), "VALID")

    def test_suspend_and_resume(self):
        made = self.admin.create(LIVE, "susp")
        rolled = self.admin.roll(LIVE, "susp")
        gone = self.admin.roll(LIVE, "susp", grace=0).old_key
        all_keys = [made.secret_key.secret, made.publishable_key.secret]
        first = self.admin.suspend(LIVE, "susp")
        for secret in all_keys:
            for operation in ("", "tokenize"):
                got = self.admin.verify(secret, operation=operation)
                self.assertEqual(fobwire.verdict_name(got.verdict), "SUSPENDED")
                self.assertEqual(got.account, "susp")
        self.assertEqual(self.admin.verdict(rolled.new_key.secret), "REVOKED", "an ended key stays what it is")
        self.assertEqual(gone.generation, 2)
        self.assertEqual(self.admin.verdict(all_keys[0], environment=TEST), "WRONG_ENVIRONMENT")
        events = len(self.admin.events(LIVE, "susp"))
        again = self.admin.suspend(LIVE, "susp")
        self.assertEqual(again.suspended_ms, first.suspended_ms)
        self.assertEqual(len(self.admin.events(LIVE, "susp")), events, "suspending twice is one event")
        back = self.admin.resume(LIVE, "susp")
        self.assertEqual((back.suspended, back.suspended_ms), (False, 0))
        for secret in all_keys:
            self.assertEqual(self.admin.verdict(secret), "VALID")
        self.admin.resume(LIVE, "susp")
        self.assertEqual(len(self.admin.events(LIVE, "susp")), events + 1)

    def test_a_change_holds_for_every_verify_that_starts_after_its_reply(self):
        """Promise 1, with verifies from other connections all the time."""
        old = self.admin.create(LIVE, "now").secret_key.secret
        ended, stop, wrong, counts = [], threading.Event(), [], [0] * 4

        def verify(n):
            with self.fobd.client("tcp" if n % 2 else "verify") as c:
                while not stop.is_set():
                    gone = ended[-1:]  # its end was acknowledged before this verify starts
                    if gone and c.verdict(gone[0]) != "REVOKED":
                        wrong.append(n)
                    counts[n] += bool(gone)
        threads = [threading.Thread(target=verify, args=(n,), daemon=True) for n in range(4)]
        for t in threads:
            t.start()
        for _ in range(200):
            new = self.admin.roll(LIVE, "now", grace=0).new_key.secret
            ended.append(old)
            self.assertEqual(self.admin.verdict(new), "VALID")
            old = new
        daemon.wait_until("each thread has looked", lambda: min(counts) > 0)
        stop.set()
        for t in threads:
            t.join(30)
        self.assertEqual(wrong, [])


tap.main()
