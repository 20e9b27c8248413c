#!/usr/bin/python3
"""No key, account, event or count of one environment is visible or valid in the other."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import random
import struct
import unittest

import daemon
import fobwire
import pb
import tap
from pb import LIVE, PUBLISHABLE, SECRET, TEST

NAMES = {LIVE: "live", TEST: "test"}


class Matrix(unittest.TestCase):
    """Every kind of key x environment x operation x required environment."""

    @classmethod
    def setUpClass(cls):
        cls.fobd = daemon.Daemon(settings='publishable_operations = {"tokenize", "sources.create"}\n').start()
        cls.addClassCleanup(cls.fobd.stop)
        cls.admin = cls.fobd.client("admin")
        cls.addClassCleanup(cls.admin.close)
        cls.keys = {}
        for environment in (LIVE, TEST):
            made = cls.admin.create(environment, "matrix")
            cls.keys[environment, SECRET] = made.secret_key.secret
            cls.keys[environment, PUBLISHABLE] = made.publishable_key.secret

    def test_matrix(self):
        cells = 0
        for listener in ("verify", "tcp"):
            with self.fobd.client(listener) as c:
                for (environment, kind), secret in self.keys.items():
                    for operation in ("", "tokenize", "sources.create", "charges.create", "no-such-thing", "Tokenize",
                                      "tokenize2", "keys.roll"):
                        for required in (0, LIVE, TEST):
                            with self.subTest(secret=secret[:8], operation=operation, required=required):
                                got = c.verify(secret, operation=operation, environment=required)
                                if required not in (0, environment):
                                    want = "WRONG_ENVIRONMENT"
                                elif kind == PUBLISHABLE and operation not in ("", "tokenize", "sources.create"):
                                    want = "FORBIDDEN"
                                else:
                                    want = "VALID"
                                self.assertEqual(fobwire.verdict_name(got.verdict), want)
                                self.assertEqual(got.livemode, environment == LIVE)
                                self.assertEqual((got.environment, got.kind), (environment, kind))
                                self.assertEqual(bool(got.detail), want != "VALID")
                                if want == "WRONG_ENVIRONMENT":  # no database was asked
                                    self.assertEqual((got.account, got.generation), ("", 0))
                                else:
                                    self.assertEqual(got.account, "matrix")
                                cells += 1
        self.assertEqual(cells, 2 * 4 * 8 * 3)

    def test_a_changed_prefix_is_no_key(self):
        with self.fobd.client("verify") as c:
            for (environment, kind), secret in self.keys.items():
                for prefix in (b"sk_live_", b"pk_live_", b"sk_test_", b"pk_test_"):
                    if prefix != secret[:8]:
                        self.assertEqual(c.verdict(prefix + secret[8:]), "MALFORMED")

    def test_the_other_environments_account_is_not_there(self):
        for here, there in ((LIVE, TEST), (TEST, LIVE)):
            name = "only-" + NAMES[here]
            made = self.admin.create(here, name)
            for call in (lambda: self.admin.roll(there, name), lambda: self.admin.revoke(there, name, SECRET, 1),
                         lambda: self.admin.suspend(there, name), lambda: self.admin.resume(there, name),
                         lambda: self.admin.keys(there, name)):
                with self.assertRaises(fobwire.Fault) as caught:
                    call()
                self.assertEqual(caught.exception.name, "NOT_FOUND")
            self.assertNotIn(name, [a.account for a in self.admin.accounts(there)])
            self.assertEqual(self.admin.events(there, name), [])
            self.assertEqual(self.admin.verdict(made.secret_key.secret), "VALID")

    def test_one_name_is_two_accounts(self):
        live, test = self.admin.create(LIVE, "both"), self.admin.create(TEST, "both")
        self.admin.suspend(TEST, "both")
        self.assertEqual(self.admin.verdict(live.secret_key.secret), "VALID")
        self.assertEqual(self.admin.verdict(test.secret_key.secret), "SUSPENDED")
        self.admin.resume(TEST, "both")
        self.admin.roll(LIVE, "both", grace=0)
        self.admin.revoke(LIVE, "both", PUBLISHABLE, 1)
        self.assertEqual(self.admin.verdict(test.secret_key.secret), "VALID")
        self.assertEqual(self.admin.verdict(test.publishable_key.secret), "VALID")
        self.assertEqual(len(self.admin.keys(TEST, "both")), 2)
        self.assertEqual(len(self.admin.keys(LIVE, "both")), 3)

    def test_numbers_are_separate(self):
        before = {e.environment: e for e in self.admin.stats().environments}
        for i in range(5):
            self.admin.create(TEST, "number-%d" % i)
        after = {e.environment: e for e in self.admin.stats().environments}
        for field in ("revision", "event_sequence", "mutations", "accounts", "keys", "commits"):
            self.assertEqual(getattr(after[LIVE], field), getattr(before[LIVE], field), field)
            self.assertGreater(getattr(after[TEST], field), getattr(before[TEST], field), field)

    def test_a_request_token_belongs_to_one_environment(self):
        token = fobwire.new_token()
        live = self.admin.create(LIVE, "token", token=token)
        test = self.admin.create(TEST, "token", token=token)
        self.assertNotEqual(live.secret_key.secret[8:], test.secret_key.secret[8:])
        self.assertEqual(self.admin.create(LIVE, "token", token=token), live)
        self.assertEqual(self.admin.create(TEST, "token", token=token), test)


class One(unittest.TestCase):
    """A fobd with only one environment; each of the two once."""

    def one(self, have, lack):
        both = daemon.Daemon().start()
        with both.client("admin") as c:
            made = {e: c.create(e, "acct") for e in (LIVE, TEST)}
        both.stop()
        fobd = daemon.Daemon(environments=(NAMES[have],), place=both.place).start(init=False)
        self.addCleanup(fobd.kill)
        with fobd.client("admin") as c:
            for new in (made[have].secret_key, made[have].publishable_key):
                self.assertEqual(c.verdict(new.secret), "VALID")
                self.assertEqual(c.verdict(new.secret, environment=lack), "WRONG_ENVIRONMENT")
            for new in (made[lack].secret_key, made[lack].publishable_key):
                for required in (0, LIVE, TEST):
                    for operation in ("", "tokenize", "charges.create"):
                        got = c.verify(new.secret, operation=operation, environment=required)
                        self.assertEqual(fobwire.verdict_name(got.verdict), "WRONG_ENVIRONMENT")
                        self.assertEqual((got.environment, got.livemode), (lack, lack == LIVE))
                        self.assertEqual(got.account, "")
            self.assertEqual(c.verdict(new.secret[:-1] + (b"0" if new.secret[-1:] != b"0" else b"1")), "MALFORMED")
            for method, (request, _) in pb.METHODS.items():
                if ".Admin/" in method:
                    message = request(environment=lack)
                    for field, value in (("account", "acct"), ("request_token", fobwire.new_token()), ("kind", SECRET),
                                         ("generation", 1)):
                        if field in request.DESCRIPTOR.fields_by_name:
                            setattr(message, field, value)
                    r = c.response(method, message)
                    self.assertEqual(fobwire.code_name(r.code), "FAILED_PRECONDITION", method)
                    self.assertIn(NAMES[lack], r.message)
            c.roll(have, "acct")
            self.assertEqual([e.environment for e in c.stats().environments], [have])
            self.assertEqual(c.check(NAMES[have]), pb.health.CheckResponse.SERVING)
            self.assertEqual(c.check(NAMES[lack]), pb.health.CheckResponse.NOT_SERVING)
            self.assertEqual(c.check(), pb.health.CheckResponse.SERVING)
        fobd.stop()

    def test_live_only(self):
        self.one(LIVE, TEST)

    def test_test_only(self):
        self.one(TEST, LIVE)


def values(page):
    """The places [(start, end)] of the values in an LMDB leaf page; [] for other pages and for the free list."""
    flags, lower = struct.unpack_from("<HH", page, 10)
    if not flags & 0x02 or flags & 0x28 or lower > len(page):
        return
    for at in range(16, lower, 2):
        node, = struct.unpack_from("<H", page, at)
        low, high, node_flags, key_size = struct.unpack_from("<HHHH", page, node)
        start = node + 8 + key_size
        if not node_flags & 0x03 and key_size != 8 and start + low <= len(page):
            yield start, start + low


class Faults(unittest.TestCase):
    def test_a_broken_record_of_one_is_a_fault_there_and_nothing_in_the_other(self):
        fobd = daemon.Daemon().start()
        self.addCleanup(fobd.kill)
        with fobd.client("admin") as c:
            made = {e: [c.create(e, "a%d" % i) for i in range(40)] for e in (LIVE, TEST)}
            for account in made[TEST]:
                c.suspend(TEST, account.account.account)
        fobd.stop()
        path = os.path.join(fobd.database("test"), "data.mdb")
        with open(path, "rb") as f:
            whole = f.read()
        pick = random.Random(2024)
        seen = {}
        for _ in range(12):
            broken = bytearray(whole)
            for at in range(2 * 4096, len(broken), 4096):
                for start, end in values(broken[at:at + 4096]):
                    if end > start and pick.random() < 0.1:
                        broken[at + pick.randrange(start, end)] ^= 1 << pick.randrange(8)
            with open(path, "wb") as f:
                f.write(broken)
            try:
                fobd.start(init=False)
            except RuntimeError as e:
                # It may have hit the record that start depends on. To refuse is right, to crash is not.
                self.assertRegex(str(e), r"\Afobd ended with 1:")
                seen["refused"] = seen.get("refused", 0) + 1
                continue
            with fobd.client("verify") as c:
                for account in made[TEST]:
                    r = c.response("fob.v1.Keys/VerifyKey", fobwire.verify_request(account.secret_key.secret))
                    got = fobwire.code_name(r.code)
                    if r.code == pb.rpc.OK:
                        got = fobwire.verdict_name(pb.keys.VerifyKeyResponse.FromString(r.body).verdict)
                    self.assertIn(got, ("SUSPENDED", "UNAVAILABLE"))
                    seen[got] = seen.get(got, 0) + 1
                for account in made[LIVE]:
                    self.assertEqual(c.verdict(account.secret_key.secret), "VALID")
                both = c.verify_many([fobwire.verify_request(made[e][i].secret_key.secret)
                                      for i in range(40) for e in (LIVE, TEST)])
                self.assertEqual({fobwire.code_name(i.code) for i in both[::2]}, {"OK"})
                stats = {e.environment: e for e in c.stats().environments}
                self.assertEqual(stats[LIVE].corrupt_records, 0)
            fobd.kill()
        tap.comment(seen)
        self.assertGreater(seen.get("UNAVAILABLE", 0), 0, "no flip hit a record that is read")
        self.assertGreater(seen.get("SUSPENDED", 0), 0)


tap.main()
