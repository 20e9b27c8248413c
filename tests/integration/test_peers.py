#!/usr/bin/python3
"""Peers that break the protocol or a limit. After each, fobd accepts and serves other clients, and has closed the
peer's descriptor."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import random
import struct
import time
import unittest

import attacks
import daemon
import fobwire
import pb
import tap
from pb import LIVE

ATTACKS = 500 if daemon.SANITIZED else 2000  # per transport
VERIFY = "fob.v1.Keys/VerifyKey"


class Peers(unittest.TestCase):
    def begin(self, **kw):
        self.fobd = daemon.Daemon(**kw).start()
        self.addCleanup(self.fobd.kill)
        with self.fobd.client() as c:
            self.secret = c.create(LIVE, "peer").secret_key.secret

    def served(self, listener, within_s=1.0):
        start = time.monotonic()
        with self.fobd.client(listener, timeout_s=10) as c:
            self.assertEqual(c.verdict(self.secret), "VALID")
        took = time.monotonic() - start
        self.assertLess(took, within_s * daemon.SLOWER, "a new client waits too long")
        return took

    def settled(self, base, timeout_s=20):
        """Wait until fobd has no more than ${base} descriptors open."""
        def back():
            with self.fobd.client("admin") as c:
                stats = c.stats()
            self.seen = stats.open_descriptors
            return stats.open_descriptors <= base
        try:
            daemon.wait_until("descriptors are back at %d" % base, back, timeout_s, 0.1)
        except AssertionError as e:
            raise AssertionError("%s: now %d" % (e, self.seen)) from None

    def base(self):
        """The number of fobd's open descriptors when this is its only client."""
        with self.fobd.client("admin") as c:
            return c.stats().open_descriptors

    def attack(self, listener):
        self.begin()
        base = self.base()
        url = self.fobd.urls[listener]
        random.seed(tap.seed())
        ways = attacks.ways(url, fobwire.request(VERIFY, fobwire.verify_request(self.secret)))
        order = [ways[i % len(ways)] for i in range(ATTACKS)]
        random.shuffle(order)
        held, slowest = [], 0.0
        for i, way in enumerate(order):
            s = fobwire.dial(url, 10)
            s.settimeout(2)
            held.append((s, way))
            if len(held) > random.randrange(1, 30):  # several at once; they end in a random order
                random.shuffle(held)
                while held:
                    s, way = held.pop()
                    way(s)
            if i % 100 == 99:
                slowest = max(slowest, self.served(listener))
        for s, way in held:
            way(s)
        slowest = max(slowest, self.served(listener))
        tap.comment("slowest new client %.1f ms, %d descriptors at rest" % (slowest * 1000, base))
        self.settled(base)
        for other in ("verify", "tcp", "admin", "tcpadmin"):
            self.served(other)
        self.fobd.stop()

    def test_hostile_connects_over_ipc(self):
        self.attack("verify")

    def test_hostile_connects_over_tcp(self):
        self.attack("tcp")

    def test_ordinary_clients_that_leave_leak_nothing(self):
        """Each client closes its connection while four of its requests are under way."""
        self.begin()
        base = self.base()
        request = fobwire.request(VERIFY, fobwire.verify_request(self.secret))
        for turn in range(10):
            for listener in ("verify", "tcp"):
                clients = [self.fobd.connection(listener) for _ in range(20)]
                for c in clients:
                    c.exchange_many([request] * 4)
                for c in clients:
                    c.send_many([request] * 4)
                    c.close()
        self.settled(base)
        self.served("verify"), self.served("tcp")
        self.fobd.stop()

    def test_silent_peers_hold_up_nobody(self):
        """They connect and send nothing or half a greeting. Others are served, and fobd closes the silent ones."""
        self.begin()
        base = self.base()
        held = []
        for i in range(100):
            for listener in ("verify", "tcp"):
                s = fobwire.dial(self.fobd.urls[listener])
                if i % 2:
                    s.sendall(fobwire.HANDSHAKE[:4])
                held.append(s)
        self.served("verify"), self.served("tcp")
        self.settled(base, 30)
        for s in held:
            s.close()
        self.fobd.stop()

    def test_a_peer_that_pipelines_and_never_reads_is_dropped(self):
        self.begin()
        base = self.base()
        with self.fobd.client() as c:
            dropped = c.stats().connections_dropped
            for i in range(100):
                c.create(LIVE, "long-%03d" % i)
        work = {
            "verify": fobwire.request("fob.v1.Keys/VerifyKeys", pb.keys.VerifyKeysRequest(
                items=[fobwire.verify_request(self.secret)] * 256)),
            "tcp": fobwire.request("fob.v1.Keys/VerifyKeys", pb.keys.VerifyKeysRequest(
                items=[fobwire.verify_request(self.secret)] * 256)),
            "admin": fobwire.request("fob.v1.Admin/ListAccounts", pb.admin.ListAccountsRequest(environment=LIVE)),
        }
        for listener, request in work.items():
            peers = [self.fobd.connection(listener) for _ in range(8)]
            for c in peers:
                c.sock.setblocking(False)
            gone, slowest, end = set(), 0.0, time.monotonic() + 30 * daemon.SLOWER
            data = fobwire.frame(c.url, struct.pack(">I", 0x80000001) + request)
            pending = {c: b"" for c in peers}
            while len(gone) < len(peers) and time.monotonic() < end:
                for c in peers:
                    try:
                        for _ in range(50):
                            pending[c] = pending[c] or data
                            pending[c] = pending[c][c.sock.send(pending[c]):]
                    except BlockingIOError:
                        pass
                    except OSError:
                        gone.add(c)
                slowest = max(slowest, self.served(listener))
            self.assertEqual(len(gone), len(peers), "a peer that does not read is still connected to %s" % listener)
            tap.comment("%s: slowest new client meanwhile %.1f ms" % (listener, slowest * 1000))
            for c in peers:
                c.close()
        with self.fobd.client() as c:
            self.assertGreaterEqual(c.stats().connections_dropped - dropped, 24)
        self.settled(base)
        self.fobd.stop()

    def test_a_slow_reader_gets_all_that_was_accepted(self):
        """A client that reads late, within the limits, gets every reply."""
        self.begin()
        request = fobwire.request(VERIFY, fobwire.verify_request(self.secret))
        with self.fobd.connection("verify") as c:
            with self.fobd.client() as other:
                before = other.stats().requests
                ids = c.send_many([request] * 48)
                daemon.wait_until("all are answered", lambda: other.stats().requests >= before + 48)
            self.assertEqual({c.recv()[0] for _ in ids}, set(ids))
        self.fobd.stop()

    def test_the_in_flight_limit_of_a_connection(self):
        """A change beyond the limit is refused. Changes that were accepted are committed."""
        self.begin(settings="in_flight = 4\n")
        secrets, seen = [], {}

        def take(data):
            r = fobwire.response(data)
            name = fobwire.code_name(r.code)
            seen[name] = seen.get(name, 0) + 1
            if r.code == pb.rpc.OK:
                secrets.append(pb.admin.RollKeyResponse.FromString(r.body).new_key)
            else:
                self.assertEqual(name, "RESOURCE_EXHAUSTED")
                self.assertIn("under way", r.message)

        def rolls(n):
            return [fobwire.request("fob.v1.Admin/RollKey", fobwire.roll_request(LIVE, "flight", grace=0))
                    for _ in range(n)]

        with self.fobd.client() as other, self.fobd.connection("admin") as c:
            other.create(LIVE, "flight")
            for _ in range(50):
                for data in c.exchange_many(rolls(8)):
                    take(data)
                daemon.wait_until("its end", lambda: other.stats().in_flight == 0)
            tap.comment(seen)
            self.assertGreaterEqual(seen.get("OK", 0), 50 * 4)
            self.assertGreater(seen.get("RESOURCE_EXHAUSTED", 0), 0)

            late = rolls(256)
            for data in c.exchange_many(late):
                take(data)
            self.assertEqual(other.stats().connections_dropped, 0)
            account = [a for a in other.accounts(LIVE) if a.account == "flight"][0]
            self.assertGreaterEqual(account.secret_generation, 1 + len(secrets))
            # Those that were refused have not used their tokens: again, one at a time, each is applied once.
            generations = {k.key.generation for k in secrets}
            self.assertEqual(len(generations), len(secrets))
            with self.fobd.connection("admin") as again:
                for data in late:
                    r = fobwire.response(again.exchange(data))
                    self.assertEqual(r.code, pb.rpc.OK, r.message)
                    generations.add(pb.admin.RollKeyResponse.FromString(r.body).new_key.key.generation)
            self.assertEqual(generations, set(range(2, 2 + len(generations))))
        self.fobd.stop()

    def test_a_client_at_the_in_flight_limit_is_never_refused(self):
        """A client that keeps 64 requests under way, and sends one more after each reply, gets no refusal."""
        self.begin()
        request = fobwire.request(VERIFY, fobwire.verify_request(self.secret))
        for listener in ("verify", "tcp"):
            with self.fobd.connection(listener) as c:
                c.send_many([request] * 64)
                seen = {}
                for i in range(20_000):
                    name = fobwire.code_name(fobwire.response(c.recv()[1]).code)
                    seen[name] = seen.get(name, 0) + 1
                    if i < 20_000 - 64:
                        c.send(request)
                self.assertEqual(seen, {"OK": 20_000}, listener)
        self.fobd.stop()

    def test_the_connection_limit(self):
        self.begin(settings="connections = 40\n")
        base = self.base()
        with self.fobd.client("admin") as c:
            held, refused = [], 0
            for i in range(80):
                try:
                    one = self.fobd.client(("verify", "tcp")[i % 2], timeout_s=3)
                    held.append(one)
                    self.assertEqual(one.verdict(self.secret), "VALID")
                except (fobwire.Closed, OSError):
                    refused += 1
            self.assertGreaterEqual(refused, 40)
            self.assertEqual(c.verdict(self.secret), "VALID", "the limit hits who was there before")
            stats = c.stats()
            self.assertGreaterEqual(stats.connections_refused, refused)
            self.assertLessEqual(stats.connections, 40)
            for one in held:
                one.close()
        daemon.wait_until("there is room again", lambda: self.served("tcp"), 5)
        self.settled(base)
        self.fobd.stop()

    def greets(self, s):
        try:
            s.sendall(fobwire.HANDSHAKE)
            return s.recv(1) != b""
        except ConnectionError:
            return False

    def test_a_newcomer_waits_for_one_that_is_about_to_leave(self):
        self.begin(settings="connections = 40\n")
        base = self.base()
        with self.fobd.client("admin") as c:
            held = [self.fobd.client("verify") for _ in range(39)]
            for _ in range(20):  # a busy machine may need longer than newcomers wait
                newcomer = fobwire.dial(self.fobd.urls["verify"], 20)
                self.assertEqual(c.stats().connections, 40)
                held.pop().close()
                if self.greets(newcomer):
                    break
                newcomer.close()
                held.append(self.fobd.client("verify"))
            else:
                self.fail("each newcomer was refused")
            newcomer.close()
            for one in held:
                one.close()
        self.settled(base)
        self.fobd.stop()

    def test_many_connections_at_once(self):
        self.begin()
        base = self.base()
        held = []
        for i in range(400):
            c = self.fobd.client(("verify", "tcp")[i % 2])
            held.append(c)
            self.assertEqual(c.verdict(self.secret), "VALID")
        with self.fobd.client() as c:
            self.assertGreaterEqual(c.stats().connections, 400)
        for c in held:
            self.assertEqual(c.verdict(self.secret), "VALID")
        for c in held:
            c.close()
        self.settled(base)
        self.fobd.stop()


tap.main()
