#!/usr/bin/python3
"""Secrets and request tokens appear in replies only: not in logs, argv, the environment, memory at rest, or on the disk."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import base64
import re
import shutil
import signal
import subprocess
import unittest

import certs
import daemon
import fobwire
import leaks
import pb
import tap
from pb import LIVE, SECRET, TEST


class Secrets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """A daemon that logs as much as it can, and every request that might make it log a secret."""
        cls.fobd = daemon.Daemon(settings='log_level = "debug"\n', core=True).start()
        cls.addClassCleanup(cls.fobd.kill)
        cls.messages = []
        with cls.fobd.client("admin") as c:
            for environment in (LIVE, TEST):
                made = c.create(environment, "loud")
                rolled = c.roll(environment, "loud", authorizing_secret=made.secret_key.secret)
                gone = c.roll(environment, "loud", grace=0)
                c.revoke(environment, "loud", SECRET, 1)
                keys = [made.secret_key.secret, made.publishable_key.secret, rolled.new_key.secret, gone.new_key.secret]
                for secret in keys:
                    for form in (secret, secret + b"0", secret[:-1], secret + b"\n", secret[8:], b"x" + secret,
                                 secret[:40]):
                        c.verify(form)
                        c.verify(form, operation="tokenize", environment=LIVE)
                        cls.say(c, "fob.v1.Keys/VerifyKey", fobwire.verify_request(form, operation="x" * 65))
                        for header in (b"Basic " + base64.b64encode(form + b":"),
                                       b"Basic " + base64.b64encode(form + b":pw"),
                                       b"Basic " + form, b"Bearer " + form, form):
                            c.verify(authorization=header)
                    # where they do not belong, as a caller's mistake
                    text = secret.decode()
                    cls.say(c, text)
                    cls.say(c, "fob.v1.Keys/" + text)
                    cls.say(c, "fob.v1.Admin/CreateAccount", pb.admin.CreateAccountRequest(
                        request_token=secret, environment=environment, account=text))
                    cls.say(c, "fob.v1.Admin/CreateAccount", fobwire.create_request(environment, text + "/" + "a" * 30))
                    cls.say(c, "fob.v1.Admin/RollKey", fobwire.roll_request(environment, "loud",
                                                                            authorizing_secret=secret + b"1"))
                    cls.say(c, "fob.v1.Admin/RollKey", fobwire.roll_request(environment, "loud/" + text))
                    cls.say(c, "fob.v1.Keys/VerifyKey", fobwire.verify_request(secret, operation=text + " x"))
                    cls.say(c, "fob.v1.Admin/ListKeys", pb.admin.ListKeysRequest(environment=environment,
                                                                                 account="loud", page_token=secret))
                    cls.say(c, "fob.v1.Health/Check", pb.health.CheckRequest(service=text))
                    cls.messages.append(c.raw(fobwire.request("fob.v1.Keys/VerifyKey",
                                                              fobwire.verify_request(secret))[:-5]).message)
                    c.response("fob.v1.Health/Check", traceparent=text)
                token = fobwire.new_token()
                c.suspend(environment, "loud", token)
                cls.say(c, "fob.v1.Admin/ResumeAccount", pb.admin.ResumeAccountRequest(
                    request_token=token, environment=environment, account="loud"))
                cls.say(c, "fob.v1.Admin/SuspendAccount", pb.admin.SuspendAccountRequest(
                    request_token=token + b"x", environment=environment, account="loud"))

    @classmethod
    def say(cls, c, method, message=None):
        cls.messages.append(c.response(method, message).message)

    def nothing_in(self, what, data):
        found = daemon.secrets_in(data)
        self.assertEqual(len(found), 0, "%d secrets or tokens in %s" % (len(found), what))

    def test_there_was_something_to_find(self):
        self.assertGreaterEqual(len(fobwire.known_secrets), 8)
        self.assertGreaterEqual(len(fobwire.known_tokens), 16)
        some = next(iter(fobwire.known_secrets))
        self.assertEqual(daemon.secrets_in(b"x" + some[8:] + b"y"), [some])

    def test_not_in_error_messages(self):
        text = "\n".join(self.messages)
        self.nothing_in("error messages", text.encode())
        self.assertIsNone(re.search(r"[sp]k_(live|test)_[0-9A-Za-z]{8}", text))

    def test_not_in_the_log(self):
        log = self.fobd.log()
        self.assertIn("loud", log)
        self.nothing_in("the log", log.encode())
        for line in log.splitlines():
            self.assertIsNone(re.search(r"[sp]k_(live|test)_[0-9A-Za-z]{8}", line), line[:60])

    def test_not_in_argv_or_the_environment(self):
        for name in ("cmdline", "environ"):
            try:
                with open("/proc/%d/%s" % (self.fobd.pid, name), "rb") as f:
                    self.nothing_in(name, f.read())
            except PermissionError:
                pass  # undumpable: not even its own user may look

    def test_no_core_dump(self):
        with open("/proc/%d/limits" % self.fobd.pid) as f:
            limit = re.search(r"Max core file size +(\S+)", f.read()).group(1)
        self.assertEqual(limit, "0")

    def test_not_at_rest(self):
        """The files while fobd runs, after kill -9, and after a stop."""
        def look(when):
            for base, _, files in os.walk(self.fobd.place):
                for name in files:
                    if not os.path.isfile(os.path.join(base, name)):
                        continue  # a socket
                    with open(os.path.join(base, name), "rb") as f:
                        self.nothing_in("%s %s" % (name, when), f.read())
        look("while it runs")
        self.fobd.kill()
        look("after kill -9")
        self.fobd.start(init=False)
        self.fobd.stop()
        look("after its end")
        self.fobd.start(init=False)


class Memory(unittest.TestCase):
    """The memory of an idle fobd, and the core of one that crashes."""

    def start(self, settings="", **kw):
        fobd = daemon.Daemon(settings=settings, **kw)
        self.addCleanup(fobd.kill)
        return fobd.start()

    def start_with_tls(self):
        made = certs.Certs(daemon.folder()).ca("ca").pair("ca", "server").pair("ca", "operator")
        fobwire.tls = made.context()
        address = daemon.own_address()
        fobd = self.start('log_level = "debug"\n' + made.listener(address, "admin"))
        fobd.urls["tlsadmin"] = "tls+tcp://" + address
        return fobd

    def talk(self, c, account):
        """Make every kind of call that carries a secret or a token. Returns (secrets, token)."""
        token = fobwire.new_token()
        made = c.create(LIVE, account, token)
        c.create(LIVE, account, token)  # its sealed reply, opened
        rolled = c.roll(LIVE, account, authorizing_secret=made.secret_key.secret)
        mine = [made.secret_key.secret, made.publishable_key.secret, rolled.new_key.secret]
        for secret in mine:
            c.verify(secret)
            c.verify(authorization=b"Basic " + base64.b64encode(secret + b":"))
            c.verify(secret[:-1] + b"!")
            self.assertIsNotNone(c.raw(b"\x0a\xff" + secret))
        c.verify_many([fobwire.verify_request(s) for s in mine] * 50)
        return mine, token

    def in_two_parts(c, _account, secret):
        data = fobwire.frame(c.url, b"\x80\0\0\1" + fobwire.request(
            "fob.v1.Keys/VerifyKey", fobwire.verify_request(secret, operation="charges.create")))
        c.connection.sock.sendall(data[:-1])
        c.connection.sock.sendall(data[-1:])
        c.connection.recv()

    # A connection's last request.
    LAST = (lambda c, account, secret: None,  # a batch
            lambda c, account, secret: c.verify(secret),
            lambda c, account, secret: c.roll(LIVE, account, grace=0).new_key.secret,
            in_two_parts)

    def no_copies(self, fobd, secrets, tokens, when):
        left = {}

        def clean():  # the last reply is wiped a moment after it was sent
            nonlocal left
            left = leaks.secrets_in_memory(fobd.pid, secrets, tokens)
            return not left
        try:
            daemon.wait_until("no secret in memory", clean, 5, every_s=0.2)
        except AssertionError:
            self.fail("copies of secrets in the memory of fobd, %s: %s" % (when, left))

    def no_copies_in_a_core(self, fobd, secrets, tokens):
        """What root's debugger writes."""
        if not shutil.which("gcore"):
            tap.comment("gdb is not installed: no core was searched")
            return
        path, known = os.path.join(daemon.folder(), "core"), leaks.pieces(secrets, tokens)
        done = subprocess.run(["gcore", "-o", path, str(fobd.pid)], stdin=subprocess.DEVNULL, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open("%s.%d" % (path, fobd.pid), "rb") as f:  # most of it are stacks that were never used
            core = b"".join(page for page in iter(lambda: f.read(4096), b"") if page != bytes(4096))
        self.assertIn(fobd.pepper("live").encode(), core, "the core holds nothing")
        found = len(leaks.words_in(core, known)) + sum(core.count(token) for token in tokens)
        self.assertEqual(found, 0, "copies of secrets in a core of fobd")

    @unittest.skipIf(daemon.SANITIZED, "a sanitizer keeps what was freed")
    @unittest.skipUnless(os.geteuid() == 0, "only root may read fobd's memory")
    def test_nothing_is_left_after_the_traffic(self):
        """Over ipc, tcp and tls: while the connections are open and idle, after each kind of request, and when they are
        closed."""
        fobd = self.start_with_tls()
        secrets, tokens, idle = set(), set(), []
        self.addCleanup(lambda: [c.close() for c in idle])
        for listener in ("admin", "tcpadmin", "tlsadmin"):
            for i in range(15):
                account = "%s-%d" % (listener, i)
                idle.append(fobd.client(listener))
                mine, token = self.talk(idle[-1], account)
                newest = self.LAST[i % 4](idle[-1], account, mine[-1])
                secrets.update(mine + [newest] if isinstance(newest, bytes) else mine)
                tokens.add(token)
        path = fobd.pepper("live").encode()
        self.assertTrue(any(path in data for _, data in leaks.memory_of(fobd.pid)), "the scan sees nothing")
        self.no_copies(fobd, secrets, tokens, "with the connections open")
        self.no_copies_in_a_core(fobd, secrets, tokens)
        for c in idle:
            c.close()
        self.no_copies(fobd, secrets, tokens, "after they were closed")

    @unittest.skipIf(daemon.SANITIZED, "a sanitizer keeps what was freed")
    @unittest.skipUnless(os.geteuid() == 0, "only root may read fobd's memory")
    def test_nothing_is_left_of_half_a_request(self):
        """A part of a request is kept until the rest comes, and is wiped when its connection closes."""
        fobd = self.start_with_tls()
        for listener in ("admin", "tcpadmin", "tlsadmin"):
            with fobd.client(listener) as c:
                secret = c.create(LIVE, listener).secret_key.secret
            whole = fobwire.frame(fobd.urls[listener], b"\x80\0\0\1" + fobwire.request(
                "fob.v1.Keys/VerifyKey", fobwire.verify_request(secret, operation="charges.create")))
            half = [fobd.connection(listener) for _ in range(10)]
            self.addCleanup(lambda half=half: [c.close() for c in half])
            for c in half:
                c.sock.sendall(whole[:-1])
            daemon.wait_until("half a request is there",
                              lambda: leaks.secrets_in_memory(fobd.pid, {secret}, set()), 5, every_s=0.05)
            for c in half:
                c.close()
            self.no_copies(fobd, {secret}, set(), "after half a request over " + listener)

    def test_a_crash_leaves_no_core(self):
        fobd = self.start(core=True)
        with fobd.client("admin") as c:
            c.create(LIVE, "crashed")
        os.kill(fobd.pid, signal.SIGABRT)
        _, status = os.waitpid(fobd.pid, 0)
        fobd.process.returncode = -signal.SIGABRT
        self.assertEqual(os.WTERMSIG(status), signal.SIGABRT)
        self.assertFalse(os.WCOREDUMP(status))


tap.main()
