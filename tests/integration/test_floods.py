#!/usr/bin/python3
"""Clients that come faster, ask for more or take less than any should, beside a polite one: nobody is refused for their
sake, memory and descriptors have bounds, and all of it is given back.

TORTURE=1: more of each, and longer.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import resource
import statistics
import struct
import time

import daemon
import fobwire
import hostile
import pb
import tap
from hostile import LONG, Polite, Storm
from pb import LIVE

STORM_S = 30 if LONG else 2
PAIRS = 15 if LONG else 3 if daemon.SANITIZED else 7  # under a sanitizer the rates are not compared
SLOWEST_MS = 1000        # of a polite client's calls: a machine of two cores has a storm, fobd and two clients to run
UNGREETED = 1024         # LIMIT_ARRIVALS: of one listener
SPARE_DESCRIPTORS = 1024  # which may be on their way out, over the limit on connections
BUDGET_KIB = 64 << 10    # of all message buffers together
FRAME_MAX = 262144
REST_KIB = 4096          # what memory may be above its start when all have left


class Floods(hostile.Case):
    def inode(self):
        return os.stat(self.fobd.urls["verify"][len("ipc://"):]).st_ino

    def request(self):
        return fobwire.request(hostile.VERIFY, fobwire.verify_request(self.secret))

    def test_connecting_and_closing_without_end(self):
        """A unix socket's backlog is full all the time: its listener stays, and so do its clients; new ones are served."""
        self.begin()
        inode, seen = self.inode(), 0
        polite = Polite(self.fobd.urls["verify"], self.secret)
        with self.fobd.client("verify") as quiet:
            storm = Storm("knock", self.fobd.urls["verify"], STORM_S)
            while storm.running():
                self.served("verify", 10)  # it takes a place in the backlog from those who knock without a pause
                self.assertEqual(self.inode(), inode, "the socket was made anew")
                seen += 1
            counts = storm.join()
            self.assertEqual(quiet.verdict(self.secret), "VALID", "a client that was there before was closed")
        self.assertEqual(self.inode(), inode)
        self.assertGreater(counts["connected"], 0)
        tap.comment("%d connected and closed, %d refused by a full backlog; %d new clients served meanwhile" % (
            counts["connected"], counts["again"], seen))
        polite.end(self, "connecting and closing", SLOWEST_MS)
        self.settled(self.seen)
        self.fobd.stop()

    def ordinary(self, listener, connections):
        """Four clients, each of which has one connection at a time."""
        self.begin(settings="connections = %d\n" % connections)
        most = 0
        with self.fobd.client("admin") as c:
            storm = Storm("visit", self.fobd.urls[listener], STORM_S, self.request(), processes=4)
            while storm.running():
                most = max(most, c.stats().open_descriptors)
            counts, stats = storm.join(), c.stats()
        tap.comment("%s: %d calls on as many connections, slowest %.0f ms, at most %d descriptors" % (
            listener, counts["served"], counts["slowest_us"] / 1000, most))
        self.assertGreater(counts["served"], 0)
        self.assertEqual((counts["refused"], stats.connections_refused), (0, 0), "of %d" % counts["served"])
        self.assertLess(most, connections + SPARE_DESCRIPTORS)
        self.assertLess(counts["slowest_us"], SLOWEST_MS * 1000 * daemon.SLOWER)
        self.settled(self.seen)
        self.fobd.stop()

    def test_four_ordinary_clients_over_ipc(self):
        self.ordinary("verify", 100)

    def test_four_ordinary_clients_over_tcp(self):
        self.ordinary("tcp", 100)

    def back(self, what):
        """Memory is given back, not kept for the next who might come."""
        if daemon.SANITIZED:  # which keep what was freed
            return
        most = self.base + REST_KIB
        daemon.wait_until("%s: memory is back at %d KiB" % (what, most), lambda: self.memory_kib() < most, 10, 0.05)

    def hold(self, listener, count, data):
        """${count} connections that have greeted, each with ${data} sent as far as it is taken at once."""
        held = []
        for _ in range(count):
            s = fobwire.dial(self.fobd.urls[listener], 20)
            held.append(s)
            s.setblocking(False)
            rest = fobwire.HANDSHAKE + data
            try:
                while rest:
                    rest = rest[s.send(rest):]
            except OSError:  # the socket's buffer is full, or it was closed
                pass
        return held

    def test_lengths_that_are_only_announced(self):
        """Memory is taken as bytes arrive, not from a length."""
        self.begin()
        count = min(8000 if LONG else 2000, (self.most - 100) // 2)
        polite = Polite(self.fobd.urls["verify"], self.secret)
        held, most = [], 0
        for listener in ("verify", "tcp"):
            head = b"\x01" if listener == "verify" else b""
            held += self.hold(listener, count // 2, head + struct.pack(">Q", FRAME_MAX) + b"\x80\0\0\1body")
            most = max(most, self.memory_kib())
        self.served("verify"), self.served("tcp")
        most = max(most, self.memory_kib())
        each = (most - self.base) / count
        self.assertEqual(len(self.out_of_time(held)), 0)
        for s in held:
            s.close()
        tap.comment("%d announce 256 KiB: %d KiB, %d with them: %.1f each" % (count, self.base, most, each))
        if not daemon.SANITIZED:
            self.assertLess(each, 8)
        polite.end(self, "lengths that are only announced", SLOWEST_MS)
        self.settled(self.seen)
        self.back("announced")
        self.fobd.stop()

    def test_long_requests_that_do_not_end(self):
        """All message buffers together have a budget, at which the connections with the most go."""
        self.begin()
        count = min(2000 if LONG else 700, self.most - 100)
        polite = Polite(self.fobd.urls["verify"], self.secret)
        held, most, gone = [], 0, 0
        for listener in ("verify", "tcp"):
            head = b"\x01" if listener == "verify" else b""
            data = head + struct.pack(">Q", FRAME_MAX) + b"\x80\0\0\1" + b"x" * (FRAME_MAX - 100)
            for _ in range(count // 20):
                more = self.hold(listener, 10, data)
                held += more
                end = time.monotonic() + 0.02
                while time.monotonic() < end:  # what the socket's buffer did not take at once
                    for s in more:
                        try:
                            s.send(b"x")
                        except OSError:
                            pass
                most = max(most, self.memory_kib())
        self.served("verify"), self.served("tcp")
        gone = len(self.out_of_time(held))
        self.assertGreater(count - gone, 180, "more were closed than the budget of some 256 demands")
        for s in held:
            s.close()
        tap.comment("%d that send nearly 256 KiB: %d KiB, then up to %d; %d were closed" % (count, self.base, most, gone))
        if not daemon.SANITIZED:
            self.assertLess(most, self.base + BUDGET_KIB * 1.25)
        polite.end(self, "long requests that do not end", SLOWEST_MS)
        self.settled(self.seen)
        self.back("that do not end")
        self.fobd.stop()

    def rate(self, seconds=0.3):
        """Verifies a second of one client, one at a time."""
        counts = Storm("ask", self.fobd.urls["verify"], seconds, self.request(), 1).join()
        self.assertEqual(counts["not_ok"], 0)
        return counts["ok"] / seconds

    def beside_the_deaf(self, pairs):
        """What eight clients that never read leave of the rate: the median of ${pairs}, each measured at once with and
        without them. Then how many were closed."""
        ratios, closed = [], 0
        for _ in range(pairs):
            alone = self.rate()
            deaf = Storm("deaf", self.fobd.urls["verify"], 60, self.request(), 8)
            beside = self.rate()
            closed += deaf.end()["closed"]
            ratios.append(beside / alone)
        tap.comment("beside eight that never read: %s of the rate; %d were closed" % (
            " ".join("%.2f" % r for r in sorted(ratios)), closed))
        return statistics.median(ratios), closed

    def test_clients_that_never_read(self):
        """They are replaced when they are closed; a polite client keeps at least half of its rate."""
        self.begin()
        self.rate()
        best = 0
        for _ in range(3):  # again, if somebody else had the machine
            ratio, closed = self.beside_the_deaf(PAIRS)
            self.assertGreaterEqual(closed, 8)
            best = max(best, ratio)
            if best > 0.5 or daemon.SANITIZED:
                break
        if not daemon.SANITIZED:  # less than half is a busy machine; a fobd that they could hold up left a tenth
            self.assertGreater(best, 1 / 3)
        self.assertGreater(self.stats().connections_dropped, 8)
        self.settled(self.seen)
        self.back("that never read")
        self.fobd.stop()

    def test_one_who_pipelines_all_he_can_starves_nobody(self):
        """Verifies are answered however many are under way; a bounded number at a time, so that others have their turn."""
        self.begin()
        for listener in ("verify", "tcp"):
            polite = Polite(self.fobd.urls[listener], self.secret)
            counts = Storm("ask", self.fobd.urls[listener], STORM_S / 2, self.request(), 5000).join()
            tap.comment("%s: %d verifies, 5,000 under way" % (listener, counts["ok"]))
            self.assertGreater(counts["ok"], 5000)
            self.assertEqual(counts["not_ok"], 0)
            polite.end(self, "a flood of requests", 250)
        self.settled(self.seen)
        self.fobd.stop()

    def test_silent_ones_on_a_unix_socket(self):
        """No more than so many may be there without having greeted: the oldest go first, at once."""
        self.begin()
        over = 300
        polite = Polite(self.fobd.urls["verify"], self.secret)
        with self.fobd.client("verify") as quiet:
            held = [fobwire.dial(self.fobd.urls["verify"], 20) for _ in range(UNGREETED + over)]
            daemon.wait_until("the limit is kept", lambda: len(self.out_of_time(held)) >= over, 5)
            self.served("verify")
            gone = self.out_of_time(held)
            self.assertLess(len(gone), over + 50, "more are gone than are over the limit")
            self.assertEqual({id(s) for s in gone}, {id(s) for s in held[:len(gone)]}, "not the oldest were closed")
            self.assertEqual(quiet.verdict(self.secret), "VALID")
        for s in held:
            s.close()
        polite.end(self, "silent ones on a unix socket", SLOWEST_MS)
        self.settled(self.seen)
        self.fobd.stop()

    def test_without_a_descriptor_it_goes_on(self):
        """The limit of a running fobd is lowered to what it uses: who is connected is served, who comes waits, and is
        served when there is room."""
        self.begin()
        soft, hard = resource.prlimit(self.fobd.pid, resource.RLIMIT_NOFILE)
        waiting = []
        with self.fobd.client("admin") as admin, self.fobd.client("tls") as quiet:
            polite = Polite(self.fobd.urls["verify"], self.secret)
            resource.prlimit(self.fobd.pid, resource.RLIMIT_NOFILE, (admin.stats().open_descriptors + 2, hard))
            for listener in ("verify", "tcp", "tls") * 20:
                waiting.append(fobwire.dial(self.fobd.urls[listener].replace("tls+", ""), 20))
            for s in waiting:
                s.sendall(fobwire.HANDSHAKE)
            end = time.monotonic() + 1
            while time.monotonic() < end:
                self.assertEqual(quiet.verdict(self.secret), "VALID")
                self.assertEqual(admin.check(), pb.health.CheckResponse.SERVING)
            admin.create(LIVE, "meanwhile")
            resource.prlimit(self.fobd.pid, resource.RLIMIT_NOFILE, (soft, hard))
            for listener in ("verify", "tcp", "tls"):
                self.served(listener)
            for s in waiting[:2]:  # one of each: they were not forgotten
                s.settimeout(5 * daemon.SLOWER)
                self.assertEqual(s.recv(8), fobwire.HANDSHAKE_PEER)
            for s in waiting:
                s.close()
            polite.end(self, "no descriptors", SLOWEST_MS)
        self.settled(self.seen)
        self.fobd.stop()


tap.main()
