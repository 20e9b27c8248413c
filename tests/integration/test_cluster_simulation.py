#!/usr/bin/python3
"""The fleet of a cluster in virtual time (tests/cluster/simulate): many nodes, many seeds, and no stale answer, no lost
change, no second change under one token. And its mutants: each change of the code that breaks a rule is found by a case of
its own, which the unchanged code passes. SIMULATE_FIRST is the first seed; each failure prints the command to repeat it."""

import os
import sys

sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", d) for d in ("lib", "cluster")]

import concurrent.futures
import glob
import random
import shutil
import subprocess
import tempfile
import time
import unittest

import mutants
import tap

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("FOB_BUILD") or os.path.join(ROOT, "build", "gcc"))
SIMULATE = os.path.join(BUILD, "tests", "cluster", "simulate")
TORTURE = bool(os.environ.get("TORTURE"))
FIRST = int(os.environ.get("SIMULATE_FIRST") or random.randrange(1, 1 << 30))
MUTANT_SEEDS = 200  # at most; most are found by the first
CC = os.environ.get("CC") or "gcc"


def run(program, flags, first, n, stop=False):
    command = [program, *flags.split(), "--seeds", "%d-%d" % (first, first + n - 1)] + (["--stop"] if stop else [])
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=3600)


class Simulation(unittest.TestCase):
    def simulate(self, flags, seconds):
        """Seed after seed, until the time is up."""
        ending, first, last = time.monotonic() + seconds, FIRST, ""
        while time.monotonic() < ending:
            done = run(SIMULATE, flags, first, 1)
            self.assertEqual(done.returncode, 0, done.stdout[-3000:] + done.stderr[-3000:])
            first, last = first + 1, done.stdout.strip().splitlines()[-1]
        tap.count("%s: %d seeds from %d; the last: %s" % (flags, first - FIRST, FIRST, last))

    def test_eight_nodes(self):
        self.simulate("--nodes 8 --seconds 30 --staleness 1500", 600 if TORTURE else 8)

    @unittest.skipUnless(TORTURE, "100 nodes: with TORTURE=1")
    def test_a_hundred_nodes(self):
        self.simulate("--nodes 100 --seconds 60 --staleness 10000", 2400)


class Mutants(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.mkdtemp(prefix="m.")
        self.addCleanup(shutil.rmtree, self.place)

    def build(self, number, mutant):
        """A simulator of the sources with the mutant's changes."""
        place = os.path.join(self.place, str(number))
        sources = glob.glob(os.path.join(ROOT, "tests/cluster/*.c")) + glob.glob(os.path.join(
            ROOT, "service/cluster/fleet*.c")) + [os.path.join(ROOT, "service/cluster/row.c")]
        texts = {os.path.relpath(s, ROOT): open(s, encoding="utf-8").read() for s in sources}
        for path, old, new in mutant.changes:
            if texts[path].count(old) != 1:
                self.fail("%s: %s has its text %d times: write this mutant anew" % (
                    mutant.name, path, texts[path].count(old)))
            texts[path] = texts[path].replace(old, new)
        os.mkdir(place)
        files = []
        for path in {p for p, _, _ in mutant.changes}:
            files.append(os.path.join(place, path.replace("/", "_")))
            with open(files[-1], "w", encoding="utf-8") as f:
                f.write(texts[path])
        changed = {p for p, _, _ in mutant.changes}
        objects = [os.path.join(BUILD, p[:-1] + "o") for p in texts if p not in changed]
        program = os.path.join(place, "simulate")
        subprocess.run([CC, "-std=c17", "-D_GNU_SOURCE", "-O1", "-w", "-I" + ROOT, "-I" + BUILD + "/proto", "-o", program, *files,
                        *objects, "-lsodium", "-lm"], check=True)
        return program

    def find(self, number, mutant):
        program = self.build(number, mutant)
        for first in range(FIRST, FIRST + MUTANT_SEEDS, 10):
            if run(program, mutant.case, first, 10, stop=True).returncode != 0:
                return True
        return False

    def test_each_mutant_is_found(self):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            found = list(pool.map(self.find, range(len(mutants.MUTANTS)), mutants.MUTANTS))
        self.assertEqual([m.name for m, f in zip(mutants.MUTANTS, found) if not f], [])
        tap.count("%d mutants, all found" % len(found))

    def test_the_code_passes_their_cases(self):
        for case in sorted({m.case for m in mutants.MUTANTS}):
            done = run(SIMULATE, case, FIRST, 20 if TORTURE else 3)
            self.assertEqual(done.returncode, 0, case + done.stdout[-3000:] + done.stderr[-3000:])


tap.main()
