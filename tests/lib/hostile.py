"""What the tests of hostile peers share: one fobd under attack, and a polite client that must be served all the while."""

import array
import multiprocessing
import os
import re
import resource
import select
import subprocess
import time
import unittest

import certs
import daemon
import fobwire
import tap
from pb import LIVE

LONG = os.environ.get("TORTURE") == "1"
P99_MS = 50  # of the polite client; asserted with TORTURE=1 only, as `make test` may run on a busy machine
POLITE_TIMEOUT_S = 5
GREETING_S = 10  # LIMIT_GREETING_MS
VERIFY = "fob.v1.Keys/VerifyKey"
FORK = multiprocessing.get_context("fork")


def be_polite(url, secret, pipe):
    """Make one call after another until told to end. Sends (seconds of each call, what went wrong or "")."""
    daemon._die_with_parent()
    took, wrong = array.array("d"), ""
    try:
        with fobwire.Client(url, POLITE_TIMEOUT_S * daemon.SLOWER) as c:
            pipe.send("connected")
            while not pipe.poll():
                start = time.perf_counter()
                verdict = c.verdict(secret)
                took.append(time.perf_counter() - start)
                if verdict != "VALID":
                    wrong = verdict
                    break
                time.sleep(0.001)
    except Exception as e:
        wrong = repr(e)
    pipe.send((took.tobytes(), wrong))


class Polite:
    """The polite client, in its own process: in the attackers' process its calls would wait for the interpreter."""

    def __init__(self, url, secret):
        self.pipe, theirs = FORK.Pipe()
        self.process = FORK.Process(target=be_polite, args=(url, secret, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.first = self.pipe.recv()

    def end(self, test, what, slowest_ms=0):
        """${slowest_ms}: what no call may take; 0: as long as it has an answer."""
        self.pipe.send("end")
        data, wrong = self.pipe.recv() if self.first == "connected" else self.first
        self.process.join()
        took = array.array("d")
        took.frombytes(data)
        test.assertEqual(wrong, "", "the polite client was not served, after %d calls" % len(took))
        test.assertGreater(len(took), 0)
        at = sorted(took)
        p50, p99, most = (1000 * at[min(len(at) - 1, int(len(at) * q))] for q in (0.5, 0.99, 1))
        tap.comment("%s: polite client: %d calls, p50 %.2f ms, p99 %.2f ms, slowest %.1f ms"
                    % (what, len(took), p50, p99, most))
        if LONG and not daemon.SANITIZED:
            test.assertLess(p99, P99_MS)
        if slowest_ms:
            test.assertLess(most, slowest_ms * daemon.SLOWER, "%s: the polite client was held up" % what)


class Storm:
    """Processes of tests/tools/storm.c, which says what they do, for ${seconds} or until end()."""

    PROGRAM = os.path.join(daemon.BUILD, "tests", "tools", "storm")

    def __init__(self, what, url, seconds, request=None, number=None, processes=1):
        arguments = [self.PROGRAM, what, url, str(int(seconds * 1000))]
        if request is not None:
            path = os.path.join(daemon.folder(), "request")
            with open(path, "wb") as f:
                f.write(request)
            arguments.append(path)
        if number is not None:
            arguments.append(str(number))
        self.processes = [subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                           stderr=subprocess.PIPE, text=True, preexec_fn=daemon._die_with_parent)
                          for _ in range(processes)]

    def running(self):
        return any(p.poll() is None for p in self.processes)

    def join(self):
        """{name: number}: sums over the processes, of times the longest."""
        counts = {}
        for p in self.processes:
            out, err = p.communicate()
            if p.returncode != 0:
                raise AssertionError("storm: %s: %s" % (p.returncode, err))
            for word in out.split():
                name, _, number = word.partition("=")
                old = counts.get(name, 0)
                counts[name] = max(old, int(number)) if name.endswith("_us") else old + int(number)
        return counts

    def end(self):
        for p in self.processes:
            p.terminate()
        return self.join()


class Case(unittest.TestCase):
    REST_S = 0.2

    @classmethod
    def setUpClass(cls):
        cls.certs = certs.Certs(daemon.folder()).ca("ca").pair("ca", "server").pair("ca", "operator")
        fobwire.tls = cls.certs.context()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        cls.most = hard - 200

    @classmethod
    def begin(cls, settings="", **kw):
        """Start cls.fobd with a TLS listener. cls.seen is its number of descriptors at rest, cls.base its memory in KiB."""
        address = daemon.own_address()
        cls.fobd = daemon.Daemon(settings=settings + cls.certs.listener(address, "verify"), **kw)
        cls.fobd.urls["tls"] = "tls+tcp://" + address
        cls.fobd.start()
        cls.addClassCleanup(cls.fobd.kill)
        with cls.fobd.client() as c:
            cls.secret = c.create(LIVE, "polite").secret_key.secret
        cls.warm_up()
        cls.rest()

    @classmethod
    def warm_up(cls):
        """Overridden by tests that compare memory."""

    @classmethod
    def rest(cls):
        """The most descriptors that it shows, which with nobody else there are our client's and its own; then memory."""
        cls.seen, end = 0, time.monotonic() + cls.REST_S
        with cls.fobd.client() as c:
            while time.monotonic() < end:
                cls.seen = max(cls.seen, c.stats().open_descriptors)
                time.sleep(0.01)
        cls.base = cls.memory_kib()

    @classmethod
    def stats(cls):
        with cls.fobd.client() as c:
            return c.stats()

    @classmethod
    def memory_kib(cls):
        with open("/proc/%d/status" % cls.fobd.pid) as f:
            return int(re.search(r"RssAnon:\s+(\d+)", f.read()).group(1))

    def settled(self, base, timeout_s=30):
        """Wait until the number of descriptors is back at ${base}, a polite client's connection apart; returns fobd's
        memory in KiB then."""
        now = {}

        def back():
            now["descriptors"] = self.stats().open_descriptors
            return now["descriptors"] <= base + 1
        try:
            daemon.wait_until("descriptors are back at %d" % base, back, timeout_s, 0.05)
        except AssertionError as e:
            raise AssertionError("%s: now %s" % (e, now)) from None
        return self.memory_kib()

    def served(self, listener, within_s=2.0):
        start = time.monotonic()
        with self.fobd.client(listener, timeout_s=10) as c:
            self.assertEqual(c.verdict(self.secret), "VALID")
        self.assertLess(time.monotonic() - start, within_s * daemon.SLOWER, "a new client waits too long")

    def out_of_time(self, held):
        """The sockets of ${held} that fobd has closed."""
        poll = select.poll()
        for s in held:
            poll.register(s, select.POLLRDHUP)
        gone = {fd for fd, _ in poll.poll(0)}
        return [s for s in held if s.fileno() in gone]
