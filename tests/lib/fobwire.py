"""A client of Fob written from proto/PROTOCOL.md: Python's sockets and the protobuf messages, no SP library.

Connection speaks SP (greeting, framing, request ids) over ipc, tcp and tls+tcp. Client adds the envelope and the methods.
Neither retries, so that a test sees every failure. A Client is for one thread at a time.
"""

import os
import re
import socket
import struct
import time

import leaks
import pb

HANDSHAKE = bytes.fromhex("00535000 0030 0000")       # the client's greeting: REQ
HANDSHAKE_PEER = bytes.fromhex("00535000 0031 0000")  # the server's greeting: REP
MESSAGE_MAX = 65536

# Every token and secret that went through a Client. Tests search logs, memory and files for them.
known_secrets = leaks.Remembered(b"s")
known_tokens = leaks.Remembered(b"t")


class Closed(Exception):
    """The server closed the connection."""


class Fault(Exception):
    """A reply whose code is not OK."""

    def __init__(self, code, message):
        super().__init__("%s: %s" % (code_name(code), message))
        self.code = code
        self.name = code_name(code)
        self.message = message


def code_name(code):
    try:
        return pb.rpc.Code.Name(code)
    except ValueError:
        return "code %d" % code


def verdict_name(verdict):
    try:
        return pb.keys.Verdict.Name(verdict)
    except ValueError:
        return "verdict %d" % verdict


tls = None  # an ssl.SSLContext; a test that dials tls+tcp:// sets it
tls_server_name = "server"


def dial(url, timeout_s=5.0):
    """A connected socket for "ipc:///PATH", "tcp://HOST:PORT" or, after its handshake, "tls+tcp://HOST:PORT"."""
    scheme, rest = url.split("://", 1)
    if scheme == "ipc":
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        where = rest
    elif scheme == "tcp":
        host, port = rest.rsplit(":", 1)
        s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        where = (host, int(port))
    elif scheme == "tls+tcp":
        s = dial("tcp://" + rest, timeout_s)
        try:
            return tls.wrap_socket(s, server_hostname=tls_server_name)
        except BaseException:
            s.close()
            raise
    else:
        raise ValueError(url)
    s.settimeout(timeout_s)
    end = time.monotonic() + timeout_s
    try:
        while True:
            try:
                s.connect(where)
                return s
            except BlockingIOError:  # the unix socket's backlog is full: try again
                if time.monotonic() > end:
                    raise
                time.sleep(0.002)
    except BaseException:
        s.close()
        raise


def frame(url, payload):
    """A message's bytes on the wire: on ipc a byte 1, then the length and the payload."""
    head = b"\x01" if url.startswith("ipc:") else b""
    return head + struct.pack(">Q", len(payload)) + payload


