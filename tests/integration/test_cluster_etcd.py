#!/usr/bin/python3
"""Nodes with fob-cluster and real etcd, to which something happens: it is restored from an older snapshot, has another
cluster's head, is compacted by a stranger, has no space, or no quorum."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import json
import signal
import threading
import time
import unittest

import daemon
import etcd
import nodes
import pb
import tap

STALENESS_MS = 1500 * daemon.SLOWER
ROLLS = 400 if os.environ.get("TORTURE") else 40


class Case(unittest.TestCase):
    members, flags = 1, ()

    def setUp(self):
        self.etcd = etcd.Etcd(self.members, self.flags).start()
        self.addCleanup(self.etcd.end)
        self.nodes = []
        self.addCleanup(lambda: [n.stop() for n in self.nodes])
        for _ in range(3):
            self.nodes.append(nodes.real(self.etcd, self.nodes[0] if self.nodes else None, staleness_ms=STALENESS_MS))

    def create(self, account="acct_1"):
        return self.nodes[0].call(lambda c: c.create(pb.LIVE, account)).secret_key.secret

    def roll(self, node, account="acct_1"):
        return node.call(lambda c: c.roll(pb.LIVE, account, grace=0)).new_key.secret

    def all_say(self, secret, verdict):
        self.assertEqual([n.verdict(secret) for n in self.nodes], [verdict] * len(self.nodes))

    def all_agree(self):
        self.assertEqual(self.nodes[0].events(), self.nodes[1].events())
        self.assertEqual(self.nodes[0].events(), self.nodes[2].events())


class Watched:
    """Asks all nodes about a revoked secret all the time, in a thread of each. VALID must not be among the verdicts."""

    def __init__(self, all_nodes, secret):
        self.ending, self.verdicts = threading.Event(), {}
        self.threads = [threading.Thread(target=self._ask, args=(n, secret)) for n in all_nodes]
        for t in self.threads:
            t.start()

    def _ask(self, node, secret):
        while not self.ending.is_set():
            try:
                verdict = node.verdict(secret)
            except (OSError, nodes.fobwire.Closed):
                verdict = "no answer"
                time.sleep(0.01)
            self.verdicts[verdict] = self.verdicts.get(verdict, 0) + 1

    def end(self):
        self.ending.set()
        for t in self.threads:
            t.join()
        return self.verdicts


class Lost(Case):
    def closed(self, n, why):
        """Wait until a node is closed; it says why wherever it is asked."""
        daemon.wait_until("the node is closed", lambda: n.status().closed)
        self.assertIn(why, n.status().closed)
        status = json.loads(n.cli("status", "--output", "json"))["clusters"][0]
        self.assertFalse(status["serving"])
        self.assertIn(why, status["why_not"])
        self.assertIn(why, n.cli("wait", exits=2))
        closed = [line for line in n.fobd.log().splitlines() if "this node is closed" in line and why in line]
        self.assertEqual(len(closed), 1)
        with n.fobd.client() as c:
            name, message = nodes.fault_of(lambda: c.suspend(pb.LIVE, "acct_1"))
        self.assertEqual(name, "UNAVAILABLE")
        self.assertIn("this node is closed", message)

    def proved(self, n):
        """Has a node proved anew since the call before? What is left of a proof's time grows then."""
        before, self.left = getattr(self, "left", None), n.status().fresh_ms
        return before is not None and self.left > before

    def heal(self, newest):
        """As service/cluster/README.md says."""
        self.etcd.empty()
        before = newest.status().cluster
        newest.cli("reinit", "--environment", "live", "--yes")
        # The nodes of the cluster before may answer for that long: no change may be acknowledged sooner.
        begun = time.monotonic()
        newest.cli("wait")
        self.assertGreaterEqual(time.monotonic() - begun, STALENESS_MS / 1000)
        self.assertNotEqual(newest.status().cluster, before)
        for n in self.nodes:
            if n is not newest:
                n.join_anew(newest)

    def test_etcd_is_restored_from_an_older_snapshot(self):
        old = self.create()
        lagging = self.nodes[2]
        snapshot = self.etcd.snapshot()
        # It misses nothing of what etcd will have, and must not serve either: the others have acknowledged more. It can know
        # by etcd's revision.
        for _ in range(20):
            self.etcd.ctl("put", "/stranger", "x")
        daemon.wait_until("it has proved since then", lambda: self.proved(lagging))
        daemon.stop_process(lagging.agent.process.pid)
        new = self.roll(self.nodes[0])
        watched = Watched(self.nodes, old)
        self.addCleanup(watched.end)
        self.etcd.restore(snapshot)
        lagging.agent.process.send_signal(signal.SIGCONT)
        for n in self.nodes:
            self.closed(n, "restored from an older snapshot")
        self.all_say(old, "UNAVAILABLE")
        self.all_say(new, "UNAVAILABLE")
        self.heal(self.nodes[1])
        verdicts = watched.end()
        self.assertNotIn("VALID", verdicts)
        self.assertIn("REVOKED", verdicts)
        self.all_say(old, "REVOKED")
        self.all_say(new, "VALID")
        newest = self.roll(self.nodes[2])
        self.all_say(new, "REVOKED")
        self.all_say(newest, "VALID")
        self.all_agree()

    def test_etcd_has_another_clusters_head(self):
        secret = self.create()
        said = self.nodes[0].cli("reinit", "--environment", "live", "--yes", exits=4)
        self.assertIn("this node serves", said)
        self.all_say(secret, "VALID")
        head = self.etcd.kv("head")
        self.etcd.put({"head": os.urandom(16) + head[16:]})
        for n in self.nodes:
            self.closed(n, "etcd has another cluster under this prefix")
        self.all_say(secret, "UNAVAILABLE")
        # Closed is closed, also when the head is as it was.
        self.etcd.put({"head": head})
        self.all_say(secret, "UNAVAILABLE")
        # After a restart there is nothing that speaks against it.
        for n in self.nodes:
            n.fobd.restart()
            n.wait_fresh()
        self.all_say(secret, "VALID")
        # A prefix that was emptied.
        self.etcd.empty()
        for n in self.nodes:
            self.closed(n, "etcd has forgotten entries")
        self.all_say(secret, "UNAVAILABLE")


