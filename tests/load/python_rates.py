#!/usr/bin/python3
"""Verifies a second by the Python package, beside libfob in C (fob-load), in turns against one fobd.

    make all fob-load && FOB_BUILD=build/gcc tests/load/python_rates.py [SECONDS]

Each row is measured three times, Python and C in turns. The middle ratio of the rates counts. On a machine that is not
quiet, look at the processor time that the client needed for a verify: the least of three.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import asyncio
import json
import resource
import subprocess
import threading
import time

import daemon
import pyfob
import fob
import fob.aio

print("libfob: %s" % pyfob.LIBRARY)
SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
ROUNDS = 3
WARMUP = 0.3


def by_threads(url, keys, n, batch=0):
    """${n} threads that each wait for their answers: (verifies a second, verifies)."""
    done, start = [0] * n, time.monotonic()

    def run(i, client):
        while time.monotonic() < start + SECONDS:
            for key in keys[i::n][:20]:
                if batch:
                    client.verify_batch(keys[:batch])
                else:
                    client.verify(key)
                done[i] += batch or 1
    with fob.Client(url) as client:
        threads = [threading.Thread(target=run, args=(i, client)) for i in range(n)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    return sum(done) / (time.monotonic() - start), sum(done)


def by_asyncio(url, keys, n):
    """${n} tasks of one loop: (verifies a second, verifies)."""
    done, start = [0], time.monotonic()

    async def run(i, client):
        while time.monotonic() < start + SECONDS:
            for key in keys[i % 100:i % 100 + 20]:
                await client.verify(key)
                done[0] += 1

    async def main():
        async with fob.aio.Client(url) as client:
            await asyncio.gather(*[run(i, client) for i in range(n)])
    asyncio.run(main())
    return done[0] / (time.monotonic() - start), done[0]


def by_c(url, keys_file, *flags):
    """fob-load: (verifies a second, verifies, with those of its warm-up)."""
    said = subprocess.run([os.path.join(daemon.BUILD, "fob-load"), "--address", url, "--keys", keys_file, "--quiet",
                           "--warmup", str(WARMUP), "--duration", str(SECONDS), "--json", "-", *flags],
                          capture_output=True, text=True, check=True).stdout
    rate = json.loads(said)["throughput"]
    return rate, rate * (SECONDS + WARMUP)


def measured(who, load):
    """(verifies a second, processor time of ${who} in microseconds for each)"""
    before = resource.getrusage(who)
    per_s, verifies = load()
    after = resource.getrusage(who)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return per_s, used * 1e6 / verifies


def main():
    fobd = daemon.Daemon().start()
    keys_file = os.path.join(fobd.place, "keys")
    subprocess.run([os.path.join(daemon.BUILD, "fob-load"), "--admin-address", fobd.urls["admin"], "--setup", "200",
                    "--keys", keys_file, "--duration", "0", "--quiet"], check=True, stdout=subprocess.DEVNULL)
    with open(keys_file, encoding="ascii") as f:
        keys = f.read().split()
    url = fobd.urls["verify"]
    rows = (("sync, 1 thread", lambda: by_threads(url, keys, 1), ("--threads", "1")),
            ("sync, 16 threads", lambda: by_threads(url, keys, 16), ("--threads", "16")),
            ("asyncio, 256 in flight", lambda: by_asyncio(url, keys, 256), ("--callers", "256")),
            ("batches of 256", lambda: by_threads(url, keys, 1, 256), ("--threads", "1", "--batch", "256")))
    for name, python, flags in rows:
        pairs = [(measured(resource.RUSAGE_SELF, python),
                  measured(resource.RUSAGE_CHILDREN, lambda: by_c(url, keys_file, *flags)))
                 for _ in range(ROUNDS)]
        here, c = sorted(((p[0], c[0]) for p, c in pairs), key=lambda rates: rates[0] / rates[1])[ROUNDS // 2]
        print("%-24s %8.0f/s  C %8.0f/s  %3.0f %%  processor time %6.1f us, C %6.1f us" % (
            name, here, c, 100 * here / c, min(p[1] for p, _ in pairs), min(c[1] for _, c in pairs)), flush=True)
    fobd.stop()


main()
