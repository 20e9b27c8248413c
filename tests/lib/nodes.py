"""Nodes of a cluster for tests: real fobds that share a pepper, each with an agent."""

import os

import daemon
import fobwire
import model_etcd
import pb


class Node:
    """A fobd that is in a cluster of the environment live: the first one, or one that has joined the node ${first}, by a copy
    that an operator carries or, with ${fetch}, one that it fetches itself. attach(socket) gives it an agent, which has
    stop(). ${settings}: more of them."""

    def __init__(self, attach, first=None, staleness_ms=1500 * daemon.SLOWER, fetch=False, settings=""):
        self.attach = attach
        self.fobd = daemon.Daemon(environments=("live",))
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

    def stop(self):
        if self.fobd.process is not None:
            self.fobd.stop()
        self.agent.stop()


def modelled(etcd, first=None, **more):
    """A node with an agent of model_etcd."""
    return Node(lambda n: model_etcd.Agent("ipc://" + n.path, etcd), first, **more)


def fault_of(function):
    """The name of the fault with which a call ends, and its message or, with "OK", what it has returned."""
    try:
        return "OK", function()
    except fobwire.Fault as f:
        return f.name, f.message
