#!/usr/bin/python3
"""SIGTERM under load: fobd ends quickly and cleanly, and nothing acknowledged is lost."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import signal
import threading
import unittest

import daemon
import fobwire
import load
import tap
from pb import LIVE, TEST

ROUNDS = 50 if os.environ.get("TORTURE") else 15


class Stop(unittest.TestCase):
    def test_SIGTERM_under_load(self):
        fobd = daemon.Daemon().start()
        self.addCleanup(fobd.kill)
        slots = [(environment, "s%d" % i) for i in range(3) for environment in (LIVE, TEST)]
        generations = {slot: 1 for slot in slots}
        with fobd.client("admin") as c:
            secret = [c.create(*slot) for slot in slots][0].publishable_key.secret
        verify = fobwire.request("fob.v1.Keys/VerifyKey", fobwire.verify_request(secret))
        slowest, rolls = 0.0, 0

        def verifier(listener):
            try:
                with fobd.connection(listener) as c:
                    while True:
                        c.exchange_many([verify] * 16)
            except (fobwire.Closed, OSError):
                pass

        for turn in range(ROUNDS):
            rollers = load.Rollers(fobd, slots, depth=2).start()
            others = [threading.Thread(target=verifier, args=(l,), daemon=True) for l in ("verify", "tcp", "tcpadmin")]
            for t in others:
                t.start()
            idle = [fobd.connection("verify") for _ in range(3)]
            daemon.wait_until("load", lambda: rollers.acknowledged() > 20, 20)
            status, took = fobd.terminate()
            self.assertEqual(status, 0, fobd.log()[-3000:])
            self.assertLess(took, 5.0 * daemon.SLOWER)  # mostly the machine: what may hang is cut off after a second
            slowest = max(slowest, took)
            rollers.join()
            for t in others:
                t.join(30)
                self.assertFalse(t.is_alive(), "a connection outlives its daemon")
            for c in idle:
                c.close()
            fobd.start(init=False)
            rolls += load.judge(self, fobd, rollers.records, generations)
        tap.count("%d rounds, slowest stop %.0f ms, %d acknowledged rolls, all there" % (ROUNDS, slowest * 1000,
                                                                                           rolls))
        fobd.stop()

    def test_SIGINT_and_SIGTERM_stop_an_idle_one(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            fobd = daemon.Daemon().start()
            self.addCleanup(fobd.kill)
            fobd.process.send_signal(number)
            self.assertEqual(fobd.process.wait(5 * daemon.SLOWER), 0)
            fobd.process = None

    def test_a_second_signal_and_others_do_no_harm(self):
        fobd = daemon.Daemon().start()
        self.addCleanup(fobd.kill)
        fobd.process.send_signal(signal.SIGPIPE)
        with fobd.client() as c:
            c.check()
        for _ in range(5):
            fobd.process.send_signal(signal.SIGTERM)
        self.assertEqual(fobd.process.wait(5 * daemon.SLOWER), 0)
        fobd.process = None


tap.main()
