#!/usr/bin/python3
"""SP as PROTOCOL.md specifies it, over ipc and tcp: greeting, framing, pipelining, backtraces, and what closes a
connection. The client is plain sockets, without nng."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import random
import struct
import unittest

import daemon
import fobwire
import pb
import tap
from pb import LIVE

CHECK = fobwire.request("fob.v1.Health/Check", pb.health.CheckRequest())


class Wire(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.fobd = daemon.Daemon().start()
        cls.addClassCleanup(cls.fobd.stop)

    def tearDown(self):
        for listener in ("verify", "tcp"):
            with self.fobd.client(listener) as c:
                self.assertEqual(c.check(), pb.health.CheckResponse.SERVING)

    def each(self):
        return [self.fobd.urls[listener] for listener in ("verify", "tcp")]

    def closed(self, s, within_s=5):
        """The server closes this connection, perhaps after more bytes."""
        s.settimeout(within_s * daemon.SLOWER)
        got = b""
        try:
            while True:
                data = s.recv(4096)
                if not data:
                    return got
                got += data
        except ConnectionResetError:
            return got
        except TimeoutError:
            self.fail("still open")

    def test_the_server_does_not_wait_for_our_header(self):
        for url in self.each():
            with self.subTest(url=url):
                with fobwire.dial(url) as s:
                    self.assertEqual(s.recv(8), fobwire.HANDSHAKE_PEER)

    def test_a_header_byte_by_byte_and_a_message_likewise(self):
        for url in self.each():
            with self.subTest(url=url):
                with fobwire.dial(url) as s:
                    for byte in fobwire.HANDSHAKE + fobwire.frame(url, struct.pack(">I", 0x80000007) + CHECK):
                        s.sendall(bytes([byte]))
                    stream = s.makefile("rb")
                    self.assertEqual(stream.read(8), fobwire.HANDSHAKE_PEER)
                    head = stream.read(9 if url.startswith("ipc") else 8)
                    payload = stream.read(struct.unpack(">Q", head[-8:])[0])
                    self.assertEqual(payload[:4], bytes.fromhex("80000007"))
                    self.assertEqual(fobwire.response(payload[4:]).code, pb.rpc.OK)

    def test_everything_in_one_segment(self):
        for url in self.each():
            with self.subTest(url=url):
                with fobwire.dial(url) as s:
                    s.sendall(fobwire.HANDSHAKE + b"".join(
                        fobwire.frame(url, struct.pack(">I", 0x80000000 + i) + CHECK) for i in range(20)))
                    connection = fobwire.Connection.__new__(fobwire.Connection)
                    connection.sock, connection._ipc = s, url.startswith("ipc")
                    connection._read(8)
                    self.assertEqual({connection.recv()[0] for _ in range(20)}, {0x80000000 + i for i in range(20)})

    def test_other_headers_are_refused(self):
        for url in self.each():
            with self.subTest(url=url):
                for header in ("0053500000310000", "0053500000100000", "0053500000200000", "0053500100300000",
                               "0153500000300000",
                               "0053500000300001", "0000000000000000", "ffffffffffffffff", b"GET / HT".hex()):
                    with self.subTest(header=header), fobwire.dial(url) as s:
                        s.sendall(bytes.fromhex(header))
                        self.assertEqual(self.closed(s), fobwire.HANDSHAKE_PEER)

    def test_frames_that_close_the_connection(self):
        ident = struct.pack(">I", 0x80000001)
        for url in self.each():
            with self.subTest(url=url):
                ipc = url.startswith("ipc")
                cases = {
                    "empty": fobwire.frame(url, b""), "one byte": fobwire.frame(url, b"\x80"),
                    "two": fobwire.frame(url, b"\x80\0"),
                    "three": fobwire.frame(url, b"\x80\0\0"),
                   
                    "8 GiB": (b"\x01" if ipc else b"") + struct.pack(">Q", 8 << 30) + ident,
                    "2^64-1": (b"\x01" if ipc else b"") + b"\xff" * 8 + ident,
                    "262,145 bytes": (b"\x01" if ipc else b"") + struct.pack(">Q", 262145) + ident,
                }
                if ipc:
                    cases["message type 0"] = b"\0" + fobwire.frame(url, ident + CHECK)[1:]
                    cases["message type 2"] = b"\x02" + fobwire.frame(url, ident + CHECK)[1:]
                for name, data in cases.items():
                    with self.subTest(frame=name), fobwire.Connection(url) as c:
                        self.assertEqual(c.exchange(CHECK), c.exchange(CHECK))
                        c.sock.sendall(data)
                        self.assertEqual(self.closed(c.sock), b"")

    def test_an_id_alone_is_an_empty_request(self):
        for url in self.each():
            with self.subTest(url=url):
                with fobwire.Connection(url) as c:
                    r = fobwire.response(c.exchange(b""))
                    self.assertEqual(fobwire.code_name(r.code), "UNIMPLEMENTED")

    def test_replies_carry_the_id_of_their_request_and_may_come_in_any_order(self):
        with self.fobd.client("admin") as c:
            secrets = [c.create(LIVE, "id-%d" % i).secret_key.secret for i in range(16)]
        for url in self.each():
            with self.subTest(url=url):
                with fobwire.Connection(url) as c:
                    for _ in range(20):
                        order = random.sample(range(16), 16)
                        requests = [fobwire.request("fob.v1.Keys/VerifyKey",
                                                    fobwire.verify_request(secrets[i])) for i in order]
                        for i, reply in zip(order, c.exchange_many(requests)):
                            got = fobwire.result("fob.v1.Keys/VerifyKey", fobwire.response(reply))
                            self.assertEqual(got.account, "id-%d" % i)

    def test_ids_are_only_echoed(self):
        """The highest id, the lowest, and the same id twice at once: the server keeps no table of ids."""
        for url in self.each():
            with self.subTest(url=url):
                with fobwire.Connection(url) as c:
                    for ident in (0x80000000, 0xFFFFFFFF, 0x80000001, 0x80000001):
                        c.send_frame(struct.pack(">I", ident) + CHECK)
                    self.assertEqual(sorted(c.recv()[0] for _ in range(4)),
                                     [0x80000000, 0x80000001, 0x80000001, 0xFFFFFFFF])

    def test_what_came_through_a_device_is_dropped(self):
        """Hops before the request id, as SP devices add them: no reply, but the connection stays open."""
        for url in self.each():
            with self.subTest(url=url), fobwire.Connection(url) as c:
                for hops in (1, 2, 7, 8, 15, 16, 100):
                    c.send_frame(b"\0\0\0\1" * hops + struct.pack(">I", 0x80000009) + CHECK)
                c.send_frame(b"\0\0\0\1" * 3)
                c.send_frame(struct.pack(">I", 0x8000000B) + CHECK)
                self.assertEqual(c.recv()[0], 0x8000000B)

    def test_random_frames(self):
        pick = random.Random(tap.seed())
        for url in self.each():
            with self.subTest(url=url):
                for _ in range(200):
                    with fobwire.dial(url) as s:
                        s.settimeout(2)
                        try:
                            s.sendall(fobwire.HANDSHAKE)
                            for _ in range(pick.randrange(1, 6)):
                                data = bytearray(fobwire.frame(url, struct.pack(">I", 0x80000001) + CHECK))
                                for _ in range(pick.randrange(0, 4)):
                                    data[pick.randrange(len(data))] = pick.randrange(256)
                                s.sendall(data)
                        except OSError:
                            pass


tap.main()
