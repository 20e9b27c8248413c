#!/usr/bin/python3
"""Connections that break the protocol in every way of attacks.py, while a polite client makes one call after another.
Each of its calls is answered. Afterwards fobd has closed every descriptor and has given its memory back. (Peers that
send nothing: test_crowds.py, test_silent.py.)

TORTURE=1: 20,000 connections over each of ipc, tcp and tls. TEST_SEED repeats their order and kinds.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import random
import socket
import time

import attacks
import daemon
import fobwire
import hostile
import tap

CONNECTIONS = 20_000 if hostile.LONG else 300
# How much memory fobd may keep after an attack: heap pages that are partly in use, which glibc cannot give back, and
# tables of nng and OpenSSL that only grow. All attacks are on one fobd, so this adds up.
MEMORY_KIB = 1024 if hostile.LONG else 1536
MEMORY_EACH_KIB = 1024 if hostile.LONG else 0


class Hostile(hostile.Case):
    attacks = 0
    REST_S = 1.2  # after this time fobd has given memory back

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.begin()

    @classmethod
    def tearDownClass(cls):
        cls.fobd.stop()

    @classmethod
    def warm_up(cls):
        """Make fobd allocate what it allocates once and keeps, so that it is not counted as a leak: each thread's
        memory and database reader, heaps, OpenSSL's tables."""
        request = fobwire.request(hostile.VERIFY, fobwire.verify_request(cls.secret))
        for listener in ("verify", "tcp", "tls"):
            for _ in range(120):
                with fobwire.Connection(cls.fobd.urls[listener]) as c:
                    c.exchange_many([request] * 8)

    def connect(self, listener):
        """Returns a socket and one of the functions of attacks.py to call with it."""
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
        request = fobwire.request(hostile.VERIFY, fobwire.verify_request(self.secret))
        url = self.fobd.urls[listener]
        random.seed(tap.seed())
        mixed = attacks.ways(url, request) + 2 * attacks.burdens(url, request)
        self.raw = attacks.before_tls(fobwire.tls) if listener == "tls" else mixed
        self.inside = mixed
        polite = hostile.Polite(url, self.secret)
        start = time.monotonic()
        self.storm(listener, CONNECTIONS)
        took, after = time.monotonic() - start, self.memory_kib()
        polite.end(self, listener)
        self.settled(self.seen)
        stats = self.stats()
        tap.comment("%s: %d connections in %.0f s; RssAnon %d KiB before, %d after; descriptors %d, then %d; %d dropped"
                    % (listener, CONNECTIONS, took, self.base, after, self.seen, stats.open_descriptors,
                                     stats.connections_dropped))
        Hostile.attacks += 1
        if not daemon.SANITIZED:  # a sanitizer does not give freed memory back
            self.memory_is_back(listener, self.base + MEMORY_KIB + MEMORY_EACH_KIB * self.attacks)
        for other in ("verify", "tcp", "tls", "admin"):
            self.served(other)

    def memory_is_back(self, listener, most):
        """fobd has at most ${most} KiB. If it has more, a leak is told from heap pages that stay in use by a second attack:
        a leak grows again."""
        try:
            daemon.wait_until("memory is back at %d KiB" % most, lambda: self.memory_kib() < most, 5, 0.1)
        except AssertionError:
            most = self.memory_kib() + MEMORY_KIB / 4
            self.storm(listener, CONNECTIONS)
            self.settled(self.seen)
            daemon.wait_until("memory is back at %d KiB" % most, lambda: self.memory_kib() < most, 5, 0.1)
        tap.comment("%s: then %d KiB" % (listener, self.memory_kib()))

    def test_hostile_connections_over_ipc(self):
        self.attack("verify")

    def test_hostile_connections_over_tcp(self):
        self.attack("tcp")

    def test_hostile_connections_over_tls(self):
        self.attack("tls")


tap.main()
