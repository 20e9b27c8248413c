#!/usr/bin/python3
"""More connections than there may be, or than anybody needs: idle ones, too many that have not greeted, no descriptor
left. A polite client must not notice, and nothing stays.

TORTURE=1: 4,000 idle ones.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import random
import socket
import time

import daemon
import fobwire
import hostile
import pb
import tap
from hostile import Polite
from pb import LIVE

IDLE = 4000 if hostile.LONG else 300


class Crowds(hostile.Case):
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
        request = fobwire.request(hostile.VERIFY, fobwire.verify_request(self.secret))
        for c in random.sample(held, 50):
            self.assertEqual(fobwire.response(c.exchange(request)).code, pb.rpc.OK)
        for c in held:
            c.close()
        after = self.settled(self.seen)
        polite.end(self, "%d idle" % many)
        tap.comment("%d idle: RssAnon %d KiB before, %d with them, %d after" % (many, before, during, after))
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
        self.fobd.stop()

    def split(self, listener):
        host, port = self.fobd.urls[listener].rsplit("/", 1)[1].rsplit(":", 1)
        return host, int(port)


tap.main()
