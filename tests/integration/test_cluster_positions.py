#!/usr/bin/python3
"""No client goes back: what one node has told a client of, another node that is behind does not answer from before. Two
real fobds that stay fresh for long, with a model in the place of etcd and fob-cluster; the second node's agent is cut off."""

import hashlib
import os
import sys
import time
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), HERE]

import daemon
import fobwire
import model_etcd
import nodes
import pb
import pyfob  # noqa: F401  fob's place
import tap
import fob
from fob import Environment, Verdict

VERIFY, VERIFIES, KEYS = "fob.v1.Keys/VerifyKey", "fob.v1.Keys/VerifyKeys", "fob.v1.Admin/ListKeys"
SUSPEND, RESUME = "fob.v1.Admin/SuspendAccount", "fob.v1.Admin/ResumeAccount"
CHANGE_MS = 700
IMPORTED = b"sk_live_imported"


def suspend_request():
    return pb.admin.SuspendAccountRequest(request_token=fobwire.new_token(), environment=pb.LIVE, account="acct_1")


def resume_request():
    return pb.admin.ResumeAccountRequest(request_token=fobwire.new_token(), environment=pb.LIVE, account="acct_1")


def suspend(c):
    return c.call(SUSPEND, suspend_request(), timeout_ms=CHANGE_MS)


def import_key(c):
    item = pb.admin.ImportItem(account="acct_2", secret_sha256=hashlib.sha256(IMPORTED).digest(), secret_last4="rted")
    return c.call("fob.v1.Admin/ImportAccounts", pb.admin.ImportAccountsRequest(
        request_token=fobwire.new_token(), environment=pb.LIVE, items=[item]), timeout_ms=CHANGE_MS)


