#!/usr/bin/python3
"""Histories of concurrent verifies, rolls, revocations, suspensions and lists, while fobd is killed: one order of the calls
must explain all answers. So no VALID is stale, no change is lost, and none is made twice.

TORTURE=1: 200 runs of 1,000 calls. TEST_SEED repeats the random choices, but not the timing.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import collections
import random
import subprocess
import threading
import time
import unittest

import check
import daemon
import tap

RECORD = os.path.join(daemon.BUILD, "tests", "history", "record")
RUNS = 200 if os.environ.get("TORTURE") else 5
CALLS = 1000 if not daemon.SANITIZED else 500
KILLS = 4
ENOUGH_S = None if os.environ.get("TORTURE") else 8  # for a start of another run
LIMIT_S = 120  # for one run


class History(unittest.TestCase):
    def record(self, fobd, seed, calls, kills, prefix):
        """-> (path of the history, how often fobd was killed)"""
        path = os.path.join(fobd.place, "history")
        recorder = subprocess.Popen([RECORD, path, str(seed), str(calls), str(kills), prefix, fobd.urls["verify"],
                                     fobd.urls["admin"]], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        limit = threading.Timer(LIMIT_S * daemon.SLOWER, recorder.kill)
        limit.start()
        killed = 0
        try:
            for _ in recorder.stdout:
                fobd.kill()
                fobd.start(init=False)
                killed += 1
            self.assertEqual(recorder.wait(), 0)
        finally:
            limit.cancel()
            recorder.kill()
            recorder.wait()
            recorder.stdout.close()
        return path, killed

    def judge(self, path, seed):
        calls = check.read(path)
        try:
            return calls, check.check(calls)
        except check.Wrong as wrong:
            self.fail("run of seed %d: %s" % (seed, wrong))

    def test_one_order_explains_every_answer(self):
        pick = random.Random(tap.seed())
        fobd = daemon.Daemon().start()
        self.addCleanup(fobd.kill)
        totals, verdicts, runs, started = collections.Counter(), collections.Counter(), 0, time.monotonic()
        while runs < RUNS and (runs == 0 or ENOUGH_S is None or time.monotonic() - started < ENOUGH_S):
            seed = pick.randrange(1 << 30)
            path, killed = self.record(fobd, seed, CALLS, KILLS, "r%d" % runs)
            calls, counts = self.judge(path, seed)
            totals.update(counts, kills=killed)
            verdicts.update(c["verdict"] for c in calls if c["op"] == "verify" and not c["fault"])
            verdicts.update(c["op"] for c in calls if c["op"] != "verify" and not c["fault"])
            verdicts.update(c["op"] + " " + c["fault"] for c in calls if c["fault"])
            runs += 1
        tap.count("%d runs: %s" % (runs, ", ".join("%d %s" % (n, what) for what, n in totals.items())))
        tap.count(", ".join("%d %s" % (n, what) for what, n in sorted(verdicts.items())))
        for what in ("VALID", "REVOKED", "roll", "revoke", "list"):
            self.assertGreater(verdicts[what], 0, "a history without any %s says little" % what)
        self.assertGreater(totals["kills"], 0)
        fobd.stop()


tap.main()
