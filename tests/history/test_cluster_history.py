#!/usr/bin/python3
"""Histories of a cluster: three real fobds, three fob-clusters and three etcd members, while any of them is killed, stopped or
cut off. For each node one order of all changes, through whichever node they were made, and of that node's answers must
explain these answers. Some changes go through two nodes at once under one token. Afterwards all nodes have the same events,
accounts and keys.

TORTURE=1: 20 minutes (HISTORY_MINUTES). TEST_SEED repeats the random choices, but not the timing.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import collections
import random
import signal
import subprocess
import threading
import time
import unittest

import agent
import check
import daemon
import etcd
import nodes
import pb
import tap

RECORD = os.path.join(daemon.BUILD, "tests", "history", "record")
TORTURE = bool(os.environ.get("TORTURE"))
CALLS = 1000
FAULTS = 6  # of a run
ENOUGH_S = float(os.environ.get("HISTORY_MINUTES", "20")) * 60 if TORTURE else 12  # for a start of another run
LIMIT_S = 150  # for one run


class Path:
    """What agent.Agent wants of a fobd."""

    def __init__(self, path):
        self.path = path


class ClusterHistory(unittest.TestCase):
    def setUp(self):
        self.pick = random.Random(tap.seed())
        self.etcd = etcd.Etcd(3).start()
        self.addCleanup(self.etcd.end)
        self.nodes = []
        for _ in range(3):
            n = nodes.Node(self.new_agent, self.nodes[0] if self.nodes else None)
            self.nodes.append(n)
            self.addCleanup(n.stop)

    def new_agent(self, node):
        return agent.Agent(Path(node.path), self.etcd).start()

    # ---- what goes wrong ----

    def pause(self, process):
        """For less than, for about and for more than D, which is 1.5 s."""
        process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(self.pick.uniform(0.1, 2.5))
        finally:
            process.send_signal(signal.SIGCONT)

    def kill_node(self, n):
        n.fobd.kill()
        n.fobd.start(init=False)

    def stop_node(self, n):
        n.fobd.stop()
        n.fobd.start(init=False)

    def pause_node(self, n):
        self.pause(n.fobd.process)

    def cut_node(self, n):
        self.pause(n.agent.process)

    def kill_agent(self, n):
        n.agent.kill()
        n.agent.start()

    def pause_etcd(self, _):
        self.pause(self.pick.choice(self.etcd.members).process)

    def kill_etcd(self, _):
        m = self.pick.choice(self.etcd.members)
        m.kill()
        m.start("existing")

    def go_wrong(self):
        what = self.pick.choice((self.kill_node, self.stop_node, self.pause_node, self.cut_node, self.kill_agent,
                                 self.pause_etcd, self.kill_etcd))
        what(self.pick.choice(self.nodes))
        return what.__name__

    # ---- one run ----

    def record(self, seed, prefix):
        """-> (path of the history, what went wrong)"""
        path = os.path.join(self.etcd.place, "history")
        urls = [n.fobd.urls[listener] for n in self.nodes for listener in ("verify", "admin")]
        recorder = subprocess.Popen([RECORD, path, str(seed), str(CALLS), str(FAULTS), prefix, *urls], text=True,
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        limit = threading.Timer(LIMIT_S, recorder.kill)
        limit.start()
        wrong = []
        try:
            for line in recorder.stdout:
                if line == "kill\n":
                    wrong.append(self.go_wrong())
                    continue
                for n in self.nodes:
                    n.wait_fresh(40)
                recorder.stdin.write("\n")
                recorder.stdin.flush()
            self.assertEqual(recorder.wait(), 0, "the recorder, after %s" % wrong)
        finally:
            limit.cancel()
            recorder.kill()
            recorder.wait()
            recorder.stdin.close()
            recorder.stdout.close()
        return path, wrong

    def judge(self, calls, seed, wrong):
        try:
            return check.check_nodes(calls)
        except check.Wrong as w:
            self.fail("run of seed %d, after %s: %s" % (seed, wrong, w))

    def answers_of_each_node(self, calls):
        """Some of each node, of each kind. -> how often a token was answered by two nodes"""
        for node in range(len(self.nodes)):
            for op in ("verify", "list", "roll", "revoke"):
                self.assertTrue(any(c["node"] == node and c["op"] == op and not c["fault"] for c in calls),
                                "node %d has answered no %s" % (node, op))
        tokens = collections.defaultdict(set)
        for c in calls:
            if c["op"] in check.MUTATIONS and not c["fault"]:
                tokens[c["token"]].add(c["node"])
        return sum(len(of) > 1 for of in tokens.values())

    def a_stale_answer_is_found(self, calls):
        """A node's answer about a key after its revocation was acknowledged is replaced by one of before: then the history, which
        is right otherwise, must be wrong."""
        ended, before, after = {}, {}, []
        for c in sorted(calls, key=lambda c: c["ret"]):
            if c["fault"]:
                continue
            if c["op"] in ("roll", "revoke") and c["state"] == "revoked":
                ended.setdefault((c["account"], c["old"] if c["op"] == "roll" else c["generation"]), c["ret"])
            elif c["op"] == "verify" and c["verdict"] == "VALID":
                before[c["account"], c["arg"]] = c
            elif c["op"] == "verify" and c["inv"] > ended.get((c["account"], c["arg"]), c["inv"]):
                after.append(c)
        stale = self.pick.choice([c for c in after if (c["account"], c["arg"]) in before])
        stale.update({k: before[stale["account"], stale["arg"]][k] for k in ("verdict", "current", "superseded", "expires")})
        with self.assertRaisesRegex(check.Wrong, "^node %d: " % stale["node"]):
            check.check_nodes(calls)

    # ---- what the nodes have afterwards ----

    def pages(self, c, method, request, items):
        """All pages of a list."""
        found = []
        while True:
            page = c.call("fob.v1.Admin/" + method, request)
            found += getattr(page, items)
            if not page.next_page_token or not getattr(page, items):
                return found
            request.page_token = page.next_page_token

    def holds(self, c):
        """All events, accounts and keys, but when a key was last used, which each node knows of itself."""
        events = self.pages(c, "ListEvents", pb.admin.ListEventsRequest(environment=pb.LIVE, page_size=1000), "events")
        accounts = self.pages(c, "ListAccounts", pb.admin.ListAccountsRequest(environment=pb.LIVE), "accounts")
        keys = []
        for a in accounts:
            keys += self.pages(c, "ListKeys", pb.admin.ListKeysRequest(environment=pb.LIVE, account=a.account), "keys")
        for k in keys:
            k.ClearField("last_used_ms")
        return [[m.SerializeToString(deterministic=True) for m in part] for part in (events, accounts, keys)]

    def same_on_all_nodes(self, about):
        """-> what they hold. The last keys in grace expire meanwhile, and a node may be asked before and another one after."""
        held = []

        def are_same():
            held[:] = [n.call(self.holds) for n in self.nodes]
            return all(other == held[0] for other in held[1:])

        try:
            daemon.wait_until("all nodes hold the same", are_same, 20)
        except AssertionError as e:
            for what, parts in zip(("events", "accounts", "keys"), zip(*held)):
                self.assertEqual(*[{m.hex() for m in part} for part in parts[:2]], "%s: %s of nodes 0 and 1" % (about, what))
                self.assertEqual(*[{m.hex() for m in part} for part in parts[1:]], "%s: %s of nodes 1 and 2" % (about, what))
            raise e
        return held[0]

    def test_one_order_of_each_node_explains_its_answers(self):
        totals, answers, runs, twice, started = collections.Counter(), collections.Counter(), 0, 0, time.monotonic()
        while runs == 0 or time.monotonic() - started < ENOUGH_S:
            seed = self.pick.randrange(1 << 30)
            path, wrong = self.record(seed, "r%d" % runs)
            calls = check.read(path)
            totals.update(self.judge(calls, seed, wrong))
            totals.update(wrong)
            answers.update("%s %s" % (c["op"], c["fault"] or c.get("verdict", "")) for c in calls)
            twice += self.answers_of_each_node(calls)
            self.a_stale_answer_is_found(calls)
            held = self.same_on_all_nodes("seed %d, after %s" % (seed, wrong))
            runs += 1
        self.assertGreater(twice, 0, "no token was answered by two nodes")
        tap.count("%d runs: %s; %d tokens answered by two nodes; %d events, %d keys, equal on all nodes" % (
            runs, ", ".join("%d %s" % (n, what) for what, n in totals.items()), twice, len(held[0]), len(held[2])))
        tap.count(", ".join("%d %s" % (n, what) for what, n in sorted(answers.items())))


tap.main()
