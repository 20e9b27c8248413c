#!/usr/bin/python3
"""Hostile peers in numbers, while a polite client makes one call after another: it must not notice, and nothing stays.

TORTURE=1: 20,000 connections over each of ipc, tcp and tls, 4,000 idle ones; TEST_SEED chooses them.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import array
import multiprocessing
import random
import re
import resource
import select
import socket
import time
import unittest

import attacks
import certs
import daemon
import fobwire
import pb
import tap
from pb import LIVE

LONG = os.environ.get("TORTURE") == "1"
CONNECTIONS = 20_000 if LONG else 300
IDLE = 4000 if LONG else 300
P99_MS = 50           # of the polite client; asserted in the long form only, as make test runs on busy machines
POLITE_TIMEOUT_S = 5
GREETING_S = 10       # LIMIT_GREETING_MS
MEMORY_KIB = 8 << 10  # what the second half of an attack may leave behind, after the first half has warmed up malloc
VERIFY = "fob.v1.Keys/VerifyKey"
FORK = multiprocessing.get_context("fork")


def be_polite(url, secret, pipe):
    """One call after another until told to end; then (seconds of each call, why it stopped, if anything was wrong)."""
    daemon._die_with_parent()
    took, wrong = array.array("d"), ""
    try:
        with fobwire.Client(url, POLITE_TIMEOUT_S * daemon.SLOWER) as c:
            pipe.send("connected")
            while not pipe.poll():
                start = time.perf_counter()
                verdict = c.verdict(secret)
                took.append(time.perf_counter() - start)
                if verdict != "VALID":
                    wrong = verdict
                    break
                time.sleep(0.001)
    except Exception as e:
        wrong = repr(e)
    pipe.send((took.tobytes(), wrong))


class Polite:
    """A process of its own, so that its times are not those of the attackers' interpreter."""

    def __init__(self, url, secret):
        self.pipe, theirs = FORK.Pipe()
        self.process = FORK.Process(target=be_polite, args=(url, secret, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.first = self.pipe.recv()

    def end(self, test, what):
        self.pipe.send("end")
        data, wrong = self.pipe.recv() if self.first == "connected" else self.first
        self.process.join()
        took = array.array("d")
        took.frombytes(data)
        test.assertEqual(wrong, "", "the polite client was not served, after %d calls" % len(took))
        test.assertGreater(len(took), 0)
        at = sorted(took)
        p50, p99, most = (1000 * at[min(len(at) - 1, int(len(at) * q))] for q in (0.5, 0.99, 1))
        tap.comment("%s: polite client: %d calls, p50 %.2f ms, p99 %.2f ms, slowest %.1f ms"
                    % (what, len(took), p50, p99, most))
        if LONG and not daemon.SANITIZED:
            test.assertLess(p99, P99_MS)


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.certs = certs.Certs(daemon.folder()).ca("ca").pair("ca", "server").pair("ca", "operator")
        fobwire.tls = cls.certs.context()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        cls.most = hard - 200

    def begin(self, settings="", **kw):
        address = daemon.own_address()
        self.fobd = daemon.Daemon(settings=settings + self.certs.listener(address, "verify"), **kw)
        self.fobd.urls["tls"] = "tls+tcp://" + address
        self.fobd.start()
        self.addCleanup(self.fobd.kill)
        with self.fobd.client() as c:
            self.secret = c.create(LIVE, "polite").secret_key.secret
        self.seen = self.descriptors()

    def stats(self):
        with self.fobd.client() as c:
            return c.stats()

    def descriptors(self):
        """The most that it shows while it has nothing to do: its own dials come and go."""
        most, end = 0, time.monotonic() + 1.2
        with self.fobd.client() as c:
            while time.monotonic() < end:
                most = max(most, c.stats().open_descriptors)
                time.sleep(0.01)
        return most

    def memory_kib(self):
        with open("/proc/%d/status" % self.fobd.pid) as f:
            return int(re.search(r"RssAnon:\s+(\d+)", f.read()).group(1))

    def settled(self, base, timeout_s=30):
        """Descriptors are back where they were; returns what memory is then."""
        now = {}

        def back():
            now["descriptors"] = self.stats().open_descriptors
            return now["descriptors"] <= base + 2
        try:
            daemon.wait_until("descriptors are back at %d" % base, back, timeout_s, 0.05)
        except AssertionError as e:
            raise AssertionError("%s: now %s" % (e, now)) from None
        return self.memory_kib()

    def served(self, listener, within_s=2.0):
        start = time.monotonic()
        with self.fobd.client(listener, timeout_s=10) as c:
            self.assertEqual(c.verdict(self.secret), "VALID")
        self.assertLess(time.monotonic() - start, within_s * daemon.SLOWER, "a new client waits too long")

    # ---- many, that do everything wrong ----

    def connect(self, listener):
        """A way to misbehave and a socket to do it with."""
        url = self.fobd.urls[listener]
        if listener != "tls" or random.random() < 0.6:
            s = fobwire.dial(url.replace("tls+", ""), 10)
            s.settimeout(0.25 if listener == "tls" else 2)
            return s, random.choice(self.raw)
        s = fobwire.dial(url, 10)
        s.settimeout(2)
        return s, random.choice(self.inside)

    def storm(self, listener, count):
        held, staying = [], []

        def finish():
            random.shuffle(held)
            while held:
                s, way = held.pop()
                stays_s = way(s)
                if stays_s:
                    staying.append((time.monotonic() + stays_s, s))
            for until, s in staying[:]:
                if until <= time.monotonic() or len(staying) > 200:
                    staying.remove((until, s))
                    random.choice((socket.socket.close, attacks.rst))(s)

        for i in range(count):
            held.append(self.connect(listener))
            if len(held) > random.randrange(1, 30):
                finish()
            if i % 500 == 499:
                self.served(listener)
        finish()
        for _, s in staying:
            s.close()

    def attack(self, listener):
        self.begin()
        base = self.seen
        request = fobwire.request(VERIFY, fobwire.verify_request(self.secret))
        url = self.fobd.urls[listener]
        random.seed(tap.seed())
        mixed = attacks.ways(url, request) + 2 * attacks.burdens(url, request)
        self.raw = attacks.before_tls(fobwire.tls) if listener == "tls" else mixed
        self.inside = mixed
        before = self.memory_kib()
        polite = Polite(url, self.secret)
        start = time.monotonic()
        self.storm(listener, CONNECTIONS // 2)
        middle = self.memory_kib()
        self.storm(listener, CONNECTIONS - CONNECTIONS // 2)
        took = time.monotonic() - start
        polite.end(self, listener)
        after = self.settled(base)
        stats = self.stats()
        tap.comment("%s: %d connections in %.0f s; RssAnon %d KiB before, %d in the middle, %d after; descriptors %d, then %d; "
                    "%d dropped, %d corrections" % (listener, CONNECTIONS, took, before, middle, after, base,
                                                    stats.open_descriptors, stats.connections_dropped,
                                                    stats.nng_corrections))
        if not daemon.SANITIZED:  # which keep what was freed
            self.assertLess(after - middle, MEMORY_KIB, "memory grows with each attack")
        self.assertEqual(stats.listener_restarts, 0)
        for other in ("verify", "tcp", "tls", "admin"):
            self.served(other)
        self.fobd.stop()

    def test_hostile_connections_over_ipc(self):
        self.attack("verify")

    def test_hostile_connections_over_tcp(self):
        self.attack("tcp")

    def test_hostile_connections_over_tls(self):
        self.attack("tls")

    # ---- many, that do nothing ----

    def test_idle_connections(self):
        """Greeted, and then not a word: they may stay, and hold up nobody."""
        self.begin()
        many = min(IDLE, self.most)
        before = self.memory_kib()
        polite = Polite(self.fobd.urls["tcp"], self.secret)
        held = []
        for i in range(many):
            held.append(fobwire.Connection(self.fobd.urls[("verify", "tcp")[i % 2]], 20))
        self.assertGreaterEqual(self.stats().connections, many)
        during = self.memory_kib()
        self.served("verify"), self.served("tcp"), self.served("tls")
        request = fobwire.request(VERIFY, fobwire.verify_request(self.secret))
        for c in random.sample(held, 50):
            self.assertEqual(fobwire.response(c.exchange(request)).code, pb.rpc.OK)
        for c in held:
            c.close()
        after = self.settled(self.seen)
        polite.end(self, "%d idle" % many)
        tap.comment("%d idle: RssAnon %d KiB before, %d with them, %d after" % (many, before, during, after))
        self.fobd.stop()

    def ipv6_port(self):
        """One that is free, or 0 where there is no IPv6."""
        try:
            with socket.socket(socket.AF_INET6) as s:
                s.bind(("::", 0))
                return s.getsockname()[1]
        except OSError:
            return 0

    def out_of_time(self, held):
        """The sockets of ${held} that the other side has closed."""
        poll = select.poll()
        for s in held:
            poll.register(s, select.POLLRDHUP)
        gone = {fd for fd, _ in poll.poll(0)}
        return [s for s in held if s.fileno() in gone]

    def silent(self, count):
        """TLS peers that never greet: silent ones, half a ClientHello, a whole one, and a whole handshake."""
        url = self.fobd.urls["tls"]
        hello = attacks.client_hello(fobwire.tls)[0]
        held = []
        for i in range(count):
            if i % 10 == 0:
                held.append(fobwire.dial(url))
                continue
            s = fobwire.dial(url.replace("tls+", ""), 10)
            if i % 10 < 3:
                s.sendall(hello[:random.randrange(1, len(hello))] if i % 10 == 1 else hello)
            held.append(s)
        return held

    def test_silent_tls_peers_are_gone_in_time(self):
        """nng never times them out: a descriptor each, for ever. Those who have greeted may be silent as they like."""
        both = self.ipv6_port()  # over which also IPv4 comes: the two ends of a connection can be written in two ways
        self.begin(settings='listen "tcp://[::]:%d" {\n\trole = "verify"\n}\n' % both if both else "")
        polite = Polite(self.fobd.urls["tls"], self.secret)
        quiet = [self.fobd.client(listener) for listener in ("tls", "tcp", "verify")]
        if both:
            self.fobd.urls.update(six="tcp://::1:%d" % both, mapped="tcp://127.0.0.1:%d" % both)
            quiet += [self.fobd.client(listener) for listener in ("six", "mapped")]
        start = time.monotonic()
        held = self.silent(200)
        self.assertGreaterEqual(self.stats().open_descriptors, 200)
        early = self.out_of_time(held)
        self.assertEqual(len(early), 0, "thrown out at once")
        daemon.wait_until("all are thrown out", lambda: len(self.out_of_time(held)) == len(held), GREETING_S + 20, 0.1)
        tap.comment("200 silent TLS peers: the last was thrown out after %.1f s" % (time.monotonic() - start))
        self.settled(self.seen + len(quiet))
        for s in held:
            s.close()
        for c in quiet:
            self.assertEqual(c.verdict(self.secret), "VALID", "a quiet client was thrown out")
            c.close()
        polite.end(self, "silent TLS peers")
        self.assertEqual(self.stats().listener_restarts, 0)
        self.assertIn("had not greeted", self.fobd.log())
        self.fobd.stop()

    def test_too_many_that_have_not_greeted(self):
        """At the limit the one that has waited the longest goes: a newcomer who greets is served, at once."""
        self.begin(settings="connections = 300\n")
        polite = Polite(self.fobd.urls["tls"], self.secret)
        held = []
        for listener in ("tls", "tcp"):
            for _ in range(450):
                held.append(fobwire.dial(self.fobd.urls[listener].replace("tls+", ""), 10))
            daemon.wait_until("the limit is kept", lambda: len(self.out_of_time(held)) >= len(held) - 300, 5)
            self.served("tls"), self.served("tcp"), self.served("verify")
        gone = self.out_of_time(held)
        self.assertLess(len(gone), len(held) - 280, "more are gone than are over the limit")
        self.assertEqual({id(s) for s in gone}, {id(s) for s in held[:len(gone)]}, "not the oldest were closed")
        for s in held:
            s.close()
        self.settled(self.seen)
        polite.end(self, "too many that have not greeted")
        self.fobd.stop()

    def test_out_of_descriptors_over_every_transport(self):
        """Whoever is connected is served on; whoever comes waits, or is refused; all is well when they are gone."""
        self.begin(settings="connections = 40\n", descriptors=340)
        clients = [self.fobd.client(listener) for listener in ("admin", "verify", "tcp", "tls")]
        polite = Polite(self.fobd.urls["tls"], self.secret)
        held = []

        def used_up(more=50):
            for _ in range(more):
                for family, where in ((socket.AF_UNIX, self.fobd.urls["verify"][6:]), (socket.AF_INET, self.split("tls"))):
                    s = socket.socket(family)
                    held.append(s)
                    s.setblocking(False)
                    try:
                        s.connect(where)
                    except OSError:  # under way, or its backlog is full, too
                        pass
            return clients[0].stats().open_descriptors >= 339
        daemon.wait_until("no descriptor is left", used_up, 10, 0.1)
        end = time.monotonic() + 3.5  # some rounds of the guard, which cannot reach its listeners either
        while time.monotonic() < end:
            used_up(5)  # what is given up is taken again
            for c in clients:
                self.assertEqual(c.verdict(self.secret), "VALID")
            time.sleep(0.1)
        clients[0].create(LIVE, "meanwhile")
        for s in held:
            s.close()
        self.settled(self.seen + len(clients) + 1)
        for listener in ("verify", "tcp", "tls"):
            self.served(listener)
        for c in clients:
            c.close()
        polite.end(self, "no descriptors")
        self.assertEqual(self.stats().listener_restarts, 0)
        self.fobd.stop()

    def split(self, listener):
        host, port = self.fobd.urls[listener].rsplit("/", 1)[1].rsplit(":", 1)
        return host, int(port)


tap.main()
