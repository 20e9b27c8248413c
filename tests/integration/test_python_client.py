#!/usr/bin/python3
"""fob.Client against a real fobd: every call, faults apart from verdicts, secrets nowhere, threads, fork, kills."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import base64
import gc
import hashlib
import pathlib
import subprocess
import threading
import time
import traceback
import unittest
import warnings

import daemon
import fobwire
import pyfob
import tap
import fob
from certs import Certs
from fob import Environment, Kind, Verdict

LIVE, TEST = Environment.LIVE, Environment.TEST
DAY_MS = 86_400_000


def basic(secret):
    return b"Basic " + base64.b64encode(secret + b":")


class WithFobd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        warnings.simplefilter("error", ResourceWarning)
        cls.fobd = daemon.Daemon(events_kept=10000).start()
        cls.addClassCleanup(cls.fobd.stop)
        cls.admin = fob.Client(cls.fobd.urls["admin"])
        cls.addClassCleanup(cls.admin.close)
        cls.client = fob.Client(cls.fobd.urls["verify"])
        cls.addClassCleanup(cls.client.close)


class Verify(WithFobd):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.secret, cls.publishable = pyfob.create(cls.fobd, "acct_1")

    def test_a_key_as_str_bytes_and_bytearray_and_by_header(self):
        for key in (self.secret.decode(), self.secret, bytearray(self.secret)):
            v = self.client.verify(key)
            self.assertTrue(v.allows)
            self.assertEqual((v.verdict, v.account, v.environment, v.kind, v.livemode, v.generation, v.http_status),
                             (Verdict.VALID, "acct_1", LIVE, Kind.SECRET, True, 1, 200))
            self.assertEqual((v.superseded, v.expires_ms, v.expires, v.last4),
                             (False, 0, None, self.secret[-4:].decode()))
            self.assertAlmostEqual(v.created.timestamp(), v.created_ms / 1000, 3)
        for header in (basic(self.secret), basic(self.secret).decode(), bytearray(basic(self.secret))):
            self.assertTrue(self.client.verify_authorization(header).allows)
        for header in (None, "", b"", bytearray(), "Bearer x", basic(self.secret)[:-8]):
            self.assertEqual(self.client.verify_authorization(header).verdict, Verdict.MALFORMED)

    def test_denied_keys_are_answers(self):
        wrong = bytearray(self.secret)
        wrong[20] ^= 1
        for key, operation, environment, verdict, status in (
                (wrong, None, Environment.ANY, Verdict.MALFORMED, 401),
                ("", None, Environment.ANY, Verdict.MALFORMED, 401),
                (bytearray(), None, Environment.ANY, Verdict.MALFORMED, 401),
                ("k\0k", None, Environment.ANY, Verdict.MALFORMED, 401),
                (self.secret, None, TEST, Verdict.WRONG_ENVIRONMENT, 401),
                (self.publishable, "charges.create", Environment.ANY, Verdict.FORBIDDEN, 403)):
            v = self.client.verify(key, operation=operation, require_environment=environment)
            self.assertEqual((v.verdict, v.allows, v.http_status), (verdict, False, status))
            self.assertTrue(v.detail)
        self.assertTrue(self.client.verify(self.secret, operation="charges.create", require_environment=LIVE).allows)

    def test_a_batch_has_an_answer_for_each_key(self):
        keys = [self.secret, self.publishable.decode(), bytearray(b"nonsense"),
                fob.VerifyRequest(authorization=basic(self.secret)),
                fob.VerifyRequest(self.secret, require_environment=TEST)] * 50
        answers = self.client.verify_batch(keys, operation="charges.create")
        self.assertEqual([a.result().verdict.name for a in answers],
                         ["VALID", "FORBIDDEN", "MALFORMED", "VALID", "WRONG_ENVIRONMENT"] * 50)
        self.assertEqual([a.allows for a in answers], [True, False, False, True, False] * 50)
        self.assertEqual(answers[0].result().account, "acct_1")
        self.assertRaises(fob.InvalidArgumentError, self.client.verify_batch, [])
        self.assertRaises(fob.InvalidArgumentError, self.client.verify_batch, [self.secret] * 257)
        self.assertRaises(fob.InvalidArgumentError, self.client.verify_batch, [fob.VerifyRequest()])
        self.assertRaises(fob.InvalidArgumentError, self.client.verify_batch, [fob.VerifyRequest("a", "b")])

    def test_a_batch_of_which_one_environment_is_down(self):
        down = "ipc://" + os.path.join(self.fobd.place, "none")
        with fob.Client(live=self.fobd.urls["verify"], test=down, fail_fast=True) as client:
            answers = client.verify_batch([self.secret, b"sk_test_" + self.secret[8:]])
        self.assertTrue(answers[0].allows)
        self.assertEqual(answers[1].error.fault, fob.Fault.UNAVAILABLE)
        self.assertFalse(answers[1].allows)
        self.assertRaises(fob.UnavailableError, answers[1].result)

    def test_a_verification_is_no_truth_value(self):
        v = self.client.verify(b"nonsense")
        self.assertRaises(TypeError, bool, v)
        self.assertRaises(TypeError, bool, self.client.verify_batch([b"nonsense"])[0])
        with self.assertRaises(AttributeError):
            v.verdict = Verdict.VALID

    def test_arguments_that_c_would_cut_or_wrap_are_refused(self):
        for wrong in ({"operation": "charges.create\0x"}, {"timeout": 0}, {"timeout": -1}, {"timeout": 61},
                      {"timeout": float("nan")}, {"operation": "\ud800"}, {"traceparent": "0\0"}):
            self.assertRaises(fob.InvalidArgumentError, self.client.verify, self.secret, **wrong)
        for wrong in ({"require_environment": 7}, {"require_environment": "live"}, {"operation": b"a"}):
            self.assertRaises(TypeError, self.client.verify, self.secret, **wrong)
        for key in (None, 7, memoryview(self.secret)):
            self.assertRaises(TypeError, self.client.verify, key)
        self.assertRaises(fob.InvalidArgumentError, self.client.verify, "sk_live_\ud800")
        self.assertRaises(fob.InvalidArgumentError, self.admin.roll_key, "acct_1", LIVE, grace_s=2**32)
        self.assertRaises(fob.InvalidArgumentError, self.admin.roll_key, "acct_1", LIVE, grace_s=-1)
        self.assertRaises(fob.InvalidArgumentError, self.admin.roll_key, "acct_1", LIVE, expected_generation=2**32)
        self.assertRaises(fob.InvalidArgumentError, self.admin.create_account, "a\0b", LIVE)
        self.assertRaises(fob.InvalidArgumentError, self.admin.create_account, "a", LIVE, token=b"short")
        self.assertRaises(fob.InvalidArgumentError, fob.Client)
        self.assertRaises(fob.InvalidArgumentError, fob.Client, "http://a")
        self.assertRaises(fob.InvalidArgumentError, fob.Client, "ipc:///a\0b")
        self.assertRaises(fob.InvalidArgumentError, fob.Client, "ipc:///a", in_flight=2**32 + 1)


class Administration(WithFobd):
    def test_the_life_of_an_account(self):
        made = self.admin.create_account("acct_2", LIVE)
        old, _ = pyfob.remember(made)
        self.assertEqual((made.account.account, made.account.environment, made.account.suspended),
                         ("acct_2", LIVE, False))
        self.assertEqual((made.secret_key.key.kind, made.publishable_key.key.kind), (Kind.SECRET, Kind.PUBLISHABLE))
        rolled = self.admin.roll_key("acct_2", LIVE, expected_generation=1)
        (new,) = pyfob.remember(rolled)
        self.assertEqual((rolled.new_key.key.generation, rolled.old_key.generation), (2, 1))
        self.assertEqual(rolled.old_key.state, fob.KeyState.GRACE)
        v = self.client.verify(old)
        self.assertEqual((v.allows, v.superseded, v.generation, v.current_generation), (True, True, 1, 2))
        self.assertEqual(v.expires_ms, rolled.new_key.key.created_ms + DAY_MS)
        self.assertEqual((v.expires - rolled.new_key.key.created).total_seconds(), 86400)
        with self.assertRaises(fob.AbortedError):
            self.admin.roll_key("acct_2", LIVE, expected_generation=1)
        (newest,) = pyfob.remember(self.admin.roll_key("acct_2", LIVE, grace_s=0, authorizing_secret=bytearray(new)))
        self.assertIn(self.client.verify(new).verdict, (Verdict.EXPIRED, Verdict.REVOKED))
        ended = self.admin.revoke_key("acct_2", LIVE, Kind.SECRET, 1)
        self.assertEqual((ended.state, ended.generation), (fob.KeyState.REVOKED, 1))
        self.assertEqual(self.client.verify(old).verdict, Verdict.REVOKED)
        self.assertTrue(self.admin.suspend_account("acct_2", LIVE, on_behalf_of="ada").suspended)
        self.assertEqual(self.client.verify(newest).verdict, Verdict.SUSPENDED)
        self.assertFalse(self.admin.resume_account("acct_2", LIVE).suspended)
        self.assertTrue(self.client.verify(newest).allows)
        keys = list(self.admin.list_keys("acct_2", LIVE))
        self.assertEqual(sorted((k.kind.name, k.generation) for k in keys),
                         [("PUBLISHABLE", 1), ("SECRET", 1), ("SECRET", 2), ("SECRET", 3)])
        events = list(self.admin.list_events(LIVE, account="acct_2"))
        self.assertEqual([str(e.type) for e in events][:2], ["account_created", "key_rolled"])
        self.assertEqual([(e.uid, e.on_behalf_of) for e in events if e.type is fob.EventType.ACCOUNT_SUSPENDED],
                         [(os.getuid(), "ada")])
        self.assertEqual({e.on_behalf_of for e in events if e.type is not fob.EventType.ACCOUNT_SUSPENDED}, {""})

    def test_a_token_gives_the_same_reply_again(self):
        token = os.urandom(32)
        fobwire.known_tokens.add(token)
        one, two = (pyfob.remember(self.admin.create_account("acct_3", TEST, token=token)) for _ in "12")
        self.assertEqual(one, two)
        with self.assertRaises(fob.AlreadyExistsError) as e:
            self.admin.create_account("acct_3", TEST)
        self.assertEqual((e.exception.fault, e.exception.http_status), (fob.Fault.ALREADY_EXISTS, 500))

    def test_lists_go_over_pages_and_on_from_a_cursor(self):
        secret = b"sk_live_elsewhere"
        names = ["many_%02d" % i for i in range(25)]
        accounts = [fob.ImportAccount(n, secret_sha256=hashlib.sha256(secret + n.encode()).digest(),
                                      secret_last4="here") for n in names]
        outcomes = self.admin.import_accounts(LIVE, accounts)
        self.assertEqual(outcomes, [fob.ImportOutcome.IMPORTED] * 25)
        self.assertEqual(self.admin.import_accounts(LIVE, accounts[:1]), [fob.ImportOutcome.UNCHANGED])
        self.assertTrue(self.client.verify(secret + b"many_07").allows)
        listed = self.admin.list_accounts(LIVE, page_size=10)
        self.assertEqual([a.account for a in listed if a.account.startswith("many_")], names)
        events = self.admin.list_events(LIVE, page_size=10)
        first = [next(events) for _ in range(15)]
        rest = list(self.admin.list_events(LIVE, after=events.cursor))
        self.assertEqual(rest[0].sequence, first[10].sequence, "from the page that was not read to its end")
        rest_too = list(events)
        self.assertEqual(rest_too[-1].sequence, rest[-1].sequence)
        self.assertEqual(list(self.admin.list_events(LIVE, after=events.cursor)), [])
        pyfob.remember(self.admin.create_account("newest", LIVE))
        self.assertEqual([e.account for e in self.admin.list_events(LIVE, after=events.cursor)], ["newest"])
        self.assertRaises(fob.InvalidArgumentError, next, self.admin.list_events(LIVE, after=b"x" * 126))
        self.assertRaises(fob.InvalidArgumentError, self.admin.list_events, LIVE, after=b"x" * 127)

    def test_health_statistics_and_a_backup(self):
        self.assertEqual(self.client.health(), fob.HealthStatus.SERVING)
        self.assertEqual(self.admin.health("live"), fob.HealthStatus.SERVING)
        stats = self.admin.stats()
        self.assertEqual(stats.version, fob.version())
        self.assertEqual({e.environment for e in stats.environments}, {LIVE, TEST})
        self.assertTrue(all(e.serving for e in stats.environments))
        self.assertEqual(len(stats.codes), 17)
        backup, data = os.urandom(16), b""
        part = self.admin.read_backup(LIVE, backup, 0)
        while not part.total:
            time.sleep(0.01)
            part = self.admin.read_backup(LIVE, backup, 0)
        while len(data) < part.total:
            part = self.admin.read_backup(LIVE, backup, len(data))
            data += part.data
        self.assertEqual(hashlib.sha256(data).digest(), part.sha256)

    def test_an_admin_call_at_a_verify_listener_is_a_fault(self):
        with self.assertRaises(fob.PermissionDeniedError):
            self.client.list_accounts(LIVE).__next__()
        with self.assertRaises(fob.NotFoundError):
            self.admin.roll_key("nobody", LIVE)


class Secrets(WithFobd):
    def texts(self, thing):
        yield from (repr(thing), str(thing), "%s" % (thing,), f"{thing!r}")

    def test_no_result_request_or_error_shows_a_secret(self):
        made = self.admin.create_account("acct_s", LIVE)
        secret, publishable = pyfob.remember(made)
        things = [made, made.secret_key, self.client.verify(secret), fob.VerifyRequest(secret),
                  fob.VerifyRequest(authorization=basic(secret)), self.client.verify_batch([secret])]
        for wrong in (lambda: self.client.verify(secret.decode() + "\ud800"),
                      lambda: self.client.verify(secret, timeout=99),
                      lambda: self.admin.roll_key("acct_s", LIVE, authorizing_secret=publishable),
                      lambda: self.client.verify_batch([secret] * 257)):
            with self.assertRaises(fob.FobError) as e:
                wrong()
            things += [e.exception, "".join(traceback.format_exception(e.exception)), e.exception.__cause__,
                       e.exception.args]
            self.assertTrue(e.exception.__suppress_context__ or e.exception.__context__ is None)
        said = "".join(text for thing in things for text in self.texts(thing)).encode(errors="replace")
        for s in (secret, publishable):
            self.assertNotIn(s[8:38], said)
            self.assertNotIn(base64.b64encode(s + b":")[12:42], said)

    def test_secrets_are_wiped(self):
        made = self.admin.create_account("acct_w", LIVE)
        secret, _ = pyfob.remember(made)
        made.wipe()
        self.assertEqual((made.secret_key.secret, made.publishable_key.secret), (bytearray(44), bytearray(44)))
        key = bytearray(secret)
        self.assertTrue(self.client.verify(key).allows)
        fob.wipe(key)
        self.assertEqual(key, bytearray(len(secret)))
        key += b"it can be resized: nobody holds it"
        fob.wipe(bytearray())
        self.assertRaises(TypeError, fob.wipe, secret)

    def test_a_key_in_a_bytearray_is_kept_nowhere_in_memory(self):
        """A program creates an account, verifies its key each way, wipes, and looks at its own memory."""
        program = """
