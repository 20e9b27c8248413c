#!/usr/bin/python3
"""The bytes in proto/PROTOCOL.md are those that a client sends and fobd answers.

`test_golden.py --print` prints the blocks, made from the fixed values below; paste them into the document when messages
change. The tests compare the document with these values, with the Python client and with the daemon. Values that differ
each time (secrets, times) and texts for people are copied from the document before the comparison.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import re
import struct
import unittest
import zlib

import fobwire
import pb
from pb import LIVE, SECRET

DOCUMENT = os.path.join(pb.ROOT, "proto", "PROTOCOL.md")
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def with_checksum(text):
    crc, check = zlib.crc32(text.encode()), ""
    for _ in range(6):
        crc, digit = divmod(crc, 62)
        check = DIGITS[digit] + check
    return (text + check).encode()


# ---- the exchange, from fixed values ----

KEY = with_checksum("sk_live_" + "ThisIsAnExampleNotARealKey0000")
NEW_KEY = with_checksum("sk_live_" + "ThisIsAnExampleNotARealKey0001")
CREATE_TOKEN = bytes(range(0x20, 0x40))
ROLL_TOKEN = bytes(range(0x40, 0x60))
ACCOUNT = "acct_example"
CREATED_MS = 1_800_000_000_000
ROLLED_MS = CREATED_MS + 3_600_000
VERIFY = "fob.v1.Keys/VerifyKey"
CREATE = "fob.v1.Admin/CreateAccount"
ROLL = "fob.v1.Admin/RollKey"


def key(generation, secret, created_ms, state, expires_ms=0):
    return pb.types.Key(account=ACCOUNT, environment=LIVE, kind=SECRET, generation=generation,
                        last4=secret[-4:].decode(),
                        state=state, created_ms=created_ms, expires_ms=expires_ms)


def verified(secret, **kw):
    return pb.keys.VerifyKeyResponse(verdict=pb.keys.VALID, account=ACCOUNT, environment=LIVE, livemode=True,
                                     kind=SECRET,
                                     last4=secret[-4:].decode(), **kw)


# (name of the exchange, method or None, request or its raw body, code, message, reply)
EXCHANGES = [
    ("verify-unknown", VERIFY, fobwire.verify_request(KEY, operation="charges.create"), pb.rpc.OK, "",
     pb.keys.VerifyKeyResponse(verdict=pb.keys.NOT_FOUND, detail="there is no such key", environment=LIVE,
                               livemode=True, kind=SECRET)),
    ("roll", ROLL, fobwire.roll_request(LIVE, ACCOUNT, ROLL_TOKEN, grace=86400, expected_generation=1), pb.rpc.OK, "",
     pb.admin.RollKeyResponse(
         new_key=pb.types.NewKey(key=key(2, NEW_KEY, ROLLED_MS, pb.types.KEY_STATE_CURRENT), secret=NEW_KEY),
         old_key=key(1, KEY, CREATED_MS, pb.types.KEY_STATE_GRACE, ROLLED_MS + 86_400_000))),
    ("verify-old", VERIFY, fobwire.verify_request(KEY), pb.rpc.OK, "",
     verified(KEY, generation=1, current_generation=2, superseded=True, created_ms=CREATED_MS,
              expires_ms=ROLLED_MS + 86_400_000)),
    ("error", "fob.v1.Keys/Verify", b"", pb.rpc.UNIMPLEMENTED,
     "no such method; methods are named like fob.v1.Keys/VerifyKey", None),
]


def blocks():
    """name -> (bytes, annotated lines)"""
    found = {
        "handshake-client": (fobwire.HANDSHAKE, ["00 53 50 00  # 0, 'S', 'P', version 0", "00 30        # REQ",
                                                 "00 00"]),
        "handshake-server": (fobwire.HANDSHAKE_PEER, ["00 53 50 00", "00 31        # REP", "00 00"]),
    }
    for number, (name, method, request, code, message, reply) in enumerate(EXCHANGES, 1):
        ident = 0x80000000 + number
        asked = pb.rpc.Request.FromString(fobwire.request(method, request))
        answered = pb.rpc.Response(code=code, message=message,
                                   body=reply.SerializeToString(deterministic=True) if reply else b"")
        for part, envelope, inner in (("request", asked, request if not isinstance(request, bytes) else None),
                                      ("reply", answered, reply)):
            payload = struct.pack(">I", ident) + envelope.SerializeToString(deterministic=True)
            lines = ["%-48s # length %d" % (spaced(struct.pack(">Q", len(payload))), len(payload)),
                     "%-48s # request id" % spaced(payload[:4])]
            found[name + "-" + part] = (struct.pack(">Q", len(payload)) + payload, lines + annotated(envelope, inner))
    return found


def spaced(data):
    return data.hex(" ")


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def annotated(message, inner=None, indent=0):
    """A message's fields with their names, one a line; for a `body` the fields of ${inner}."""
    lines = []
    for field, value in sorted(message.ListFields(), key=lambda f: f[0].number):
        pad = "  " * indent
        if field.type == field.TYPE_MESSAGE or (field.name == "body" and inner is not None):
            child = inner if field.name == "body" else value
            data = child.SerializeToString(deterministic=True)
            head = bytes([field.number << 3 | 2]) + varint(len(data))
            lines.append("%-48s # %s, %d bytes" % (pad + spaced(head), field.name, len(data)))
            lines += annotated(child, None, indent + 1)
        elif field.type in (field.TYPE_STRING, field.TYPE_BYTES):
            data = value.encode() if isinstance(value, str) else value
            head = bytes([field.number << 3 | 2]) + varint(len(data))
            is_text = all(32 <= b < 127 for b in data) and field.name != "request_token"
            shown = ' "%s"' % data.decode() if is_text else ""
            line = "%-48s # %s%s" % (pad + spaced(head), field.name, shown)
            lines.append(line if len(line) <= 120 else line[:-len(shown)])
            lines += [pad + "   " + spaced(data[i:i + 16]) for i in range(0, len(data), 16)]
        else:
            name = field.enum_type.values_by_number[value].name if field.enum_type else value
            lines.append("%-48s # %s = %s" % (pad + spaced(bytes([field.number << 3]) + varint(value)), field.name,
                                              name))
    return lines


