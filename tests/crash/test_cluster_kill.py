#!/usr/bin/python3
"""A node of a cluster is killed at each step of a change: decided, proposed, won, applied, acknowledged, replied. Real fobds,
with a model in the place of etcd and fob-cluster, where a transaction can be stopped. The same token, asked again of either
node, gives one reply for one change; nothing that was acknowledged is lost; both nodes have the same events. TORTURE=1: at
each write of an entry's commit, within it and before it."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import random
import signal
import threading
import unittest

import shimmed

import daemon
import fobwire
import model_etcd
import nodes
import pb
import tap

TORTURE = bool(os.environ.get("TORTURE"))
WRITES_MOST = 60  # more than the commit of an entry has


def writes(t, folder):
    return any(a.kind == pb.cluster.Action.PUT and a.key.startswith(folder) for a in t.success)


def is_proposal(t):
    return writes(t, b"log/")


def is_acknowledgement(t):
    """A proof that writes the row, which is there."""
    return writes(t, b"nodes/") and any(c.target == pb.cluster.Compare.CREATE_REVISION for c in t.compares)


class Kill(unittest.TestCase):
    def setUp(self):
        self.pick = random.Random(tap.seed())
        self.etcd = model_etcd.Etcd()
        self.nodes = []
        for _ in range(2):
            fobd = shimmed.Daemon(environments=("live",))
            self.nodes.append(nodes.modelled(self.etcd, self.nodes[0] if self.nodes else None, fobd=fobd))
        for n in self.nodes:
            n.fobd.stop()
            n.fobd.start(init=False, shim=True)
            n.wait_fresh()
        self.secret = self.nodes[0].call(lambda c: c.create(pb.LIVE, "acct_1")).secret_key.secret
        self.generation, self.hit, self.killed = 1, threading.Event(), threading.Event()

    def tearDown(self):
        for n in self.nodes:
            n.fobd.handle.disarm()
            n.stop()

    # ---- where it is killed ----

    def at(self, node, is_it, victim, made):
        """Kill ${victim} when ${node} asks for a transaction that ${is_it}: before it is made, or when it is ${made} and not
        told yet. Once."""
        def transact(t):
            if self.hit.is_set() or not is_it(t):
                return self.etcd.transact(t)
            self.hit.set()
            result = self.etcd.transact(t) if made else None
            os.kill(pid, signal.SIGKILL)
            self.killed.set()
            return None if node is victim else result or self.etcd.transact(t)

        pid = victim.fobd.pid

        node.agent.transact = transact

    def in_commit(self, node, victim, nth, action):
        """Kill ${victim} at the ${nth}th write after ${node}'s next proposal is won: of the entry's commit."""
        def transact(t):
            if is_proposal(t):
                node.agent.transact = self.etcd.transact
                victim.fobd.handle.arm(shimmed.CHANGING, nth, action)
            return self.etcd.transact(t)

        node.agent.transact = transact

    # ---- what has to hold ----

    def roll(self, node, token, timeout_s=8):
        with node.fobd.client(timeout_s=timeout_s) as c:
            return c.roll(pb.LIVE, "acct_1", token=token, grace=0)

    def ask_again(self, node, token):
        def asked():
            try:
                return self.roll(node, token)
            except fobwire.Fault as f:
                # Anything else would say that the change was refused.
                self.assertIn(f.name, ("UNAVAILABLE", "DEADLINE_EXCEEDED"))
                raise

        return daemon.wait_until("the token is answered", asked, 20)

    def is_dying(self, victim):
        """A call that was counted just before the shim was disarmed may still kill it."""
        try:
            victim.status()
        except (OSError, fobwire.Closed):
            return True
        return victim.fobd.process.poll() is not None

    def attempt(self, victim, at_once):
        """A roll by the first node, at whose armed step ${victim} is killed. ${at_once}: the other node is asked before the
        victim is back. Returns False if it was not killed."""
        token, first = fobwire.new_token(), []
        victim.fobd.handle.arm(0, 0, 0)  # nothing has fired yet

        def roll():
            try:
                first.append(self.roll(self.nodes[0], token))
            except (OSError, fobwire.Closed, fobwire.Fault):
                pass

        thread = threading.Thread(target=roll)
        thread.start()
        while thread.is_alive() and not self.hit.is_set() and not victim.fobd.handle.get("fired"):
            thread.join(0.01)
        died = victim.fobd.handle.disarm() or (self.hit.is_set() and self.killed.wait(10)) or self.is_dying(victim)
        replies = []
        if died:
            victim.fobd.kill()
            other = self.nodes[0] if victim is self.nodes[1] else self.nodes[1]
            if at_once:
                replies.append(self.ask_again(other, token))
            victim.fobd.start(init=False, shim=True)
        thread.join()
        for n in self.nodes:
            n.agent.transact = self.etcd.transact
            n.wait_fresh()
        self.hit.clear()
        self.killed.clear()
        replies += first + [self.ask_again(n, token) for n in self.nodes + self.nodes]
        self.assertEqual({r.new_key.secret for r in replies}, {replies[0].new_key.secret})
        self.assertEqual({r.new_key.key.generation for r in replies}, {self.generation + 1})
        for n in self.nodes:
            self.assertEqual(n.verdict(self.secret), "REVOKED")
            self.assertEqual(n.verdict(replies[0].new_key.secret), "VALID")
        self.assertEqual(self.nodes[0].events(), self.nodes[1].events())
        self.secret, self.generation = replies[0].new_key.secret, self.generation + 1
        return bool(died)

    def each(self, arm, victim):
        for at_once in (False, True):
            with self.subTest(at_once=at_once):
                arm()
                self.assertTrue(self.attempt(victim, at_once))

    def test_decided_and_not_proposed(self):
        a = self.nodes[0]
        self.each(lambda: self.at(a, is_proposal, a, made=False), a)

    def test_won_and_not_known(self):
        a = self.nodes[0]
        self.each(lambda: self.at(a, is_proposal, a, made=True), a)

    def commits(self, victim):
        """In the commit of the entry, at one of its writes; in the long form at each, until there are fewer."""
        killed = 0
        for action in (shimmed.KILL, shimmed.KILL_TORN):
            for nth in range(1, WRITES_MOST) if TORTURE else sorted(self.pick.sample(range(1, 3), 2)):
                with self.subTest(action=action, nth=nth):
                    self.in_commit(self.nodes[0], victim, nth, action)
                    if not self.attempt(victim, nth % 2 == 0):
                        break
                    killed += 1
        self.assertGreater(killed, 0)
        tap.count("%d kills in the commit of an entry, 0 changes lost or doubled" % killed)

    def test_while_the_proposer_applies(self):
        self.commits(self.nodes[0])

    def test_while_another_node_applies(self):
        self.commits(self.nodes[1])

    def test_another_node_has_applied_and_not_acknowledged(self):
        b = self.nodes[1]
        self.each(lambda: self.at(b, is_acknowledgement, b, made=False), b)

    def test_another_node_has_acknowledged(self):
        b = self.nodes[1]
        self.each(lambda: self.at(b, is_acknowledgement, b, made=True), b)

    def test_the_proposer_waits_for_acknowledgements(self):
        a, b = self.nodes
        self.each(lambda: self.at(b, is_acknowledgement, a, made=False), a)

    def test_the_proposer_was_about_to_reply(self):
        a, b = self.nodes
        self.each(lambda: self.at(b, is_acknowledgement, a, made=True), a)


tap.main()
