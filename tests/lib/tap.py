"""Run the unittest cases of the calling program and print TAP. A test file ends in `tap.main()`.

Arguments select tests by a part of their name. A failed subtest fails its test. Exit status 0 only if all tests passed.
"""

import faulthandler
import os
import random
import signal
import sys
import time
import traceback
import unittest

# For a whole file: a test that hangs prints where, and does not block the run.
_LIMIT_S = 3600 if os.environ.get("TORTURE") else 900


class _Result(unittest.TestResult):
    def __init__(self, total):
        super().__init__()
        self.total = total
        self.number = 0
        self.failed = 0
        self._problems = []
        self._skipped = None
        self._started = 0.0

    def startTest(self, test):
        super().startTest(test)
        self._problems = []
        self._skipped = None
        self._started = time.monotonic()

    def _problem(self, err, label=""):
        text = "".join(traceback.format_exception(*err))
        self._problems.append((label + "\n" if label else "") + text)

    def addError(self, test, err):
        if isinstance(test, unittest.suite._ErrorHolder):  # setUpClass or tearDownClass failed: startTest was not called
            self.number += 1
            self.failed += 1
            _say("not ok %d - %s" % (self.number, test.id()))
            _comment("".join(traceback.format_exception(*err)))
        else:
            self._problem(err)

    def addFailure(self, test, err):
        self._problem(err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self._problem(err, subtest._subDescription())

    def addSkip(self, test, reason):
        if isinstance(test, unittest.suite._ErrorHolder):  # a whole class is skipped: unittest names none of its tests
            self.number += 1
            _say("ok %d - %s # SKIP %s" % (self.number, test.id(), reason))
        self._skipped = reason

    def addExpectedFailure(self, test, err):
        self._problem(err)

    def stopTest(self, test):
        super().stopTest(test)
        self.number += 1
        name = "%s: %s" % (type(test).__name__, test._testMethodName[5:].replace("_", " "))
        took = " (%d ms)" % ((time.monotonic() - self._started) * 1000)
        if self._problems:
            self.failed += 1
            _say("not ok %d - %s%s" % (self.number, name, took))
            for problem in self._problems[:5]:
                _comment(problem)
            if len(self._problems) > 5:
                _comment("and %d more" % (len(self._problems) - 5))
        elif self._skipped is not None:
            _say("ok %d - %s # SKIP %s" % (self.number, name, self._skipped))
        else:
            _say("ok %d - %s%s" % (self.number, name, took))


def _say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _comment(text):
    for line in text.rstrip("\n").split("\n"):
        _say("# " + line)


def comment(text):
    """Print a diagnostic line."""
    _comment(str(text))


def count(text):
    """Print how much was tried, and the result. tests/run repeats it at the end of a run."""
    _comment("count: " + text)


def seed():
    """The seed of a test's random choices: TEST_SEED, or a new one. Printed, so that it can be given again."""
    chosen = int(os.environ.get("TEST_SEED") or random.randrange(1 << 30))
    comment("TEST_SEED=%d" % chosen)
    return chosen


def _flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from _flatten(item)
        else:
            yield item


def main():
    faulthandler.dump_traceback_later(_LIMIT_S, exit=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that atexit removes folders then, too
    loaded = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    tests = list(_flatten(loaded))
    wanted = [a for a in sys.argv[1:] if not a.startswith("-")]
    if wanted:
        tests = [t for t in tests if any(w in t.id() or w in t.id().replace("_", " ") for w in wanted)]
    result = _Result(len(tests))
    unittest.TestSuite(tests).run(result)
    # The plan comes last: a class whose setUpClass failed has one result instead of one for each test.
    _say("1..%d" % result.number)
    if result.number == 0:
        _comment("no test ran")
    sys.exit(1 if result.failed or result.number == 0 else 0)
