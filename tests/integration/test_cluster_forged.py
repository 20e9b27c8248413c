#!/usr/bin/python3
"""Somebody with all rights in etcd forges the log of a cluster: entries are changed, reordered, replayed, left out or made
up. Every node that reads such an entry closes and says why; nothing of it is applied, and no key is VALID by it."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import random
import unittest

import daemon
import etcd
import nodes
import pb
import tap

BITS = 200 if os.environ.get("TORTURE") else 4  # flipped, each in a log of its own
TAG_LEN = 16
NOT_OURS = "the log has an entry that was not made with this environment's pepper"
GONE = "the log's next entry was removed"


def log_key(number):
    return "log/%016x" % number


class Forged(unittest.TestCase):
    """One node writes while the other one is stopped; the log is forged; the other one comes back and reads it."""

    @classmethod
    def setUpClass(cls):
        cls.pick = random.Random(tap.seed())
        cls.etcd = etcd.Etcd().start()
        cls.first = nodes.real(cls.etcd)
        cls.reader = nodes.real(cls.etcd, cls.first)
        cls.old = cls.first.call(lambda c: c.create(pb.LIVE, "acct_1")).secret_key.secret

    @classmethod
    def tearDownClass(cls):
        for n in (cls.first, cls.reader):
            n.stop()
        cls.etcd.end()

    def setUp(self):
        """Three changes that the reader does not know: it is at entry self.base."""
        daemon.wait_until("it has all", lambda: self.reader.status().applied == self.first.status().head)
        self.base = self.reader.status().applied
        self.reader.fobd.stop()
        self.news = [self.first.call(lambda c: c.roll(pb.LIVE, "acct_1", grace=0)).new_key.secret for _ in range(3)]
        self.entries = [self.etcd.kv(log_key(self.base + i)) for i in range(4)]  # the first one it has applied
        self.head = self.etcd.kv("head")

    def tearDown(self):
        """The log as it was, which the reader reads after a restart: nothing of the forged one is in its database."""
        self.etcd.put({log_key(self.base + i): e for i, e in enumerate(self.entries)})
        self.etcd.put({"head": self.head, log_key(self.base + 4): None})
        if self.reader.fobd.process is not None:
            self.reader.fobd.stop()
        self.reader.fobd.start(init=False)
        self.reader.wait_fresh()
        self.assertEqual(self.reader.verdict(self.news[-1]), "VALID")
        self.assertEqual(self.reader.events(), self.first.events())

    def closes(self, node, applied, why=NOT_OURS):
        daemon.wait_until("the node is closed", lambda: node.status().closed)
        self.assertIn(why, node.status().closed)
        self.assertEqual(node.status().applied, applied)
        for secret in (self.old, *self.news):
            self.assertEqual(node.verdict(secret), "UNAVAILABLE")
        self.assertIn(why, node.fobd.log())
        self.assertIn(why, node.cli("wait", exits=2))

    def forge(self, values, applied, why=NOT_OURS):
        """${values}: what is put. ${applied}: of the three new entries, how many are good."""
        self.etcd.put(values)
        self.reader.fobd.start(init=False)
        self.closes(self.reader, self.base + applied, why)

    def test_a_flipped_bit(self):
        for i in range(BITS):
            n = self.pick.randrange(1, 4)
            entry = bytearray(self.entries[n])
            at = self.pick.randrange(1, len(entry)) if i > 1 else (0, len(entry) - 1)[i]
            entry[at] ^= 1 << (self.pick.randrange(8) if at > 0 else 0)  # the first byte is its version
            with self.subTest(entry=n, byte=at, of=len(entry)):
                self.forge({log_key(self.base + n): bytes(entry)}, n - 1)
            self.tearDown()
            self.setUp()

    def test_two_entries_change_places(self):
        self.forge({log_key(self.base + 2): self.entries[3], log_key(self.base + 3): self.entries[2]}, 1)

    def test_an_old_entry_is_replayed_at_a_later_number(self):
        """Also the node that has written it, and that serves, reads it and closes."""
        again = self.base + 4
        head = self.head[:16] + again.to_bytes(8, "big") + self.entries[1][-TAG_LEN:]
        self.forge({log_key(again): self.entries[1], "head": head}, 3)
        try:
            self.closes(self.first, self.base + 3)
            with self.first.fobd.client() as c:
                self.assertEqual(nodes.fault_of(lambda: c.suspend(pb.LIVE, "acct_1"))[0], "UNAVAILABLE")
        finally:
            self.etcd.put({"head": self.head, log_key(again): None})
            self.first.fobd.restart()
            self.first.wait_fresh()

    def test_an_entry_takes_the_place_of_one_before(self):
        self.forge({log_key(self.base + 1): self.entries[0]}, 0)

    def test_an_entry_is_missing(self):
        self.forge({log_key(self.base + 1): None}, 0, GONE)

    def test_an_entry_is_made_up(self):
        for make in (lambda e: b"", lambda e: b"\1", lambda e: bytes(64), lambda e: b"\1" + os.urandom(len(e)),
                     lambda e: e[:-1], lambda e: e + b"\0"):
            made = make(self.entries[1])
            with self.subTest(length=len(made)):
                self.forge({log_key(self.base + 1): made}, 0)
            self.tearDown()
            self.setUp()

    def test_an_entry_of_a_newer_version(self):
        """It may be a good one, so the node is not closed. It does not serve before it is upgraded."""
        self.etcd.put({log_key(self.base + 1): b"\2" + self.entries[1][1:]})
        self.reader.fobd.start(init=False)
        daemon.wait_until("it says so", lambda: "it is of a newer fobd" in self.reader.fobd.log())
        self.assertEqual((self.reader.status().applied, self.reader.status().closed), (self.base, ""))
        self.assertEqual(self.reader.verdict(self.old), "UNAVAILABLE")

    def test_a_head_of_another_entry(self):
        """The number is right, and the entry is another one's."""
        forged = self.head[:24] + os.urandom(TAG_LEN)
        self.forge({"head": forged}, 3, "etcd has forgotten entries")
        try:
            self.closes(self.first, self.base + 3, "etcd has forgotten entries")
        finally:
            self.etcd.put({"head": self.head})
            self.first.fobd.restart()
            self.first.wait_fresh()


tap.main()
