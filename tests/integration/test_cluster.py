#!/usr/bin/python3
"""A cluster of real fobds, with a model in the place of etcd and fob-cluster: the log orders the changes, every node
verifies from its own database, and a node that has lost touch says UNAVAILABLE."""

import os
import signal
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import daemon  # noqa: E402
import fobwire  # noqa: E402
import model_etcd  # noqa: E402
import nodes  # noqa: E402
import pb  # noqa: E402
import tap  # noqa: E402

STALENESS_MS = 1500 * daemon.SLOWER


class Cluster(unittest.TestCase):
    def setUp(self):
        self.etcd = model_etcd.Etcd()
        self.nodes = [nodes.modelled(self.etcd)]

    def tearDown(self):
        for n in self.nodes:
            n.stop()

    def grow(self, n):
        while len(self.nodes) < n:
            self.nodes.append(nodes.modelled(self.etcd, self.nodes[0]))

    def test_a_change_is_effective_on_every_node_when_it_is_answered(self):
        self.grow(3)
        secret = self.nodes[0].call(lambda c: c.create(pb.LIVE, "acct_1")).secret_key.secret
        for n in self.nodes:
            self.assertEqual(n.call(lambda c: c.verdict(secret)), "VALID")
        for i in range(6):
            node = self.nodes[i % 3]
            rolled = node.call(lambda c: c.roll(pb.LIVE, "acct_1", grace=0))
            for n in self.nodes:
                self.assertEqual(n.call(lambda c: c.verdict(secret)), "REVOKED")
                self.assertEqual(n.call(lambda c: c.verdict(rolled.new_key.secret)), "VALID")
            secret = rolled.new_key.secret
        events = [n.call(lambda c: [e.SerializeToString() for e in c.events(pb.LIVE)]) for n in self.nodes]
        self.assertEqual(events[0], events[1])
        self.assertEqual(events[0], events[2])
        self.assertEqual(len(events[0]), 7)

    def test_one_token_through_two_nodes_is_one_change(self):
        self.grow(2)
        self.nodes[0].call(lambda c: c.create(pb.LIVE, "acct_1"))
        token = fobwire.new_token()
        replies = [None, None]

        def roll(i):
            replies[i] = self.nodes[i].call(lambda c: c.roll(pb.LIVE, "acct_1", token=token))

        threads = [threading.Thread(target=roll, args=(i,)) for i in range(2)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(replies[0].new_key.secret, replies[1].new_key.secret)
        self.assertEqual(replies[0].new_key.key.generation, 2)
        with self.nodes[1].fobd.client() as c:
            self.assertEqual(nodes.fault_of(lambda: c.create(pb.LIVE, "acct_1"))[0], "ALREADY_EXISTS")

    def test_a_node_that_is_cut_off_says_unavailable_and_comes_back(self):
        self.grow(3)
        secret = self.nodes[0].call(lambda c: c.create(pb.LIVE, "acct_1")).secret_key.secret
        cut = self.nodes[2]
        cut.agent.cut = True
        start = time.monotonic()
        # Its row keeps this waiting, until it cannot answer any more.
        self.nodes[0].call(lambda c: c.revoke(pb.LIVE, "acct_1", pb.SECRET, 1))
        took_ms = (time.monotonic() - start) * 1000
        self.assertGreater(took_ms, STALENESS_MS * 0.5)
        with cut.fobd.client() as c:
            self.assertEqual(nodes.fault_of(lambda: c.verdict(secret))[0], "UNAVAILABLE")
            self.assertEqual(nodes.fault_of(lambda: c.keys(pb.LIVE, "acct_1"))[0], "UNAVAILABLE")
            name, message = nodes.fault_of(lambda: c.suspend(pb.LIVE, "acct_1"))
            self.assertEqual(name, "UNAVAILABLE")
            self.assertIn("lost touch", message)
        # Its row is removed, so that later changes do not wait.
        daemon.wait_until("the row is removed", lambda: len(self.nodes[0].status().nodes) == 2)
        cut.agent.cut = False
        daemon.wait_until("it is fresh again", lambda: cut.status().fresh_ms > 0)
        self.assertEqual(cut.call(lambda c: c.verdict(secret)), "REVOKED")
        daemon.wait_until("it is a node again", lambda: len(self.nodes[0].status().nodes) == 3)

    def test_restarts(self):
        self.grow(2)
        secret = self.nodes[0].call(lambda c: c.create(pb.LIVE, "acct_1")).secret_key.secret
        # A clean stop takes the row away, so nobody waits.
        self.nodes[1].fobd.stop()
        self.assertEqual(len([k for k in self.etcd.entries if k.startswith(b"nodes/")]), 1)
        self.nodes[0].call(lambda c: c.revoke(pb.LIVE, "acct_1", pb.SECRET, 1))
        self.nodes[1].fobd.start(init=False)
        daemon.wait_until("it is fresh", lambda: self.nodes[1].status().fresh_ms > 0)
        self.assertEqual(self.nodes[1].call(lambda c: c.verdict(secret)), "REVOKED")
        # After a kill the next start removes the row of the one before.
        self.nodes[1].fobd.kill()
        self.assertEqual(len([k for k in self.etcd.entries if k.startswith(b"nodes/")]), 2)
        self.nodes[1].fobd.start(init=False)
        daemon.wait_until("it is fresh", lambda: self.nodes[1].status().fresh_ms > 0)
        self.assertEqual(len([k for k in self.etcd.entries if k.startswith(b"nodes/")]), 2)

    def test_a_pepper_is_rotated_by_all_nodes(self):
        """The rotation begins, as an entry of the log, when the last node has read the new line, and not before."""
        self.grow(3)
        secret = self.nodes[0].call(lambda c: c.create(pb.LIVE, "acct_1")).secret_key.secret
        self.assertEqual(self.nodes[0].fobd.run("--rotate-pepper", "live").returncode, 0)
        with open(self.nodes[0].fobd.pepper("live"), "rb") as f:
            pepper = f.read()
        for n in self.nodes[1:]:
            with open(n.fobd.pepper("live"), "wb") as f:
                f.write(pepper)
        for n in self.nodes[:2]:
            os.kill(n.fobd.pid, signal.SIGHUP)
        daemon.wait_until("two have read it", lambda: sorted(
            x.pepper_lines for x in self.nodes[0].status().nodes) == [1, 2, 2])
        self.nodes[0].call(lambda c: c.suspend(pb.LIVE, "acct_1"))
        self.assertNotIn("pepper rotation begins", "".join(n.fobd.log() for n in self.nodes))
        os.kill(self.nodes[2].fobd.pid, signal.SIGHUP)
        for n in self.nodes:
            daemon.wait_until("it is rotated", lambda: 'msg="pepper rotated"' in n.fobd.log())
        self.nodes[2].call(lambda c: c.resume(pb.LIVE, "acct_1"))
        new = self.nodes[1].call(lambda c: c.roll(pb.LIVE, "acct_1")).new_key.secret
        for n in self.nodes:
            self.assertEqual(n.call(lambda c: c.verdict(secret)), "VALID")
            self.assertEqual(n.call(lambda c: c.verdict(new)), "VALID")
        self.nodes[2].fobd.restart()
        self.nodes[2].wait_fresh()
        self.assertEqual(self.nodes[2].call(lambda c: c.verdict(new)), "VALID")

    def test_etcd_without_space(self):
        secret = self.nodes[0].call(lambda c: c.create(pb.LIVE, "acct_1")).secret_key.secret
        self.etcd.full = True
        with self.nodes[0].fobd.client() as c:
            self.assertEqual(nodes.fault_of(lambda: c.suspend(pb.LIVE, "acct_1"))[0], "RESOURCE_EXHAUSTED")
            time.sleep(STALENESS_MS * 1.5 / 1000)
            self.assertEqual(c.verdict(secret), "VALID")
            self.etcd.full = False
            c.suspend(pb.LIVE, "acct_1")
            self.assertEqual(c.verdict(secret), "SUSPENDED")


if __name__ == "__main__":
    tap.main()