class Compacted(Case):
    def test_a_stranger_compacts_and_defragments_all_the_time(self):
        secret = self.create()
        ending, compactions = threading.Event(), [0]

        def compact():
            while not ending.is_set():
                revision = self.etcd.status()[0]["Status"]["header"]["revision"]
                compactions[0] += self.etcd.ctl("compact", str(revision), check=False).returncode == 0
                self.etcd.ctl("defrag", check=False)

        stranger = threading.Thread(target=compact)
        stranger.start()
        try:
            for i in range(ROLLS):
                new = self.roll(self.nodes[i % 3])
                self.all_say(secret, "REVOKED")
                self.all_say(new, "VALID")
                secret = new
        finally:
            ending.set()
            stranger.join()
        self.all_agree()
        for n in self.nodes:
            self.assertEqual(n.status().closed, "")
        self.assertGreater(compactions[0], 1)
        tap.count("%d rolls during %d compactions, each effective on three nodes" % (ROLLS, compactions[0]))


class Full(Case):
    flags = ("--quota-backend-bytes=%d" % (2 << 20),)

    def test_no_space(self):
        secret = self.create()
        for i in range(100):
            if self.etcd.ctl("put", "/fill/%d" % i, "x" * 100000, check=False).returncode != 0:
                break
        self.assertIn("NOSPACE", self.etcd.ctl("alarm", "list").stdout)
        end = time.monotonic() + 2 * STALENESS_MS / 1000
        while time.monotonic() < end:
            self.all_say(secret, "VALID")
        for n in self.nodes:
            with n.fobd.client() as c:
                name, message = nodes.fault_of(lambda: c.roll(pb.LIVE, "acct_1", grace=0))
            self.assertEqual(name, "RESOURCE_EXHAUSTED", message)
            self.assertIn("compact and defragment", message)
        self.assertTrue(any("etcd's space is used up" in n.fobd.log() for n in self.nodes))
        self.all_say(secret, "VALID")
        self.etcd.ctl("del", "--prefix", "/fill/")
        self.etcd.ctl("compact", str(self.etcd.status()[0]["Status"]["header"]["revision"]))
        self.etcd.ctl("defrag")
        self.etcd.ctl("alarm", "disarm")
        new = self.roll(self.nodes[1])
        self.all_say(secret, "REVOKED")
        self.all_say(new, "VALID")
        self.all_agree()


class NoQuorum(Case):
    members = 3

    def test_no_quorum(self):
        secret = self.create()
        lost = self.etcd.members[:2]
        for m in lost:
            m.kill()
        begun = time.monotonic()
        last = [begun] * 3
        while time.monotonic() < begun + 1.5 * STALENESS_MS / 1000:
            for i, n in enumerate(self.nodes):
                asked, verdict = time.monotonic(), n.verdict(secret)
                self.assertIn(verdict, ("VALID", "UNAVAILABLE"))
                if verdict == "VALID":
                    last[i] = asked
        for at in last:
            # They answer nearly as long as they may, and not longer: each proof was sent before the members ended.
            self.assertGreater(at - begun, STALENESS_MS / 1000 / 4)
            self.assertLess(at - begun, STALENESS_MS / 1000)
        self.all_say(secret, "UNAVAILABLE")
        for n in self.nodes:
            with n.fobd.client() as c:
                self.assertEqual(nodes.fault_of(lambda: c.roll(pb.LIVE, "acct_1"))[0], "UNAVAILABLE")
        for m in lost:
            m.start("existing")
        for n in self.nodes:
            n.wait_fresh()
        self.all_say(secret, "VALID")
        new = self.roll(self.nodes[2])
        self.all_say(secret, "REVOKED")
        self.all_say(new, "VALID")
        self.all_agree()


tap.main()
