#!/usr/bin/python3
"""The wall clock is set back and forward, by a second to ten years, while fobd runs, over a restart and over a kill -9: 24
cases. What has ended stays ended, a grace lasts no longer than service/DESIGN.md says, and time never runs backwards.

fobd's wall clock stands still until a test sets it (tests/lib/clock.c). CLOCK_BOOTTIME is the system's.
"""

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
from pb import LIVE, SECRET, TEST

HOUR_S = 3600
DAY_S = 24 * HOUR_S
STEPS = {"a second": 1, "a minute": 60, "25 hours": 25 * HOUR_S, "ten years": 3652 * DAY_S}
HANDLED_S = 60  # more than a case takes: how far the daemon's time may be ahead of the wall that we set


class Clocked(unittest.TestCase):
    """One daemon for all cases of a class. Each case starts at the latest time of the cases before it."""

    @classmethod
    def setUpClass(cls):
        cls.fobd = daemon.Daemon()
        cls.clock = daemon.Clock(cls.fobd.place)
        cls.latest_s = cls.clock.now_s
        cls.fobd.start(clock=cls.clock)
        cls.admin = cls.fobd.client("admin")
        for environment in (LIVE, TEST):
            cls.admin.create(environment, "observer")
        cls.accounts = 0

    @classmethod
    def tearDownClass(cls):
        cls.admin.close()
        cls.fobd.stop()

    def setUp(self):
        # All that was committed, and all the time since, is behind it: the wall decides again.
        self.set(self.latest_s + HANDLED_S)
        self.now_s = self.clock.now_s

    def set(self, seconds):
        self.clock.set(seconds)
        self.observe()

    def observe(self):
        """Make each environment of the daemon read the clock: its time never runs back from here."""
        type(self).latest_s = max(self.latest_s, self.clock.now_s)
        for environment in (LIVE, TEST):
            self.admin.keys(environment, "observer")

    def over(self, how, seconds):
        """Set the clock, while fobd runs or while it is stopped."""
        if how != "run":
            self.admin.close()
            self.fobd.kill() if how == "kill" else self.fobd.stop()
        self.clock.set(seconds)
        if how != "run":
            self.fobd.start(clock=self.clock, init=False)
            type(self).admin = self.fobd.client("admin")
        self.observe()

    def create(self, environment=LIVE):
        type(self).accounts += 1
        account = "a%d" % self.accounts
        return account, self.admin.create(environment, account).secret_key

    def swept(self, account, generation):
        """Wait until the end of a key is committed. A change makes the sweeper read the clock at once."""
        def is_swept():
            self.create()
            return [e.generation for e in self.admin.events(LIVE, account)
                    if e.type == pb.admin.KEY_EXPIRED and e.generation == generation] == [generation]
        daemon.wait_until("the end of key %d of %s" % (generation, account), is_swept, 10)

    def assertVerdict(self, secret, verdict):
        self.assertEqual(self.admin.verdict(secret), verdict)

    def assertNow(self, seconds):
        """The daemon's time, as shown by a new key's date, is this, or later by at most the test's own duration."""
        created_ms = self.create()[1].key.created_ms
        self.assertTrue(0 <= created_ms - seconds * 1000 < HANDLED_S * 1000, "%d is not %d" % (created_ms, seconds))


