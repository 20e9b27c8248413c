#!/usr/bin/python3
"""Every kind of invalid request gets a clear error of its own, and the daemon goes on."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import base64
import unittest

import daemon
import fobwire
import pb
import tap
from pb import LIVE, PUBLISHABLE, SECRET, TEST

VERIFY = "fob.v1.Keys/VerifyKey"
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def field(number, data):
    """A length-delimited protobuf field by hand, for values that the Python messages refuse."""
    length, out = len(data), bytes([number << 3 | 2])
    while length > 127:
        out += bytes([length & 127 | 128])
        length >>= 7
    return out + bytes([length]) + data


def varint(number, value):
    out = bytes([number << 3])
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


class Input(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.fobd = daemon.Daemon().start()
        cls.addClassCleanup(cls.fobd.stop)
        with cls.fobd.client("admin") as c:
            cls.made = c.create(LIVE, "input")
            cls.rolled = c.roll(LIVE, "input")

    def setUp(self):
        self.admin = self.fobd.client("admin")
        self.addCleanup(self.admin.close)
        with self.fobd.client() as c:
            self.before = c.environment_stats(LIVE).revision, c.environment_stats(TEST).revision

    def tearDown(self):
        """Check that no refused request changed anything, and that a new client is served."""
        with self.fobd.client("verify") as c:
            self.assertEqual(c.verdict(self.made.secret_key.secret), "VALID")
            self.assertEqual((c.environment_stats(LIVE).revision, c.environment_stats(TEST).revision), self.before)

    def refused(self, want, method, message, words=(), **kw):
        data = message if isinstance(message, bytes) else message.SerializeToString()
        r = self.admin.response(method, data, **kw)
        self.assertEqual(fobwire.code_name(r.code), want, (method, r.message))
        self.assertEqual(r.body, b"")
        self.assertTrue(r.message)
        self.assertLessEqual(len(r.message.encode()), 240)
        for word in words:
            self.assertIn(word, r.message)
        return r

    # ---- the envelope ----

    def test_unknown_methods(self):
        for method in ("fob.v1.Keys/Verify", "fob.v1.Keys/VerifyKeyX", "fob.v1.Keys/", "fob.v1.Keys", "/",
                       "Keys/VerifyKey",
                       "fob.v1.Keys/verifykey", "fob.v1.Nothing/VerifyKey", "/fob.v1.Keys/VerifyKey",
                       "fob.v1.Keys/VerifyKey/",
                       "x" * 300, "fob.v1.Keys/VerifyKey ", "fob.v2.Keys/VerifyKey", "%s%n"):
            with self.subTest(method=method):
                self.refused("UNIMPLEMENTED", method, b"")

    def test_an_empty_message(self):
        r = self.admin.raw(b"")
        self.assertEqual(fobwire.code_name(r.code), "UNIMPLEMENTED", r.message)

    def test_garbage_envelopes(self):
        good = fobwire.request(VERIFY, fobwire.verify_request(self.made.secret_key.secret))
        cases = [b"\x00", b"\xff", b"\xff\xff", b"\x0a", b"\x0a\x05", b"\xff\xff\xff\xff", os.urandom(1) + b"\xff" * 3,
                 good[:-1],
                 good + b"\x0a", good + b"\xff", b"\xff" * 5000, b"\x0b" * 2000, field(1, b"\xff\xfe"),
                 field(1, b"\x80") + good[2:]]
        for case in cases:
            with self.subTest(data=case[:20].hex()):
                r = self.admin.raw(case)
                self.assertIn(fobwire.code_name(r.code), ("INVALID_ARGUMENT", "UNIMPLEMENTED"))
                self.assertEqual(r.body, b"")
        for cut in range(1, len(good)):
            r = self.admin.raw(good[:cut])
            if r.code == pb.rpc.OK:  # a cut can leave a well-formed, smaller request, which must not be allowed
                self.assertNotEqual(pb.keys.VerifyKeyResponse.FromString(r.body).verdict, pb.keys.VALID)

    def test_random_messages_get_a_reply_each(self):
        for i in range(500):
            self.admin.raw(os.urandom(i % 80))

    def test_unknown_fields_are_passed_over(self):
        body = fobwire.verify_request(self.made.secret_key.secret).SerializeToString() + field(14,
                                                                                               b"later") + varint(15, 7)
        data = fobwire.request(VERIFY, body) + field(15, b"later")
        r = self.admin.raw(data)
        self.assertEqual(fobwire.code_name(r.code), "OK", r.message)
        self.assertEqual(pb.keys.VerifyKeyResponse.FromString(r.body).verdict, pb.keys.VALID)

    def test_the_last_of_two_values_counts(self):
        """The last value of a repeated field counts, also in a oneof. The reply must be about the key that was verified."""
        body = field(1, b"nonsense") + field(1, self.made.secret_key.secret)
        self.assertEqual(self.admin.call(VERIFY, body).verdict, pb.keys.VALID)
        body = field(1, self.made.secret_key.secret) + field(1, b"nonsense")
        self.assertEqual(self.admin.call(VERIFY, body).verdict, pb.keys.MALFORMED)
        body = field(1, self.made.secret_key.secret) + field(2, b"Basic !")
        self.assertEqual(self.admin.call(VERIFY, body).verdict, pb.keys.MALFORMED)

    def test_method_name_not_utf8_or_with_nul(self):
        for name in (b"fob.v1.Keys/VerifyKey\0", b"fob.v1.Keys/VerifyKey\0x", b"fob.v1.Keys/Verify\xff", b"\xc0\xaf"):
            r = self.admin.raw(field(1, name) + field(2, b""))
            self.assertIn(fobwire.code_name(r.code), ("INVALID_ARGUMENT", "UNIMPLEMENTED"), name)

    def test_timeouts(self):
        verify = fobwire.verify_request(self.made.secret_key.secret)
        for timeout_ms in (60001, 2**32 - 1):
            self.refused("INVALID_ARGUMENT", VERIFY, verify, ("60",), timeout_ms=timeout_ms)
        self.assertEqual(self.admin.response(VERIFY, verify, timeout_ms=60000).code, pb.rpc.OK)

    def test_a_traceparent_is_logged_if_well_formed_and_ignored_if_not(self):
        good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        for text in (good, good[:-1], "x" * 3000, "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "\n\"evil=1"):
            r = self.admin.response(VERIFY, fobwire.verify_request(self.made.secret_key.secret), traceparent=text)
            self.assertEqual(r.code, pb.rpc.OK, r.message)

    def test_on_whose_behalf(self):
        """A name is checked in every Admin request, and passed over in all others."""
        secret = self.made.secret_key.secret
        create, listing = fobwire.create_request(LIVE, "for-ada"), pb.admin.ListEventsRequest(environment=LIVE)
        for name in (b"a" * 65, b"a" * 60000, b"a\0b", b"a\nb", b"a\x1b[2J", b'a"', b"a\\", "\u00e9".encode(), b"\xff", b"\xc0\xaf",
                     secret):
            for method, message in (("CreateAccount", create), ("ListEvents", listing)):
                r = self.admin.raw(fobwire.request("fob.v1.Admin/" + method, message) + field(5, name))
                self.assertEqual((fobwire.code_name(r.code), r.message[:13]), ("INVALID_ARGUMENT", "on_behalf_of:"), name)
                self.assertNotIn(secret.decode(), r.message)
            with self.fobd.client("verify") as verify:
                for c in (self.admin, verify):
                    r = c.raw(fobwire.request(VERIFY, fobwire.verify_request(secret)) + field(5, name))
                    self.assertEqual(fobwire.code_name(r.code), "OK", r.message)
        self.assertEqual(self.admin.response("fob.v1.Admin/ListEvents", listing, on_behalf_of="a" * 64).code, pb.rpc.OK)

    def test_sizes_of_messages(self):
        """65,536 bytes are allowed. One more is refused, far more closes the connection; other clients are not affected."""
        for listener in ("verify", "tcp"):
            def sized(n):
                data = fobwire.request(VERIFY, b"")
                body = n - len(data) - 8
                while True:
                    data = fobwire.request(VERIFY, fobwire.verify_request(b"s" * body))
                    if len(data) == n:
                        return data
                    body += n - len(data)
            with self.subTest(listener=listener), self.fobd.client(listener) as c:
                r = c.raw(sized(65536))
                self.assertEqual(fobwire.code_name(r.code), "OK", r.message)
                self.assertEqual(pb.keys.VerifyKeyResponse.FromString(r.body).verdict, pb.keys.MALFORMED)
                for n in (65536 + 1, 100_000, 262_144 - 4):
                    r = c.raw(sized(n))
                    self.assertEqual(fobwire.code_name(r.code), "INVALID_ARGUMENT")
                    self.assertIn("65536", r.message)
                for n in (262_144 - 3, 1 << 20):
                    with self.fobd.client(listener) as other, self.assertRaises(fobwire.Closed):
                        other.raw(sized(n))
                self.assertEqual(c.verdict(self.made.secret_key.secret), "VALID")

    # ---- bodies ----

    def test_wrong_and_truncated_bodies(self):
        for method, (request, _) in pb.METHODS.items():
            with self.subTest(method=method):
                self.refused("INVALID_ARGUMENT", method, b"\xff")
                self.refused("INVALID_ARGUMENT", method, b"\x0a\x7f")
        create = fobwire.create_request(LIVE, "never").SerializeToString()
        self.refused("INVALID_ARGUMENT", "fob.v1.Admin/CreateAccount", create[:-1])
        self.refused("INVALID_ARGUMENT", "fob.v1.Admin/CreateAccount", create[:10])
        self.refused("INVALID_ARGUMENT", VERIFY, varint(1, 7))              # wire type of another field
        self.refused("INVALID_ARGUMENT", VERIFY, b"\x0a" * 3001)

    def test_account_ids(self):
        for account in (b"", b"a" * 65, b"a" * 5000, b"two words", b" a", b"a ", b"a\n", b"a/b", b"a:b", b"a\0", b"\0",
                        b"a\0b",
                        b"\xff", b"caf\xc3\xa9", b"\xc3", b"\xed\xa0\x80", b"%s", b"a;b", b'"'):
            token = fobwire.new_token()
            for method, extra in (("CreateAccount", b""), ("RollKey", b""), ("RevokeKey", varint(4, 1) + varint(5, 1)),
                                  ("SuspendAccount", b""), ("ResumeAccount", b"")):
                with self.subTest(account=account[:20], method=method):
                    self.refused("INVALID_ARGUMENT", "fob.v1.Admin/" + method,
                                 field(1, token) + varint(2, LIVE) + field(3, account) + extra)
            with self.subTest(account=account[:20], method="ListKeys"):
                self.refused("INVALID_ARGUMENT", "fob.v1.Admin/ListKeys", varint(1, LIVE) + field(2, account))
            if account:
                self.refused("INVALID_ARGUMENT", "fob.v1.Admin/ListEvents", varint(1, LIVE) + field(2, account))

    def test_account_ids_that_are_right(self):
        for account in ("a", "." * 64, "-", "A.b_c-9", "0"):
            made = self.admin.create(TEST, account)
            self.assertEqual(made.account.account, account)
        self.before = self.before[0], self.before[1] + 5

    def test_environments(self):
        for environment in (0, 3, 99, 2**31 - 1):
            for method, (request, _) in pb.METHODS.items():
                if ".Admin/" in method:
                    fields = request.DESCRIPTOR.fields_by_name
                    body = varint(fields["environment"].number, environment)
                    for name, one in (("request_token", fobwire.new_token()), ("account", b"input")):
                        if name in fields:
                            body += field(fields[name].number, one)
                    if "generation" in fields:
                        body += varint(4, SECRET) + varint(5, 1)
                    with self.subTest(environment=environment, method=method):
                        self.refused("INVALID_ARGUMENT", method, body, ("environment",))
        for environment in (3, 99):
            self.refused("INVALID_ARGUMENT", VERIFY, field(1, self.made.secret_key.secret) + varint(4, environment))

    def test_tokens_of_a_wrong_length(self):
        for length in (0, 1, 31, 33, 64, 5000):
            for method in ("CreateAccount", "RollKey", "RevokeKey", "SuspendAccount", "ResumeAccount"):
                body = field(1, b"t" * length) + varint(2, LIVE) + field(3, b"input")
                with self.subTest(length=length, method=method):
                    self.refused("INVALID_ARGUMENT", "fob.v1.Admin/" + method,
                                 body + (varint(4, SECRET) + varint(5, 1)) * (method == "RevokeKey"), ("32",))

    def test_rolls(self):
        roll = "fob.v1.Admin/RollKey"
        for grace in (86401, 2**32 - 1):
            self.refused("INVALID_ARGUMENT", roll, fobwire.roll_request(LIVE, "input", grace=grace), ("86",))
        self.refused("FAILED_PRECONDITION", roll, fobwire.roll_request(LIVE, "input", kind=PUBLISHABLE))
        self.refused("INVALID_ARGUMENT", roll, fobwire.roll_request(LIVE, "input").SerializeToString() + varint(4, 9))
        self.refused("NOT_FOUND", roll, fobwire.roll_request(LIVE, "nobody"))
        for authorizing in (b"x", b"s" * 10000, self.made.secret_key.secret[:-1]):
            self.refused("PERMISSION_DENIED", roll, fobwire.roll_request(LIVE, "input", authorizing_secret=authorizing))

    def test_revocations(self):
        def revoke(kind, generation, account="input"):
            return pb.admin.RevokeKeyRequest(request_token=fobwire.new_token(), environment=LIVE, account=account,
                                             kind=kind,
                                             generation=generation)
        method = "fob.v1.Admin/RevokeKey"
        self.refused("INVALID_ARGUMENT", method, revoke(0, 1))
        self.refused("INVALID_ARGUMENT", method, revoke(SECRET, 1).SerializeToString() + varint(4, 7))
        self.refused("INVALID_ARGUMENT", method, revoke(SECRET, 0))
        self.refused("NOT_FOUND", method, revoke(SECRET, 3))
        self.refused("NOT_FOUND", method, revoke(SECRET, 2**32 - 1))
        self.refused("NOT_FOUND", method, revoke(PUBLISHABLE, 2))
        self.refused("NOT_FOUND", method, revoke(SECRET, 1, "nobody"))

    def test_accounts(self):
        self.refused("ALREADY_EXISTS", "fob.v1.Admin/CreateAccount", fobwire.create_request(LIVE, "input"))
        for method, request in (("SuspendAccount", pb.admin.SuspendAccountRequest),
                                ("ResumeAccount", pb.admin.ResumeAccountRequest)):
            self.refused("NOT_FOUND", "fob.v1.Admin/" + method,
                         request(request_token=fobwire.new_token(), environment=LIVE, account="nobody"))
        self.refused("NOT_FOUND", "fob.v1.Admin/ListKeys", pb.admin.ListKeysRequest(environment=LIVE, account="nobody"))

    def test_pages(self):
        for method, (request, _) in pb.METHODS.items():
            if "page_size" not in request.DESCRIPTOR.fields_by_name:
                continue
            message = request(environment=LIVE)
            if "ListKeys" in method:
                message.account = "input"
            with self.subTest(method=method):
                for size in (1001, 2**32 - 1):
                    message.page_size = size
                    self.refused("INVALID_ARGUMENT", method, message, ("1",))
                message.page_size = 1000
                self.assertEqual(self.admin.response(method, message).code, pb.rpc.OK)
                # A position is all that a token is, so what has the form of one is taken; what has not is refused.
                for token in (b"\0", b"\xff\0", b"\xff" * 40, b"z" * 5000):
                    message.page_token = token
                    self.refused("INVALID_ARGUMENT", method, message, ("page_token",))
                for token in (b"x", b"\xff" * 8, b"\1\0\0\0\1", b"a" * 64):
                    message.page_token = token
                    self.assertIn(fobwire.code_name(self.admin.response(method, message).code),
                                  ("OK", "INVALID_ARGUMENT"))

    def test_batches(self):
        item = fobwire.verify_request(self.made.secret_key.secret)
        self.refused("INVALID_ARGUMENT", "fob.v1.Keys/VerifyKeys", pb.keys.VerifyKeysRequest(items=[item] * 257),
                     ("256",))
        # The most items that fit in a message at all: memory is bounded, whatever it holds.
        r = self.admin.response("fob.v1.Keys/VerifyKeys", field(1, b"") * 32000)
        self.assertIn(fobwire.code_name(r.code), ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"))
        self.refused("INVALID_ARGUMENT", "fob.v1.Keys/VerifyKeys", field(1, b"\xff"))

    # ---- keys ----

    def test_operations(self):
        secret = self.made.secret_key.secret
        for operation in (b"x" * 65, b"a b", b"a\0b", b"a\0", b"\xff", b"caf\xc3\xa9", b"\n"):
            with self.subTest(operation=operation):
                self.refused("INVALID_ARGUMENT", VERIFY, field(1, secret) + field(3, operation))
        self.assertEqual(self.admin.verdict(secret, operation="A-z.0_9:/-" + "x" * 54), "VALID")

    def test_secrets_that_are_none(self):
        good = self.made.secret_key.secret
        for secret in (b"", b"x", b"s" * 10_000, good * 200, good + b"0", good[:-1], good[1:], good[:8], b" " + good,
                       good + b"\n",
                       good + b"\0", good[:20] + b"\0" + good[21:], good.upper(), b"rk_live_" + good[8:],
                       b"sk_prod_" + good[8:],
                       good[:-1] + (b"a" if good[-1:] != b"a" else b"b"), b"\xff" * 44, good.replace(b"_", b"-")):
            with self.subTest(length=len(secret)):
                got = self.admin.verify(secret)
                self.assertEqual(fobwire.verdict_name(got.verdict), "MALFORMED")
                self.assertTrue(got.detail)
                self.assertEqual((got.account, got.generation, got.last4), ("", 0, ""))
                if len(secret) > 12:
                    self.assertNotIn(secret[8:20].decode("latin-1"), got.detail)

    def test_no_credential_at_all(self):
        self.refused("INVALID_ARGUMENT", VERIFY, b"")
        self.refused("INVALID_ARGUMENT", VERIFY, varint(4, LIVE))

    def test_every_single_typo(self):
        """Each of the 44 characters replaced by every other one: all are refused before a database is read."""
        good = self.made.secret_key.secret.decode()
        typos = [good[:i] + c + good[i + 1:] for i in range(len(good)) for c in BASE62 if c != good[i]]
        # and two neighbours exchanged
        typos += [good[:i] + good[i + 1] + good[i] + good[i + 2:] for i in range(43) if good[i] != good[i + 1]]
        for i in range(0, len(typos), 256):
            part = typos[i:i + 256]
            answers = self.admin.verify_many([fobwire.verify_request(t.encode()) for t in part])
            for typo, item in zip(part, answers):
                self.assertEqual(fobwire.verdict_name(item.result.verdict), "MALFORMED", typo[:8])

    def test_a_well_formed_key_that_was_never_made(self):
        import zlib
        for prefix, kind, environment in ((b"sk_live_", SECRET, LIVE), (b"pk_test_", PUBLISHABLE, TEST)):
            body = prefix + b"0123456789abcdefghijABCDEFGHIJ"
            crc, check = zlib.crc32(body), ""
            for _ in range(6):
                crc, digit = divmod(crc, 62)
                check = BASE62[digit] + check
            got = self.admin.verify(body + check.encode())
            self.assertEqual(fobwire.verdict_name(got.verdict), "NOT_FOUND")
            self.assertEqual((got.account, got.generation, got.created_ms), ("", 0, 0))
            self.assertEqual((got.environment, got.kind, got.livemode), (environment, kind, environment == LIVE))

    def test_Authorization_headers(self):
        key = self.made.secret_key.secret

        def b64(text):
            return base64.b64encode(text)
        cases = [
            (b"Basic " + b64(key + b":"), "VALID"), (b"basic " + b64(key + b":"), "VALID"),
            (b"BASIC " + b64(key + b":"), "VALID"),
            (b"Basic   " + b64(key + b":"), "VALID"),
            (b"Basic " + b64(key + b":password"), "MALFORMED"), (b"Basic " + b64(key + b"::"), "MALFORMED"),
            (b"Basic " + b64(key), "MALFORMED"), (b"Basic " + b64(b":" + key), "MALFORMED"),
            (b"Basic " + b64(b":"), "MALFORMED"),
            (b"Basic " + b64(b""), "MALFORMED"), (b"Basic", "MALFORMED"), (b"Basic ", "MALFORMED"), (b"", "MALFORMED"),
            (b"Basic !!!!", "MALFORMED"), (b"Basic " + b64(key + b":")[:-3], "MALFORMED"),
            (b"Basic " + b64(key + b":") + b"=", "MALFORMED"),
            (b"Basic " + b64(key + b":") + b" x", "MALFORMED"), (b"Basic" + b64(key + b":"), "MALFORMED"),
            (b"Bearer " + key, "MALFORMED"), (b"Bearer " + b64(key + b":"), "MALFORMED"), (b"Digest x", "MALFORMED"),
            (key, "MALFORMED"),
            (b"Basic " + b64(key + b":") + b"\r\nX: y", "MALFORMED"), (b"Basic " + b64(key + b"\0:"), "MALFORMED"),
            (b"Basic " + b64(b"s" * 10000 + b":"), "MALFORMED"), (b"\xff" * 100, "MALFORMED"),
        ]
        for header, want in cases:
            with self.subTest(header=header[:9], length=len(header)):
                got = self.admin.verify(authorization=header)
                self.assertEqual(fobwire.verdict_name(got.verdict), want, got.detail)
                self.assertEqual(bool(got.detail), want != "VALID")


tap.main()
