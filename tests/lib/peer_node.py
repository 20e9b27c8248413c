"""The listener of role "peer" of another node, which a test plays: SP over TLS, with a client's certificate, or over TCP. It
keeps what it was asked; the test answers, in any order."""

import select
import socket
import ssl
import struct
import threading

import daemon
import fobwire
import pb
from pb import cluster


class Asked:
    """A request that has come."""

    def __init__(self, connection, ident, request):
        self.connection, self.ident, self.request = connection, ident, request
        self.body = cluster.AskRequest.FromString(request.body)

    @property
    def sealed(self):
        return self.body.sealed

    def answer(self, sealed):
        self.reply(body=cluster.AskResponse(sealed=sealed).SerializeToString())

    def reply(self, **fields):
        self.connection.send(fobwire.frame("tcp:", self.ident + pb.rpc.Response(**fields).SerializeToString()))


class Connection:
    """A thread reads. SSL objects are for one thread at a time, so each call of it holds the lock."""

    def __init__(self, node, s):
        self.node, self.s, self.name, self.lock, self.data = node, s, None, threading.Lock(), bytearray()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def send(self, data):
        with self.lock:
            self.s.settimeout(20 * daemon.SLOWER)
            self.s.sendall(data)

    def close(self):
        try:
            self.s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the agent was first

    def _run(self):
        try:
            self._secure()
            self.node.arrived(self)
            self.send(self.node.greeting)
            if self._take(8) != fobwire.HANDSHAKE:
                raise OSError("not REQ")
            while True:
                length, = struct.unpack(">Q", self._take(8))
                payload = self._take(length)
                self.node.arrived(self, Asked(self, payload[:4], pb.rpc.Request.FromString(payload[4:])))
        except OSError as e:  # closed, or refused: the test sees what the agent says of it
            self.node.left(self, e)
        finally:
            with self.lock:
                self.s.close()

    def _secure(self):
        if self.node.context is not None:
            self.s.settimeout(20 * daemon.SLOWER)
            self.s = self.node.context.wrap_socket(self.s, server_side=True)
            self.name = dict(pair for rdn in self.s.getpeercert()["subject"] for pair in rdn)["commonName"]

    def _take(self, n):
        while len(self.data) < n:
            if not (self.node.context and self.s.pending()):
                select.select([self.s], [], [])
            with self.lock:
                self.s.settimeout(0)
                try:
                    part = self.s.recv(65536)
                except (ssl.SSLWantReadError, BlockingIOError):
                    continue
            if not part:
                raise OSError("closed")
            self.data += part
        taken = bytes(self.data[:n])
        del self.data[:n]
        return taken


class Node:
    """${certs} None: without TLS. ${pair}: its certificate. ${ca}: who signs its clients' certificates. ${greeting}: what it
    says first."""

    def __init__(self, certs=None, pair="node", ca="ca", greeting=fobwire.HANDSHAKE_PEER, where=None):
        self.greeting, self.context = greeting, None
        if certs is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(certs.pem(ca))
            self.context.load_cert_chain(certs.pem(pair), certs.key(pair))
        self.seen = threading.Condition()
        self.asked, self.connections, self.all, self.ends = [], [], [], []
        host, port = (where or daemon.own_address()).rsplit(":", 1)
        self.listener = socket.create_server((host, int(port)))
        self.where = "%s:%d" % (host, self.listener.getsockname()[1])
        self.address = ("tls+tcp://" if certs else "tcp://") + self.where
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            with self.seen:
                self.all.append(Connection(self, s))

    def arrived(self, connection, asked=None):
        with self.seen:
            if asked is None:
                self.connections.append(connection)
            else:
                self.asked.append(asked)
            self.seen.notify_all()

    def left(self, connection, why):
        with self.seen:
            self.ends.append((connection, why))
            self.seen.notify_all()

    # ---- for the test ----

    def wait(self, what, seen):
        with self.seen:
            if not self.seen.wait_for(seen, 10 * daemon.SLOWER):
                raise AssertionError("not in time: %s" % what)

    def take(self, n=1):
        """The next ${n} requests, once they are there."""
        self.wait("%d asks" % n, lambda: len(self.asked) >= n)
        with self.seen:
            taken, self.asked = self.asked[:n], self.asked[n:]
        return taken

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        for connection in self.all:
            connection.close()
            connection.thread.join()
