#!/usr/bin/python3
"""fob-cluster between a fobd, which this test plays, and real etcd with TLS."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import json
import re
import time
import unittest

import agent
import daemon
import etcd
import pb
import tap
from agent import compare, delete, get, put
from pb import cluster

Result = cluster.Result


class Case(unittest.TestCase):
    members, flags = 1, ()

    @classmethod
    def setUpClass(cls):
        cls.etcd = etcd.Etcd(cls.members, cls.flags).start()

    @classmethod
    def tearDownClass(cls):
        cls.etcd.end()

    def begin(self, **settings):
        self.fobd = agent.Fobd()
        self.addCleanup(self.fobd.close)
        self.agent = agent.Agent(self.fobd, self.etcd, **settings).start()
        self.addCleanup(self.agent.stop)

    def done(self, result, succeeded=True):
        self.assertEqual("DONE", Result.Outcome.Name(result.outcome), self.fobd.trouble)
        self.assertEqual(succeeded, result.succeeded)
        return result


class Transactions(Case):
    def test_put_compare_get_delete(self):
        """Keys get the environment's prefix and lose it; both branches run; several GETs come in their order."""
        self.begin()
        make = dict(compares=[compare("t/a", version=0)], failure=[get("t/a")],
                    success=[put("t/a", b"1"), put("t/b", b"2"), get("t/a"), get("t/", "t0", 10)])
        first = self.done(self.fobd.make(**make))
        self.assertEqual([(b"t/a", b"1"), (b"t/a", b"1"), (b"t/b", b"2")], [(kv.key, kv.value) for kv in first.kvs])
        self.assertEqual({first.revision}, {kv.create_revision for kv in first.kvs})
        again = self.done(self.fobd.make(**make), succeeded=False)
        self.assertEqual([(b"t/a", b"1", 1)], [(kv.key, kv.value, kv.version) for kv in again.kvs])
        self.assertEqual(first.revision, again.revision)
        self.assertEqual("/fob/live/t/a\n1\n", self.etcd.ctl("get", "/fob/live/t/a").stdout)
        self.done(self.fobd.make(compares=[compare("t/a", value=b"1"), compare("t/a", create_revision=first.revision)],
                                 success=[delete("t/a", "t/c")]))
        self.assertEqual("", self.etcd.ctl("get", "--prefix", "/fob/live/t").stdout)
        limited = self.done(self.fobd.make(success=[put("l/1", b""), put("l/2", b"x"), get("l/", "l0", 1)]))
        self.assertEqual(([b"l/1"], True), ([kv.key for kv in limited.kvs], limited.more))

    def test_big_values_and_many_transactions(self):
        """A value of an entry's size goes both ways; of what does not fit one Exchange the last kvs are left out; a burst is
        answered one for one."""
        self.begin()
        big = os.urandom(192 << 10)
        self.done(self.fobd.make(success=[put("big/1", big), put("big/2", b"x" * 65536)]))
        both = self.done(self.fobd.make(success=[get("big/", "big0", 10)]))
        self.assertEqual(([big], True), ([kv.value for kv in both.kvs], both.more))
        one = self.done(self.fobd.make(success=[get("big/2")]))
        self.assertEqual((1, False), (len(one.kvs), one.more))
        ids = self.fobd.begin_many([dict(success=[put("many/%d" % i, b"v" * 5000), get("many/%d" % i)]) for i in range(40)])
        for ident in ids:
            self.assertEqual(1, len(self.done(self.fobd.result(ident)).kvs))
        self.assertLess(max(self.fobd.sizes), 201 << 10)

    def test_the_doorbell(self):
        """It rings for the head of the log, whoever has written it, and for nothing else."""
        self.begin()
        self.done(self.fobd.make(success=[put("head", b"1")]))
        self.fobd.wait("rang for our own", lambda: self.fobd.bells > 0)
        for _ in range(3):
            before = self.fobd.bells
            self.etcd.ctl("put", "/fob/live/head", "1")
            self.fobd.wait("rang", lambda: self.fobd.bells > before)
        quiet = self.fobd.bells
        self.etcd.ctl("put", "/fob/test/head", "1")
        self.etcd.ctl("put", "/fob/live/nodes/1", "1")
        self.done(self.fobd.make(success=[get("x")]))  # later than the event would have been
        self.assertEqual(quiet, self.fobd.bells)
        self.assertEqual({pb.LIVE}, self.fobd.environments)

    def test_fobd_ends_and_begins(self):
        """A new connection is a new session, and results of the old one do not come."""
        self.begin()
        self.done(self.fobd.make(success=[get("x")]))
        self.fobd.close()
        old, path = self.fobd.sessions, self.fobd.path
        self.fobd = agent.Fobd(path)
        self.addCleanup(self.fobd.close)
        self.fobd.wait("came again", lambda: self.fobd.bells > 0)
        self.assertEqual((1, 16), (len(self.fobd.sessions), len(self.fobd.sessions[0])))
        self.assertNotEqual(old, self.fobd.sessions)
        self.done(self.fobd.make(success=[get("x")]))

    def test_a_stopped_etcd_is_unknown_at_the_time_limit(self):
        """What was sent is UNKNOWN when its time is up; afterwards it works again, and the doorbell does."""
        self.begin()
        self.done(self.fobd.make(success=[get("x")]))
        member = self.etcd.members[0]
        member.stop()
        try:
            begun = time.monotonic()
            sent = self.fobd.begin(timeout_ms=400, success=[put("late", b"1")])
            self.assertEqual("UNKNOWN", Result.Outcome.Name(self.fobd.result(sent).outcome))
            self.assertLess(0.3, time.monotonic() - begun)
            self.assertIn("imed out", self.fobd.trouble)
            # The silent connection is left; a new one is not made, as nobody answers.
            later = self.fobd.make(timeout_ms=300, success=[get("x")])
            self.assertEqual("NOT_SENT", Result.Outcome.Name(later.outcome))
        finally:
            member.cont()
        daemon.wait_until("etcd is used again", lambda: self.fobd.make(success=[get("x")]).outcome == Result.DONE)
        self.fobd.wait("the trouble is over", lambda: self.fobd.trouble == "")
        before = self.fobd.bells
        self.etcd.ctl("put", "/fob/live/head", "1")
        self.fobd.wait("rang", lambda: self.fobd.bells > before)

    def test_tls_is_checked(self):
        """A CA that did not sign the member's certificate, a name that is not in it, no certificate of our own."""
        self.etcd.certs.ca("other")
        self.etcd.certs.pair("other", "foreign", kind=etcd.CURVE)
        port = self.etcd.endpoints[0].rsplit(":", 1)[1]
        for what, settings, outcomes in (
                ("unable to get local issuer|certificate problem|verify failed", dict(ca="other"), {"NOT_SENT"}),
                ("certificate|alert", dict(user="foreign"), {"NOT_SENT", "UNKNOWN"}),
                ("certificate|alert", dict(user=None), {"NOT_SENT", "UNKNOWN"})):
            with self.subTest(what=what, **settings):
                self.begin(**settings)
                got = self.fobd.make(timeout_ms=2000, success=[put("never", b"1")])
                self.assertIn(Result.Outcome.Name(got.outcome), outcomes)
                self.fobd.wait("told of " + what, lambda: re.search(what, self.fobd.trouble))
                self.assertIn("trouble with etcd", self.agent.log())
        self.begin(endpoints=["https://localhost:" + port])  # nobody listens there, or another name
        self.assertEqual("NOT_SENT", Result.Outcome.Name(self.fobd.make(timeout_ms=2000, success=[put("never", b"")]).outcome))
        self.assertEqual("", self.etcd.ctl("get", "/fob/live/never").stdout)

    def test_reload_reads_the_certificates_again(self):
        """SIGHUP: a file that holds another certificate by then is used, and bad settings change nothing."""
        made = self.etcd.certs
        self.etcd.certs.ca("other")
        own = made.pem("reloaded")
        made.pair("ca", "reloaded", kind=etcd.CURVE)
        self.begin(user="reloaded")
        self.done(self.fobd.make(success=[get("x")]))
        good = open(own).read(), open(made.key("reloaded")).read()
        made.pair("other", "reloaded", kind=etcd.CURVE)
        self.agent.hup("settings reloaded")
        daemon.wait_until("etcd refuses it", lambda: self.fobd.make(timeout_ms=1000, success=[get("x")]).outcome != Result.DONE)
        for path, text in zip((own, made.key("reloaded")), good):
            with open(path, "w") as f:
                f.write(text)
        self.agent.hup("settings reloaded")
        daemon.wait_until("etcd takes it", lambda: self.fobd.make(timeout_ms=1000, success=[get("x")]).outcome == Result.DONE)
        with open(self.agent.config, "a") as f:
            f.write("nonsense = 1\n")
        self.agent.hup("settings not reloaded")
        self.done(self.fobd.make(success=[get("x")]))


