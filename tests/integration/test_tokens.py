#!/usr/bin/python3
"""With one request token a mutation is applied exactly once, and a resend gets the same reply."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import threading
import unittest

import daemon
import fobwire
import pb
import tap
from pb import LIVE, SECRET, TEST

ADMIN = "fob.v1.Admin/"


def every_mutation(account):
    """(method, request) of each mutation, in an order in which they work on a new ${account}."""
    return [
        (ADMIN + "CreateAccount", fobwire.create_request(LIVE, account)),
        (ADMIN + "RollKey", fobwire.roll_request(LIVE, account)),
        (ADMIN + "RevokeKey", pb.admin.RevokeKeyRequest(request_token=fobwire.new_token(), environment=LIVE,
                                                        account=account,
                                                        kind=SECRET, generation=1)),
        (ADMIN + "SuspendAccount", pb.admin.SuspendAccountRequest(request_token=fobwire.new_token(), environment=LIVE,
                                                                  account=account)),
        (ADMIN + "ResumeAccount", pb.admin.ResumeAccountRequest(request_token=fobwire.new_token(), environment=LIVE,
                                                                account=account)),
        (ADMIN + "ImportAccounts", pb.admin.ImportAccountsRequest(
            request_token=fobwire.new_token(), environment=LIVE,
            items=[pb.admin.ImportItem(account=account + "-imported", secret_sha256=b"s" * 32, secret_last4="abcd"),
                   pb.admin.ImportItem(account=account)])),
    ]


class Tokens(unittest.TestCase):
    def setUp(self):
        self.fobd = daemon.Daemon().start()
        self.addCleanup(self.fobd.kill)
        self.admin = self.fobd.client("admin")
        self.addCleanup(self.admin.close)

    def tearDown(self):
        self.admin.close()
        self.fobd.stop()

    def test_the_same_request_gets_the_same_bytes(self):
        first = []
        for method, request in every_mutation("same"):
            data = fobwire.request(method, request)
            reply = self.admin.connection.exchange(data)
            self.assertEqual(fobwire.response(reply).code, pb.rpc.OK, method)
            first.append((method, data, reply))
        revision = self.admin.environment_stats(LIVE).revision
        for method, data, reply in first * 3:
            self.assertEqual(self.admin.connection.exchange(data), reply, method)
        # other connections, other timeouts, a trace: still the same request
        with self.fobd.client("tcpadmin") as c:
            for method, data, reply in first:
                envelope = pb.rpc.Request.FromString(data)
                envelope.timeout_ms = 1234
                envelope.traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
                self.assertEqual(c.connection.exchange(envelope.SerializeToString()), reply, method)
        after = self.admin.environment_stats(LIVE)
        self.assertEqual(after.revision, revision)
        self.assertEqual(after.replays, 4 * len(first))
        self.assertEqual(len(self.admin.events(LIVE, "same")), 5)

    def test_another_request_is_refused(self):
        mutations = every_mutation("other")
        for method, request in mutations:
            self.assertEqual(self.admin.response(method, request).code, pb.rpc.OK)
        self.admin.create(LIVE, "third")
        revision = self.admin.environment_stats(LIVE).revision
        for method, request in mutations:
            with self.subTest(method=method):
                changed = type(request)()
                changed.CopyFrom(request)
                if "account" in request.DESCRIPTOR.fields_by_name:
                    changed.account = "third"
                else:
                    changed.items[0].account = "third"
                r = self.admin.response(method, changed)
                self.assertEqual(fobwire.code_name(r.code), "ALREADY_EXISTS")
                self.assertIn("token", r.message)
                self.assertEqual(r.body, b"")
        create, roll = mutations[0][1], mutations[1][1]
        for changed in (fobwire.roll_request(LIVE, "other", roll.request_token, grace=60),
                        fobwire.roll_request(LIVE, "other", roll.request_token, grace=86400),
                        fobwire.roll_request(LIVE, "other", roll.request_token, expected_generation=1),
                        fobwire.roll_request(LIVE, "other", create.request_token)):
            self.assertEqual(fobwire.code_name(self.admin.response(ADMIN + "RollKey", changed).code), "ALREADY_EXISTS")
        # another method whose request has the same bytes
        suspend = mutations[3][1].SerializeToString()
        self.assertEqual(fobwire.code_name(self.admin.response(ADMIN + "ResumeAccount", suspend).code),
                         "ALREADY_EXISTS")
        self.assertEqual(self.admin.environment_stats(LIVE).revision, revision)

    def test_a_refused_mutation_does_not_use_its_token_up(self):
        token = fobwire.new_token()
        with self.assertRaises(fobwire.Fault):
            self.admin.roll(LIVE, "later", token)
        self.admin.create(LIVE, "later")
        self.assertEqual(self.admin.roll(LIVE, "later", token).new_key.key.generation, 2)

    def concurrently(self, data, n):
        """Send the same bytes on ${n} connections at once; the replies."""
        connections = [self.fobd.connection("tcpadmin" if i % 2 else "admin") for i in range(n)]
        gate, replies = threading.Barrier(n), [None] * n

        def one(i):
            gate.wait(30)
            replies[i] = connections[i].exchange(data)
        threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(n)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
        for c in connections:
            c.close()
        return replies

    def test_of_32_concurrent_uses_one_is_applied_and_all_get_its_reply(self):
        self.admin.create(LIVE, "race")
        for turn in range(5):
            before = self.admin.environment_stats(LIVE)
            replies = self.concurrently(fobwire.request(ADMIN + "RollKey",
                                                        fobwire.roll_request(LIVE, "race", grace=0)), 32)
            self.assertEqual(len(set(replies)), 1)
            self.assertEqual(fobwire.response(replies[0]).code, pb.rpc.OK)
            after = self.admin.environment_stats(LIVE)
            self.assertEqual((after.mutations - before.mutations, after.replays - before.replays), (1, 31))
            self.assertEqual(self.admin.accounts(LIVE)[0].secret_generation, turn + 2)

    def test_of_32_pipelined_uses_one_is_applied_and_all_get_its_reply(self):
        self.admin.create(LIVE, "pipe")
        data = fobwire.request(ADMIN + "RollKey", fobwire.roll_request(LIVE, "pipe"))
        with self.fobd.connection() as c:
            replies = c.exchange_many([data] * 32)
        self.assertEqual(len(set(replies)), 1)
        self.assertEqual(fobwire.response(replies[0]).code, pb.rpc.OK)
        self.assertEqual(len(self.admin.keys(LIVE, "pipe")), 3)

    def test_one_token_for_two_requests_at_once(self):
        self.admin.create(LIVE, "two-a")
        self.admin.create(LIVE, "two-b")
        token = fobwire.new_token()
        data = [fobwire.request(ADMIN + "RollKey", fobwire.roll_request(LIVE, n, token)) for n in ("two-a", "two-b")]
        with self.fobd.connection() as c:
            codes = sorted(fobwire.code_name(fobwire.response(r).code) for r in c.exchange_many(data * 8))
        self.assertEqual(codes, ["ALREADY_EXISTS"] * 8 + ["OK"] * 8)

    def test_replay_after_a_restart_and_after_kill_9(self):
        first = []
        for method, request in every_mutation("again"):
            data = fobwire.request(method, request)
            first.append((data, self.admin.connection.exchange(data)))
        self.fobd.restart()
        for _ in range(2):
            with self.fobd.connection() as c:
                for data, reply in first:
                    self.assertEqual(c.exchange(data), reply)
            self.fobd.kill()
            self.fobd.start(init=False)
        with self.fobd.client() as c:
            self.assertEqual(len(c.events(LIVE, "again")), 5)
            self.assertEqual(len(c.keys(LIVE, "again")), 3)

    def test_a_replay_says_what_was_not_what_is(self):
        data = fobwire.request(ADMIN + "SuspendAccount", pb.admin.SuspendAccountRequest(
            request_token=fobwire.new_token(), environment=TEST, account="was"))
        made = self.admin.create(TEST, "was")
        reply = self.admin.connection.exchange(data)
        self.admin.resume(TEST, "was")
        self.assertEqual(self.admin.connection.exchange(data), reply)
        self.assertTrue(pb.admin.SuspendAccountResponse.FromString(fobwire.response(reply).body).account.suspended)
        self.assertEqual(self.admin.verdict(made.secret_key.secret), "VALID")

    def test_a_mutation_whose_time_is_up_says_so_or_is_done(self):
        """timeout_ms = 1: either OK or DEADLINE_EXCEEDED. A resend with the token then shows whether it was applied."""
        self.admin.create(LIVE, "hurry")
        data = [fobwire.request(ADMIN + "RollKey", fobwire.roll_request(LIVE, "hurry", grace=0),
                                timeout_ms=1) for _ in range(200)]
        seen = {}
        with self.fobd.connection() as c:
            replies = [r for i in range(0, len(data), 32) for r in c.exchange_many(data[i:i + 32])]
            for envelope, reply in zip(data, replies):
                name = fobwire.code_name(fobwire.response(reply).code)
                seen[name] = seen.get(name, 0) + 1
                self.assertIn(name, ("OK", "DEADLINE_EXCEEDED"))
                again = pb.rpc.Request.FromString(envelope)
                again.timeout_ms = 0
                second = c.exchange(again.SerializeToString())
                self.assertEqual(fobwire.response(second).code, pb.rpc.OK)
                if name == "OK":
                    self.assertEqual(second, reply)
        tap.comment(seen)
        self.assertEqual(self.admin.accounts(LIVE)[0].secret_generation, 201)


tap.main()
