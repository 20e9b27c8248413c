"""A fobd with tests/crash/shim.c preloaded, and the shared struct by which a test controls the shim."""

import mmap
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import daemon  # noqa: E402

SHIM = os.path.join(daemon.BUILD, "tests", "crash", "shim.so")

WRITE, SYNC, TRUNCATE, ALLOCATE, OPEN, MAP, READ, MEMORY, LMDB, PUT = (1 << i for i in range(10))
CHANGING = WRITE | SYNC | TRUNCATE | ALLOCATE
FAIL, SHORT, KILL, KILL_TORN, HANG, TRAP = range(1, 7)
FOREVER = (1 << 64) - 1
_FIELDS = ("kinds", "nth", "last", "action", "error", "count", "fired", "what")


class Handle:
    """struct shim of shim.h, in a file that the daemon maps, too."""

    def __init__(self, place, name="shim"):
        self.path = os.path.join(place, name)
        with open(self.path, "wb") as f:
            f.write(bytes(8 * len(_FIELDS)))
        with open(self.path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 0)

    def get(self, name):
        return struct.unpack_from("@Q", self.map, 8 * _FIELDS.index(name))[0]

    def _set(self, name, value):
        struct.pack_into("@Q", self.map, 8 * _FIELDS.index(name), value)

    def arm(self, kinds, nth, action, error=0, last=None):
        """Like shim_arm(). `kinds` is set last, as it starts the counting."""
        for name, value in (("kinds", 0), ("nth", nth), ("last", nth if last is None else last), ("action", action),
                            ("error", error), ("count", 0), ("fired", 0), ("what", 0), ("kinds", kinds)):
            self._set(name, value)

    def disarm(self):
        self._set("kinds", 0)
        return self.get("fired")


def preload(handle):
    """The environment of a program that has the shim preloaded."""
    first = daemon.sanitizer_runtime()
    return {"LD_PRELOAD": (first + ":" if first else "") + SHIM, "FOB_SHIM": handle.path}


def at_each(attempt, step):
    """Call ${attempt}(n) from n = 1 on, in steps of ${step}(n), until it returns that there were fewer than n calls; returns
    that n. Stops at the first failure, which names n. (With subtests a failure at every n would never end.)"""
    n = 1
    while True:
        try:
            if not attempt(n):
                return n
        except Exception as e:
            e.add_note("n = %d" % n)
            raise
        n += step(n)


class Daemon(daemon.Daemon):
    """start(shim=True) preloads the shim; start() does not."""

    def __init__(self, **kw):
        super().__init__(**kw)
        self.handle = Handle(self.place)
        self.shimmed = False

    def environ(self, clock=None):
        env = super().environ(clock)
        if self.shimmed:
            env.update(preload(self.handle))
        return env

    def start(self, shim=False, **kw):
        self.shimmed = shim
        return super().start(**kw)
