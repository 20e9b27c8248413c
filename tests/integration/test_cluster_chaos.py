#!/usr/bin/python3
"""A cluster of three real fobds, three fob-clusters and three etcd members, while processes are killed, stopped and
resumed: no node ever answers with a former state after a change was acknowledged, no acknowledged change is lost, and
afterwards all nodes serve and have the same events. TEST_SEED chooses what happens."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import random
import signal
import threading
import time
import unittest

import agent
import daemon
import etcd
import fobwire
import nodes
import pb
import tap

SECONDS = 120 if os.environ.get("TORTURE") else 8
ACCOUNTS = 6
SEED = int(os.environ.get("TEST_SEED") or random.randrange(1 << 31))


class Account:
    """What is known: the secret of each generation, and the newest one whose roll was acknowledged."""

    def __init__(self, name, secret):
        self.name, self.secrets, self.acknowledged = name, [None, secret], 1


class Chaos(unittest.TestCase):
    def setUp(self):
        self.random = random.Random(SEED)
        self.etcd = etcd.Etcd(3).start()
        self.nodes = []
        for _ in range(3):
            self.nodes.append(nodes.Node(self.new_agent, self.nodes[0] if self.nodes else None))
        self.accounts = []
        for i in range(ACCOUNTS):
            name = "acct_%d" % i
            self.accounts.append(Account(name, self.nodes[0].call(lambda c: c.create(pb.LIVE, name)).secret_key.secret))
        self.ending = threading.Event()
        self.stale, self.errors = [], []
        self.verifies = self.answered = self.rolls = self.unavailable = 0
        self.lock = threading.Lock()

    def tearDown(self):
        for n in self.nodes:
            n.stop()
        self.etcd.end()

    def new_agent(self, node):
        return agent.Agent(node, self.etcd).start()

    # ---- what goes on all the time ----

    def verify(self, node, choose):
        """A secret that was superseded without a grace before the verify began must not be VALID any more."""
        while not self.ending.is_set():
            try:
                with node.fobd.client("verify", timeout_s=3) as c:
                    while not self.ending.is_set():
                        account = choose.choice(self.accounts)
                        newest = account.acknowledged
                        generation = choose.randrange(1, newest + 1)
                        verdict = c.verdict(account.secrets[generation])
                        self.verifies += 1
                        self.answered += 1
                        if verdict == "VALID" and generation < newest:
                            self.stale.append((node.fobd.place, account.name, generation, newest))
                        if verdict not in ("VALID", "REVOKED"):
                            self.errors.append("%s of %s, generation %d" % (verdict, account.name, generation))
            except fobwire.Fault as f:
                self.verifies += 1
                self.unavailable += 1
                if f.name != "UNAVAILABLE":
                    self.errors.append(str(f))
                time.sleep(0.002)
            except (OSError, fobwire.Closed):
                time.sleep(0.01)

    def roll(self, account, choose):
        """Roll until the change is acknowledged, under one token, through any node."""
        while not self.ending.is_set():
            token = fobwire.new_token()
            while True:
                try:
                    with choose.choice(self.nodes).fobd.client(timeout_s=8) as c:
                        rolled = c.roll(pb.LIVE, account.name, token=token, grace=0)
                    break
                except fobwire.Fault as f:
                    if f.name not in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL"):
                        self.errors.append("roll: %s" % f)
                        return
                except (OSError, fobwire.Closed):
                    pass
                if self.ending.wait(0.02) and self.is_over():
                    return
            generation = rolled.new_key.key.generation
            if generation != account.acknowledged + 1:
                self.errors.append("%s: generation %d after %d" % (account.name, generation, account.acknowledged))
                return
            account.secrets.append(rolled.new_key.secret)
            account.acknowledged = generation
            self.rolls += 1

    def is_over(self):
        return time.monotonic() > self.give_up

    # ---- what goes wrong ----

    def kill_node(self):
        n = self.random.choice(self.nodes)
        n.fobd.kill()
        n.fobd.start(init=False)

    def pause(self, process):
        process.send_signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(0.1, 2.5) * daemon.SLOWER)
        process.send_signal(signal.SIGCONT)

    def pause_node(self):
        self.pause(self.random.choice(self.nodes).fobd.process)

    def cut_node(self):
        self.pause(self.random.choice(self.nodes).agent.process)

    def kill_agent(self):
        n = self.random.choice(self.nodes)
        n.agent.kill()
        n.agent.start()

    def pause_etcd(self):
        self.pause(self.random.choice(self.etcd.members).process)

    def kill_etcd(self):
        m = self.random.choice(self.etcd.members)
        m.kill()
        m.start("existing")

    def test_chaos(self):
        print("# TEST_SEED=%d" % SEED, flush=True)
        self.give_up = time.monotonic() + SECONDS + 90 * daemon.SLOWER
        threads = [threading.Thread(target=self.verify, args=(n, random.Random(SEED + i)))
                   for i, n in enumerate(self.nodes)]
        threads += [threading.Thread(target=self.roll, args=(a, random.Random(SEED + 100 + i)))
                    for i, a in enumerate(self.accounts)]
        for t in threads:
            t.start()
        happened = []
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and not self.stale and not self.errors:
            time.sleep(self.random.uniform(0.05, 0.5))
            what = self.random.choice((self.kill_node, self.pause_node, self.cut_node, self.kill_agent, self.pause_etcd,
                                       self.kill_etcd))
            happened.append(what.__name__)
            what()
        for n in self.nodes:
            n.wait_fresh(40)
        self.ending.set()
        for t in threads:
            t.join(120 * daemon.SLOWER)
            self.assertFalse(t.is_alive())
        self.assertEqual(self.stale, [], happened)
        self.assertEqual(self.errors, [], happened)
        events = [n.call(lambda c: [e.SerializeToString() for e in c.events(pb.LIVE, page_size=1000)]) for n in self.nodes]
        self.assertEqual(events[0], events[1])
        self.assertEqual(events[0], events[2])
        for a in self.accounts:
            for n in self.nodes:
                self.assertEqual(n.call(lambda c: c.verdict(a.secrets[a.acknowledged])), "VALID")
        self.assertGreater(self.rolls, 0)
        tap.count("%d verifies, %d answered, %d unavailable, 0 stale; %d rolls acknowledged, 0 lost; %s" % (
            self.verifies, self.answered, self.unavailable, self.rolls,
            ", ".join("%s %d" % (w, happened.count(w)) for w in sorted(set(happened)))))


tap.main()
