"""Nodes of a cluster for tests: real fobds that share a pepper, each with an agent."""

import os
import shutil
import subprocess

import agent
import daemon
import fobwire
import model_etcd
import pb

FOB = os.path.join(daemon.BUILD, "fob")


class Node:
    """A fobd that is in a cluster of the environment live: the first one, or one that has joined the node ${first}, by a copy
    that an operator carries or, with ${fetch}, one that it fetches itself. attach(node) gives it an agent, which has
    stop(). ${fobd}: its daemon; None: a new one. ${settings}: more of them."""

    def __init__(self, attach, first=None, staleness_ms=1500 * daemon.SLOWER, fetch=False, fobd=None, settings=""):
        self.attach = attach
        self.fobd = fobd or daemon.Daemon(environments=("live",))
        self.path = os.path.join(self.fobd.place, "x")
        self.peer = "tcp://" + daemon.own_address()
        self.fobd.write_config(self.fobd.config_text + """listen "ipc://%s" {
\trole = "cluster"
}
listen "%s" {
\trole = "peer"
\tinsecure = true
}
max_staleness = %d
%s""" % (self.path, self.peer, staleness_ms, settings))
        if first is None:
            self.fobd.start()
            with self.fobd.client() as c:
                c.call("fob.v1.Admin/InitCluster", pb.admin.InitClusterRequest(
                    environment=pb.LIVE, request_token=fobwire.new_token()))
        else:
            self._join(first, fetch)
        self.agent = attach(self)
        self.wait_fresh()

    def join_anew(self, first):
        """In the place of a node that can serve no more: with a fresh copy of the database of ${first}."""
        self.fobd.stop()
        shutil.rmtree(self.fobd.database("live"))
        self._join(first, fetch=False)
        self.wait_fresh()

    def _join(self, first, fetch):
        with open(first.fobd.pepper("live"), "rb") as f, open(
                os.open(self.fobd.pepper("live"), os.O_WRONLY | os.O_CREAT, 0o600), "wb") as to:
            to.write(f.read())
        steps = [(first.fobd, ("--backup", "live", self.fobd.database("live"))), (self.fobd, ("--join", "live"))]
        for fobd, args in steps[fetch:]:
            done = fobd.run(*args)
            if done.returncode != 0:
                raise AssertionError(done.stderr)
        self.fobd.start(init=False)

    def wait_fresh(self, timeout_s=20):
        daemon.wait_until("the node serves", lambda: self.status().fresh_ms > 0, timeout_s)

    def status(self):
        return self.call(lambda c: c.call(
            "fob.v1.Admin/ClusterStatus", pb.admin.ClusterStatusRequest(environment=pb.LIVE)))

    def call(self, function):
        with self.fobd.client() as c:
            return function(c)

    def verdict(self, secret):
        """The verdict, or the fault's name."""
        name, verdict = fault_of(lambda: self.call(lambda c: c.verdict(secret)))
        return verdict if name == "OK" else name

    def events(self):
        return self.call(lambda c: [e.SerializeToString() for e in c.events(pb.LIVE, page_size=1000)])

    def cli(self, *arguments, exits=0):
        """fob cluster; returns what it prints: with an exit status, why."""
        done = subprocess.run([FOB, "--address", self.fobd.urls["admin"], "cluster", *arguments], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=100, check=False)
        if done.returncode != exits:
            raise AssertionError("fob cluster %s: %d: %s%s" % (" ".join(arguments), done.returncode, done.stdout, done.stderr))
        return done.stderr if exits else done.stdout

    def stop(self):
        if self.fobd.process is not None:
            self.fobd.stop()
        self.agent.stop()


def modelled(etcd, first=None, **kw):
    """A node with an agent of model_etcd."""
    return Node(lambda n: model_etcd.Agent("ipc://" + n.path, etcd), first, **kw)


def real(etcd, first=None, **kw):
    """A node with a fob-cluster, for a real etcd."""
    return Node(lambda n: agent.Agent(n, etcd).start(), first, **kw)


def lagging(etcd, staleness_ms=60000):
    """Two nodes that stay fresh for long. The second one is cut off by its agent: it has an old state, and answers."""
    first = modelled(etcd, staleness_ms=staleness_ms)
    return [first, modelled(etcd, first, staleness_ms=staleness_ms)]


def unacknowledged(node, change):
    """Make a change, for whose reply the other node would have to acknowledge it. It is applied on ${node}."""
    applied = node.status().applied
    name, message = fault_of(lambda: node.call(change))
    if name != "DEADLINE_EXCEEDED":
        raise AssertionError("%s: %s" % (name, message))
    daemon.wait_until("it is applied here", lambda: node.status().applied > applied)


def fault_of(function):
    """The name of the fault with which a call ends, and its message or, with "OK", what it has returned."""
    try:
        return "OK", function()
    except fobwire.Fault as f:
        return f.name, f.message
