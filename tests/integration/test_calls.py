#!/usr/bin/python3
"""Every method does what PROTOCOL.md says, over ipc and tcp, on the listeners that serve it."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import base64
import time
import unittest

import daemon
import fobwire
import pb
import tap
from pb import LIVE, PUBLISHABLE, SECRET, TEST

DAY_MS = 86_400_000


def basic(user, password=b""):
    return b"Basic " + base64.b64encode(user + b":" + password)


class Calls(unittest.TestCase):
    """The whole life of an account, once over ipc and once over tcp."""

    @classmethod
    def setUpClass(cls):
        cls.fobd = daemon.Daemon(events_kept=1000).start()
        cls.addClassCleanup(cls.fobd.stop)

    def life(self, admin, verify, account):
        before = int(time.time() * 1000) - 1
        for environment, prefix in ((LIVE, "live"), (TEST, "test")):
            with self.subTest(environment=prefix):
                made = admin.create(environment, account)
                now = int(time.time() * 1000) + 1
                self.assertEqual(made.account.account, account)
                self.assertEqual(made.account.environment, environment)
                self.assertEqual((made.account.secret_generation, made.account.publishable_generation), (1, 1))
                self.assertFalse(made.account.suspended)
                self.assertTrue(before <= made.account.created_ms <= now, (before, made.account.created_ms, now))
                for new, kind, letter in ((made.secret_key, SECRET, "s"), (made.publishable_key, PUBLISHABLE, "p")):
                    self.assertRegex(new.secret.decode(), r"\A%sk_%s_[0-9A-Za-z]{36}\Z" % (letter, prefix))
                    self.assertEqual(new.key.last4, new.secret[-4:].decode())
                    self.assertEqual((new.key.account, new.key.environment, new.key.kind, new.key.generation),
                                     (account, environment, kind, 1))
                    self.assertEqual(new.key.state, pb.types.KEY_STATE_CURRENT)
                    self.assertEqual((new.key.expires_ms, new.key.ended_ms), (0, 0))

                    for how in ({"secret": new.secret}, {"authorization": basic(new.secret)}):
                        got = verify.verify(**how)
                        self.assertEqual(fobwire.verdict_name(got.verdict), "VALID")
                        self.assertEqual(got.detail, "")
                        self.assertEqual((got.account, got.environment, got.kind, got.generation,
                                          got.current_generation),
                                         (account, environment, kind, 1, 1))
                        self.assertEqual(got.livemode, environment == LIVE)
                        self.assertEqual((got.superseded, got.expires_ms), (False, 0))
                        self.assertEqual(got.created_ms, new.key.created_ms)
                        self.assertEqual(got.last4, new.key.last4)

                rolled = admin.roll(environment, account)
                self.assertEqual((rolled.new_key.key.generation, rolled.old_key.generation), (2, 1))
                self.assertEqual(rolled.old_key.state, pb.types.KEY_STATE_GRACE)
                self.assertEqual(rolled.old_key.expires_ms, rolled.new_key.key.created_ms + DAY_MS)
                self.assertEqual(rolled.old_key.ended_ms, 0)
                old = verify.verify(made.secret_key.secret)
                self.assertEqual(fobwire.verdict_name(old.verdict), "VALID")
                self.assertTrue(old.superseded)
                self.assertEqual((old.generation, old.current_generation), (1, 2))
                self.assertEqual(old.expires_ms, rolled.old_key.expires_ms)
                new = verify.verify(rolled.new_key.secret)
                self.assertEqual(fobwire.verdict_name(new.verdict), "VALID")
                self.assertEqual((new.superseded, new.generation, new.current_generation, new.expires_ms),
                                 (False, 2, 2, 0))

                ended = admin.revoke(environment, account, SECRET, 1)
                self.assertEqual(ended.state, pb.types.KEY_STATE_REVOKED)
                self.assertGreater(ended.ended_ms, 0)
                self.assertEqual(verify.verdict(made.secret_key.secret), "REVOKED")

                held = admin.suspend(environment, account)
                self.assertTrue(held.suspended)
                self.assertGreater(held.suspended_ms, 0)
                self.assertEqual(verify.verdict(rolled.new_key.secret), "SUSPENDED")
                self.assertFalse(admin.resume(environment, account).suspended)
                self.assertEqual(verify.verdict(rolled.new_key.secret), "VALID")

                keys = admin.keys(environment, account)
                self.assertEqual([(k.kind, k.generation, k.state) for k in keys], [
                    (SECRET, 1, pb.types.KEY_STATE_REVOKED), (SECRET, 2, pb.types.KEY_STATE_CURRENT),
                    (PUBLISHABLE, 1, pb.types.KEY_STATE_CURRENT)])
                self.assertIn(account, [a.account for a in admin.accounts(environment)])
                events = admin.events(environment, account)
                self.assertEqual([pb.admin.EventType.Name(e.type) for e in events], [
                    "ACCOUNT_CREATED", "KEY_ROLLED", "KEY_REVOKED", "ACCOUNT_SUSPENDED", "ACCOUNT_RESUMED"])
                self.assertEqual([e.generation for e in events[1:3]], [2, 1])
                self.assertEqual(events[1].expires_ms, rolled.old_key.expires_ms)

    def test_everything_over_ipc(self):
        with self.fobd.client("admin") as admin, self.fobd.client("verify") as verify:
            self.life(admin, verify, "over.ipc")

    def test_everything_over_tcp(self):
        with self.fobd.client("tcpadmin") as admin, self.fobd.client("tcp") as verify:
            self.life(admin, verify, "over.tcp")

    def test_an_admin_listener_verifies_too(self):
        with self.fobd.client("admin") as admin:
            self.assertEqual(admin.verdict(admin.create(TEST, "on-admin").secret_key.secret), "VALID")

    def test_a_verify_listener_refuses_every_Admin_method(self):
        with self.fobd.client("admin") as admin:
            admin.create(LIVE, "role")
            for listener in ("verify", "tcp"):
                with self.fobd.client(listener) as verify:
                    for method, (request, _) in pb.METHODS.items():
                        if ".Admin/" not in method:
                            continue
                        with self.subTest(listener=listener, method=method):
                            message = request(environment=LIVE)
                            if "account" in request.DESCRIPTOR.fields_by_name:
                                message.account = "role"
                            if "request_token" in request.DESCRIPTOR.fields_by_name:
                                message.request_token = fobwire.new_token()
                            r = verify.response(method, message)
                            self.assertEqual(fobwire.code_name(r.code), "PERMISSION_DENIED")
                            self.assertTrue(r.message)
                            self.assertEqual(r.body, b"")
                            # also when it would be refused for another reason: nothing is to be learned here
                            self.assertEqual(fobwire.code_name(verify.response(method, b"\xff").code),
                                             "PERMISSION_DENIED")
            self.assertEqual(len(admin.keys(LIVE, "role")), 2)
            self.assertEqual(len(admin.events(LIVE, "role")), 1)

    def test_a_batch_answers_each_item_by_itself(self):
        with self.fobd.client("admin") as admin, self.fobd.client("verify") as verify:
            live, test = admin.create(LIVE, "batch"), admin.create(TEST, "batch")
            items = [
                fobwire.verify_request(live.secret_key.secret, operation="charges.create"),
                fobwire.verify_request(test.publishable_key.secret, operation="charges.create"),
                fobwire.verify_request(authorization=basic(test.publishable_key.secret), operation="tokenize"),
                fobwire.verify_request(b"nonsense"),
                fobwire.verify_request(test.secret_key.secret, environment=LIVE),
                fobwire.verify_request(test.secret_key.secret, operation="x" * 65),
            ]
            got = verify.verify_many(items)
            self.assertEqual([fobwire.code_name(i.code) for i in got], ["OK"] * 5 + ["INVALID_ARGUMENT"])
            self.assertEqual([fobwire.verdict_name(i.result.verdict) for i in got[:5]],
                             ["VALID", "FORBIDDEN", "VALID", "MALFORMED", "WRONG_ENVIRONMENT"])
            self.assertEqual([i.HasField("result") for i in got], [True] * 5 + [False])
            for item, alone in zip(got[:5], items):
                self.assertEqual(item.result, verify.call("fob.v1.Keys/VerifyKey", alone))
            self.assertEqual(len(verify.verify_many([])), 0)
            many = verify.verify_many([items[0]] * 256)
            self.assertEqual([i.result.verdict for i in many], [pb.keys.VALID] * 256)

    def test_health(self):
        for listener in ("verify", "tcp", "admin", "tcpadmin"):
            with self.subTest(listener=listener), self.fobd.client(listener) as c:
                for service in ("", "fob.v1.Keys", "fob.v1.Admin", "live", "test"):
                    self.assertEqual(c.check(service), pb.health.CheckResponse.SERVING, service)
                with self.assertRaises(fobwire.Fault) as caught:
                    c.check("nothing")
                self.assertEqual(caught.exception.name, "NOT_FOUND")
                stats = c.stats()
                self.assertRegex(stats.version, r"^\d+\.\d+\.\d+")
                self.assertGreater(stats.requests, 0)
                self.assertGreater(stats.open_descriptors, 3)
                self.assertGreaterEqual(stats.connections, 1)
                self.assertEqual(stats.in_flight, 0, "no change is under way")
                self.assertEqual([e.environment for e in stats.environments], [LIVE, TEST])
                self.assertTrue(all(e.serving for e in stats.environments))

    def test_stats_count(self):
        with self.fobd.client("admin") as c:
            c.create(TEST, "counted")  # so that what other tests did is in
            before = c.stats()
            account = c.create(TEST, "counted2", token=(token := fobwire.new_token()))
            c.create(TEST, "counted2", token=token)
            with self.assertRaises(fobwire.Fault):
                c.create(TEST, "counted2")
            for _ in range(3):
                c.verify(account.secret_key.secret)
            c.verify(account.secret_key.secret, environment=LIVE)
            after = c.stats()
            old, new = before.environments[1], after.environments[1]
            self.assertEqual(new.mutations - old.mutations, 1)
            self.assertEqual(new.replays - old.replays, 1)
            self.assertEqual(new.refused - old.refused, 1)
            self.assertEqual(new.accounts - old.accounts, 1)
            self.assertEqual(new.keys - old.keys, 2)
            self.assertEqual(new.event_sequence - old.event_sequence, 1)
            self.assertGreater(new.revision, old.revision)
            self.assertGreater(new.commits, old.commits)
            self.assertEqual(new.corrupt_records, 0)
            self.assertGreaterEqual(new.used_bytes, old.used_bytes)
            self.assertEqual(new.queue_depth, 0)
            verdicts = [{v.verdict: v.count for v in e.verdicts} for e in (old, new)]
            self.assertEqual(verdicts[1].get(pb.keys.VALID, 0) - verdicts[0].get(pb.keys.VALID, 0), 3)
            self.assertEqual(verdicts[1].get(pb.keys.WRONG_ENVIRONMENT, 0) - verdicts[0].get(pb.keys.WRONG_ENVIRONMENT,
                                                                                             0), 1)
            codes = [{x.code: x.count for x in s.codes} for s in (before, after)]
            self.assertEqual(codes[1][pb.rpc.ALREADY_EXISTS] - codes[0].get(pb.rpc.ALREADY_EXISTS, 0), 1)
            self.assertGreaterEqual(after.requests - before.requests, 8)

    def test_lists_come_in_pages_and_in_order(self):
        with self.fobd.client("admin") as c:
            names = ["page-%02d" % i for i in range(25)]
            for name in reversed(names):
                c.create(LIVE, name)
            for _ in range(7):
                c.roll(LIVE, "page-00", grace=0)
            for size in (1, 7, 24, 25, 26, 1000, 0):
                listed = [a.account for a in c.accounts(LIVE, page_size=size)]
                self.assertEqual([a for a in listed if a.startswith("page-")], names, size)
                self.assertEqual(listed, sorted(listed))
                keys = c.keys(LIVE, "page-00", page_size=size)
                self.assertEqual([(k.kind, k.generation) for k in keys],
                                 [(SECRET, g) for g in range(1, 9)] + [(PUBLISHABLE, 1)])
                events = c.events(LIVE, "page-00", page_size=size)
                self.assertEqual([e.type for e in events], [pb.admin.ACCOUNT_CREATED] + [pb.admin.KEY_ROLLED] * 7)
            first = c.call("fob.v1.Admin/ListAccounts", pb.admin.ListAccountsRequest(environment=LIVE, page_size=3))
            self.assertEqual(len(first.accounts), 3)
            exact = c.call("fob.v1.Admin/ListKeys", pb.admin.ListKeysRequest(environment=LIVE, account="page-01",
                                                                             page_size=2))
            self.assertEqual((len(exact.keys), exact.next_page_token), (2, b""))

    def test_events_can_be_followed(self):
        with self.fobd.client("admin") as c:
            req = pb.admin.ListEventsRequest(environment=TEST, account="follow", page_size=1000)
            page = c.call("fob.v1.Admin/ListEvents", req)
            while page.more:
                req.page_token = page.next_page_token
                page = c.call("fob.v1.Admin/ListEvents", req)
            self.assertTrue(page.next_page_token)
            self.assertEqual(len(page.events), 0)
            req.page_token = page.next_page_token
            c.create(TEST, "follow")
            c.create(TEST, "follow-other")
            page = c.call("fob.v1.Admin/ListEvents", req)
            self.assertEqual([(e.account, e.type) for e in page.events], [("follow", pb.admin.ACCOUNT_CREATED)])
            sequences = [e.sequence for e in c.events(TEST)]
            self.assertEqual(sequences, list(range(1, len(sequences) + 1)))

    def test_last_used_is_the_minute_of_the_last_verify(self):
        with self.fobd.client("admin") as c:
            made = c.create(LIVE, "used")
            self.assertEqual([k.last_used_ms for k in c.keys(LIVE, "used")], [0, 0])
            before = int(time.time() * 1000)
            commits = c.environment_stats(LIVE).commits
            for _ in range(50):
                c.verify(made.secret_key.secret)
            used, unused = c.keys(LIVE, "used")
            # Not before the key was made, which most often was within that minute.
            self.assertTrue(used.last_used_ms == used.created_ms or used.last_used_ms % 60000 == 0, used)
            self.assertGreater(used.last_used_ms, max(before - 60000, used.created_ms - 1))
            self.assertLessEqual(used.last_used_ms, int(time.time() * 1000))
            self.assertEqual(unused.last_used_ms, 0)
            self.assertLessEqual(c.environment_stats(LIVE).commits - commits, 2)  # not a write per verify

    def test_last_used_survives_an_orderly_restart(self):
        fobd = daemon.Daemon()
        fobd.start()
        self.addCleanup(fobd.kill)
        with fobd.client("admin") as c:
            made = c.create(LIVE, "kept")
            c.verify(made.secret_key.secret)
            used = c.keys(LIVE, "kept")[0].last_used_ms
        self.assertGreater(used, 0)
        fobd.restart()
        with fobd.client("admin") as c:
            self.assertEqual(c.keys(LIVE, "kept")[0].last_used_ms, used)
        fobd.stop()


tap.main()
