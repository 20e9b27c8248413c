#!/usr/bin/python3
"""The simulator finds what it is for: for each of mutants.py a copy of the fleet is changed in one place, and a directed case
must report a violation, which the unchanged fleet does not have."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import glob
import re
import shutil
import subprocess
import tempfile
import unittest

import daemon
import mutants
import tap

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
SIMULATE = os.path.join(daemon.BUILD, "tests", "cluster", "simulate")
SEEDS = "1-200"  # until one finds it
MUTANTS = mutants.MUTANTS + (mutants.RARE if os.environ.get("TORTURE") else [])


def sources():
    """All of the simulator, relative to the tree."""
    found = glob.glob(ROOT + "/tests/cluster/*.c") + glob.glob(ROOT + "/service/cluster/fleet*.c")
    return [os.path.relpath(path, ROOT) for path in found] + ["service/cluster/row.c"]


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def run(program, flags, seeds):
    done = subprocess.run([program, *flags.split(), "--stop", "--seeds", seeds], stdout=subprocess.PIPE, text=True,
                          check=False)
    return done.returncode, done.stdout


class Mutants(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def changed(self, mutant):
        """{path: its text with the changes}"""
        texts = {}
        for path, old, new in mutant.changes:
            text = texts.get(path) or read(path)
            self.assertEqual(text.count(old), 1, "%s must be in %s once: write this mutant anew" % (repr(old), path))
            texts[path] = text.replace(old, new)
        return texts

    def build(self, mutant):
        texts = self.changed(mutant)
        objects = [os.path.join(daemon.BUILD, path[:-2] + ".o") for path in sources() if path not in texts]
        for path, text in texts.items():
            copy = os.path.join(self.folder, os.path.basename(path))
            with open(copy, "w", encoding="utf-8") as f:
                f.write(text)
            objects.append(copy[:-2] + ".o")
            subprocess.run(["gcc", "-std=c17", "-D_GNU_SOURCE", "-I", ROOT, "-O1", "-fPIC", "-w", "-c", copy, "-o",
                            objects[-1]], check=True)
        program = os.path.join(self.folder, "simulate")
        subprocess.run(["gcc", "-o", program, *objects, "-lsodium"], check=True)
        return program

    def find(self, mutant):
        status, said = run(self.build(mutant), mutant.case, SEEDS)
        self.assertEqual(status, 1, "%s: not found\n%s" % (mutant.name, said))
        seed = re.search(r"^seed (\d+): (.*)", said, re.M)
        self.assertIsNotNone(seed, said)
        status, said = run(SIMULATE, mutant.case, seed[1])
        self.assertEqual(status, 0, "the unchanged fleet: " + said)
        tap.comment("seed %s: %s" % (seed[1], seed[2]))


def add(mutant):
    setattr(Mutants, "test_" + mutant.name.replace(" ", "_"), lambda self: self.find(mutant))


for each in MUTANTS:
    add(each)
tap.count("%d mutants of the fleet" % len(MUTANTS))
tap.main()