class Positions(unittest.TestCase):
    def setUp(self):
        self.etcd = model_etcd.Etcd()
        self.nodes = nodes.lagging(self.etcd)
        self.ahead, self.behind = self.nodes
        self.secret = self.ahead.call(lambda c: c.create(pb.LIVE, "acct_1")).secret_key.secret

    def tearDown(self):
        for node in self.nodes:
            node.stop()

    def verified(self, node, secret=None, **envelope):
        """The verdict, or the fault and its message; and the position."""
        r = node.call(lambda c: c.response(VERIFY, fobwire.verify_request(secret or self.secret), **envelope))
        if r.code != pb.rpc.OK:
            return fobwire.code_name(r.code) + ": " + r.message, r.live
        return fobwire.verdict_name(pb.keys.VerifyKeyResponse.FromString(r.body).verdict), r.live

    def test_a_node_that_is_behind_says_unavailable(self):
        before = self.verified(self.behind)[1]
        self.behind.agent.cut = True
        nodes.unacknowledged(self.ahead, suspend)
        nodes.unacknowledged(self.ahead, import_key)
        verdict, seen = self.verified(self.ahead)
        self.assertEqual(verdict, "SUSPENDED")
        self.assertEqual(seen.cluster, before.cluster)
        self.assertEqual(seen.entry, self.ahead.status().applied)
        self.assertGreater(seen.entry, before.entry)
        self.assertEqual("%016x" % seen.cluster, self.ahead.status().cluster[:8].hex())
        # The state before, which is no answer to a client that has seen more.
        self.assertEqual(self.verified(self.behind), ("VALID", before))
        self.assertEqual(self.verified(self.behind, min_live=before), ("VALID", before))
        for entry in (before.entry + 1, seen.entry, 2**62, 2**64 - 1):
            verdict, _ = self.verified(self.behind, min_live=pb.rpc.Position(cluster=seen.cluster, entry=entry))
            self.assertRegex(verdict, "^UNAVAILABLE: this node is behind")
        self.assertEqual(self.verified(self.ahead, min_live=seen), ("SUSPENDED", seen))
        # An imported key, where nothing was imported yet, has not even the form of a key.
        self.assertEqual(self.verified(self.ahead, IMPORTED)[0], "VALID")
        self.assertEqual(self.verified(self.behind, IMPORTED), ("MALFORMED", before))
        self.assertRegex(self.verified(self.behind, IMPORTED, min_live=seen)[0], "^UNAVAILABLE")
        # Another cluster's number, and another environment's, say nothing of this one.
        other = pb.rpc.Position(cluster=seen.cluster ^ 1, entry=seen.entry + 100)
        self.assertEqual(self.verified(self.behind, min_live=other), ("VALID", before))
        self.assertEqual(self.verified(self.behind, min_test=seen), ("VALID", before))

    def test_batches_and_lists(self):
        self.behind.agent.cut = True
        nodes.unacknowledged(self.ahead, suspend)
        seen = self.verified(self.ahead)[1]
        batch = pb.keys.VerifyKeysRequest(items=[fobwire.verify_request(s) for s in (self.secret, b"rk_x", self.secret)])
        with self.behind.fobd.client() as c:
            r = c.response(VERIFIES, batch, min_live=seen)
            items = fobwire.result(VERIFIES, r).items
            self.assertEqual([fobwire.code_name(i.code) for i in items], ["UNAVAILABLE", "OK", "UNAVAILABLE"])
            self.assertIn("behind", items[0].message)
            self.assertLess(r.live.entry, seen.entry)
            r = c.response(VERIFIES, batch)
            self.assertEqual([i.result.verdict for i in fobwire.result(VERIFIES, r).items],
                             [pb.keys.VALID, pb.keys.MALFORMED, pb.keys.VALID])
            self.assertFalse(c.response(VERIFIES, pb.keys.VerifyKeysRequest(items=batch.items[1:2])).HasField("live"))
            keys = pb.admin.ListKeysRequest(environment=pb.LIVE, account="acct_1")
            self.assertEqual(c.response(KEYS, keys).code, pb.rpc.OK)
            self.assertEqual(c.response(KEYS, keys, min_live=seen).code, pb.rpc.UNAVAILABLE)
            # A fault can tell of a state, too; what no state was read for tells none.
            keys.account = "nobody"
            r = c.response(KEYS, keys)
            self.assertEqual((r.code, r.live.cluster), (pb.rpc.NOT_FOUND, seen.cluster))
            keys.page_size = 5000
            self.assertFalse(c.response(KEYS, keys).HasField("live"))
        with self.ahead.fobd.client() as c:
            self.assertEqual(c.response(KEYS, pb.admin.ListKeysRequest(environment=pb.LIVE, account="acct_1"),
                                        min_live=seen).live, seen)

    def test_changes_tell_their_entry(self):
        with self.ahead.fobd.client() as c:
            r = c.response("fob.v1.Admin/CreateAccount", fobwire.create_request(pb.LIVE, "acct_3"))
            self.assertEqual(r.live.entry, self.ahead.status().applied)
            r = c.response("fob.v1.Admin/CreateAccount", fobwire.create_request(pb.LIVE, "acct_3"))
            self.assertEqual((r.code, r.live.entry), (pb.rpc.ALREADY_EXISTS, self.ahead.status().applied))
            self.assertFalse(r.HasField("test"))

    def test_a_node_that_is_asked_for_more_looks_at_the_log(self):
        """It hears of no change, and would find the next entry by a proof only, each six seconds."""
        self.behind.agent.deaf = True
        start = time.monotonic()
        for method, request, verdict in ((SUSPEND, suspend_request(), "SUSPENDED"), (RESUME, resume_request(), "VALID"),
                                         (SUSPEND, suspend_request(), "SUSPENDED")):
            applied = self.ahead.status().applied
            with self.ahead.fobd.client() as c:
                c.connection.send(fobwire.request(method, request))
                daemon.wait_until("it is applied", lambda: self.ahead.status().applied > applied)
                seen = self.verified(self.ahead)[1]
                daemon.wait_until("the other has it", lambda: self.verified(self.behind, min_live=seen)[0] == verdict)
                fobwire.result(method, fobwire.response(c.connection.recv()[1]))
        self.assertLess(time.monotonic() - start, 9)

    def test_a_client_that_moves(self):
        client = fob.Client(*(n.fobd.urls["verify"] for n in self.nodes), timeout=20)
        self.addCleanup(client.close)
        without = fob.Client(self.behind.fobd.urls["verify"], timeout=20)
        self.addCleanup(without.close)
        self.assertTrue(client.verify(self.secret).allows)
        self.behind.agent.cut = True
        nodes.unacknowledged(self.ahead, suspend)
        self.assertEqual(client.verify(self.secret).verdict, Verdict.SUSPENDED)
        self.ahead.fobd.kill()
        for _ in range(2):
            with self.assertRaises(fob.FobError) as raised:
                client.verify(self.secret, timeout=0.5 * daemon.SLOWER)
            self.assertEqual(raised.exception.fault, fob.Fault.UNAVAILABLE)
            answer, = client.verify_batch([self.secret], timeout=0.5 * daemon.SLOWER)
            self.assertEqual(answer.error.fault, fob.Fault.UNAVAILABLE)
        self.assertTrue(without.verify(self.secret).allows)
        self.behind.agent.cut = False
        self.assertEqual(client.verify(self.secret).verdict, Verdict.SUSPENDED)


if __name__ == "__main__":
    tap.main()
