#!/usr/bin/python3
"""Connections that do everything wrong, while a polite client makes one call after another: it must not notice, and
nothing stays. (Those that do nothing: test_crowds.py, test_silent.py.)

TORTURE=1: 20,000 over each of ipc, tcp and tls; TEST_SEED chooses them.
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
# What attacks may leave behind: pages of fobd's heaps that are in part used, as glibc gives back whole ones, and tables of
# nng and OpenSSL that grow and stay. They are on one fobd, so it adds up.
MEMORY_KIB = 1024 if hostile.LONG else 1536
MEMORY_EACH_KIB = 1024 if hostile.LONG else 0


class Hostile(hostile.Case):
    attacks = 0
    REST_S = 1.2  # memory has been given back

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.begin()

    @classmethod
    def tearDownClass(cls):
        cls.fobd.stop()

    @classmethod
    def warm_up(cls):
        """What is made once and kept is no leak: each thread's memory and reader of the database, heaps, OpenSSL's tables."""
        request = fobwire.request(hostile.VERIFY, fobwire.verify_request(cls.secret))
        for listener in ("verify", "tcp", "tls"):
            for _ in range(120):
                with fobwire.Connection(cls.fobd.urls[listener]) as c:
                    c.exchange_many([request] * 8)

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
        if not daemon.SANITIZED:  # which keep what was freed
            most = self.base + MEMORY_KIB + MEMORY_EACH_KIB * self.attacks
            daemon.wait_until("memory is back at %d KiB" % most, lambda: self.memory_kib() < most, 5, 0.1)
            tap.comment("%s: then %d KiB" % (listener, self.memory_kib()))
        for other in ("verify", "tcp", "tls", "admin"):
            self.served(other)

    def test_hostile_connections_over_ipc(self):
        self.attack("verify")

    def test_hostile_connections_over_tcp(self):
        self.attack("tcp")

    def test_hostile_connections_over_tls(self):
        self.attack("tls")


tap.main()