class Three(Case):
    members = 3

    def test_a_member_is_killed(self):
        """The next endpoint is used, and the doorbell moves with it. Nothing is made twice."""
        self.begin()
        n = 0
        self.done(self.fobd.make(compares=[compare("n", version=0)], success=[put("n", b"")]))
        self.etcd.members[0].kill()
        end = time.monotonic() + 10 * daemon.SLOWER
        while n < 5 and time.monotonic() < end:
            before = self.etcd_version()
            got = self.fobd.make(timeout_ms=1000, success=[put("n", b"%d" % n)])
            n += got.outcome == Result.DONE
            if got.outcome == Result.NOT_SENT:
                self.assertEqual(before, self.etcd_version())
        self.assertEqual(5, n)
        before = self.fobd.bells
        self.etcd.ctl("put", "/fob/live/head", "1")
        self.fobd.wait("rang", lambda: self.fobd.bells > before)

    def etcd_version(self):
        made = self.etcd.ctl("--command-timeout=20s", "get", "/fob/live/n", "-w", "json").stdout
        return json.loads(made)["kvs"][0]["version"]


class Full(Case):
    flags = ("--quota-backend-bytes=%d" % (1 << 20),)

    def test_no_space(self):
        """NO_SPACE, and the alarm as trouble; what writes nothing goes on."""
        self.begin()
        for i in range(200):
            got = self.fobd.make(success=[put("fill/%d" % i, os.urandom(60000))])
            if got.outcome != Result.DONE:
                break
        self.assertEqual("NO_SPACE", Result.Outcome.Name(got.outcome))
        self.assertIn("space exceeded", self.fobd.trouble)
        self.done(self.fobd.make(success=[delete("nothing"), get("fill/0")]))


