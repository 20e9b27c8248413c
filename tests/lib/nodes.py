"""Nodes of a cluster for tests: real fobds that share a pepper, each with an agent."""

import os

import daemon
import fobwire
import model_etcd
import pb


class Node:
    """A fobd that is in a cluster of the environment live: the first one, or one that has joined the node ${first}.
    attach(socket) gives it an agent, which has stop()."""

    def __init__(self, attach, first=None, staleness_ms=1500 * daemon.SLOWER):
        self.attach = attach
        self.fobd = daemon.Daemon(environments=("live",))
        self.path = os.path.join(self.fobd.place, "x")
        self.fobd.write_config(self.fobd.config_text + 'listen "ipc://%s" {\n\trole = "cluster"\n}\nmax_staleness = %d\n' % (
            self.path, staleness_ms))
        if first is None:
            self.fobd.start()
            with self.fobd.client() as c:
                c.call("fob.v1.Admin/InitCluster", pb.admin.InitClusterRequest(
                    environment=pb.LIVE, request_token=fobwire.new_token()))
        else:
            self._join(first)
        self.agent = attach(self)
        self.wait_fresh()

    def _join(self, first):
        with open(first.fobd.pepper("live"), "rb") as f, open(
                os.open(self.fobd.pepper("live"), os.O_WRONLY | os.O_CREAT, 0o600), "wb") as to:
            to.write(f.read())
        for fobd, args in ((first.fobd, ("--backup", "live", self.fobd.database("live"))), (self.fobd, ("--join", "live"))):
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

    def stop(self):
        if self.fobd.process is not None:
            self.fobd.stop()
        self.agent.stop()


def modelled(etcd, first=None, **options):
    """A node with an agent of model_etcd."""
    return Node(lambda n: model_etcd.Agent("ipc://" + n.path, etcd), first, **options)


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
