#!/usr/bin/python3
"""`fob cluster` against real fobds, with a model in the place of etcd and fob-cluster."""

import json
import os
import shutil
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), HERE]

import daemon
import model_etcd
import nodes
import pb
import tap

FOB = os.path.join(daemon.BUILD, "fob")


class Commands(unittest.TestCase):
    def setUp(self):
        self.fobd = None
        self.nodes = []

    def tearDown(self):
        for node in self.nodes:
            node.agent.stop()
            if node.fobd.process is not None:
                node.fobd.stop()
        if self.fobd is not None:
            self.fobd.stop()

    def fob(self, fobd, *arguments, exits=0):
        done = subprocess.run([FOB, "--address", fobd.urls["admin"], "cluster", *arguments], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, exits, done.stdout + done.stderr)
        return done

    def json(self, fobd, *arguments):
        return json.loads(self.fob(fobd, *arguments, "--output", "json").stdout)

    def grow(self, n):
        etcd = model_etcd.Etcd()
        for _ in range(n):
            self.nodes.append(nodes.modelled(etcd, self.nodes[0] if self.nodes else None))
        # A change that all of them have acknowledged: so the first one knows them all.
        with self.nodes[0].fobd.client() as c:
            c.create(pb.LIVE, "acct_1")
        daemon.wait_until("the first knows all", lambda: len(self.nodes[0].status().nodes) == n)
        return [node.fobd for node in self.nodes]

    def stats(self, fobd, *more):
        return subprocess.run([FOB, "--address", fobd.urls["verify"], "stats", *more], capture_output=True, text=True, timeout=60,
                              check=True).stdout

    def test_stats(self):
        first, _ = self.grow(2)
        told, = json.loads(self.stats(first, "--output", "json"))["environments"]
        self.assertGreater(told["cluster"].pop("fresh_ms"), 0)
        self.assertEqual(told["cluster"], {"agent_connected": True, "closed": False, "applied": 1, "head": 1, "nodes": 2})
        self.assertRegex(self.stats(first), r"(?m)^cluster nodes +2$(.*\n)+cluster agent +connected$")
        self.fobd = daemon.Daemon().start()
        self.assertEqual([e["cluster"] for e in json.loads(self.stats(self.fobd, "--output", "json"))["environments"]], [None, None])
        self.assertNotIn("cluster", self.stats(self.fobd).replace("CLUSTER", ""))

    def test_init(self):
        self.fobd = daemon.Daemon()
        self.fobd.start()
        for command in ("status", "wait"):
            said = self.fob(self.fobd, command, exits=4).stderr
            self.assertIn("live and test are in no cluster", said)
            said = self.fob(self.fobd, command, "--environment", "test", exits=4).stderr
            self.assertIn("test: FAILED_PRECONDITION", said)
        self.assertIn("needs --environment", self.fob(self.fobd, "init", exits=1).stderr)
        made = self.json(self.fobd, "init", "--environment", "test")
        self.assertEqual((made["environment"], len(made["cluster"]), len(made["replica"])), ("test", 32, 32))
        self.assertIn("--yes", self.fob(self.fobd, "reinit", "--environment", "test", exits=1).stderr)
        # Live, which is in no cluster, is passed over.
        self.assertEqual([c["environment"] for c in self.json(self.fobd, "status")["clusters"]], ["test"])
        said = self.fob(self.fobd, "wait", "--timeout", "200ms", exits=2).stderr
        self.assertRegex(said, r"test: it does not serve after 0\.2 s: fob-cluster, the agent .* not connected")
        self.assertIn("1ms to 24h", self.fob(self.fobd, "wait", "--timeout", "25h", exits=1).stderr)
        self.assertIn("not serving", self.fob(self.fobd, "status").stdout)

    def offline(self, fobd, *arguments, exits=0):
        done = subprocess.run([FOB, "cluster", *arguments, "--config", fobd.config], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, exits, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_leave_and_join(self):
        first, second = self.grow(2)
        self.assertIn("in use by another fobd", self.offline(second, "leave", "live", "--yes", exits=1))
        for node in self.nodes:
            node.fobd.stop()
        self.assertIn("--yes", self.offline(second, "leave", "live", exits=1))
        self.assertIn("in no cluster any more, as of entry 1", self.offline(second, "leave", "live", "--yes"))
        self.assertIn("is in no cluster", self.offline(second, "leave", "live", "--yes", exits=1))
        second.start(init=False)
        with second.client() as c:  # alone
            c.roll(pb.LIVE, "acct_1")
        second.stop()
        self.assertIn("is not a backup", self.offline(second, "join", "live", exits=1))
        shutil.rmtree(second.database("live"))
        os.rename(second.pepper("live"), second.pepper("live") + ".away")
        self.assertIn(second.pepper("live"), self.offline(second, "join", "live", exits=1))
        os.rename(second.pepper("live") + ".away", second.pepper("live"))
        self.assertIn("made to join", self.offline(second, "join", "live"))
        self.assertIn("waits for a copy", self.offline(second, "leave", "live", "--yes", exits=1))
        for node in self.nodes:
            node.fobd.start(init=False)
        for node in self.nodes:
            node.wait_fresh()
        with second.client() as c:
            self.assertEqual(len(c.events(pb.LIVE)), 1)

    def test_compare(self):
        first, second = self.grow(2)
        with first.client() as c:
            for i in range(5):
                c.create(pb.LIVE, "more_%d" % i)
                c.roll(pb.LIVE, "more_%d" % i)
        other = second.urls["admin"]
        equal = self.json(first, "compare", other)["compared"]
        self.assertEqual([(c["environment"], c["equal"], c["difference"]) for c in equal], [("live", True, None)])
        self.assertEqual((equal[0]["accounts"], equal[0]["keys"], equal[0]["events"]), (6, 17, 11))
        self.assertIn("same node", self.fob(first, "compare", first.urls["admin"], exits=1).stderr)
        # etcd forks, which it must never do: the two take different entries of one number.
        fork = model_etcd.Etcd()
        agent = self.nodes[1].agent
        with agent.etcd.lock:
            fork.entries, fork.revision = dict(agent.etcd.entries), agent.etcd.revision
        agent.etcd, agent.transact = fork, fork.transact
        for fobd, account in ((first, "more_1"), (second, "more_2")):
            with fobd.client() as c:
                c.suspend(pb.LIVE, account)
        self.assertIn("they differ at entry 12: account more_1", self.fob(first, "compare", other, exits=4).stdout)
        differ = json.loads(self.fob(second, "compare", first.urls["admin"], "--output", "json", exits=4).stdout)
        self.assertEqual(differ["compared"][0]["difference"], "account more_1")

    def test_status_and_wait(self):
        first, second = self.grow(2)
        self.assertIn("in a cluster", self.fob(first, "init", "--environment", "live", exits=4).stderr)
        waited = self.json(second, "wait", "--timeout", "20s")["clusters"][0]
        self.assertTrue(waited["serving"])
        self.assertGreaterEqual(waited["applied"], 1)
        self.assertIn("serving, at entry", self.fob(second, "wait").stdout)
        status = self.json(first, "status", "--environment", "live")["clusters"][0]
        self.assertTrue(status["agent_connected"] and status["serving"] and status["why_not"] is None)
        self.assertEqual(status["applied"], status["head"])
        self.assertEqual(len(status["nodes"]), 2)
        self.assertEqual([n["replica"] for n in status["nodes"] if n["self"]], [status["replica"]])
        self.assertEqual([n["behind"] for n in status["nodes"]], [0, 0])
        text = self.fob(first, "status").stdout
        for words in (status["cluster"], status["replica"], "ms more without hearing of the cluster", "connected",
                      "REPLICA", *(n["replica"][:8] for n in status["nodes"])):
            self.assertIn(words, text)
        # Cut off, it says so, and a wait lasts until it is back.
        self.nodes[1].agent.cut = True
        daemon.wait_until("it is stale", lambda: self.nodes[1].status().fresh_ms == 0)
        status = self.json(second, "status")["clusters"][0]
        self.assertEqual((status["serving"], status["why_not"]), (False, "it has not heard of the cluster for too long"))
        waiting = subprocess.Popen([FOB, "--address", second.urls["admin"], "cluster", "wait"], stdout=subprocess.PIPE, text=True)
        self.nodes[1].agent.cut = False
        said, _ = waiting.communicate(timeout=60)
        self.assertEqual(waiting.returncode, 0)
        self.assertIn("serving, at entry", said)

    def test_forget(self):
        first, second = self.grow(2)
        mine, other = (n.status().replica.hex() for n in self.nodes)
        self.assertIn("--is-off", self.fob(first, "forget", other, exits=1).stderr)
        self.assertIn("--yes", self.fob(first, "forget", other, "--is-off", exits=1).stderr)
        self.assertIn("hexadecimal", self.fob(first, "forget", "node-2", "--is-off", "--yes", exits=1).stderr)
        self.assertIn("NOT_FOUND", self.fob(first, "forget", "0" * 32, "--is-off", "--yes", exits=3).stderr)
        self.assertIn("it is on", self.fob(first, "forget", mine, "--is-off", "--yes", exits=4).stderr)
        second.kill()
        # By its first digits, in either case.
        done = self.json(first, "forget", other[:8].upper(), "--is-off", "--yes")
        self.assertEqual(done, {"environment": "live", "forgotten": other})
        daemon.wait_until("its row is gone", lambda: len(self.json(first, "status")["clusters"][0]["nodes"]) == 1)

    def test_a_restored_copy_is_in_no_cluster(self):
        first, = self.grow(1)
        self.fobd = daemon.Daemon(environments=("live",))
        shutil.copy(first.pepper("live"), self.fobd.pepper("live"))
        for fobd, arguments in ((first, ("--backup", "live", self.fobd.database("live"))),
                                (self.fobd, ("--check", "live")),
                                (self.fobd, ("--restore", "live", "--accept-revived")),
                                (self.fobd, ("--check", "live"))):
            done = fobd.run(*arguments)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertEqual("in no cluster now" in done.stdout, "--restore" in arguments, done.stdout)
        self.fobd.start(init=False)
        self.assertIn("live: FAILED_PRECONDITION", self.fob(self.fobd, "status", "--environment", "live", exits=4).stderr)


if __name__ == "__main__":
    tap.main()
