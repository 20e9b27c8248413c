#!/usr/bin/python3
"""No secret and no request token is anywhere but in the replies: not in logs, argv, environment, or at rest."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import base64
import re
import signal
import unittest

import daemon
import fobwire
import leaks
import pb
import tap
from pb import LIVE, PUBLISHABLE, SECRET, TEST


class Secrets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """A daemon at its most talkative, and everything that might make it talk."""
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
        """Files as they are while it runs, after kill -9, and after an orderly end."""
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
    """What a running fobd holds when nobody asks it anything, and what it leaves when it crashes."""

    def start(self, **kw):
        fobd = daemon.Daemon(in_verify="\tcontexts = 8\n", in_admin="\tcontexts = 8\n", **kw).start()
        self.addCleanup(fobd.kill)
        return fobd

    @unittest.skipIf(daemon.SANITIZED, "a sanitizer keeps what was freed")
    @unittest.skipUnless(os.geteuid() == 0, "only root may read fobd's memory")
    def test_nothing_is_left_after_the_traffic(self):
        fobd = self.start(settings='log_level = "debug"\n')
        self.assertIn("freed_memory_wiped=true", fobd.log())
        secrets, tokens = set(), set()
        for listener in ("admin", "tcpadmin"):
            with fobd.client(listener) as c:
                for i in range(15):
                    account = "%s-%d" % (listener, i)
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
                    secrets.update(mine)
                    tokens.add(token)
        path = fobd.pepper("live").encode()
        self.assertTrue(any(path in data for _, data in leaks.memory_of(fobd.pid)), "the scan sees nothing")
        # nng frees a message a moment after it was sent.
        left = {}

        def clean():
            nonlocal left
            left = leaks.secrets_in_memory(fobd.pid, secrets, tokens)
            return not left
        try:
            daemon.wait_until("no secret in memory", clean, 5, every_s=0.2)
        except AssertionError:
            self.fail("copies of secrets in the memory of fobd: %s" % left)

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
