#!/usr/bin/python3
"""A node fetches a copy of another node's database by itself: a new one, one that was away for too long, one whose database
is damaged. Real fobds, with a model in the place of etcd and fob-cluster."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import daemon  # noqa: E402
import etcd  # noqa: E402
import fobwire  # noqa: E402
import model_etcd  # noqa: E402
import nodes  # noqa: E402
import pb  # noqa: E402
import tap  # noqa: E402

WAIT_S = 30 * daemon.SLOWER


class Copy(unittest.TestCase):
    def setUp(self):
        self.etcd = model_etcd.Etcd()
        self.nodes = [nodes.modelled(self.etcd)]
        self.secret = self.nodes[0].call(lambda c: c.create(pb.LIVE, "acct_1")).secret_key.secret

    def tearDown(self):
        for n in self.nodes:
            n.stop()

    def grow(self, **kw):
        self.nodes.append(nodes.modelled(self.etcd, self.nodes[0], **kw))
        return self.nodes[-1]

    def cut_log(self, upto):
        """As another node does that has found the log too long."""
        with self.etcd.lock:
            for key in [k for k in self.etcd.entries if k.startswith(b"log/") and int(k[4:], 16) < upto]:
                del self.etcd.entries[key]
            self.etcd.revision += 1

    def events(self, node):
        return node.call(lambda c: [e.SerializeToString() for e in c.events(pb.LIVE)])

    def files(self, node):
        return sorted(f for f in os.listdir(node.fobd.database("live")) if f.startswith("copy"))

    def check_equal(self):
        secret = self.nodes[-1].call(lambda c: c.roll(pb.LIVE, "acct_1", grace=0)).new_key.secret
        for n in self.nodes:
            self.assertEqual(n.call(lambda c: c.verdict(secret)), "VALID")
            self.assertEqual(n.call(lambda c: c.verdict(self.secret)), "REVOKED")
            self.assertEqual(self.events(n), self.events(self.nodes[0]))
            self.assertEqual(self.files(n), [])
        self.secret = secret

    def test_a_new_node_fetches_its_database(self):
        for i in range(20):
            self.nodes[0].call(lambda c: c.create(pb.LIVE, "more_%d" % i))
        self.cut_log(15)
        joined = self.grow(fetch=True)
        self.assertIn("address", joined.fobd.log())
        self.check_equal()
        replicas = {n.status().replica for n in self.nodes}
        self.assertEqual(len(replicas), 2)
        self.assertEqual(replicas, {n.replica for n in joined.status().nodes})
        # It restarts as any other, from what it has.
        joined.fobd.stop()
        joined.fobd.start(init=False)
        joined.wait_fresh()
        self.assertEqual(joined.fobd.log().count("asking another node"), 1)

    def test_a_large_database_comes_in_many_parts(self):
        for start in range(0, 6000, 250):
            self.nodes[0].call(lambda c: c.call("fob.v1.Admin/ImportAccounts", pb.admin.ImportAccountsRequest(
                request_token=fobwire.new_token(), environment=pb.LIVE, items=[
                    pb.admin.ImportItem(account="imported_%d" % i) for i in range(start, start + 250)])))
        size = os.path.getsize(os.path.join(self.nodes[0].fobd.database("live"), "data.mdb"))
        joined = self.grow(fetch=True)
        self.assertGreater(joined.agent.asks, size // 131072)
        self.check_equal()

    def test_a_node_that_was_away_for_too_long_fetches_a_copy(self):
        away = self.grow()
        away.fobd.stop()
        for i in range(5):
            self.secret = self.nodes[0].call(lambda c: c.roll(pb.LIVE, "acct_1", grace=0)).new_key.secret
        self.cut_log(5)
        away.fobd.start(init=False)
        away.wait_fresh(WAIT_S)
        self.assertIn("a copy of another node's database takes the place", away.fobd.log())
        self.check_equal()

    def damage(self, node):
        """Every record that names the account acct_1."""
        path = os.path.join(node.fobd.database("live"), "data.mdb")
        with open(path, "r+b") as f:
            data = bytearray(f.read())
            at = data.find(b"acct_1")
            while at >= 0:
                data[at + 9] ^= 1
                at = data.find(b"acct_1", at + 1)
            f.seek(0)
            f.write(data)

    def test_a_damaged_database_is_replaced(self):
        damaged = self.grow()
        damaged.fobd.stop()
        self.damage(damaged)
        damaged.fobd.start(init=False)
        damaged.wait_fresh()
        # A change of that account cannot be applied there, and a verify of it is no verdict.
        request = fobwire.roll_request(pb.LIVE, "acct_1", grace=0)
        reply = self.nodes[0].call(lambda c: c.call("fob.v1.Admin/RollKey", request, timeout_ms=60000))
        self.secret = reply.new_key.secret
        daemon.wait_until("it has a copy", lambda: "takes the place" in damaged.fobd.log(), WAIT_S)
        damaged.wait_fresh(WAIT_S)
        self.check_equal()

    def test_without_another_node_that_can_be_asked_it_waits(self):
        away = self.grow()
        away.fobd.stop()
        self.secret = self.nodes[0].call(lambda c: c.roll(pb.LIVE, "acct_1", grace=0)).new_key.secret
        self.cut_log(5)
        self.nodes[0].fobd.stop()
        away.fobd.start(init=False)
        daemon.wait_until("it is closed", lambda: away.status().closed, WAIT_S)
        with away.fobd.client() as c:
            self.assertEqual(nodes.fault_of(lambda: c.verify(self.secret))[0], "UNAVAILABLE")
        self.nodes[0].fobd.start(init=False)
        self.nodes[0].wait_fresh()
        away.wait_fresh(WAIT_S)
        self.check_equal()

    def test_a_lie_on_the_way_is_found(self):
        """Who carries the answers changes one, then repeats one: neither is taken, and the next attempt is good."""
        away = self.grow()
        away.fobd.stop()
        self.secret = self.nodes[0].call(lambda c: c.roll(pb.LIVE, "acct_1", grace=0)).new_key.secret
        self.cut_log(5)
        carry, lies, kept = away.agent._carry, [], []

        def lie(ask):
            answer = carry(ask)
            if not lies:
                kept.append(answer.sealed)
                answer.sealed = answer.sealed[:-1] + bytes([answer.sealed[-1] ^ 1])
            elif len(lies) == 1:
                answer.sealed = kept[0]
            lies.append(1)
            return answer

        away.agent._carry = lie
        away.fobd.start(init=False)
        away.wait_fresh(WAIT_S)
        self.assertGreaterEqual(len(lies), 3)
        self.assertEqual(away.fobd.log().count("was not sealed by a node of this cluster"), 2)
        self.check_equal()

    def test_who_may_ask(self):
        node = self.nodes[0]
        with fobwire.Client(node.peer) as c:
            for method, message in (("fob.v1.Admin/ReadBackup", pb.admin.ReadBackupRequest(environment=pb.LIVE)),
                                    ("fob.v1.Keys/VerifyKey", fobwire.verify_request(self.secret)),
                                    ("fob.v1.Cluster/Exchange", pb.cluster.ExchangeRequest(environment=pb.LIVE))):
                self.assertEqual(nodes.fault_of(lambda: c.call(method, message))[0], "PERMISSION_DENIED", method)
            for sealed in (b"", b"\1" + os.urandom(40), b"\1" + os.urandom(400), b"\2" + os.urandom(100)):
                fault = nodes.fault_of(lambda: c.call("fob.v1.Peer/Ask", pb.cluster.AskRequest(
                    environment=pb.LIVE, sealed=sealed)))[0]
                self.assertIn(fault, ("PERMISSION_DENIED", "INVALID_ARGUMENT"))
            self.assertEqual(c.health(), pb.health.SERVING) if hasattr(c, "health") else None
        with node.fobd.client() as c:
            self.assertEqual(nodes.fault_of(lambda: c.call("fob.v1.Peer/Ask", pb.cluster.AskRequest(
                environment=pb.LIVE, sealed=os.urandom(100))))[0], "PERMISSION_DENIED")


class Carried(unittest.TestCase):
    def test_by_fob_cluster(self):
        """The same with real etcd and fob-cluster, which carry the parts."""
        log = etcd.Etcd(1).start()
        self.addCleanup(log.end)
        members = [nodes.real(log)]
        self.addCleanup(lambda: [n.stop() for n in members])
        first = members[0]
        for start in range(0, 2000, 250):
            first.call(lambda c: c.call("fob.v1.Admin/ImportAccounts", pb.admin.ImportAccountsRequest(
                request_token=fobwire.new_token(), environment=pb.LIVE, items=[
                    pb.admin.ImportItem(account="imported_%d" % i) for i in range(start, start + 250)])))
        members.append(nodes.real(log, first, fetch=True))
        rolled = first.call(lambda c: c.roll(pb.LIVE, "imported_7")).new_key.secret
        for n in members:
            self.assertEqual(n.call(lambda c: c.verdict(rolled)), "VALID")
            self.assertEqual(n.call(lambda c: len(c.events(pb.LIVE))), 2001)


if __name__ == "__main__":
    tap.main()