def fenced(name, lines):
    return "```hex %s\n%s\n```\n" % (name, "\n".join(line.rstrip() for line in lines))


if "--print" in sys.argv:
    for block_name, (_, block_lines) in blocks().items():
        print(fenced(block_name, block_lines))
    sys.exit(0)

import daemon  # noqa: E402
import tap  # noqa: E402


def document():
    """name -> (bytes, the block's text) for every hex block in PROTOCOL.md"""
    with open(DOCUMENT) as f:
        text = f.read()
    found = {}
    for name, body in re.findall(r"^```hex (\S+)\n(.*?)^```\n", text, re.M | re.S):
        if name in found:
            raise AssertionError("two blocks named " + name)
        found[name] = (bytes.fromhex(" ".join(line.split("#")[0] for line in body.splitlines())), body)
    return found


def settle(got, shown):
    """Copy from ${shown} to ${got} the fields that differ each time or are texts for people, if both have them."""
    for field, value in got.ListFields():
        if field.type == field.TYPE_MESSAGE:
            settle(value, getattr(shown, field.name))
        elif field.name in ("secret", "last4", "created_ms", "expires_ms", "message", "detail") and getattr(shown,
                                                                                                            field.name):
            setattr(got, field.name, getattr(shown, field.name))


class Golden(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.shown = document()
        cls.made = blocks()

    def test_the_document_shows_every_block_and_no_other(self):
        self.assertEqual(list(self.shown), list(self.made))
        for name, (data, lines) in self.made.items():
            self.assertEqual(fenced(name, lines), "```hex %s\n%s```\n" % (name, self.shown[name][1]))
            self.assertEqual(self.shown[name][0], data, name)

    def test_the_client_sends_the_shown_bytes(self):
        for number, (name, method, request, *_) in enumerate(EXCHANGES, 1):
            with self.subTest(name=name):
                sent = []
                connection = fobwire.Connection.__new__(fobwire.Connection)
                connection.url, connection._next_id, connection._send = "tcp://x:1", number - 1, sent.append
                connection.send(fobwire.request(method, request))
                self.assertEqual(bytes(sent[0]), self.shown[name + "-request"][0])

    def test_the_client_reads_the_shown_bytes(self):
        for number, (name, method, _, code, message, reply) in enumerate(EXCHANGES, 1):
            with self.subTest(name=name):
                rest = [self.shown[name + "-reply"][0]]

                def read(n):
                    part, rest[0] = rest[0][:n], rest[0][n:]
                    return part
                connection = fobwire.Connection.__new__(fobwire.Connection)
                connection._ipc, connection._read = False, read
                ident, data = connection.recv()
                self.assertEqual((ident, rest[0]), (0x80000000 + number, b""))
                got = fobwire.response(data)
                self.assertEqual((got.code, got.message), (code, message))
                if reply:
                    self.assertEqual(fobwire.result(method, got), reply)

    def replay(self, listener):
        """Send the shown bytes to a real daemon over a bare socket, and compare what comes back."""
        fobd = daemon.Daemon().start()
        self.addCleanup(fobd.kill)
        with fobd.client("admin") as c:
            real = c.create(LIVE, ACCOUNT, CREATE_TOKEN).secret_key.secret
        url = fobd.urls[listener]
        ipc = b"\x01" if url.startswith("ipc:") else b""
        s = fobwire.dial(url)
        self.addCleanup(s.close)
        stream = s.makefile("rb")

        s.sendall(self.shown["handshake-client"][0])
        self.assertEqual(stream.read(8), self.shown["handshake-server"][0])
        for name, method, request, _, _, reply in EXCHANGES:
            with self.subTest(name=name):
                ask = self.shown[name + "-request"][0]
                if name == "verify-old":  # the document's key is an invented one; the real one has the same length
                    self.assertEqual(len(real), len(KEY))
                    ask = ask.replace(KEY, real)
                s.sendall(ipc + ask)
                self.assertEqual(stream.read(len(ipc)), ipc)
                length, = struct.unpack(">Q", stream.read(8))
                payload = stream.read(length)
                shown = self.shown[name + "-reply"][0]
                self.assertEqual(payload[:4], shown[8:12], "request id")
                got, want = pb.rpc.Response.FromString(payload[4:]), pb.rpc.Response.FromString(shown[12:])
                # What the daemon sends is the canonical form, so comparing what was parsed compares the bytes.
                self.assertEqual(got.SerializeToString(deterministic=True), payload[4:])
                self.assertEqual(got.code, want.code, got.message)
                settle(got, want)
                if reply is not None:
                    inner, expected = type(reply).FromString(got.body), type(reply).FromString(want.body)
                    self.assertEqual(inner.SerializeToString(deterministic=True), got.body)
                    settle(inner, expected)
                    self.assertEqual(inner, expected)
                    got.body = inner.SerializeToString(deterministic=True)
                self.assertEqual(got.SerializeToString(deterministic=True), shown[12:])
        fobd.stop()

    def test_the_daemon_answers_with_the_shown_bytes_over_tcp(self):
        self.replay("tcpadmin")

    def test_the_daemon_answers_with_the_shown_bytes_over_ipc(self):
        self.replay("admin")


class Document(unittest.TestCase):
    """Other statements of PROTOCOL.md, compared with their sources."""

    @classmethod
    def setUpClass(cls):
        with open(DOCUMENT) as f:
            cls.text = f.read()

    def has(self, pattern, what):
        """Like assertRegex, but does not print the whole document."""
        if not re.search(pattern, self.text):
            self.fail("PROTOCOL.md does not name " + what)

    def test_it_names_every_method_verdict_and_code(self):
        for method in pb.METHODS:
            self.has(r"\b%s\b" % method.split("/")[1], method)
        for enum in (pb.keys.Verdict, pb.rpc.Code, pb.types.KeyState, pb.admin.EventType,
                     pb.admin.ImportOutcome):
            for name in enum.keys():
                self.has(r"\b%s\b" % name, name)
        for name, number in pb.rpc.Code.items() + pb.keys.Verdict.items():
            self.has(r"\| %d \| `%s` \|" % (number, name), "%s = %d" % (name, number))

    def test_it_names_every_field(self):
        for module in (pb.keys, pb.admin, pb.health, pb.types, pb.rpc):
            for message in module.DESCRIPTOR.message_types_by_name.values():
                for field in message.fields:
                    self.has(r"`[^`\n]*\b%s\b[^`\n]*`" % field.name, "%s.%s" % (message.name, field.name))

    def test_its_limits_are_the_sources(self):
        with open(os.path.join(pb.ROOT, "service", "base", "limits.h")) as f:
            limits = {n: int(v) for n, v in re.findall(r"#define LIMIT_(\w+) (\d+)\b", f.read())}
        for name in ("REQUEST", "BATCH", "ACCOUNT", "OPERATION", "PAGE", "PAGE_DEFAULT", "TOKEN", "TIMEOUT_MS",
                     "TIMEOUT_DEFAULT_MS", "GRACE_S", "IN_GRACE", "IN_FLIGHT", "CONNECTIONS", "QUEUE", "SEND_MS",
                     "MESSAGE", "SCAN", "IMPORT", "IMPORTED_SECRET", "UNGREETED"):
            self.has(r"\| %s\b" % format(limits[name], ","), "LIMIT_%s = %d" % (name, limits[name]))


tap.main()
