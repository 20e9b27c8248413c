"""fob-cluster, and a fobd for it that a test plays: it answers Exchanges on a unix socket, as service/rpc/cluster.c does.
NoEtcd is for tests that need none: nothing listens there."""

import os
import signal
import socket
import struct
import subprocess
import threading

import daemon
import fobwire
import pb
from pb import cluster

FOB_CLUSTER = os.path.join(daemon.BUILD, "fob-cluster")
_agents = []

Compare, Action = cluster.Compare, cluster.Action


def compare(key, version=None, create_revision=None, value=None):
    key = key.encode()
    if version is not None:
        return Compare(target=Compare.VERSION, key=key, number=version)
    if create_revision is not None:
        return Compare(target=Compare.CREATE_REVISION, key=key, number=create_revision)
    return Compare(target=Compare.VALUE, key=key, value=value)


def get(key, end="", limit=0):
    return Action(kind=Action.GET, key=key.encode(), end=end.encode(), limit=limit)


def put(key, value):
    return Action(kind=Action.PUT, key=key.encode(), value=value)


def delete(key, end=""):
    return Action(kind=Action.DELETE, key=key.encode(), end=end.encode())


class Fobd:
    """One thread takes connections and Exchanges. An Exchange is answered when there is a transaction or an ask, or when the
    next one comes. What the agent told is kept: results and answers by id, sessions in their order, troubles, and how often
    the bell rang. With hold_answers an Exchange that has answers is never answered, and others are at once."""

    def __init__(self, path=None, again_ms=1000):
        self.path = path or os.path.join(daemon.folder(), "c")
        self.again_ms, self.next_id = again_ms, 0
        self.seen = threading.Condition()
        self.results, self.sessions, self.requests, self.bells, self.trouble = {}, [], 0, 0, ""
        self.answers, self.hold_answers = {}, False
        self.sizes, self.environments = [], set()
        self.connection = self.pending = None
        self.closed = False
        self.queue = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def close(self):
        """As a fobd that ends."""
        if self.closed:
            return
        self.closed = True
        with self.seen:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            if self.connection is not None:
                self.connection.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        if os.path.exists(self.path):
            os.unlink(self.path)

    # ---- the thread ----

    def _serve(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            with s:
                with self.seen:
                    self.connection, self.pending = s, None
                try:
                    self._converse(s)
                except OSError:
                    pass
                with self.seen:
                    self.connection = self.pending = None

    def _read(self, s, n):
        data = bytearray()
        while len(data) < n:
            part = s.recv(n - len(data))
            if not part:
                raise OSError("closed")
            data += part
        return bytes(data)

    def _converse(self, s):
        s.sendall(fobwire.HANDSHAKE_PEER)
        if self._read(s, 8) != fobwire.HANDSHAKE:
            raise OSError("not REQ")
        while True:
            length, = struct.unpack(">Q", self._read(s, 9)[1:])
            payload = self._read(s, length)
            request = pb.rpc.Request.FromString(payload[4:])
            assert request.method == "fob.v1.Cluster/Exchange", request.method
            self._take(payload[:4], cluster.ExchangeRequest.FromString(request.body), len(request.body))

    def _take(self, ident, r, size):
        with self.seen:
            if self.pending is not None:
                self._answer([])
            if not self.sessions or self.sessions[-1] != r.session:
                self.sessions.append(r.session)
            self.requests += 1
            self.bells += r.changed
            self.trouble = r.trouble
            self.sizes.append(size)
            self.environments.add(r.environment)
            for result in r.results:
                assert result.id not in self.results, "a second result of one transaction"
                self.results[result.id] = result
            for answer in r.answers:
                assert answer.id not in self.answers, "a second answer to one ask"
                self.answers[answer.id] = answer
            if not (r.answers and self.hold_answers):
                self.pending = ident
            if (self.queue or self.hold_answers) and self.pending is not None:
                self._answer(self.queue)
                self.queue = []
            self.seen.notify_all()

    def _answer(self, made):
        """Holding the lock. ${made}: transactions and asks."""
        body = cluster.ExchangeResponse(
            transactions=[m for m in made if isinstance(m, cluster.Transaction)],
            asks=[m for m in made if isinstance(m, cluster.Ask)], again_ms=self.again_ms).SerializeToString()
        reply = pb.rpc.Response(body=body).SerializeToString()
        ident, self.pending = self.pending, None
        self.connection.sendall(fobwire.frame("ipc:", ident + reply))

    # ---- for the test ----

    def begin(self, timeout_ms=3000, **fields):
        """Give the agent a transaction; returns its id."""
        return self.begin_many([dict(timeout_ms=timeout_ms, **fields)])[0]

    def begin_many(self, all_fields, kind=cluster.Transaction):
        with self.seen:
            made = []
            for fields in all_fields:
                self.next_id += 1
                made.append(kind(id=self.next_id, **fields))
            if self.pending is not None:
                self._answer(made)
            else:
                self.queue += made
            return [t.id for t in made]

    def wait(self, what, seen, timeout_s=10.0):
        with self.seen:
            if not self.seen.wait_for(seen, timeout_s * daemon.SLOWER):
                raise AssertionError("not within %g s: %s" % (timeout_s * daemon.SLOWER, what))

    def result(self, ident):
        self.wait("the result of transaction %d" % ident, lambda: ident in self.results)
        return self.results[ident]

    def make(self, **fields):
        return self.result(self.begin(**fields))

    def ask_many(self, address, all_sealed, timeout_ms=20000):
        """Give the agent asks of the node at ${address}; returns their ids."""
        return self.begin_many([dict(address=address.encode(), sealed=sealed, timeout_ms=timeout_ms) for sealed in all_sealed],
                               cluster.Ask)

    def answer(self, ident):
        self.wait("the answer to ask %d" % ident, lambda: ident in self.answers)
        return self.answers[ident]

    def ask(self, address, sealed, timeout_ms=20000):
        return self.answer(self.ask_many(address, [sealed], timeout_ms)[0])


class NoEtcd:
    """What Agent needs of an Etcd."""

    def __init__(self, made):
        self.certs, self.endpoints = made, ["https://" + daemon.own_address()]


class Agent:
    def __init__(self, fobd, etcd, endpoints=None, environment="live", user="agent", ca="ca", more=""):
        _agents.append(self)
        self.place = daemon.folder()
        self.config = os.path.join(self.place, "conf")
        self.log_path = os.path.join(self.place, "log")
        c = etcd.certs
        with open(self.config, "w") as f:
            f.write('environment = "%s"\nsocket = "ipc://%s"\nendpoints = {%s}\nca = "%s"\n' % (
                environment, fobd.path, ", ".join('"%s"' % e for e in endpoints or etcd.endpoints), c.pem(ca)))
            f.write('cert = "%s"\nkey = "%s"\n' % (c.pem(user), c.key(user)) if user else "")
            f.write('log_level = "debug"\n' + more)
        self.process = None

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([FOB_CLUSTER, "--config", self.config], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, cwd="/", preexec_fn=daemon._die_with_parent)
        return self

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def hup(self, said):
        """SIGHUP, and wait until the log says ${said} once more."""
        before = self.log().count(said)
        self.process.send_signal(signal.SIGHUP)
        daemon.wait_until(said, lambda: self.log().count(said) > before)

    def stop(self):
        """SIGTERM; it ends with 0, and neither a sanitizer nor a private key is in its log."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(10 * daemon.SLOWER)
        finally:
            self.kill()
        log = self.log()
        if status != 0 or "Sanitizer" in log or "runtime error:" in log or "PRIVATE KEY" in log:
            raise AssertionError("fob-cluster ended with %s:\n%s" % (status, log[-4000:]))

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@daemon.atexit.register
def _end():
    for a in _agents:
        if a.process is not None:
            a.kill()
