#!/usr/bin/python3
"""Administration over TLS: only a client with a certificate of the clients' CA is served, and hostile TLS peers stop
nothing."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import socket
import ssl
import struct
import subprocess
import time
import unittest

import daemon
import tap
from certs import Certs

HOSTILE = 2000 if not daemon.SANITIZED else 400


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = daemon.folder()
        Certs(cls.place).ca("ca").ca("stranger").pair("ca", "server").pair("ca", "operator").pair("stranger", "intruder")

    def setUp(self):
        self.address = daemon.own_address()
        self.fobd = daemon.Daemon(settings='listen "tls+tcp://%s" {\n\trole = "admin"\n\ttls_cert = "%s"\n\ttls_key = "%s"\n'
                                  '\ttls_ca = "%s"\n}\n' % (self.address, self.file("server.pem"), self.file("server.key"),
                                                            self.file("ca.pem"))).start()
        self.addCleanup(self.fobd.kill)

    def file(self, name):
        return os.path.join(self.place, name)

    def fob(self, *args, ca="ca", pair="operator", name="server", timeout="3s"):
        more = ["--tls-cert", self.file(pair + ".pem"), "--tls-key", self.file(pair + ".key")] if pair else []
        return subprocess.run([os.path.join(os.path.dirname(daemon.FOBD), "fob"), "--address", "tls+tcp://" + self.address,
                               "--timeout", timeout, "--tls-ca", self.file(ca + ".pem"), "--tls-server-name", name, *more,
                               *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    def test_an_operator_with_a_certificate(self):
        done = self.fob("account", "create", "over-tls", "--environment", "live")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("sk_live_", done.stdout)
        self.assertEqual(self.fob("account", "list").returncode, 0)
        self.fobd.stop()

    def test_nobody_else(self):
        lines = self.file("lines")
        with open(lines, "w") as f:
            f.write('{"account":"a"}\n')
        for what, said, kw in (
                ("no certificate", "the peer requires a certificate, and none was given", {"pair": None}),
                ("another CA's certificate", "the peer does not know the CA of our certificate", {"pair": "intruder"}),
                ("a server of another CA", "the server's certificate: self-signed", {"ca": "stranger"}),
                ("a server of another name", "the server's certificate: hostname mismatch", {"name": "elsewhere"})):
            with self.subTest(what):
                began = time.monotonic()
                done = self.fob("account", "import", "--environment", "live", lines, timeout="50s", **kw)
                self.assertEqual(done.returncode, 2, what)
                self.assertIn("not connected to tls+tcp://%s: TLS: %s" % (self.address, said), done.stderr)
                self.assertLess(time.monotonic() - began, 40)  # it does not wait for its deadline
        self.assertEqual(self.fob("account", "list").returncode, 0)
        self.fobd.stop()

    def test_files_of_a_client_that_cannot_be_used(self):
        for name, text in (("garbage", "garbage\n"), ("locked.key", "")):
            with open(self.file(name), "w") as f:
                f.write(text)
        subprocess.run(["openssl", "rsa", "-aes128", "-passout", "pass:abcd", "-in", self.file("operator.key"), "-out",
                        self.file("locked.key")], check=True, capture_output=True)
        for kw, said in (({"key": "server.key"}, "server.key: it is not the key of the certificate"),
                         ({"key": "locked.key"}, "locked.key: it is encrypted"),
                         ({"key": "garbage"}, "garbage: it holds no private key"),
                         ({"key": "nowhere"}, "nowhere: No such file"),
                         ({"cert": "garbage"}, "garbage: it holds no certificate"),
                         ({"ca": "garbage"}, "garbage: it holds no CA's certificate"),
                         ({"ca": None}, "tls+tcp:// needs --tls-ca FILE")):
            with self.subTest(said):
                files = {"ca": "ca.pem", "cert": "operator.pem", "key": "operator.key", **kw}
                flags = [word for name, file in files.items() if file for word in ("--tls-" + name, self.file(file))]
                done = subprocess.run([os.path.join(daemon.BUILD, "fob"), "--address", "tls+tcp://" + self.address, *flags,
                                       "health"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn(said, done.stderr)
        self.fobd.stop()

    def test_settings_that_cannot_work(self):
        with open(self.file("server.pem")) as f:
            certificate = f.read()
        for name, text in (("garbage.pem", "not a certificate\n"), ("empty.pem", ""),
                           ("long.pem", certificate + "#" * (256 << 10))):
            with open(self.file(name), "w") as f:
                f.write(text)
        os.mkdir(self.file("folder.pem"))
        for old, new, why in (("server.key", "garbage.pem", "tls_key: "),
                              ("server.pem", "nowhere.pem", "tls_cert: %s: No such file or directory"),
                              ("server.key", "empty.pem", "tls_key: %s: the file is empty"),
                              ("server.key", "folder.pem", "tls_key: %s: Is a directory"),
                              ("ca.pem", "long.pem", "tls_ca: %s: the file is longer than 256 KiB"),
                              ("server.pem", "long.pem", "tls_cert: %s: the file is longer than 256 KiB"),
                              ("ca.pem", "garbage.pem", "tls_ca: %s: ")):
            with self.subTest(why=why, file=new):
                address = daemon.own_address()
                other = daemon.Daemon(settings=self.fobd.config_text[self.fobd.config_text.rindex("listen \"tls"):]
                                      .replace(old, new).replace(self.address, address))
                other.init()
                done = other.run()
                self.assertEqual(done.returncode, 1)
                self.assertIn("fobd: tls+tcp://%s: %s" % (address, why.replace("%s", self.file(new))), done.stderr)
        self.fobd.stop()

    def hostile(self, i):
        host, port = self.address.rsplit(":", 1)
        s = socket.create_connection((host, int(port)), 10)
        how = i % 5
        if how == 0:
            s.sendall(b"\x00SP\x00\x00\x30\x00\x00")
        elif how == 1:
            s.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(32))
        elif how == 2:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how == 3:
            s.shutdown(socket.SHUT_WR)
        elif i % 10 == 4:
            # Not create_default_context(): Python 3.13's wants extensions that these certificates do not have.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.load_verify_locations(self.file("ca.pem"))
            context.load_cert_chain(self.file("operator.pem"), self.file("operator.key"))
            try:
                context.wrap_socket(s).close()
            except (ssl.SSLError, OSError):
                pass
        s.close()

    def test_hostile_peers(self):
        self.assertEqual(self.fob("health").returncode, 0)
        with self.fobd.client("admin") as c:
            base = c.stats().open_descriptors
            for i in range(HOSTILE):
                self.hostile(i)
            done = self.fob("health")
            self.assertEqual(done.returncode, 0, done.stderr)
            daemon.wait_until("descriptors are back", lambda: c.stats().open_descriptors <= base, 30)
        self.fobd.stop()


tap.main()
