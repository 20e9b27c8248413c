#!/usr/bin/python3
"""SIGHUP: operations, log level, allowed users and TLS files change in a running fobd. Settings that need a restart are
named in the log, and an invalid file changes nothing."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import re
import shutil
import signal
import socket
import ssl
import struct
import unittest

import daemon
import fobwire
import tap
from certs import Certs
from pb import LIVE


def reload(fobd, says="settings reloaded", times=1):
    """Send SIGHUP, and wait for one more line about it in the log."""
    before = fobd.log().count(says)
    fobd.process.send_signal(signal.SIGHUP)
    daemon.wait_until(says, lambda: fobd.log().count(says) >= before + times)
    return fobd.log()


class Settings(unittest.TestCase):
    def setUp(self):
        self.fobd = daemon.Daemon(settings='publishable_operations = {"tokenize"}\nlog_level = "info"\n').start()
        self.addCleanup(self.fobd.kill)
        with self.fobd.client() as c:
            self.key = c.create(LIVE, "acme").publishable_key.secret
            self.old = c.create(LIVE, "rolled").secret_key.secret
            c.roll(LIVE, "rolled")

    def change(self, old, new):
        self.assertIn(old, self.fobd.config_text)
        self.fobd.write_config(self.fobd.config_text.replace(old, new))

    def verdict(self, operation, key=None):
        with self.fobd.client("verify") as c:
            return c.verdict(key or self.key, operation=operation)

    def test_operations(self):
        self.assertEqual([self.verdict(o) for o in ("tokenize", "quote")], ["VALID", "FORBIDDEN"])
        self.assertEqual(self.verdict("keys.replace", self.old), "VALID")
        self.change('{"tokenize"}', '{"quote"}\nroll_operations = {"keys.replace"}')
        with self.fobd.client("verify") as c:  # a connection lives on, and sees it
            self.assertEqual(c.verdict(self.key, operation="quote"), "FORBIDDEN")
            reload(self.fobd)
            self.assertEqual(c.verdict(self.key, operation="quote"), "VALID")
        self.assertEqual([self.verdict(o) for o in ("tokenize", "quote")], ["FORBIDDEN", "VALID"])
        self.assertEqual(self.verdict("keys.replace", self.old), "FORBIDDEN")
        self.fobd.stop()

    def test_a_pipe_cannot_be_read_again(self):
        """As with --config <(...) of bash: a second read would find nothing, or wait for a writer for ever."""
        os.unlink(self.fobd.config)
        os.mkfifo(self.fobd.config)
        log = reload(self.fobd, "nothing has changed")
        self.assertRegex(log, r"settings not reloaded.*is no regular file, so it could be read only once, at the start")
        self.assertEqual(self.verdict("tokenize"), "VALID")
        self.fobd.stop()

    def test_log_level(self):
        self.change('"info"', '"debug"')
        reload(self.fobd)
        self.verdict("tokenize")
        daemon.wait_until("a debug line", lambda: "level=debug" in self.fobd.log())
        self.change('"debug"', '"error"')
        reload(self.fobd)
        lines = self.fobd.log().count("level=debug")
        for _ in range(3):
            self.verdict("tokenize")
        self.assertEqual(self.fobd.log().count("level=debug"), lines)
        self.fobd.stop()

    def test_what_is_wrong_changes_nothing(self):
        good = self.fobd.config_text
        self.change('{"tokenize"}', '{"quote"}\nlog_level = ')
        log = reload(self.fobd, "nothing has changed")
        self.assertRegex(log, r'level=error msg="settings not reloaded; nothing has changed" reason="[^"]*:\d+: ')
        self.assertEqual([self.verdict(o) for o in ("tokenize", "quote")], ["VALID", "FORBIDDEN"])
        os.unlink(self.fobd.config)
        reload(self.fobd, "nothing has changed")
        self.assertEqual(self.verdict("tokenize"), "VALID")
        self.fobd.write_config(good)
        reload(self.fobd)
        self.fobd.stop()

    def test_what_needs_a_restart_is_named(self):
        log = reload(self.fobd)
        self.assertNotIn("needs a restart", log)
        self.fobd.write_config(self.fobd.config_text.replace(
            'listen "%s" {\n\trole = "verify"\n' % self.fobd.urls["verify"],
            'listen "%s" {\n\trole = "verify"\n\tmode = 0600\n' % self.fobd.urls["verify"])
            .replace(self.fobd.urls["tcp"], "tcp://" + daemon.own_address())
            .replace('test.pepper"\n', 'test.pepper"\n\tevents_kept = 2000\n\tceiling = "1GiB"\n')
            .replace('{"tokenize"}', '{"quote"}') + "connections = 100\n")
        log = reload(self.fobd)
        named = re.findall(r'needs a restart" setting=(\S+)(?: of=(\S+))?', log)
        self.assertEqual(sorted(set(setting for setting, _ in named)),
                         ["ceiling", "connections", "events_kept", "listen", "mode"])
        self.assertIn(("listen", self.fobd.urls["tcp"]), named)
        self.assertEqual(self.verdict("quote"), "VALID")  # the rest is done
        with self.fobd.client("tcp") as c:
            c.check()
        self.fobd.stop()

    def test_allow_users(self):
        """A user who is removed from allow_users is refused from then on, also over an open connection."""
        me, other, url = os.geteuid(), os.geteuid() + 1, self.fobd.urls["verify"]
        text, line = self.fobd.config_text, 'listen "%s" {\n' % url

        def listing(users):
            self.fobd.write_config(text.replace(line, line + ('\tallow_users = "%s"\n' % users if users else "")))
            return reload(self.fobd)

        with self.fobd.client("verify") as c, self.fobd.client("admin") as admin:
            def code():
                return fobwire.code_name(c.response("fob.v1.Health/Check").code)

            self.assertEqual(code(), "OK")
            self.assertNotIn("needs a restart", listing(other))
            self.assertEqual(code(), "PERMISSION_DENIED")
            admin.check()
            listing("%d %d" % (other, me))
            self.assertEqual(code(), "OK")
            log = listing(other)
            self.assertEqual(code(), "PERMISSION_DENIED")
            self.assertEqual(log.count("requests are answered by the new allow_users"), 3)
            # One that is no longer in the file stays as it was last, however often that is read.
            self.fobd.write_config(text.replace(url, url + "2"))
            for _ in range(3):
                self.assertIn('needs a restart" setting=listen of=' + url, reload(self.fobd))
                self.assertEqual(code(), "PERMISSION_DENIED")
            listing("")
            self.assertEqual(code(), "OK")
            self.assertNotIn("setting=allow_users", self.fobd.log())
        self.fobd.stop()

    def test_the_manager_is_told(self):
        self.fobd.stop()
        path = os.path.join(self.fobd.place, "n")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(path)
            s.settimeout(10 * daemon.SLOWER)
            environ = self.fobd.environ
            self.fobd.environ = lambda clock=None: dict(environ(clock), NOTIFY_SOCKET=path)
            self.fobd.start(init=False)
            self.assertEqual(s.recv(4096), b"READY=1")
            self.fobd.process.send_signal(signal.SIGHUP)
            self.assertRegex(s.recv(4096), rb"^RELOADING=1\nMONOTONIC_USEC=\d+$")
            self.assertEqual(s.recv(4096), b"READY=1")
            self.fobd.stop()


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = daemon.folder()
        certs = Certs(cls.place).ca("ca").ca("ca2")
        for ca, name in (("ca", "server"), ("ca", "operator"), ("ca2", "server2"), ("ca2", "operator2")):
            certs.pair(ca, name)

    def setUp(self):
        for name in ("server.pem", "server.key", "ca.pem"):
            shutil.copy(self.file(name), self.file("now-" + name))
        self.address = daemon.own_address()
        self.fobd = daemon.Daemon(settings='listen "tls+tcp://%s" {\n\trole = "verify"\n\ttls_cert = "%s"\n\ttls_key = "%s"\n'
                                  '\ttls_ca = "%s"\n}\n' % (self.address, *(self.file("now-" + n) for n in
                                                            ("server.pem", "server.key", "ca.pem")))).start()
        self.addCleanup(self.fobd.kill)

    def file(self, name):
        return os.path.join(self.place, name)

    def put(self, name, to):
        shutil.copy(self.file(name), self.file("new"))
        os.rename(self.file("new"), self.file("now-" + to))

    def connect(self, ca, pair):
        # Not create_default_context(): Python 3.13's wants extensions that these certificates do not have.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.file(ca + ".pem"))
        context.load_cert_chain(self.file(pair + ".pem"), self.file(pair + ".key"))
        host, port = self.address.rsplit(":", 1)
        s = context.wrap_socket(socket.create_connection((host, int(port)), 10 * daemon.SLOWER))
        s.sendall(fobwire.HANDSHAKE)
        if self.read(s, 8) != fobwire.HANDSHAKE_PEER:
            raise AssertionError("no SP server")
        return s

    def read(self, s, n):
        data = b""
        while len(data) < n:
            part = s.recv(n - len(data))
            if not part:
                raise ConnectionResetError("closed")
            data += part
        return data

    def check(self, s):
        method = b"fob.v1.Health/Check"
        payload = struct.pack(">I", 0x80000007) + b"\x0a" + bytes([len(method)]) + method
        s.sendall(fobwire.frame("tls+tcp:", payload))
        (n,) = struct.unpack(">Q", self.read(s, 8))
        self.assertEqual(self.read(s, n)[:4], payload[:4])

    def refused(self, ca, pair):
        try:
            with self.connect(ca, pair) as s:
                self.check(s)
        except (ssl.SSLError, OSError):
            return True
        return False

    def test_new_files_are_for_new_connections(self):
        first = self.connect("ca", "operator")
        self.check(first)
        self.assertTrue(self.refused("ca", "operator2"))
        for new, old in (("server2.pem", "server.pem"), ("server2.key", "server.key"), ("ca2.pem", "ca.pem")):
            self.put(new, old)
        self.check(first)
        log = reload(self.fobd)
        self.assertIn("new connections get the TLS files as they are now", log)
        for _ in range(3):  # the very next connection, too
            with self.connect("ca2", "operator2") as s:
                self.check(s)
            self.assertTrue(self.refused("ca", "operator"))
            self.assertTrue(self.refused("ca2", "operator"))
        self.check(first)
        first.close()
        self.fobd.stop()

    def test_other_paths(self):
        text = self.fobd.config_text
        for old, new in (("now-server.pem", "server2.pem"), ("now-server.key", "server2.key"), ("now-ca.pem", "ca2.pem")):
            text = text.replace(old, new)
        self.fobd.write_config(text)
        reload(self.fobd)
        with self.connect("ca2", "operator2") as s:
            self.check(s)
        self.fobd.stop()

    def test_a_link_to_another_folder(self):
        """fobd may read only in the folders of its start, and says so, where the kernel confines it."""
        for release in ("1", "2"):
            os.mkdir(self.file("release" + release))
            for name in ("server.pem", "server.key", "ca.pem"):
                shutil.copy(self.file(name), self.file("release" + release))
        os.symlink("release1", self.file("current"))
        self.fobd.write_config(self.fobd.config_text.replace(self.file("now-"), self.file("current/")))
        self.fobd.restart()
        confined = re.search("msg=confined .*landlock=abi", self.fobd.log())
        os.unlink(self.file("current"))
        os.symlink("release2", self.file("current"))
        if confined:
            log = reload(self.fobd, "nothing has changed")
            self.assertRegex(log, r"current/server.pem: Permission denied. fobd may only read in the folders .*: restart it")
        else:
            reload(self.fobd)
        with self.connect("ca", "operator") as s:
            self.check(s)
        self.fobd.restart()
        with self.connect("ca", "operator") as s:
            self.check(s)
        self.fobd.stop()

    def test_files_that_cannot_be_used_change_nothing(self):
        good = self.fobd.config_text
        with open(self.file("garbage"), "w") as f:
            f.write("not a certificate\n")
        self.fobd.write_config(good + 'publishable_operations = {"quote"}\n')
        for bad, name in (("garbage", "server.pem"), ("garbage", "server.key"), ("garbage", "ca.pem"),
                          ("server2.pem", "server.pem"), ("server2.key", "server.key")):  # sound, and no pair
            self.put(bad, name)
            log = reload(self.fobd, "nothing has changed")
            self.assertRegex(log.splitlines()[-1], r"tls_(cert|key|ca)")
            with self.connect("ca", "operator") as s:
                self.check(s)
            self.put(name, name)
        with self.fobd.client() as c:
            key = c.create(LIVE, "acme").publishable_key.secret
            self.assertEqual(c.verdict(key, operation="tokenize"), "VALID")
            reload(self.fobd)
            self.assertEqual(c.verdict(key, operation="tokenize"), "FORBIDDEN")
        self.fobd.stop()

    def test_again_and_again(self):
        """Reloads while connections come and go: each is served with the old or the new certificate."""
        for i in range(10 if daemon.SANITIZED else 30):
            new = i % 2 == 0
            for a, b in (("server2.pem", "server.pem"), ("server2.key", "server.key"), ("ca2.pem", "ca.pem")):
                self.put(a if new else b, b)
            reload(self.fobd)
            with self.connect("ca2" if new else "ca", "operator2" if new else "operator") as s:
                self.check(s)
        self.fobd.stop()


tap.main()