class Cases:
    def make(self):
        """An account with a key of each kind: revoked, expired, in grace until a day from now, and current."""
        self.account, first = self.create()
        self.token = fobwire.new_token()
        self.revoked = first.secret
        self.rolled = self.admin.roll(LIVE, self.account, token=self.token)
        self.admin.revoke(LIVE, self.account, SECRET, 1)
        self.expired = self.rolled.new_key.secret
        in_grace = self.admin.roll(LIVE, self.account, grace=1)
        self.now_s += 2
        self.set(self.now_s)
        self.swept(self.account, 2)
        self.in_grace = in_grace.new_key.secret
        last = self.admin.roll(LIVE, self.account)
        self.current, self.end_ms = last.new_key.secret, last.old_key.expires_ms
        self.suspended_account, self.suspended = self.create()
        self.admin.suspend(LIVE, self.suspended_account)

    def check(self, ended):
        """Check what must hold however the clock was set. Returns whether the grace has ended."""
        self.assertVerdict(self.revoked, "REVOKED")
        self.assertVerdict(self.expired, "EXPIRED")
        self.assertVerdict(self.current, "VALID")
        self.assertVerdict(self.suspended.secret, "SUSPENDED")
        got = self.admin.verify(self.in_grace)
        self.assertEqual(fobwire.verdict_name(got.verdict), "EXPIRED" if ended else "VALID")
        self.assertEqual((got.superseded, got.expires_ms), (not ended, self.end_ms))
        states = [pb.types.KeyState.Name(k.state)[10:] for k in self.admin.keys(LIVE, self.account) if k.kind == SECRET]
        self.assertEqual(states, ["REVOKED", "EXPIRED", "EXPIRED" if ended else "GRACE", "CURRENT"])

    def check_dates(self):
        times = [e.time_ms for e in self.admin.events(LIVE)]
        self.assertEqual(times, sorted(times))

    def case(self, how, direction, step_s):
        self.make()
        ended = direction > 0 and step_s >= DAY_S
        self.over(how, self.now_s + direction * step_s)
        self.check(ended)
        self.assertNow(max(self.now_s, self.clock.now_s))
        if ended:
            self.swept(self.account, 3)
        else:
            self.assertEqual(self.admin.roll(LIVE, self.account, token=self.token), self.rolled)
        # And right again, after a forward one in the same way: nothing comes back, and time goes on from the latest.
        self.over(how if direction > 0 else "run", self.now_s + 1)
        self.check(ended)
        self.assertNow(max(self.now_s + 1, self.latest_s))
        # A grace ends at its time, neither later nor earlier, if it has not ended.
        self.set(max(self.end_ms // 1000 - 120, self.latest_s))
        self.check(ended)
        self.set(max(-(-self.end_ms // 1000), self.latest_s))
        self.check(True)
        self.swept(self.account, 3)
        self.check_dates()


def fill(how):
    """The eight cases of one way to set the clock, each a test of its own."""
    class Filled(Cases, Clocked):
        pass
    for name, step_s in STEPS.items():
        for word, direction in (("back", -1), ("forward", 1)):
            setattr(Filled, "test_%s_%s" % (word, name.replace(" ", "_")),
                    lambda self, direction=direction, step_s=step_s: self.case(how, direction, step_s))
    return Filled


class WhileRunning(fill("run")):
    pass


class OverARestart(fill("stop")):
    pass


class OverAKill(fill("kill")):
    pass


class Bounds(Clocked):
    def test_a_clock_set_back_over_a_restart_takes_no_more_than_a_minute_from_a_grace(self):
        """While a key is in grace the time is committed, even when nothing else is (see DESIGN.md)."""
        for how in ("stop", "kill"):
            with self.subTest(how):
                account, first = self.create()
                end_s = self.admin.roll(LIVE, account).old_key.expires_ms // 1000
                before = self.admin.environment_stats(LIVE).revision
                self.set(end_s - 30)
                daemon.wait_until("a commit of the time, by itself",
                                  lambda: self.admin.environment_stats(LIVE).revision > before)
                self.assertVerdict(first.secret, "VALID")
                self.over(how, self.now_s - 3652 * DAY_S)
                self.assertVerdict(first.secret, "VALID")
                self.assertNow(end_s - 30)
                self.set(end_s + 1)
                self.swept(account, 1)

    def test_a_grace_given_while_it_is_back_ends_by_the_time_that_passes(self):
        account, first = self.create()
        self.over("stop", self.now_s - 3652 * DAY_S)
        asked = time.monotonic()
        end_ms = self.admin.roll(LIVE, account, grace=1).old_key.expires_ms
        self.assertGreaterEqual(end_ms, (self.now_s + 1) * 1000)
        daemon.wait_until("the end of a second", lambda: self.admin.verdict(first.secret) == "EXPIRED")
        self.assertGreaterEqual(time.monotonic() - asked, 0.999)  # times are milliseconds, rounded down
        self.swept(account, 1)
        self.over("kill", self.now_s - 3652 * DAY_S - 1)
        self.assertVerdict(first.secret, "EXPIRED")

    def test_a_brief_forward_ends_graces_for_good(self):
        account, first = self.create()
        self.admin.roll(LIVE, account)
        self.set(self.now_s + 400 * DAY_S)
        self.assertVerdict(first.secret, "EXPIRED")
        self.swept(account, 1)
        self.set(self.now_s)
        self.assertVerdict(first.secret, "EXPIRED")
        for how in ("stop", "kill"):
            self.over(how, self.now_s - 1)
            self.assertVerdict(first.secret, "EXPIRED")
            # What is given from then on is counted from the time that was committed, and so lasts as long as it should.
            _, second = self.create()
            self.assertGreaterEqual(second.key.created_ms, (self.now_s + 400 * DAY_S) * 1000)

    def test_an_environment_that_committed_nothing_forgets_a_wrong_clock(self):
        """Each environment has its own time. After a brief wrong clock it goes on from what was committed."""
        self.admin.create(TEST, "early")
        self.set(self.now_s + 50 * DAY_S)
        self.create()
        self.over("stop", self.now_s + 1)
        self.assertLess(self.admin.create(TEST, "late").secret_key.key.created_ms, (self.now_s + HANDLED_S) * 1000)
        self.assertNow(self.now_s + 50 * DAY_S)

    def test_requests_while_the_clock_jumps_meet_no_timeout(self):
        """Timeouts follow CLOCK_BOOTTIME only. A minute is the longest that a request may have."""
        account, first = self.create()
        done = threading.Event()

        def jump():
            while not done.is_set():
                self.clock.set(self.now_s + HOUR_S)
                self.clock.set(self.now_s)
        jumping = threading.Thread(target=jump)
        jumping.start()
        try:
            for _ in range(100):
                reply = self.admin.response("fob.v1.Admin/RollKey", fobwire.roll_request(LIVE, account, grace=0),
                                            timeout_ms=60000)
                self.assertEqual(fobwire.code_name(reply.code), "OK", reply.message)
        finally:
            done.set()
            jumping.join()
            self.set(self.now_s + HOUR_S)
        self.assertVerdict(first.secret, "REVOKED")


tap.main()
