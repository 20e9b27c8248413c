#!/usr/bin/python3
"""The fleet in virtual time: see simulate.c. Clusters of 8 nodes, and of 2 with few kinds of faults, under all faults; with
TORTURE=1 also of 100 nodes, for SIMULATE_MINUTES (default 50) or 1,000 seeds. TEST_SEED chooses the seeds."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import concurrent.futures
import re
import subprocess
import time
import unittest

import daemon
import tap

SIMULATE = os.path.join(daemon.BUILD, "tests", "cluster", "simulate")
TORTURE = bool(os.environ.get("TORTURE"))
MINUTES = float(os.environ.get("SIMULATE_MINUTES", "50"))
JOBS = len(os.sched_getaffinity(0))


def simulate(flags, seed, runs=1):
    """-> (what failed, the counts)"""
    done = subprocess.run([SIMULATE, *flags.split(), "--seeds", "%d-%d" % (seed, seed + runs - 1)],
                          stdout=subprocess.PIPE, text=True, check=False)
    text, counts = done.stdout.rpartition("runs=")[::2]
    numbers = {name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+)", "runs=" + counts)}
    if done.returncode not in (0, 1) or (done.returncode == 1) != bool(text):
        text += "exit status %d\n" % done.returncode
    return text, numbers


class Simulator(unittest.TestCase):
    def many(self, flags, most, limit_s):
        """Seeds until ${most} were run, or the time is over."""
        first, until, failed, total = tap.seed() % (1 << 31), time.monotonic() + limit_s, "", {}

        def one(seed):
            return simulate(flags, seed) if time.monotonic() < until else ("", {})

        with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
            for text, counts in pool.map(one, range(first, first + most)):
                failed += text
                for name, value in counts.items():
                    total[name] = total.get(name, 0) + value
        self.assertEqual(failed, "")
        self.assertGreater(total["answered"], 1000)
        self.assertGreater(total["changes"], 100)
        self.assertGreater(total["bounded"], total["crowded"])
        self.assertGreater(total["long_waits"], 0, "no change has waited for a node that is gone")
        tap.count("%s: %d runs, %d verifies, %d answered, %d stale, %d changes acknowledged, of which %d waited for D, and "
                  "none for longer than W" % ((flags,) + tuple(total[n] for n in (
                      "runs", "verifies", "answered", "stale", "changes", "long_waits"))))

    def test_eight_nodes(self):
        self.many("--nodes 8 --seconds 15 --staleness 2000 --faults all", 10000 if TORTURE else 40, 300 if TORTURE else 6)

    def test_two_nodes(self):
        self.many("--nodes 2 --seconds 40 --staleness 5000 --faults all --changes 5", 10000 if TORTURE else 40,
                  120 if TORTURE else 3)

    @unittest.skipUnless(TORTURE, "with TORTURE=1 only")
    def test_a_hundred_nodes(self):
        self.many("--nodes 100 --seconds 15 --staleness 2000 --faults all --verifies 10 --changes 10", 1000, MINUTES * 60)

    def test_a_run_depends_on_its_seed_alone(self):
        flags = "--nodes 5 --seconds 5 --staleness 1000 --faults all"
        self.assertEqual(simulate(flags, 7), simulate(flags, 7))
        self.assertNotEqual(simulate(flags, 7), simulate(flags, 8))


tap.main()
