#!/usr/bin/python3
"""What fobd sets on a listening socket that nng does not: a backlog that a crowd fits in, and keepalive times, by which a
TCP peer that vanished without a word is noticed."""

import os
import signal
import socket
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import daemon
import fobwire
import tap

CROWD = 300  # nng's own backlog is 128
KEEPALIVE_TIMER = "02"
IDLE_S = 30


class Listening(unittest.TestCase):
    def setUp(self):
        self.fobd = daemon.Daemon().start()
        self.addCleanup(self.fobd.kill)

    def crowd(self, family, where):
        """Connect while fobd accepts nobody; returns how many got into the backlog."""
        os.kill(self.fobd.pid, signal.SIGSTOP)
        peers = []
        try:
            for _ in range(CROWD):
                s = socket.socket(family)
                s.settimeout(1)
                try:
                    s.connect(where)
                except (BlockingIOError, TimeoutError):
                    s.close()
                    break
                peers.append(s)
        finally:
            os.kill(self.fobd.pid, signal.SIGCONT)
            for s in peers:
                s.close()
        return len(peers)

    def test_a_crowd_fits_in_the_backlog(self):
        host, port = self.fobd.urls["tcp"][len("tcp://"):].rsplit(":", 1)
        with open("/proc/sys/net/core/somaxconn", encoding="ascii") as f:
            if int(f.read()) < CROWD:
                self.skipTest("this system allows no such backlog (net.core.somaxconn)")
        self.assertEqual(self.crowd(socket.AF_UNIX, self.fobd.urls["verify"][len("ipc://"):]), CROWD)
        self.assertEqual(self.crowd(socket.AF_INET, (host, int(port))), CROWD)

    def test_a_tcp_connection_has_a_keepalive_timer(self):
        c = fobwire.Connection(self.fobd.urls["tcp"], 10)
        self.addCleanup(c.close)
        port = c.sock.getsockname()[1]

        def timer():
            with open("/proc/net/tcp", encoding="ascii") as f:
                for fields in (line.split() for line in f):
                    if fields[2].endswith(":%04X" % port):
                        kind, left = fields[5].split(":")
                        return kind == KEEPALIVE_TIMER and int(left, 16) <= IDLE_S * os.sysconf("SC_CLK_TCK")
            return False
        daemon.wait_until("fobd's end waits for the peer's life signs", timer)


tap.main()
