#!/usr/bin/python3
"""TLS as a peer may begin it, well or badly: versions, kinds of keys, any pieces, renegotiation; and what the log says of
those that failed."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import re
import select
import ssl
import struct
import subprocess
import time
import unittest
import warnings

import daemon
import fobwire
import pb
import tap
from certs import Certs
from pb import LIVE

CHECK = fobwire.request("fob.v1.Health/Check", pb.health.CheckRequest())
FRAME = fobwire.frame("tls+tcp:", b"\x80\0\0\7" + CHECK)
KINDS = {"rsa": "rsa:2048", "p256": "ec:P-256", "p384": "ec:P-384", "ed25519": "ed25519"}
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


class Pieces:
    """A TLS client whose ciphertext is ours to send: in which pieces, and what in between."""

    def __init__(self, url, context):
        self.sock = fobwire.dial(url.replace("tls+", ""), 10 * daemon.SLOWER)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="server")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def ciphertext(self):
        return self.outgoing.read()

    def until(self, step):
        """Repeat ${step}(), byte by byte in what it sends, until it needs nothing more."""
        while True:
            try:
                got = step()
            except ssl.SSLWantReadError:
                got = None
            for byte in self.ciphertext():
                self.sock.sendall(bytes([byte]))
            if got is not None:
                return got
            data = self.sock.recv(16384)
            if not data:
                raise fobwire.Closed("in the handshake")
            self.incoming.write(data)

    def handshake(self):
        self.until(lambda: self.tls.do_handshake() or True)

    def read(self, n):
        data = b""
        while len(data) < n:
            data += self.until(lambda: self.tls.read(n - len(data)))
        return data


class Handshakes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.certs = Certs(daemon.folder()).ca("ca").ca("stranger").pair("ca", "server").pair("ca", "operator")
        cls.certs.pair("stranger", "intruder").pair("ca", "late", "20200101000000Z", "20200201000000Z")
        settings = ""
        cls.addresses = {}
        for name, kind in KINDS.items():
            cls.certs.pair("ca", "server-" + name, common_name="server", kind=kind)
            cls.certs.pair("ca", "client-" + name, kind=kind)
            cls.addresses[name] = daemon.own_address()
            settings += cls.certs.listener(cls.addresses[name], "admin", "server-" + name)
        cls.fobd = daemon.Daemon(settings=settings)
        cls.fobd.urls["tls"] = "tls+tcp://" + cls.addresses["p256"]
        cls.fobd.start()
        cls.addClassCleanup(cls.fobd.stop)

    def setUp(self):
        fobwire.tls = self.certs.context()

    def served(self):
        fobwire.tls = self.certs.context()
        with self.fobd.client("tls") as c:
            self.assertEqual(c.check(), pb.health.CheckResponse.SERVING)

    def context(self, version, pair="operator"):
        context = self.certs.context(pair)
        context.minimum_version = context.maximum_version = version
        return context

    def said(self, reason, before):
        """The log's line about a handshake that failed for ${reason}, among those behind its first ${before} bytes."""
        def line():
            return re.search(r'.*msg="TLS handshake failed".*reason="?[^"]*(?:%s).*' % reason, self.fobd.log()[before:])
        return daemon.wait_until("the log says why: " + reason, line).group()

    def pause(self):
        """The log has one such line in a second. Returns its length when it is due again."""
        time.sleep(1.1)
        return len(self.fobd.log())

    def test_both_versions_and_every_kind_of_key_at_both_ends(self):
        for server, address in self.addresses.items():
            for client in KINDS:
                for version in VERSIONS:
                    with self.subTest(server=server, client=client, version=version.name):
                        fobwire.tls = self.context(version, "client-" + client)
                        with fobwire.Client("tls+tcp://" + address, 20 * daemon.SLOWER) as c:
                            self.assertEqual(c.check(), pb.health.CheckResponse.SERVING)
                            self.assertEqual(c.connection.sock.version(), version.name.replace("_", "."))

    def test_an_older_version_is_refused(self):
        before = self.pause()
        with warnings.catch_warnings(action="ignore"):  # Python itself is against it
            context = self.context(ssl.TLSVersion.TLSv1_1)
        context.set_ciphers("ALL:@SECLEVEL=0")
        fobwire.tls = context
        with self.assertRaises((ssl.SSLError, OSError)):
            fobwire.dial(self.fobd.urls["tls"])
        self.said("unsupported protocol", before)
        self.served()

    def test_the_log_says_why_a_certificate_was_refused(self):
        for pair, reason in ((None, "peer did not return a certificate"),
                             ("intruder", "the client's certificate: unable to get local issuer certificate"),
                             ("late", "the client's certificate: certificate has expired")):
            for version in VERSIONS:
                with self.subTest(pair=pair, version=version.name):
                    before = self.pause()
                    fobwire.tls = self.context(version, pair)
                    with self.assertRaises((ssl.SSLError, OSError, fobwire.Closed)):
                        with fobwire.Connection(self.fobd.urls["tls"]) as c:  # of 1.3 the client's part ends first
                            c.exchange(CHECK)
                    line = self.said(reason, before)
                    self.assertIn("level=warn", line)
                    self.assertIn(self.fobd.urls["tls"], line)
                    self.assertRegex(line, r" peer=127\.\d+\.\d+\.\d+:\d+")
        self.served()

    def test_garbage_has_a_line_a_second_and_a_count(self):
        before, start, many = self.pause(), time.monotonic(), 150
        for i in range(many):
            with fobwire.dial(self.fobd.urls["tls"].replace("tls+", "")) as s:
                s.settimeout(10 * daemon.SLOWER)
                s.sendall((b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64, fobwire.HANDSHAKE + FRAME)[i % 3])
                try:
                    while s.recv(4096):
                        pass
                except ConnectionResetError:
                    pass
        took = time.monotonic() - start
        time.sleep(max(0, 1.1 - took % 1))
        with fobwire.dial(self.fobd.urls["tls"].replace("tls+", "")) as s:
            s.sendall(b"\xff" * 64)
            s.settimeout(10 * daemon.SLOWER)
            self.assertLessEqual(len(s.recv(4096)), 7)  # an alert, or nothing
        lines = daemon.wait_until("the last line", lambda: [
            line for line in self.fobd.log()[before:].splitlines() if "TLS handshake failed" in line and (
                " more=" in line or took > 1)])
        lines = [line for line in self.fobd.log()[before:].splitlines() if "TLS handshake failed" in line]
        self.assertLessEqual(len(lines), took + 3)
        counted = len(lines) + sum(int(n) for n in re.findall(r" more=(\d+)", "\n".join(lines)))
        self.assertEqual(counted, many + 1)
        self.served()

    def test_every_byte_by_itself(self):
        for version in VERSIONS:
            with self.subTest(version=version.name), Pieces(self.fobd.urls["tls"], self.context(version)) as p:
                p.handshake()
                for _ in range(2):
                    p.until(lambda: p.tls.write((fobwire.HANDSHAKE if _ == 0 else b"") + FRAME))
                self.assertEqual(p.read(8), fobwire.HANDSHAKE_PEER)
                for _ in range(2):
                    n, = struct.unpack(">Q", p.read(8))
                    self.assertEqual(p.read(n)[:4], b"\x80\0\0\7")

    def test_the_end_of_a_session_behind_a_request(self):
        """What came before close_notify, in the same segment, is answered."""
        with Pieces(self.fobd.urls["tls"], self.context(VERSIONS[1])) as p:
            p.handshake()
            p.tls.write(fobwire.HANDSHAKE + FRAME)
            try:
                p.tls.unwrap()
            except ssl.SSLWantReadError:
                pass
            p.sock.sendall(p.ciphertext())
            self.assertEqual(p.read(8), fobwire.HANDSHAKE_PEER)
            n, = struct.unpack(">Q", p.read(8))
            self.assertEqual(p.read(n)[:4], b"\x80\0\0\7")

    def test_a_record_that_was_changed_ends_the_session(self):
        with Pieces(self.fobd.urls["tls"], self.context(VERSIONS[0])) as p:
            p.handshake()
            p.tls.write(fobwire.HANDSHAKE + FRAME)
            data = bytearray(p.ciphertext())
            data[-1] ^= 1
            p.sock.sendall(bytes(data))
            with self.assertRaises((ssl.SSLError, OSError, fobwire.Closed)):
                p.read(8 + 8 + 4)
        self.served()

    def openssl(self, version):
        """openssl's own client, whose lines of one letter are commands."""
        place = self.certs
        process = subprocess.Popen(
            ["openssl", "s_client", "-connect", self.fobd.urls["tls"].rsplit("/", 1)[1], version, "-CAfile",
             place.pem("ca"), "-cert", place.pem("operator"), "-key", place.key("operator"), "-servername", "server"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0,
            preexec_fn=daemon._die_with_parent)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stdin.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def says(self, process, what, within_s=10):
        got, end = b"", time.monotonic() + within_s * daemon.SLOWER
        while what not in got:
            self.assertTrue(select.select([process.stdout], [], [], max(0, end - time.monotonic()))[0],
                            "openssl does not say %r but %r" % (what, got[-300:]))
            data = os.read(process.stdout.fileno(), 65536)
            self.assertTrue(data, "openssl has ended without %r: %r" % (what, got[-300:]))
            got += data
        return got

    def test_renegotiation_is_refused(self):
        """The peer is told so at once, and nobody else notices."""
        process = self.openssl("-tls1_2")
        self.says(process, b"Verify return code")
        process.stdin.write(b"R\n")
        self.says(process, b"no renegotiation")
        self.served()

    def test_new_keys_within_a_session(self):
        """TLS 1.3's KeyUpdate, of which one end asks the other for the same: both go on."""
        process = self.openssl("-tls1_3")
        self.says(process, b"Verify return code")
        for i in range(3):
            process.stdin.write(b"K\n")
            self.says(process, b"KEYUPDATE")
            ident = struct.pack(">I", 0x81020304 + i)
            process.stdin.write((fobwire.HANDSHAKE if i == 0 else b"") + fobwire.frame("tls+tcp:", ident + CHECK))
            self.says(process, ident)
        self.served()

    def test_a_change_names_the_certificate_and_the_address(self):
        fobwire.tls = self.context(VERSIONS[1], "client-ed25519")
        with self.fobd.client("tls") as c:
            host, port = c.connection.sock.getsockname()
            c.create(LIVE, "by-certificate")
        line = re.search(r'.*msg="account created".*account=by-certificate.*', self.fobd.log()).group()
        self.assertIn(" peer=%s:%d" % (host, port), line)
        self.assertIn(" certificate=client-ed25519", line)
        with self.fobd.client("admin") as c:
            (event,) = c.events(LIVE, "by-certificate")
        self.assertEqual(event.origin, pb.admin.Origin(address="%s:%d" % (host, port), certificate="client-ed25519"))


tap.main()
