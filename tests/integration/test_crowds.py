#!/usr/bin/python3
"""Many connections at once: idle ones, and more that have not greeted than the limit allows. Meanwhile a polite client
is served, and afterwards fobd has closed every descriptor. (fobd at its limit of open files: test_floods.py.)

TORTURE=1: 4,000 idle connections.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import random

import daemon
import fobwire
import hostile
import pb
import tap
from hostile import Polite

IDLE = 4000 if hostile.LONG else 300


class Crowds(hostile.Case):
    def test_idle_connections(self):
        """A client that has greeted may stay silent. Its connection is kept, and other clients are served."""
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
        """At the limit fobd closes the connection that has waited longest, and serves a new client at once."""
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


tap.main()
