#!/usr/bin/python3
"""kill -9 during concurrent rolls: every acknowledged roll is there, and none was applied twice."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import random
import unittest

import daemon
import load
import tap
from pb import LIVE, TEST

ROUNDS = 25 if os.environ.get("TORTURE") else 6


class Crash(unittest.TestCase):
    def test_acknowledged_rolls_survive_and_each_token_was_used_once(self):
        fobd = daemon.Daemon().start()
        self.addCleanup(fobd.kill)
        slots = [(environment, "c%d" % i) for i in range(6) for environment in (LIVE, TEST)]
        generations = {slot: 1 for slot in slots}
        with fobd.client("admin") as c:
            for environment, account in slots:
                c.create(environment, account)
        random.seed(tap.seed())
        for turn in range(ROUNDS):
            # 16 threads on 12 slots: some slots are rolled from two sides at once
            rollers = load.Rollers(fobd, slots + slots[:4]).start()
            enough = random.randrange(50, 400)
            daemon.wait_until("%d rolls" % enough, lambda: rollers.acknowledged() >= enough, 20)
            fobd.kill()
            rollers.join()
            fobd.start(init=False)
            acknowledged = load.judge(self, fobd, rollers.records, generations)
            tap.comment("round %d: %d rolls sent, %d acknowledged" % (turn, len(rollers.records), acknowledged))
            self.assertGreaterEqual(acknowledged, enough)
        # Also what older rounds did is still there, in full.
        with fobd.client("admin") as c:
            for (environment, account), generation in generations.items():
                keys = [k for k in c.keys(environment, account, page_size=1000) if k.kind == 1]
                self.assertEqual([k.generation for k in keys], list(range(1, generation + 1)))
            for environment in (LIVE, TEST):
                sequences = [e.sequence for e in c.events(environment, page_size=1000)]
                self.assertEqual(sequences, list(range(1, len(sequences) + 1)))
                self.assertEqual(len(sequences), sum(g for s, g in generations.items() if s[0] == environment))
        fobd.stop()


tap.main()
