"""etcd as one process's memory, and an agent for it: for tests of fobd's side of a cluster, without etcd and fob-cluster.

Etcd is a linearizable key-value store with etcd's revisions and compare-and-write transactions. Agent is a thread that
carries out the transactions of one fobd, as fob-cluster does. A test can cut an agent off, delay it, or hold its replies.
"""

import concurrent.futures
import os
import queue
import select
import threading
import time

import fobwire
import pb

C = pb.cluster
METHOD = "fob.v1.Cluster/Exchange"
ANSWER_SMALL = 4096  # of these, eight go into one Exchange


class Etcd:
    """The store. Keys are bytes; an entry is [value, create_revision, version]."""

    def __init__(self):
        self.lock = threading.Lock()
        self.revision = 1
        self.entries = {}
        self.full = False       # refuses transactions that put
        self.changed = threading.Condition(self.lock)
        self.transactions = 0

    def _holds(self, c):
        value, created, version = self.entries.get(c.key, (b"", 0, 0))
        if c.target == C.Compare.CREATE_REVISION:
            return created == c.number
        if c.target == C.Compare.VERSION:
            return version == c.number
        return c.key in self.entries and value == c.value

    def _get(self, a):
        if not a.end:
            keys = [a.key] if a.key in self.entries else []
        else:
            keys = sorted(k for k in self.entries if a.key <= k < a.end)
        more = bool(a.limit) and len(keys) > a.limit
        return keys[:a.limit] if more else keys, more

    def transact(self, t):
        """A Transaction -> a Result."""
        with self.lock:
            self.transactions += 1
            result = C.Result(id=t.id, outcome=C.Result.DONE, succeeded=all(self._holds(c) for c in t.compares))
            actions = t.success if result.succeeded else t.failure
            if self.full and any(a.kind == C.Action.PUT for a in actions):
                return C.Result(id=t.id, outcome=C.Result.NO_SPACE)
            deletes = [k for a in actions if a.kind == C.Action.DELETE for k in self._get(a)[0]]
            if deletes or any(a.kind == C.Action.PUT for a in actions):
                self.revision += 1
                self.changed.notify_all()
            for a in actions:
                if a.kind == C.Action.PUT:
                    _, created, version = self.entries.get(a.key, (b"", self.revision, 0))
                    self.entries[a.key] = (a.value, created, version + 1)
                elif a.kind == C.Action.DELETE:
                    for k in self._get(a)[0]:
                        del self.entries[k]
                else:
                    keys, more = self._get(a)
                    result.more = result.more or more
                    for k in keys:
                        value, created, version = self.entries[k]
                        result.kvs.add(key=k, value=value, create_revision=created, version=version)
            result.revision = self.revision
            return result


class Agent(threading.Thread):
    """Exchanges with the fobd at ${url} until stop(). ${transact}: the store's, or a function in its place that returns a
    Result, or None for one whose outcome is never told."""

    def __init__(self, url, etcd, environment=pb.LIVE):
        super().__init__(daemon=True)
        self.url = url
        self.etcd = etcd
        self.environment = environment
        self.cut = False          # etcd cannot be reached
        self.deaf = False         # it does not hear of changes
        self.transact = etcd.transact
        self.session = os.urandom(16)
        self.ending = False
        self.asks = 0             # of other nodes
        self.carriers = concurrent.futures.ThreadPoolExecutor(64)
        self.answers = queue.SimpleQueue()
        self.error = None
        self.start()

    def stop(self):
        self.ending = True
        self.join(20)
        self.carriers.shutdown()
        if self.error is not None:
            raise self.error

    def run(self):
        while not self.ending:
            try:
                with fobwire.Connection(self.url, 20) as c:
                    self.session = os.urandom(16)
                    self._serve(c)
            except (OSError, fobwire.Closed):
                time.sleep(0.01)
            except Exception as e:  # a bug of the test
                self.error = e
                return

    def _carry_out(self, t):
        if self.cut:
            return C.Result(id=t.id, outcome=C.Result.NOT_SENT)
        return self.transact(t)

    def _hears(self):
        return not self.cut and not self.deaf and self.etcd.revision != self.seen

    def _carry(self, ask):
        """An Ask to the other node -> an Answer."""
        self.asks += 1
        try:
            if self.cut:
                raise OSError("cut off")
            with fobwire.Connection(ask.address.decode(), ask.timeout_ms / 1000.0) as c:
                request = C.AskRequest(environment=self.environment, sealed=ask.sealed)
                r = fobwire.response(c.exchange(fobwire.request("fob.v1.Peer/Ask", request)))
            if r.code != pb.rpc.OK:
                return C.Answer(id=ask.id, why=r.message.encode())
            return C.Answer(id=ask.id, sealed=C.AskResponse.FromString(r.body).sealed)
        except (OSError, fobwire.Closed) as e:
            return C.Answer(id=ask.id, why=str(e).encode())

    def _begin(self, ask):
        session = self.session
        self.carriers.submit(lambda: self.answers.put((session, self._carry(ask))))

    def _carried(self):
        """The answers for the next Exchange."""
        found = []
        while len(found) < 8 and not self.answers.empty():
            session, answer = self.answers.get()
            if session == self.session:
                found.append(answer)
            if len(answer.sealed) > ANSWER_SMALL:
                break
        return found

    def _ask(self, c, results=(), answers=()):
        request = C.ExchangeRequest(environment=self.environment, session=self.session, results=results, answers=answers,
                                    changed=self._hears())
        self.seen = self.etcd.revision
        return c.send(fobwire.request(METHOD, request))

    def _serve(self, c):
        self.seen = 0
        last = self._ask(c)
        asked, again = time.monotonic(), 1.0
        while not self.ending:
            readable, _, _ = select.select([c.sock], [], [], 0.002)
            answers = self._carried()
            if answers:
                last, asked = self._ask(c, answers=answers), time.monotonic()
            if not readable:
                if time.monotonic() > asked + again or self._hears():
                    last, asked = self._ask(c), time.monotonic()
                continue
            ident, reply = c.recv()
            r = fobwire.response(reply)
            if r.code != pb.rpc.OK:
                if r.code not in (pb.rpc.FAILED_PRECONDITION, pb.rpc.UNAVAILABLE):
                    raise AssertionError("Exchange: %s" % r.message)
                time.sleep(0.02)
                last, asked = self._ask(c), time.monotonic()
                continue
            out = C.ExchangeResponse.FromString(r.body)
            again = (out.again_ms or 1000) / 1000.0
            results = [r for r in map(self._carry_out, out.transactions) if r is not None]
            for a in out.asks:
                self._begin(a)
            if results or ident == last:
                last, asked = self._ask(c, results), time.monotonic()