class Connection:
    """SP's REQ side on one connection."""

    def __init__(self, url, timeout_s=10.0):
        self.url = url
        self._ipc = url.startswith("ipc:")
        self._next_id = int.from_bytes(os.urandom(4), "big")
        self.sock = dial(url, timeout_s)
        try:
            self._send(HANDSHAKE)
            peer = self._read(8)
            if peer != HANDSHAKE_PEER:
                raise ValueError("not an SP REP server: %s" % peer.hex())
        except BaseException:
            self.sock.close()
            raise

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _send(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as e:
            raise Closed(str(e)) from None

    def _read(self, n):
        data = bytearray()
        while len(data) < n:
            try:
                part = self.sock.recv(n - len(data))
            except ConnectionResetError as e:
                raise Closed(str(e)) from None
            if not part:
                raise Closed("end of stream after %d of %d bytes" % (len(data), n))
            data += part
        return bytes(data)

    def send_frame(self, payload):
        """Send a message without a request id, as a hostile or broken client may do."""
        self._send(frame(self.url, payload))

    def send_many(self, payloads):
        """Send all requests without waiting; returns their ids. The replies come in any order."""
        ids, data = [], bytearray()
        for payload in payloads:
            self._next_id = (self._next_id + 1) & 0x7FFFFFFF
            ids.append(self._next_id | 0x80000000)
            data += frame(self.url, struct.pack(">I", ids[-1]) + payload)
        self._send(data)
        return ids

    def send(self, payload):
        return self.send_many([payload])[0]

    def recv(self):
        """The next reply: (request id, payload)."""
        if self._ipc:
            kind = self._read(1)
            if kind != b"\x01":
                raise ValueError("message type %s" % kind.hex())
        length, = struct.unpack(">Q", self._read(8))
        if length < 4 or length > 16 << 20:
            raise ValueError("length %d" % length)
        body = self._read(length)
        ident, = struct.unpack(">I", body[:4])
        if not ident & 0x80000000:
            raise ValueError("a reply whose backtrace does not end")
        return ident, body[4:]

    def exchange(self, payload):
        """Send one request and wait for its reply. Replies to earlier requests are dropped."""
        ident = self.send(payload)
        while True:
            got, reply = self.recv()
            if got == ident:
                return reply

    def exchange_many(self, payloads):
        ids = self.send_many(payloads)
        replies = {}
        while len(replies) < len(ids):
            ident, reply = self.recv()
            if ident in ids:
                replies[ident] = reply
        return [replies[i] for i in ids]


_SECRET = re.compile(rb"[sp]k_(?:live|test)_[0-9A-Za-z]{36}")


def new_token():
    token = os.urandom(32)
    known_tokens.add(token)
    return token


def request(method, message=None, timeout_ms=0, traceparent="", on_behalf_of="", min_live=None, min_test=None):
    """The bytes of a Request. ${message}: a protobuf message, raw bytes or None. ${min_live}: a Position."""
    body = message if isinstance(message, bytes) else message.SerializeToString(deterministic=True) if message else b""
    token = getattr(message, "request_token", b"")
    if len(token) == 32:
        known_tokens.add(bytes(token))
    return pb.rpc.Request(method=method, body=body, timeout_ms=timeout_ms, traceparent=traceparent,
                          on_behalf_of=on_behalf_of, min_live=min_live, min_test=min_test).SerializeToString(deterministic=True)


def response(data):
    """Bytes -> rpc.Response. Records the secrets in it."""
    r = pb.rpc.Response.FromString(data)
    known_secrets.update(_SECRET.findall(r.body))
    return r


class Client:
    """The methods of Fob, one at a time, over one connection."""

    def __init__(self, url, timeout_s=20.0):
        self.url = url
        self.connection = Connection(url, timeout_s)

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- the envelope ----

    def raw(self, data):
        """Bytes of a Request (or anything) -> Response."""
        return response(self.connection.exchange(data))

    def response(self, method, message=None, **envelope):
        return self.raw(request(method, message, **envelope))

    def call(self, method, message=None, **envelope):
        """-> the method's response message; raises Fault."""
        return result(method, self.response(method, message, **envelope))

    # ---- Keys ----

    def verify(self, secret=None, authorization=None, operation="", environment=0):
        return self.call("fob.v1.Keys/VerifyKey", verify_request(secret, authorization, operation, environment))

    def verdict(self, *args, **kw):
        return verdict_name(self.verify(*args, **kw).verdict)

    def verify_many(self, items):
        return self.call("fob.v1.Keys/VerifyKeys", pb.keys.VerifyKeysRequest(items=items)).items

    # ---- Admin ----

    def create(self, environment, account, token=None):
        return self.call("fob.v1.Admin/CreateAccount", create_request(environment, account, token))

    def roll(self, environment, account, token=None, **kw):
        return self.call("fob.v1.Admin/RollKey", roll_request(environment, account, token, **kw))

    def revoke(self, environment, account, kind, generation, token=None):
        return self.call("fob.v1.Admin/RevokeKey", pb.admin.RevokeKeyRequest(
            request_token=token or new_token(), environment=environment, account=account, kind=kind,
            generation=generation)).key

    def suspend(self, environment, account, token=None):
        return self.call("fob.v1.Admin/SuspendAccount", pb.admin.SuspendAccountRequest(
            request_token=token or new_token(), environment=environment, account=account)).account

    def resume(self, environment, account, token=None):
        return self.call("fob.v1.Admin/ResumeAccount", pb.admin.ResumeAccountRequest(
            request_token=token or new_token(), environment=environment, account=account)).account

    def keys(self, environment, account, page_size=0):
        return self._pages("fob.v1.Admin/ListKeys", "keys", pb.admin.ListKeysRequest(
            environment=environment, account=account, page_size=page_size))

    def accounts(self, environment, page_size=0):
        return self._pages("fob.v1.Admin/ListAccounts", "accounts", pb.admin.ListAccountsRequest(
            environment=environment, page_size=page_size))

    def events(self, environment, account="", page_size=0):
        return self._pages("fob.v1.Admin/ListEvents", "events", pb.admin.ListEventsRequest(
            environment=environment, account=account, page_size=page_size))

    def _pages(self, method, field, req):
        found = []
        for _ in range(100000):
            page = self.call(method, req)
            found.extend(getattr(page, field))
            if not (page.more if field == "events" else page.next_page_token):
                return found
            req.page_token = page.next_page_token
        raise AssertionError("pages without end")

    # ---- Health ----

    def check(self, service=""):
        return self.call("fob.v1.Health/Check", pb.health.CheckRequest(service=service)).status

    def stats(self):
        return self.call("fob.v1.Health/Stats", pb.health.StatsRequest())

    def environment_stats(self, environment):
        for e in self.stats().environments:
            if e.environment == environment:
                return e
        raise KeyError(environment)


def result(method, r):
    """Response -> the method's response message; raises Fault."""
    if r.code != pb.rpc.OK:
        raise Fault(r.code, r.message)
    return pb.METHODS[method][1].FromString(r.body)


def verify_request(secret=None, authorization=None, operation="", environment=0):
    req = pb.keys.VerifyKeyRequest(operation=operation, require_environment=environment)
    if secret is not None:
        req.secret = secret
    if authorization is not None:
        req.authorization = authorization
    return req


def create_request(environment, account, token=None):
    return pb.admin.CreateAccountRequest(request_token=token or new_token(), environment=environment, account=account)


def roll_request(environment, account, token=None, kind=0, grace=None, expected_generation=0, authorizing_secret=b""):
    req = pb.admin.RollKeyRequest(request_token=token or new_token(), environment=environment, account=account,
                                  kind=kind,
                                  expected_generation=expected_generation, authorizing_secret=authorizing_secret)
    if grace is not None:
        req.grace.seconds = grace
    return req
