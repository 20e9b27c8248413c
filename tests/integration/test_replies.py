#!/usr/bin/python3
"""What a connection is promised: frames of any size in any pieces, replies in the order in which they are ready, many of
them in one write."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import array
import fcntl
import socket
import struct
import termios
import unittest

import certs
import daemon
import fobwire
import pb
import tap
from pb import LIVE

VERIFY = "fob.v1.Keys/VerifyKey"
MANY = "fob.v1.Keys/VerifyKeys"
ENVELOPE_MAX = 65536
FRAME_MAX = 262144
LISTENERS = ("verify", "tcp", "tls")
DATA_SEGMENTS_IN = 152  # in struct tcp_info: tcpi_data_segs_in


def unread_by_peer(s):
    """How many bytes of what was sent the peer has not read yet."""
    if s.family == socket.AF_UNIX:
        n = array.array("i", [0])
        fcntl.ioctl(s, termios.TIOCOUTQ, n)
        return n[0]
    (host, port), (_, own) = s.getpeername(), s.getsockname()
    ends = "%08X:%04X" % (struct.unpack("=I", socket.inet_aton(host))[0], port), own
    with open("/proc/net/tcp") as f:
        for line in f:
            words = line.split()
            if words[1] == ends[0] and int(words[2].split(":")[1], 16) == ends[1]:
                return int(words[4].split(":")[1], 16)
    raise AssertionError("the connection is not in /proc/net/tcp")


def segments_in(s):
    return struct.unpack_from("=I", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), DATA_SEGMENTS_IN)[0]


class Replies(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        made = certs.Certs(daemon.folder()).ca("ca").pair("ca", "server").pair("ca", "operator")
        fobwire.tls = made.context()
        address = daemon.own_address()
        cls.fobd = daemon.Daemon(settings=made.listener(address, "admin"))
        cls.fobd.urls["tls"] = "tls+tcp://" + address
        cls.fobd.start()
        cls.addClassCleanup(cls.fobd.stop)
        with cls.fobd.client("admin") as c:
            cls.secret = c.create(LIVE, "replies").secret_key.secret

    def request(self, **kw):
        return fobwire.request(VERIFY, fobwire.verify_request(self.secret, **kw))

    def valid(self, data):
        got = fobwire.result(VERIFY, fobwire.response(data))
        self.assertEqual((fobwire.verdict_name(got.verdict), got.account), ("VALID", "replies"))

    def of_size(self, size):
        """A VerifyKey in an envelope of ${size} bytes, most of it in a field that nobody knows."""
        data = self.request()
        for length in range(max(0, size - len(data) - 6), size):
            whole = data + b"\xfa\x01" + self.varint(length) + b"x" * length
            if len(whole) == size:
                return whole
        raise AssertionError(size)

    @staticmethod
    def varint(value):
        out = b""
        while value > 127:
            out, value = out + bytes([value & 127 | 128]), value >> 7
        return out + bytes([value])

    def test_a_frame_in_two_pieces_cut_at_each_byte(self):
        """The server has read the first piece before the second is sent. Behind the frame there is the beginning of the
        next, so that a piece may hold the end of one and the start of another."""
        for listener in ("verify", "tcp"):  # with tls it is not to be seen what the session has read
            with self.subTest(listener=listener), self.fobd.connection(listener) as c:
                frame = fobwire.frame(c.url, b"\x80\0\0\1" + self.request())
                stream = frame * 2
                for cut in range(1, len(stream)):
                    c.sock.sendall(stream[:cut])
                    daemon.wait_until("the first piece is read", lambda: unread_by_peer(c.sock) == 0, every_s=0)
                    c.sock.sendall(stream[cut:])
                    self.valid(c.recv()[1])
                    self.valid(c.recv()[1])

    def test_a_frame_byte_by_byte(self):
        for listener in LISTENERS:
            with self.subTest(listener=listener), self.fobd.connection(listener) as c:
                for byte in fobwire.frame(c.url, b"\x80\0\0\1" + self.request()):
                    c.sock.sendall(bytes([byte]))
                self.valid(c.recv()[1])

    def test_envelopes_of_any_size_up_to_the_limit(self):
        for listener in LISTENERS:
            with self.subTest(listener=listener), self.fobd.connection(listener) as c:
                sizes = [100, 500, 996, 1000, 1003, 1004, 1007, 1008, 1012, 1024, 1025, 4096, 8192, 16384, 16385, 32768,
                         33792, 33793, 60000, ENVELOPE_MAX - 1, ENVELOPE_MAX]
                for data in c.exchange_many([self.of_size(size) for size in sizes]):
                    self.valid(data)
                for size in reversed(sizes):
                    self.valid(c.exchange(self.of_size(size)))

    def test_envelopes_beyond_the_limit_are_answered_up_to_a_frames(self):
        for listener in LISTENERS:
            with self.subTest(listener=listener), self.fobd.connection(listener) as c:
                for size in (ENVELOPE_MAX + 1, 100_000, FRAME_MAX - 5, FRAME_MAX - 4):
                    got = fobwire.response(c.exchange(b"x" * size))
                    self.assertEqual(fobwire.code_name(got.code), "INVALID_ARGUMENT")
                    self.assertIn("65536", got.message)
                    self.valid(c.exchange(self.request()))  # the connection goes on

    def test_a_frame_that_is_too_long_closes_from_its_length(self):
        for listener in LISTENERS:
            with self.subTest(listener=listener), self.fobd.connection(listener) as c:
                self.valid(c.exchange(self.request()))
                head = b"\x01" if listener == "verify" else b""
                c.sock.sendall(head + struct.pack(">Q", FRAME_MAX + 1))
                with self.assertRaises(fobwire.Closed):
                    c.recv()

    def test_what_came_before_a_broken_frame_is_answered(self):
        for listener in LISTENERS:
            with self.subTest(listener=listener), self.fobd.connection(listener) as c:
                whole = fobwire.frame(c.url, b"\x80\0\0\1" + self.request())
                c.sock.sendall(whole * 3 + b"\xff" * 16)
                for _ in range(3):
                    self.valid(c.recv()[1])
                with self.assertRaises(fobwire.Closed):
                    c.recv()

    def test_replies_that_are_ready_together_leave_in_one_write(self):
        """Over tcp a write is a segment, or a few."""
        for many in (16, 64, 256):
            with self.fobd.connection("tcp") as c:
                self.valid(c.exchange(self.request()))
                before = segments_in(c.sock)
                for data in c.exchange_many([self.request()] * many):
                    self.valid(data)
                n = segments_in(c.sock) - before
                tap.comment("%d replies in %d segments" % (many, n))
                self.assertLessEqual(n, 2 + many // 8)

    def test_replies_come_as_they_are_ready(self):
        """A verify behind a change does not wait for the disk."""
        for listener in ("admin", "tcpadmin", "tls"):
            with self.subTest(listener=listener), self.fobd.connection(listener) as c:
                overtaken = 0
                for _ in range(20):
                    roll = fobwire.request("fob.v1.Admin/RollKey", fobwire.roll_request(LIVE, "replies", grace=0))
                    account = fobwire.request("fob.v1.Admin/ListAccounts", pb.admin.ListAccountsRequest(environment=LIVE))
                    ids = c.send_many([roll, account])
                    got = [c.recv() for _ in ids]
                    self.assertEqual({ident for ident, _ in got}, set(ids))
                    for _, data in got:
                        self.assertEqual(fobwire.response(data).code, pb.rpc.OK)
                    overtaken += got[0][0] == ids[1]
                self.assertGreater(overtaken, 0, "each reply waited for the change before it")
        with self.fobd.client("admin") as c:
            type(self).secret = c.roll(LIVE, "replies", grace=0).new_key.secret

    def test_long_replies_and_many_of_them(self):
        """More than a socket takes at once, to one who reads: nothing is lost, nothing is closed."""
        batch = fobwire.request(MANY, pb.keys.VerifyKeysRequest(items=[fobwire.verify_request(self.secret)] * 256))
        for listener in LISTENERS:
            with self.subTest(listener=listener), self.fobd.connection(listener) as c:
                ids = c.send_many([batch] * 4)  # a socket holds as much
                for turn in range(20):
                    ident, data = c.recv()
                    ids.remove(ident)
                    items = fobwire.result(MANY, fobwire.response(data)).items
                    self.assertEqual({i.result.verdict for i in items}, {pb.keys.VALID})
                    self.assertEqual(len(items), 256)
                    if turn < 16:
                        ids += c.send_many([batch])
                self.assertEqual(ids, [])


tap.main()
