#!/usr/bin/python3
"""fobd closes a connection that has not greeted in time. One that has greeted may be silent without a limit."""

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
from hostile import GREETING_S, Polite


class Silent(hostile.Case):
    def ipv6_port(self):
        """A free port, or 0 where there is no IPv6."""
        try:
            with socket.socket(socket.AF_INET6) as s:
                s.bind(("::", 0))
                return s.getsockname()[1]
        except OSError:
            return 0

    def silent(self, count):
        """${count} TLS peers that do not greet. They send nothing, a part of a ClientHello, a whole one, or finish the
        handshake and send nothing more."""
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
        """Each is closed, wherever it stopped. Clients that greeted and then sent nothing stay connected."""
        both = self.ipv6_port()  # it also accepts IPv4: then fobd and the client write the same address in two forms
        self.begin(settings='listen "tcp://[::]:%d" {\n\trole = "verify"\n\tinsecure = true\n}\n' % both if both else "")
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
        self.assertIn("had not greeted", self.fobd.log())
        self.fobd.stop()


tap.main()
