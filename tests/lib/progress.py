"""How far a run of tests/run is, and about how long it still takes.

What each test took last time stands in build/test/seconds.json; for one that never ran, the usual of its kind is taken.
The estimate is corrected by how long the run has taken so far.
"""

import json
import os
import threading

USUAL_S = {"build": 60.0, "script": 12.0, "crash": 15.0, "unit": 2.0, "fuzz": 2.0}
UNSURE_S = 300.0


class Progress:
    def __init__(self, path, jobs, builds, tests):
        """${builds}: their names; ${tests}: {name: kind}."""
        self.path, self.jobs, self.lock = path, jobs, threading.Lock()
        self.known = self._read()
        self.left = {n: self.seconds(n, "build") * jobs for n in builds}  # a build takes all processors
        self.left.update((n, self.seconds(n, kind)) for n, kind in tests.items())
        self.expected, self.used = 0.0, 0.0
        self.tests, self.done = len(tests), 0

    def _read(self):
        try:
            with open(self.path, encoding="utf-8") as f:
                return {str(k): float(v) for k, v in json.load(f).items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def seconds(self, name, kind):
        return self.known.get(name, USUAL_S[kind])

    def left_s(self):
        # The first tests that end are the quick ones: they say little.
        slower = (self.used + UNSURE_S) / (self.expected + UNSURE_S)
        return sum(self.left.values()) / self.jobs * slower

    def ended(self, name, took_s, is_build=False):
        """Returns what to print of the progress."""
        with self.lock:
            expected = self.left.pop(name)
            if not is_build:  # one with nothing to do says nothing about the machine
                self.expected += expected
                self.used += took_s
            self.known[name] = round(took_s, 1)
            self.done += not is_build
            return "[%d of %d tests, about %s left]" % (self.done, self.tests, spoken(self.left_s()))

    def save(self):
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            with open(self.path + ".new", "w", encoding="utf-8") as f:
                json.dump(self.known, f, indent=0, sort_keys=True)
            os.replace(self.path + ".new", self.path)
        except OSError:
            pass  # the next run guesses


def spoken(seconds):
    return "%d s" % (seconds // 10 * 10 + 10) if seconds < 90 else "%d min" % round(seconds / 60)
