#!/usr/bin/python3
"""fob-cluster between a fobd, which this test plays, and real etcd with TLS."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import unittest

import agent
import etcd
import pb
import tap
from agent import compare, delete, get, put
from pb import cluster

Result = cluster.Result


class Case(unittest.TestCase):
    members, flags = 1, ()

    @classmethod
    def setUpClass(cls):
        cls.etcd = etcd.Etcd(cls.members, cls.flags).start()

    @classmethod
    def tearDownClass(cls):
        cls.etcd.end()

    def begin(self, **settings):
        self.fobd = agent.Fobd()
        self.addCleanup(self.fobd.close)
        self.agent = agent.Agent(self.fobd, self.etcd, **settings).start()
        self.addCleanup(self.agent.stop)

    def done(self, result, succeeded=True):
        self.assertEqual("DONE", Result.Outcome.Name(result.outcome))
        self.assertEqual(succeeded, result.succeeded)
        return result


class Transactions(Case):
    def test_put_compare_get_delete(self):
        """Keys get the environment's prefix and lose it; both branches run; several GETs come in their order."""
        self.begin()
        make = dict(compares=[compare("a", version=0)], success=[put("a", b"1"), put("b", b"2"), get("a"), get("", "z", 10)],
                    failure=[get("a")])
        first = self.done(self.fobd.make(**make))
        self.assertEqual([(b"a", b"1"), (b"a", b"1"), (b"b", b"2")], [(kv.key, kv.value) for kv in first.kvs])
        self.assertEqual({first.revision}, {kv.create_revision for kv in first.kvs})
        again = self.done(self.fobd.make(**make), succeeded=False)
        self.assertEqual([(b"a", b"1", 1)], [(kv.key, kv.value, kv.version) for kv in again.kvs])
        self.assertEqual(first.revision, again.revision)
        self.assertEqual("/fob/live/a\n1\n", self.etcd.ctl("get", "/fob/live/a").stdout)
        self.done(self.fobd.make(compares=[compare("a", value=b"1"), compare("a", create_revision=first.revision)],
                                 success=[delete("a", "c")]))
        self.assertEqual("", self.etcd.ctl("get", "--prefix", "/fob/").stdout)
        limited = self.done(self.fobd.make(success=[put("l/1", b""), put("l/2", b"x"), get("l/", "l0", 1)]))
        self.assertEqual(([b"l/1"], True), ([kv.key for kv in limited.kvs], limited.more))


tap.main()