class Roles(Case):
    def test_a_user_without_the_permission(self):
        """By the certificate's common name. The agent's role covers /fob/live/ alone."""
        ctl = self.etcd.ctl
        for name in ("root", "agent", "stranger"):
            ctl("user", "add", name, "--no-password")
        ctl("role", "add", "fob-live")
        ctl("role", "grant-permission", "--prefix=true", "fob-live", "readwrite", "/fob/live/")
        ctl("user", "grant-role", "agent", "fob-live")
        ctl("user", "grant-role", "root", "root")
        ctl("auth", "enable")
        self.begin()
        self.done(self.fobd.make(success=[put("a", b"1"), get("", "z", 10)]))
        before = self.fobd.bells
        ctl("put", "/fob/live/head", "1")
        self.fobd.wait("rang", lambda: self.fobd.bells > before)
        for settings in (dict(user="stranger"), dict(environment="test")):
            with self.subTest(**settings):
                self.begin(**settings)
                got = self.fobd.make(success=[put("a", b"2")])
                self.assertEqual("NOT_SENT", Result.Outcome.Name(got.outcome))
                self.fobd.wait("told", lambda: "permission denied" in self.fobd.trouble)
        self.assertEqual("/fob/live/a\n1\n", ctl("get", "/fob/live/a").stdout)


tap.main()
