#!/usr/bin/python3
"""Where several nodes of a cluster propose at once, they agree on one that makes the changes, and ask it. Real fobds, with a
model in the place of etcd and fob-cluster."""

import os
import re
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

CLIENTS = 2  # of each node
TAKEN = re.compile(r'msg="another node has answered a change" \S+ address="?([^" ]+)"? code=(\d+) taken=true')
TRACE = "00-%032x-%016x-01"


class Busy:
    """Clients that roll keys through all nodes, each those of an account of its own, until the end."""

    def __init__(self, of, grow=0):
        self.rolls = {}
        self.errors = []
        self.ending = False
        self.threads = []
        for n, node in enumerate(of):
            for i in range(CLIENTS):
                account = "acct_%d_%d" % (n + grow, i)
                self.rolls[account] = 0
                of[0].call(lambda c: c.create(pb.LIVE, account))
                self.threads.append(threading.Thread(target=self.run, args=(node, account)))

    def run(self, node, account):
        try:
            with node.fobd.client(timeout_s=30) as c:
                while not self.ending:
                    reply = c.roll(pb.LIVE, account, grace=0)
                    self.rolls[account] += 1
                    if reply.new_key.key.generation != self.rolls[account] + 1:
                        raise AssertionError("generation %d after %d rolls" % (
                            reply.new_key.key.generation, self.rolls[account]))
        except (OSError, fobwire.Closed, fobwire.Fault, AssertionError) as e:
            self.errors.append(e)

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def wait(self, what, seen, timeout_s=20):
        daemon.wait_until(what, lambda: self.errors or seen(), timeout_s)
        if self.errors:
            raise AssertionError("a roll has failed: %s" % self.errors[0])

    def __exit__(self, *_):
        self.ending = True
        for t in self.threads:
            t.join()
        if self.errors:
            raise AssertionError("a roll has failed: %s" % self.errors[0])


class Forward(unittest.TestCase):
    def setUp(self):
        self.etcd = model_etcd.Etcd()
        self.nodes = []
        for _ in range(3):
            self.nodes.append(nodes.modelled(self.etcd, *self.nodes[:1], settings='log_level = "debug"\n'))

    def tearDown(self):
        for n in self.nodes:
            n.stop()

    def taken(self, node):
        return TAKEN.findall(node.fobd.log())

    def leader(self, busy):
        """Once the nodes have agreed on one: that, and the others."""
        def found():
            for leader in self.nodes:
                others = [n for n in self.nodes if n is not leader]
                if all((leader.peer, "0") in self.taken(n)[-1:] for n in others):
                    return leader, others
            return None

        busy.wait("the nodes agree on one", found)
        return found() or self.leader(busy)

    def check_equal(self, busy):
        """Each roll was made once, and all nodes have the same."""
        events = [n.call(lambda c: [e.SerializeToString() for e in c.events(pb.LIVE)]) for n in self.nodes]
        self.assertEqual(events[0], events[1])
        self.assertEqual(events[0], events[2])
        for account, rolls in busy.rolls.items():
            found = self.nodes[0].call(lambda c: c.events(pb.LIVE, account))
            self.assertEqual(len(found), 1 + rolls)

    def test_each_change_is_made_once_and_is_its_clients(self):
        token, replies = fobwire.new_token(), [None] * 3
        with Busy(self.nodes) as busy:
            leader, (node, other) = self.leader(busy)
            seen = len(self.taken(node))
            busy.wait("more are forwarded", lambda: len(self.taken(node)) >= seen + 5)
            # The leader knows whose it is, and for whom, as this node does.
            trace = TRACE % (1, 1)
            leader.call(lambda c: c.create(pb.LIVE, "acct_tcp"))
            with node.fobd.client("tcpadmin") as c:
                address = "%s:%d" % c.connection.sock.getsockname()
                while not re.search(r'msg="key rolled".*on_behalf_of="?ann"? .*%s' % trace, leader.fobd.log()):
                    c.call("fob.v1.Admin/RollKey", fobwire.roll_request(pb.LIVE, "acct_tcp", grace=0),
                           traceparent=trace, on_behalf_of="ann")
            # A refusal of the leader's is the client's.
            for n in self.nodes:
                name, message = nodes.fault_of(lambda: n.call(lambda c: c.roll(pb.LIVE, "nobody")))
                self.assertEqual((name, message), ("NOT_FOUND", "no account nobody in this environment"))
                name, message = nodes.fault_of(lambda: n.call(
                    lambda c: c.roll(pb.LIVE, "acct_tcp", expected_generation=99)))
                self.assertEqual(name, "ABORTED")
                self.assertIn("expected_generation is 99", message)
            # One token through all nodes at once.
            leader.call(lambda c: c.create(pb.LIVE, "acct_token"))

            def roll(i):
                replies[i] = self.nodes[i].call(lambda c: c.roll(pb.LIVE, "acct_token", token=token))

            threads = [threading.Thread(target=roll, args=(i,)) for i in range(3)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
        self.assertEqual({r.new_key.key.generation for r in replies}, {2})
        self.assertEqual(len({r.new_key.secret for r in replies}), 1)
        self.check_equal(busy)
        mine = other.call(lambda c: [e for e in c.events(pb.LIVE) if e.type == pb.admin.KEY_ROLLED])
        for e in mine:
            if e.account == "acct_tcp":
                self.assertEqual((e.origin.address, e.origin.on_behalf_of), (address, "ann"))
            else:
                self.assertEqual((e.origin.uid, e.origin.pid, e.origin.address), (os.getuid(), os.getpid(), ""))
        # Each is logged by one node, though two have seen it.
        logged = sum(n.fobd.log().count('msg="key rolled"') for n in self.nodes)
        self.assertEqual(logged, len(mine))

    def test_the_others_go_on_when_that_node_stops(self):
        token = fobwire.new_token()
        self.nodes[0].call(lambda c: c.create(pb.LIVE, "acct_late"))
        with Busy(self.nodes) as busy:
            leader, others = self.leader(busy)
        # Its own clients would wait for it.
        with Busy(others, grow=3) as busy:
            leader, others = self.leader(busy)
            daemon.stop_process(leader.fobd.pid)
            try:
                begun = time.monotonic()
                name, message = nodes.fault_of(lambda: others[0].call(lambda c: c.call(
                    "fob.v1.Admin/RollKey", fobwire.roll_request(pb.LIVE, "acct_late", token), timeout_ms=300)))
                self.assertEqual(name, "DEADLINE_EXCEEDED")
                self.assertIn("ask again with the same request_token", message)
                before = dict(busy.rolls)
                busy.wait("each has rolled on", lambda: all(busy.rolls[a] >= before[a] + 3 for a in before))
                self.assertLess(time.monotonic() - begun, 10 * daemon.SLOWER)
                self.assertTrue(any("another node has not answered a change" in n.fobd.log() for n in others))
                late = others[0].call(lambda c: c.roll(pb.LIVE, "acct_late", token=token))
                self.assertEqual(late.new_key.key.generation, 2)
            finally:
                os.kill(leader.fobd.pid, signal.SIGCONT)
        leader.wait_fresh()
        self.check_equal(busy)
        self.assertEqual(len(leader.call(lambda c: c.events(pb.LIVE, "acct_late"))), 2)


if __name__ == "__main__":
    tap.main()
