#!/usr/bin/python3
"""A database at its ceiling: new keys are refused, all else works. TORTURE=1: 20 times, and the end of the map, too."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import unittest

import daemon
import fobwire
import pb
import tap
from pb import LIVE, SECRET, TEST


def fill(test, fobd, environment, prefix):
    """Create accounts until refused; [CreateAccountResponse] of those that were acknowledged, and the refusal."""
    made, number = [], 0
    with fobd.connection("admin") as c:
        while True:
            batch = [fobwire.request("fob.v1.Admin/CreateAccount",
                                     fobwire.create_request(environment,
                                                            "%s-%06d" % (prefix, number + i))) for i in range(32)]
            number += 32
            refused = None
            for data in c.exchange_many(batch):
                r = fobwire.response(data)
                if r.code == pb.rpc.OK:
                    made.append(pb.admin.CreateAccountResponse.FromString(r.body))
                else:
                    test.assertEqual(fobwire.code_name(r.code), "RESOURCE_EXHAUSTED", r.message)
                    refused = r
            if refused:
                return made, refused
            test.assertLess(number, 200_000, "never full")


def still_works(test, c, environment, made, first=0):
    """Check that a full environment still verifies, lists, revokes and suspends, and has lost nothing acknowledged."""
    for i in range(0, len(made), 256):
        items = c.verify_many([fobwire.verify_request(m.secret_key.secret) for m in made[i:i + 256]])
        test.assertEqual({fobwire.verdict_name(x.result.verdict) for x in items}, {"VALID"})
    test.assertTrue({m.account.account for m in made} <= {a.account for a in c.accounts(environment, page_size=1000)})
    for m in made[first:first + 100]:
        name = m.account.account
        test.assertEqual(c.revoke(environment, name, SECRET, 1).state, pb.types.KEY_STATE_REVOKED)
        test.assertEqual(c.verdict(m.secret_key.secret), "REVOKED")
        test.assertTrue(c.suspend(environment, name).suspended)
        test.assertEqual(c.verdict(m.publishable_key.secret), "SUSPENDED")
        test.assertFalse(c.resume(environment, name).suspended)


ROUNDS = 20 if os.environ.get("TORTURE") else 1


class Ceiling(unittest.TestCase):
    def test_at_the_ceiling(self):
        for _ in range(ROUNDS):
            self.reach_the_ceiling()
        tap.count("%d databases at their ceiling; nothing lost" % ROUNDS)

    def reach_the_ceiling(self):
        fobd = daemon.Daemon(ceiling="4MiB").start()
        self.addCleanup(fobd.kill)
        made, refused = fill(self, fobd, LIVE, "full")
        tap.comment("%d accounts in 4 MiB: %s" % (len(made), refused.message))
        self.assertGreater(len(made), 500)
        with fobd.client("admin") as c:
            stats = c.environment_stats(LIVE)
            self.assertEqual(stats.ceiling_bytes, 4 << 20)
            self.assertLessEqual(stats.used_bytes, stats.ceiling_bytes)
            self.assertGreaterEqual(stats.used_bytes, stats.ceiling_bytes * 8 // 10)
            # again refused, and a roll as well; with the same clear word
            for call in (lambda: c.create(LIVE, "one-more"), lambda: c.roll(LIVE, made[0].account.account)):
                with self.assertRaises(fobwire.Fault) as caught:
                    call()
                self.assertEqual(caught.exception.name, "RESOURCE_EXHAUSTED")
            still_works(self, c, LIVE, made)
            self.assertEqual(c.verdict(made[200].secret_key.secret), "VALID")
            # the other environment does not notice
            self.assertEqual(c.verdict(c.create(TEST, "elsewhere").secret_key.secret), "VALID")
            self.assertEqual(c.check("live"), pb.health.CheckResponse.SERVING)
            self.assertTrue(all(e.serving for e in c.stats().environments))
            self.assertLessEqual(c.environment_stats(LIVE).used_bytes, 4 << 20)
        fobd.kill()
        fobd.start(init=False)
        with fobd.client("admin") as c:
            with self.assertRaises(fobwire.Fault) as caught:
                c.create(LIVE, "one-more")
            self.assertEqual(caught.exception.name, "RESOURCE_EXHAUSTED")
            still_works(self, c, LIVE, made[100:])
        fobd.stop()
        # room: a higher ceiling, and mutations work again
        fobd.write_config(fobd.config_text.replace("4MiB", "8MiB"))
        fobd.start(init=False)
        with fobd.client("admin") as c:
            self.assertEqual(c.verdict(c.create(LIVE, "one-more").secret_key.secret), "VALID")
            self.assertEqual(c.roll(LIVE, made[0].account.account).new_key.key.generation, 2)
        fobd.stop()


    def test_at_the_very_end(self):
        for _ in range(ROUNDS):
            self.reach_the_very_end()
        tap.count("%d full maps; nothing lost" % ROUNDS)

    def reach_the_very_end(self):
        """Suspend and resume again and again: they fit above the ceiling until the map is full, which gets a clear error."""
        fobd = daemon.Daemon(ceiling="4MiB", events_kept=1000).start()
        self.addCleanup(fobd.kill)
        made, _ = fill(self, fobd, LIVE, "end")
        names = [m.account.account for m in made[:32]]
        done = 0
        with fobd.connection("admin") as c:
            for turn in range(2000):
                method, request = (("SuspendAccount", pb.admin.SuspendAccountRequest),
                                   ("ResumeAccount", pb.admin.ResumeAccountRequest))[turn % 2]
                replies = c.exchange_many([fobwire.request("fob.v1.Admin/" + method, request(
                    request_token=fobwire.new_token(), environment=LIVE, account=name)) for name in names])
                codes = {fobwire.code_name(fobwire.response(r).code) for r in replies}
                self.assertLessEqual(codes, {"OK", "RESOURCE_EXHAUSTED"})
                if "RESOURCE_EXHAUSTED" in codes:
                    break
                done += len(names)
        tap.comment("%d more mutations fitted behind the ceiling" % done)
        self.assertGreater(done, 1000)
        self.assertLess(turn, 1999, "no end to it")
        with fobd.client("admin") as c:
            for m in made[32:200]:
                self.assertEqual(c.verdict(m.secret_key.secret), "VALID")
            self.assertTrue(all(e.serving for e in c.stats().environments))
            self.assertEqual(c.verdict(c.create(TEST, "elsewhere").secret_key.secret), "VALID")
        self.assertLess(os.stat(os.path.join(fobd.database("live"), "data.mdb")).st_size, 16 << 20)
        fobd.kill()
        fobd.write_config(fobd.config_text.replace("4MiB", "16MiB"))
        fobd.start(init=False)
        with fobd.client("admin") as c:
            self.assertEqual(c.revoke(LIVE, names[0], SECRET, 1).state, pb.types.KEY_STATE_REVOKED)
            self.assertEqual(c.verdict(c.create(LIVE, "one-more").secret_key.secret), "VALID")
        fobd.stop()


if __name__ == "__main__":
    tap.main()
