#!/usr/bin/python3
"""libfob with the nodes of a cluster as its list of servers: a node that has lost touch is left for the next one, for
verifies, batches and changes. A model is in the place of etcd and fob-cluster."""

import os
import sys
import time
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), HERE]

import daemon
import model_etcd
import nodes
import pyfob
import tap
import fob
from fob import Environment, Verdict


class Client(unittest.TestCase):
    def setUp(self):
        etcd = model_etcd.Etcd()
        self.nodes = [nodes.modelled(etcd)]
        self.nodes.append(nodes.modelled(etcd, self.nodes[0]))

    def tearDown(self):
        for node in self.nodes:
            node.stop()

    def client(self, listener, *nodes):
        client = fob.Client(*(n.fobd.urls[listener] for n in nodes), timeout=20)
        self.addCleanup(client.close)
        return client

    def test_a_client_leaves_a_node_that_has_lost_touch(self):
        first = self.nodes[0]
        with fob.Client(first.fobd.urls["admin"], timeout=20) as c:
            secret, publishable = pyfob.remember(c.create_account("acct_1", Environment.LIVE))
        single, both, batches, admin = (self.client("verify", first), self.client("verify", *self.nodes),
                                        self.client("verify", *self.nodes), self.client("admin", *self.nodes))
        for client in (single, both, batches, admin):
            self.assertTrue(client.verify(secret).allows)
        first.agent.cut = True
        daemon.wait_until("it is stale", lambda: first.status().fresh_ms == 0)
        start = time.monotonic()
        self.assertTrue(both.verify(secret).allows)
        self.assertEqual([v.allows for v in batches.verify_batch([secret, publishable])], [True, True])
        self.assertLess(time.monotonic() - start, 1.0 * daemon.SLOWER)
        self.assertTrue(admin.suspend_account("acct_1", Environment.LIVE).suspended)
        self.assertEqual(both.verify(secret).verdict, Verdict.SUSPENDED)
        with self.assertRaises(fob.FobError) as raised:
            single.verify(secret, timeout=0.5)
        self.assertEqual(raised.exception.fault, fob.Fault.UNAVAILABLE)


if __name__ == "__main__":
    tap.main()