import os, sys
import fob
sys.path.insert(0, %r)
import leaks
admin, client = fob.Client(%r), fob.Client(%r)
made = admin.create_account("acct_m", fob.Environment.LIVE)
key = made.secret_key.secret
assert client.verify(key).allows and client.verify_batch([key])[0].allows
rolled = admin.roll_key("acct_m", fob.Environment.LIVE, authorizing_secret=key)
assert client.verify(rolled.new_key.secret).allows
masked = [bytes(b ^ 0x55 for b in s) for s in (key, made.publishable_key.secret, rolled.new_key.secret)]
made.wipe(), rolled.wipe(), admin.close(), client.close()
del made, rolled, key
found = 0
for name, data in leaks.memory_of(os.getpid()):
    hidden = data.translate(bytes(i ^ 0x55 for i in range(256)))
    found += sum(hidden.count(m[8:38]) for m in masked)
print(found)
""" % (os.path.join(os.path.dirname(pyfob.__file__)), self.fobd.urls["admin"], self.fobd.urls["verify"])
        env = pyfob.environ()
        del env["FOB_BUILD"]
        done = subprocess.run([sys.executable, "-B", "-c", program], env=env, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (0, "0\n"), done.stderr)


class Lives(WithFobd):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.secret, _ = pyfob.create(cls.fobd, "acct_l")

    def test_a_closed_client_refuses(self):
        client = fob.Client(self.fobd.urls["verify"])
        with client:
            self.assertTrue(client.verify(self.secret).allows)
        client.close()
        self.assertRaises(fob.FailedPreconditionError, client.verify, self.secret)

    def test_one_that_is_dropped_is_freed_with_a_warning(self):
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            client = fob.Client(self.fobd.urls["verify"])
            self.assertTrue(client.verify(self.secret).allows)
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                del client
            self.assertEqual([w.category for w in seen], [ResourceWarning])
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.assertRaises(fob.InvalidArgumentError, fob.Client, "nonsense")  # and half a client leaves nothing

    def test_a_child_makes_its_own(self):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                try:
                    self.client.verify(self.secret)
                except fob.FailedPreconditionError:
                    with fob.Client(self.fobd.urls["verify"]) as own:
                        status = 0 if own.verify(self.secret).allows else 2
                self.client.close()
                self.admin.__del__()
            finally:
                os._exit(status)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.assertTrue(self.client.verify(self.secret).allows)

    def test_close_waits_for_the_calls_of_other_threads(self):
        client = fob.Client("ipc://" + os.path.join(self.fobd.place, "none"), timeout=0.5)
        ended = []

        def call():
            try:
                client.verify(self.secret)
            except fob.FobError as e:
                ended.append(e)
        threads = [threading.Thread(target=call) for _ in range(8)]
        for t in threads:
            t.start()
        daemon.wait_until("all are in the call", lambda: client._under_way == 8)
        client.close()
        self.assertEqual(client._under_way, 0)
        for t in threads:
            t.join(10)
        self.assertEqual([e.fault for e in ended], [fob.Fault.UNAVAILABLE] * 8)

    def test_threads_share_a_client(self):
        keys = [pyfob.create(self.fobd, "thread_%d" % i)[0] for i in range(16)]
        wrong = []

        def run(i):
            for _ in range(200):
                v = self.client.verify(keys[i])
                if not v.allows or v.account != "thread_%d" % i:
                    wrong.append(v)
        threads = [threading.Thread(target=run, args=(i,)) for i in range(16)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(wrong, [])

    def test_on_connection_is_told(self):
        fobd, seen, inside, made = daemon.Daemon(), [], [], threading.Event()

        def told(address, state, reason):
            made.wait(10)
            try:
                client.close()
            except fob.FailedPreconditionError as e:
                inside.append(e)
            seen.append((address, state.name, reason))
        client = fob.Client(fobd.urls["verify"], on_connection=told)
        made.set()
        daemon.wait_until("it says that there is nobody", lambda: seen)
        self.assertEqual(seen[0][:2], (fobd.urls["verify"], "LOST"))
        self.assertIsInstance(seen[0][2], fob.UnavailableError)
        fobd.start()
        self.addCleanup(fobd.stop)
        daemon.wait_until("it says that it is connected", lambda: seen[-1][1] == "MADE")
        self.assertIsNone(seen[-1][2])
        client.close()
        self.assertEqual(len(inside), len(seen))

    def test_an_interpreter_ends_with_a_client_that_has_a_thread(self):
        program = ("import fob, sys\nc = fob.Client(%r, on_connection=lambda *a: None)\nc.health()\n"
                   "c.health()" % self.fobd.urls["verify"])
        done = subprocess.run([sys.executable, "-B", "-c", program], env=pyfob.environ(), timeout=30)
        self.assertEqual(done.returncode, 0)

    def test_calls_leave_no_memory(self):
        def calls(n):
            for _ in range(n):
                self.client.verify(self.secret.decode(), operation="a")
                self.client.verify_authorization(basic(self.secret))
                self.client.verify_batch([bytearray(self.secret)] * 3)
                self.assertRaises(fob.PermissionDeniedError, next, self.client.list_accounts(LIVE))
        calls(20)
        gc.collect()
        before = len(gc.get_objects()), sys.getrefcount(self.secret)
        calls(50)
        gc.collect()
        after = len(gc.get_objects()), sys.getrefcount(self.secret)
        self.assertLess(after[0] - before[0], 20)
        self.assertEqual(after[1], before[1])


class Options(unittest.TestCase):
    def test_tls(self):
        place = daemon.folder()
        Certs(place).ca("ca").ca("stranger").pair("ca", "server").pair("ca", "operator")
        file = pathlib.Path(place).joinpath
        address = daemon.own_address()
        fobd = daemon.Daemon(settings='listen "tls+tcp://%s" {\n\trole = "admin"\n\ttls_cert = "%s"\n\ttls_key = "%s"\n'
                             '\ttls_ca = "%s"\n}\n' % (address, file("server.pem"), file("server.key"),
                                                       file("ca.pem"))).start()
        self.addCleanup(fobd.stop)
        own = {"tls_certificate": (file("operator.pem"), file("operator.key")), "tls_server_name": "server"}
        with fob.Client("tls+tcp://" + address, tls_ca=file("ca.pem"), **own) as client:
            pyfob.remember(client.create_account("over_tls", LIVE))
        with fob.Client("tls+tcp://" + address, tls_ca=str(file("stranger.pem")), **own) as client:
            with self.assertRaisesRegex(fob.UnavailableError, "the server's certificate"):
                client.health()
        with self.assertRaises(fob.FobError):
            fob.Client("tls+tcp://" + address, tls_ca=file("none.pem"), **own)

    def test_of_several_addresses_one_that_serves_is_used(self):
        fobd = daemon.Daemon().start()
        self.addCleanup(fobd.stop)
        none = "ipc://" + os.path.join(fobd.place, "none")
        with fob.Client(none, fobd.urls["tcp"], in_flight=4, queue=100, connect_wait=5, timeout=10) as client:
            self.assertEqual(client.health(), fob.HealthStatus.SERVING)
        with fob.Client(none, connect_wait=0.05, timeout=10) as client:
            began = time.monotonic()
            self.assertRaises(fob.UnavailableError, client.health)
            self.assertLess(time.monotonic() - began, 5)


class Example(WithFobd):
    def verify(self, address, *keys):
        return subprocess.run([sys.executable, "-B", os.path.join(pyfob.PACKAGE, "examples", "verify.py"), address,
                               "charges.create"], input=b"\n".join(keys), capture_output=True, env=pyfob.environ())

    def test_it_prints_verdicts_and_ends_with_2_at_a_fault(self):
        secret, publishable = pyfob.create(self.fobd, "acct_e")
        done = self.verify(self.fobd.urls["verify"], secret, publishable)
        said = done.stdout.decode().splitlines()
        self.assertEqual((done.returncode, done.stderr, said[0]), (0, b"", "VALID acct_e live secret"))
        self.assertTrue(said[1].startswith("FORBIDDEN "))
        done = self.verify("ipc:///nonexistent/fob", secret)
        self.assertEqual((done.returncode, done.stdout), (2, b""))
        self.assertTrue(done.stderr.startswith(b"UNAVAILABLE: "))


class Kills(unittest.TestCase):
    def test_kill_9_mid_load_every_call_ends_and_the_client_recovers(self):
        fobd = daemon.Daemon().start()
        secret, _ = pyfob.create(fobd, "acct_k")
        verdicts, faults, strange, over = [0], [], [], threading.Event()

        def load(client):
            while not over.is_set():
                try:
                    v = client.verify(secret, timeout=3)
                    verdicts[0] += 1
                    if not v.allows:
                        strange.append(v)
                except fob.FobError as e:
                    faults.append(e.fault)
                    over.wait(0.002)
        with fob.Client(fobd.urls["verify"], fail_fast=True) as client:
            threads = [threading.Thread(target=load, args=(client,)) for _ in range(8)]
            for t in threads:
                t.start()
            kills = pyfob.kill_often(fobd, verdicts, faults, more=200)
            over.set()
            for t in threads:
                t.join(10)
                self.assertFalse(t.is_alive(), "a call hangs")
        fobd.stop()
        self.assertEqual(strange, [])
        self.assertLessEqual(set(faults), {fob.Fault.UNAVAILABLE, fob.Fault.DEADLINE_EXCEEDED})
        tap.count("%d kills of fobd under 8 Python threads: %d verdicts, %d faults, none wrong" % (
            kills, verdicts[0], len(faults)))


tap.main()
