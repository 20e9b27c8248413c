#!/usr/bin/python3
"""Access: what each listener's role allows, over every transport; certificates of both sides; admin over plain TCP."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import socket
import ssl
import subprocess
import unittest

import certs
import daemon
import fobwire
import pb
import tap
from pb import LIVE, TEST

ADMIN = sorted(method for method in pb.METHODS if ".Admin/" in method)


class Access(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        c = cls.certs = certs.Certs(daemon.folder()).ca("ca").ca("stranger")
        c.pair("ca", "server").pair("ca", "operator").pair("stranger", "intruder")
        c.pair("ca", "expired", "20200101000000Z", "20200201000000Z")
        c.pair("ca", "early", "20900101000000Z", "20900201000000Z")
        c.pair("ca", "server-expired", "20200101000000Z", "20200201000000Z", common_name="server")
        c.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=ca",  # only its name
                  "-keyout", c.key("namesake"), "-out", c.pem("namesake"))
        fobwire.tls = c.context()

    def with_tls(self, **kw):
        """A daemon with TLS listeners of both roles."""
        addresses = [daemon.own_address() for _ in range(2)]
        fobd = daemon.Daemon(settings=self.certs.listener(addresses[0], "verify", **kw)
                             + self.certs.listener(addresses[1], "admin", **kw))
        fobd.urls.update(tls="tls+tcp://" + addresses[0], tlsadmin="tls+tcp://" + addresses[1])
        self.addCleanup(fobd.kill)
        return fobd

    # ---- roles ----

    def state(self, admin):
        """Everything that a request could have changed."""
        found = []
        for environment in (LIVE, TEST):
            accounts = admin.accounts(environment)
            keys = [k.SerializeToString(deterministic=True) for a in accounts for k in admin.keys(environment, a.account)]
            stats = admin.environment_stats(environment)
            found.append(([a.SerializeToString(deterministic=True) for a in accounts], keys, stats.mutations, stats.replays,
                          stats.refused, stats.revision, stats.event_sequence))
        return found

    def messages(self, method, token):
        """A request that an admin listener would serve, in both environments; with a new token, and with a used one."""
        cls = pb.METHODS[method][0]
        for environment in (LIVE, TEST):
            for request_token in (fobwire.new_token(), token):
                message = cls(environment=environment)
                fields = message.DESCRIPTOR.fields_by_name
                if "account" in fields:
                    message.account = "new" if method.endswith("CreateAccount") else "role"
                if "request_token" in fields:
                    message.request_token = request_token
                if "kind" in fields:
                    message.kind = pb.SECRET
                if "generation" in fields:
                    message.generation = 1
                yield message

    def test_no_Admin_method_over_a_verify_listener(self):
        fobd = self.with_tls().start()
        self.assertGreaterEqual(len(ADMIN), 8)
        with fobd.client("admin") as admin:
            token = fobwire.new_token()
            for environment in (LIVE, TEST):
                admin.create(environment, "role")
                admin.roll(environment, "role", token=token)
            before, tried = self.state(admin), 0
            for listener in ("verify", "tcp", "tls"):
                with fobd.client(listener) as verify:
                    for method in ADMIN:
                        requests = [fobwire.request(method, m) for m in self.messages(method, token)]
                        requests += [fobwire.request(method, b"\xff"), fobwire.request(method, timeout_ms=1 << 30),
                                     fobwire.request(method, on_behalf_of="ada"), fobwire.request(method, on_behalf_of="\n")]
                        for request in requests:
                            r = verify.raw(request)
                            self.assertEqual(fobwire.code_name(r.code), "PERMISSION_DENIED", (listener, method))
                            self.assertEqual(r.message, "this listener does not serve fob.v1.Admin")
                            self.assertEqual(r.body, b"")
                            tried += 1
                    for disguise in ("fob.v1.Admin/RollKey/", "fob.v1.Admin//RollKey", "/fob.v1.Admin/RollKey",
                                     "fob.v1.Keys/RollKey", "fob.v1.Health/RollKey", "fob.v1.admin/RollKey",
                                     "fob.v1.Admin/rollkey", "fob.v1.Admin/RollKey\0", "fob.v1.Admin\0/RollKey"):
                        r = verify.response(disguise, fobwire.roll_request(LIVE, "role"))
                        # A service that is spelled right is refused as Admin, whatever else is wrong.
                        codes = ("PERMISSION_DENIED",) if disguise.startswith("fob.v1.Admin/") else (
                            "UNIMPLEMENTED", "INVALID_ARGUMENT")
                        self.assertIn(fobwire.code_name(r.code), codes, disguise)
                    self.assertEqual(verify.check(), pb.health.CheckResponse.SERVING)
            self.assertEqual(self.state(admin), before)
            tap.count("%d requests refused" % tried)
        for listener in ("admin", "tcpadmin", "tlsadmin"):  # and where it is served, it is
            with fobd.client(listener) as admin:
                admin.roll(LIVE, "role")
        fobd.stop()

    # ---- certificates ----

    def is_served(self, url, context):
        fobwire.tls = context
        try:
            with fobwire.Client(url, 10 * daemon.SLOWER) as c:
                return c.check() == pb.health.CheckResponse.SERVING
        except (fobwire.Closed, ConnectionError, ssl.SSLError) as e:
            self.assertNotIsInstance(e, ssl.SSLCertVerificationError, "it is the server that is to refuse")
            return False
        finally:
            fobwire.tls = self.certs.context()

    def test_client_certificates(self):
        fobd = self.with_tls().start()
        for listener in ("tls", "tlsadmin"):
            for pair, served in (("operator", True), ("intruder", False), ("namesake", False), ("expired", False),
                                 ("early", False), (None, False), ("operator", True)):
                with self.subTest(listener=listener, pair=pair):
                    self.assertEqual(self.is_served(fobd.urls[listener], self.certs.context(pair)), served)
        fobd.stop()

    def fob(self, url, ca="ca", name="server"):
        return subprocess.run([os.path.join(daemon.BUILD, "fob"), "--address", url, "--timeout", "1s", "--tls-ca",
                               self.certs.pem(ca), "--tls-cert", self.certs.pem("operator"), "--tls-key",
                               self.certs.key("operator"), "--tls-server-name", name, "account", "list"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    def test_a_client_checks_the_server(self):
        right = self.with_tls().start()
        self.assertEqual(self.fob(right.urls["tlsadmin"]).returncode, 0)
        for kw in ({"ca": "stranger"}, {"ca": "namesake"}, {"name": "elsewhere"}, {"name": "serve"}):
            done = self.fob(right.urls["tlsadmin"], **kw)
            self.assertEqual((done.returncode, done.stdout), (2, ""), kw)
            self.assertIn("not connected", done.stderr)
        right.stop()
        late = self.with_tls(server="server-expired").start()
        self.assertIn("tls_cert has expired", late.log())
        done = self.fob(late.urls["tlsadmin"])
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        late.stop()

    def refused(self, fobd):
        fobd.init()
        done = fobd.run()
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        self.assertFalse(os.path.exists(fobd.urls["admin"][6:]), "it left a socket behind")
        return done.stderr.splitlines()[-1]

    def test_a_certificate_and_a_key_that_do_not_belong_together(self):
        """A certificate that cannot be used keeps fobd from starting; otherwise every handshake would fail later."""
        with open(self.certs.pem("none"), "w") as f:
            f.write("-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n")
        for kw, said in (({"key": "operator"}, "tls_key is not the private key of the first certificate in tls_cert"),
                         ({"server": "none", "key": "server"}, "tls_cert: there is something other"),
                         ({"server": "ca", "key": "server"}, "tls_key is not the private key")):
            with self.subTest(said):
                self.assertIn(said, self.refused(self.with_tls(**kw)))
        fobd = self.with_tls()
        fobd.write_config(fobd.config_text.replace(self.certs.key("server"), self.certs.pem("server")))
        self.assertIn("tls_key: there is no PEM private key in it", self.refused(fobd))
        self.assertIn("not valid yet", self.with_tls(server="early").start().log())

    # ---- administration over plain TCP ----

    def test_admin_over_plain_tcp_only_when_the_settings_say_so(self):
        address = daemon.own_address()
        section = 'listen "tcp://%s" {\n\trole = "admin"\n%s}\n'
        for more in ("", "\tinsecure = false\n"):
            fobd = daemon.Daemon(settings=section % (address, more))
            self.addCleanup(fobd.kill)
            line = self.refused_settings(fobd)
            self.assertIn("insecure", line)
            self.assertRegex(line, r":\d+: ")
        fobd = daemon.Daemon(settings=section % (address, "\tinsecure = true\n") + "log_level = \"warn\"\n").start()
        self.addCleanup(fobd.kill)
        loud = [line for line in fobd.log().splitlines() if "level=warn" in line and "plain TCP" in line]
        self.assertEqual(len([line for line in loud if address in line]), 1, fobd.log())
        self.assertEqual(len(loud), 2, "one for each such listener, and none for others")
        fobd.stop()

    def test_keys_over_plain_tcp_only_when_the_settings_say_so(self):
        with socket.socket() as s:  # a port that is free at every address
            s.bind(("0.0.0.0", 0))
            port = s.getsockname()[1]
        section = 'listen "tcp://0.0.0.0:%d" {\n\trole = "verify"\n%s}\n'
        fobd = daemon.Daemon(settings=section % (port, ""))
        self.addCleanup(fobd.kill)
        self.assertIn("keys cross the network in clear", self.refused_settings(fobd))
        fobd = daemon.Daemon(settings=section % (port, "\tinsecure = true\n")).start()
        self.addCleanup(fobd.kill)
        loud = [line for line in fobd.log().splitlines() if "level=warn" in line and "keys over plain TCP" in line]
        self.assertEqual(len(loud), 1, fobd.log())
        self.assertIn("0.0.0.0:%d" % port, loud[0])
        fobd.stop()

    def refused_settings(self, fobd):
        done = fobd.run("--check-config")
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        return done.stderr


tap.main()
