#!/usr/bin/python3
"""The 24 hours of grace, with a wall clock that the test sets: before, at and after the end; set back; set back over a
restart."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import time
import unittest

import daemon
import fobwire
import pb
import tap
from pb import LIVE, SECRET, TEST

DAY_S = 86400


class Day(unittest.TestCase):
    def setUp(self):
        self.fobd = daemon.Daemon()
        self.clock = daemon.Clock(self.fobd.place)
        self.start()
        self.addCleanup(self.fobd.kill)

    def start(self, init=True):
        self.fobd.start(clock=self.clock, init=init)
        self.admin = self.fobd.client("admin")
        self.addCleanup(self.admin.close)

    def restart(self, kill=False):
        self.admin.close()
        self.fobd.kill() if kill else self.fobd.stop()
        self.start(init=False)

    def tearDown(self):
        self.admin.close()
        self.fobd.stop()

    def state(self, generation=1, environment=LIVE):
        return [pb.types.KeyState.Name(k.state)[10:] for k in self.admin.keys(environment, "day")
                if k.kind == SECRET and k.generation == generation][0]

    def expired_events(self, environment=LIVE):
        return [e.generation for e in self.admin.events(environment, "day") if e.type == pb.admin.KEY_EXPIRED]

    def swept(self, generation):
        """Wait for the event, which shows that the end is committed. Lists and verdicts only compare times."""
        daemon.wait_until("the sweeper", lambda: generation in self.expired_events())
        self.assertEqual(self.state(generation), "EXPIRED")

    def rolled(self, **kw):
        """-> (old secret, new secret, the second in which the old one ends)"""
        old = self.admin.create(LIVE, "day").secret_key.secret
        reply = self.admin.roll(LIVE, "day", **kw)
        end = reply.old_key.expires_ms
        # The clock of the daemon is the wall clock we set plus the moments since: never behind it, and close.
        self.assertTrue(0 <= end - (self.clock.now_s + kw.get("grace", DAY_S)) * 1000 < 60_000, end)
        return old, reply.new_key.secret, end

    def test_a_second_before_at_and_after_24_hours(self):
        old, new, end = self.rolled()
        self.clock.set(end // 1000 - 1)
        asked = time.monotonic()
        got = self.admin.verify(old)
        if time.monotonic() - asked < 0.9:
            self.assertEqual(fobwire.verdict_name(got.verdict), "VALID")
            self.assertTrue(got.superseded)
            self.assertEqual(got.expires_ms, end)
        self.clock.set(-(-end // 1000))
        self.assertEqual(self.admin.verdict(old), "EXPIRED")
        self.assertEqual(self.admin.verdict(new), "VALID")
        self.clock.set(end // 1000 + 1)
        self.assertEqual(self.admin.verdict(old), "EXPIRED")
        self.clock.set(end // 1000 + 400 * DAY_S)
        self.assertEqual(self.admin.verdict(old), "EXPIRED")
        self.assertEqual(self.admin.verdict(new), "VALID")
        self.swept(1)
        ended = self.admin.keys(LIVE, "day")[0]
        self.assertGreaterEqual(ended.ended_ms, end)

    def test_double_rolls_end_each_at_its_own_time(self):
        secrets = [self.admin.create(LIVE, "day").secret_key.secret]
        ends = []
        for hour in range(3):
            reply = self.admin.roll(LIVE, "day")
            secrets.append(reply.new_key.secret)
            ends.append(reply.old_key.expires_ms)
            self.clock.set(self.clock.now_s + 3600)
        for i, end in enumerate(ends):
            self.clock.set(end // 1000 - 5)
            self.assertEqual([self.admin.verdict(s) for s in secrets], ["EXPIRED"] * i + ["VALID"] * (4 - i))
            self.clock.set(end // 1000 + 1)
            self.assertEqual([self.admin.verdict(s) for s in secrets], ["EXPIRED"] * (i + 1) + ["VALID"] * (3 - i))
        daemon.wait_until("three events", lambda: self.expired_events() == [1, 2, 3])

    def test_a_clock_set_back_does_not_revive(self):
        old, new, end = self.rolled()
        self.clock.set(end // 1000 + 1)
        self.assertEqual(self.admin.verdict(old), "EXPIRED")
        for seconds in (1, 3600, DAY_S, 365 * DAY_S):
            self.clock.set(end // 1000 - seconds)
            self.assertEqual(self.admin.verdict(old), "EXPIRED")
        self.assertEqual(self.admin.verdict(new), "VALID")

    def test_a_clock_set_back_does_not_lengthen_a_grace(self):
        """After the clock was set back a new grace starts from the time before that."""
        self.clock.set(self.clock.now_s + 10 * DAY_S)
        self.admin.create(LIVE, "day")
        there = self.clock.now_s
        self.clock.set(there - 10 * DAY_S)
        reply = self.admin.roll(LIVE, "day")
        self.assertGreaterEqual(reply.old_key.expires_ms, (there + DAY_S) * 1000)
        self.assertLess(reply.old_key.expires_ms, (there + DAY_S + 60) * 1000)

    def test_time_does_not_run_back_over_a_restart(self):
        """Changes after that are not dated before what was committed, and a new grace does not end earlier."""
        self.clock.set(self.clock.now_s + 10 * DAY_S)
        created = self.admin.create(LIVE, "day").secret_key
        for kill in (False, True):
            self.clock.set(self.clock.now_s - 3 * DAY_S)
            self.restart(kill)
            rolled = self.admin.roll(LIVE, "day")
            self.assertGreaterEqual(rolled.new_key.key.created_ms, created.key.created_ms)
            self.assertGreaterEqual(rolled.old_key.expires_ms, created.key.created_ms + DAY_S * 1000)
            self.assertEqual(self.admin.verdict(created.secret), "VALID")
        times = [e.time_ms for e in self.admin.events(LIVE)]
        self.assertEqual(times, sorted(times))

    def test_a_clock_set_back_over_a_restart_does_not_revive(self):
        for kill in (False, True):
            with self.subTest(kill=kill):
                if kill:
                    self.admin.roll(LIVE, "day", grace=0)
                    old = self.admin.roll(LIVE, "day").old_key
                    end, generation = old.expires_ms, old.generation
                else:
                    old, new, end = self.rolled()
                    generation = 1
                self.clock.set(end // 1000 + 1)
                self.swept(generation)
                self.clock.set(end // 1000 - DAY_S)
                self.restart(kill)
                self.assertEqual(self.state(generation), "EXPIRED")
                if not kill:
                    self.assertEqual(self.admin.verdict(old), "EXPIRED")
                    self.assertEqual(self.admin.verdict(new), "VALID")

    def test_a_grace_that_ended_while_fobd_was_down(self):
        old, new, end = self.rolled()
        self.admin.close()
        self.fobd.stop()
        self.clock.set(end // 1000 + 1)
        self.start(init=False)
        self.assertEqual(self.admin.verdict(old), "EXPIRED")
        self.swept(1)
        self.clock.set(end // 1000 - 3600)
        self.assertEqual(self.admin.verdict(old), "EXPIRED")
        self.restart()
        self.assertEqual(self.admin.verdict(old), "EXPIRED")
        self.assertEqual(self.admin.verdict(new), "VALID")

    def test_the_event_appears_once(self):
        _, _, end = self.rolled()
        self.clock.set(end // 1000 + 1)
        daemon.wait_until("the event", lambda: self.expired_events() == [1])
        events = self.admin.events(LIVE, "day")
        for _ in range(3):
            self.clock.set(self.clock.now_s + DAY_S)
            self.restart()
            self.clock.set(self.clock.now_s - DAY_S // 2)
            self.admin.create(LIVE, "other-%d" % self.clock.now_s)  # a commit, at which a sweeper might try again
            self.assertEqual(self.admin.events(LIVE, "day"), events)
        self.assertEqual(self.admin.environment_stats(LIVE).keys_expired, 0)

    def test_the_environments_keep_their_own_time(self):
        old, _, end = self.rolled()
        self.clock.set(end // 1000 + 1)
        self.admin.create(TEST, "day")
        self.swept(1)
        self.assertEqual(self.expired_events(TEST), [])
        self.assertEqual(self.expired_events(LIVE), [1])

    def test_a_token_is_good_for_24_hours(self):
        made = self.admin.create(LIVE, "day")
        data = fobwire.request("fob.v1.Admin/RollKey", fobwire.roll_request(LIVE, "day", grace=0))
        reply = self.admin.connection.exchange(data)
        at = self.clock.now_s
        self.clock.set(at + DAY_S - 60)
        self.assertEqual(self.admin.connection.exchange(data), reply)
        self.restart()
        self.assertEqual(self.admin.connection.exchange(data), reply)
        # Afterwards it is forgotten: the same request is a new one. (A caller must not come back that late.)
        self.clock.set(at + DAY_S + 3600)
        self.restart()
        self.admin.create(LIVE, "other")
        later = self.admin.raw(data)
        self.assertEqual(fobwire.code_name(later.code), "OK", later.message)
        self.assertEqual(pb.admin.RollKeyResponse.FromString(later.body).new_key.key.generation, 3)
        self.assertEqual(self.admin.verdict(made.secret_key.secret), "REVOKED")

    def test_a_ninth_key_fits_when_the_first_has_ended(self):
        self.admin.create(LIVE, "day")
        end = self.admin.roll(LIVE, "day").old_key.expires_ms
        self.clock.set(self.clock.now_s + 7200)
        for _ in range(7):
            self.admin.roll(LIVE, "day")
        with self.assertRaises(fobwire.Fault) as caught:
            self.admin.roll(LIVE, "day")
        self.assertEqual(caught.exception.name, "RESOURCE_EXHAUSTED")
        self.assertIn(time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(-(-end // 1000))), caught.exception.message)
        self.clock.set(-(-end // 1000))
        self.assertEqual(self.admin.roll(LIVE, "day").new_key.key.generation,
                         10)  # whether or not the sweeper was there first


tap.main()
