#!/usr/bin/python3
"""fob-http with a real fobd, over raw sockets: what each key may do, what is refused before a key is looked at, and
that its memory and log hold no key."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import datetime
import json
import re
import socket
import threading
import time
import unittest
import zlib

import daemon
import leaks
import tap
import web
from pb import LIVE, PUBLISHABLE, TEST

FACTS = ("account", "environment", "livemode", "kind", "generation", "superseded", "expires")
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def made_up(prefix="sk_live_"):
    """A key of the right form that nobody has."""
    body, check = (prefix + "0" * 30).encode(), ""
    crc = zlib.crc32(body)
    for _ in range(6):
        crc, digit = divmod(crc, 62)
        check = BASE62[digit] + check
    return body + check.encode()


def code(reply):
    return json.loads(reply.body)["error"]["code"]


def facts(reply):
    return {name: reply.headers.get("x-fob-" + name) for name in FACTS}


class Case(unittest.TestCase):
    """One fobd and one fob-http for all tests of a class."""
    settings = 'log_level = "debug"\n'

    @classmethod
    def setUpClass(cls):
        cls.fobd = daemon.Daemon(settings='log_level = "debug"\n').start()
        cls.addClassCleanup(cls.fobd.kill)
        cls.web = web.Web(cls.fobd.urls["verify"], settings=cls.settings).start()
        cls.addClassCleanup(cls.web.kill)
        cls.admin = cls.fobd.client("admin")
        cls.addClassCleanup(cls.admin.close)
        made = {e: cls.admin.create(e, "acme") for e in (LIVE, TEST)}
        cls.keys = {(e, kind): getattr(made[e], name).secret for e in made
                    for kind, name in (("secret", "secret_key"), ("publishable", "publishable_key"))}
        cls.key = cls.keys[LIVE, "secret"]

    @classmethod
    def tearDownClass(cls):
        cls.web.stop()
        cls.fobd.stop()

    def ask(self, key=None, original=web.CHARGE, more=(), **kw):
        headers = ([web.basic(key)] if key else []) + list(original) + list(more)
        return self.web.ask(headers=headers, **kw)

    def denied(self, reply, status, name):
        self.assertEqual((reply.status, code(reply)), (status, name))
        self.assertEqual(reply.headers["cache-control"], "no-store")
        self.assertFalse([h for h in reply.headers if h.startswith("x-fob-")])
        self.assertEqual("www-authenticate" in reply.headers, status == 401)


class Auth(Case):
    def test_all_four_keys(self):
        for (environment, kind), key in self.keys.items():
            name = "live" if environment == LIVE else "test"
            for unix in (True, False):
                reply = self.ask(key, web.TOKEN, unix=unix)
                self.assertEqual((reply.status, reply.body), (200, b""))
                self.assertEqual(reply.headers["content-length"], "0")
                self.assertEqual(reply.headers["cache-control"], "no-store")
                self.assertEqual(facts(reply), {"account": "acme", "environment": name, "kind": kind, "generation": "1",
                                                "livemode": "true" if name == "live" else "false",
                                                "superseded": "false", "expires": "never"})
            if kind == "secret":
                self.assertEqual(self.ask(key).status, 200)
            else:
                self.denied(self.ask(key), 403, "FORBIDDEN")

    def test_a_roll_a_revocation_a_suspension(self):
        made = self.admin.create(LIVE, "rolls")
        old = made.secret_key.secret
        new = self.admin.roll(LIVE, "rolls", grace=3600).new_key.secret
        was, now = facts(self.ask(old)), facts(self.ask(new))
        self.assertEqual((was["generation"], was["superseded"], now["generation"], now["superseded"], now["expires"]),
                         ("1", "true", "2", "false", "never"))
        end = datetime.datetime.fromisoformat(was["expires"].replace("Z", "+00:00")).timestamp()
        self.assertLess(abs(end - time.time() - 3600), 60)
        newest = self.admin.roll(LIVE, "rolls", grace=0).new_key.secret
        self.denied(self.ask(new), 401, "REVOKED")
        self.admin.revoke(LIVE, "rolls", PUBLISHABLE, 1)
        self.denied(self.ask(made.publishable_key.secret, web.TOKEN), 401, "REVOKED")
        self.admin.roll(LIVE, "rolls", grace=1)
        daemon.wait_until("the grace has ended", lambda: self.ask(newest).status == 401)
        self.denied(self.ask(newest), 401, "EXPIRED")
        self.admin.suspend(LIVE, "rolls")
        self.denied(self.ask(old), 403, "SUSPENDED")
        self.admin.resume(LIVE, "rolls")
        self.assertEqual(self.ask(old).status, 200)

    def test_what_is_no_key(self):
        self.denied(self.ask(), 401, "NO_CREDENTIALS")
        self.assertEqual(self.ask().headers["www-authenticate"], 'Basic realm="API keys"')
        self.denied(self.ask(made_up()), 401, "NOT_FOUND")
        self.denied(self.ask(self.key[:-1] + b"!"), 401, "MALFORMED")
        for value in ("Basic !", "Bearer " + self.key.decode(), "Basic", self.key.decode(), "Digest x"):
            self.denied(self.ask(more=[("Authorization", value)]), 401, "MALFORMED")
        self.denied(self.ask(more=[("Authorization", "")]), 401, "NO_CREDENTIALS")
        head = self.web.ask("HEAD", headers=web.CHARGE)
        self.assertEqual((head.status, head.body), (401, b""))

    def test_routes(self):
        for method, uri, status in (
                ("POST", "/v1/charges", 200), ("POST", "/v1/charges?x=/../%2F;", 200), ("GET", "/v1/charges/ch_1", 200),
                ("GET", "/v1/files/a/b/c", 200), ("GET", "/v1/charges", 403), ("post", "/v1/charges", 403),
                ("POST", "/v1/charges/", 403), ("POST", "/v1/Charges", 403), ("POST", "/v1/ch%61rges", 403),
                ("GET", "/v1/charges/", 403), ("GET", "/v1/charges/a/b", 403), ("DELETE", "/v1/charges/a", 403)):
            reply = self.ask(self.key, (("X-Original-Method", method), ("X-Original-URI", uri)))
            self.assertEqual(reply.status, status, (method, uri))
            if status == 403:
                self.denied(reply, 403, "UNKNOWN_ROUTE")

    def test_paths_that_two_programs_could_read_in_two_ways(self):
        for uri in ("/v1/files/../charges", "/v1/files/%2e%2E/x", "/v1/files/.%2e/x", "/v1/files/..", "/v1/files/./x",
                    "/v1/files/a%2Fb", "/v1/files/a%5cb", "/v1/files/a\\b", "/v1//files/a", "//v1/files/a",
                    "/v1/files/a;b", "/v1/files/a%3bb", "/v1/files/a%00", "/v1/files/a%0d%0a", "/v1/files/a%252e",
                    "/v1/files/%", "/v1/files/%4", "/v1/files/%zz", "/v1/files/a#b", "/v1/files/a b", "/v1/files/\xe9",
                    "v1/files/a", "http://x/v1/files/a", "*", "?"):
            original = (("X-Original-Method", "GET"), ("X-Original-URI", uri))
            self.denied(self.ask(self.key, original), 403, "PATH_REFUSED")

    def test_forged_duplicate_and_aliased_headers(self):
        reply = self.ask(self.key, more=[("X-Fob-Account", "victim"), ("X-Fob-Superseded", "")])
        self.assertEqual(facts(reply)["account"], "acme")
        self.assertEqual([v for name, v in reply.pairs if name.lower() == "x-fob-account"], ["acme"])
        for more in ([web.basic(made_up())], [("X-Original-URI", "/v1/tokens")], [("x-original-method", "GET")],
                     [("X-Fob-Account", "a"), ("x-fob-account", "b")], [("X_Fob_Account", "a")],
                     [("X-Fob.Account", "a")], [("X-Original_URI", "/v1/tokens")], [("Host", "b")],
                     [("Content-Length", "0"), ("Content-Length", "0")], [("Content.Length", "0")],
                     [("Transfer_Encoding", "chunked")], [("Transfer-Encoding", "identity")],
                     [("Content-Length", "+0")], [("X-A ", "b")], [("X\x7fA", "b")], [("A", "b\x01")],
                     [("A", "b\rC: d")],
                     [("A", "b\x00")], [("A", "b\r\n folded")], [("A%d" % i, "") for i in range(120)]):
            with self.web.connection() as c:
                reply = c.ask(headers=[web.basic(self.key), *web.CHARGE, *more])
                self.assertEqual(reply.status, 400, more)
                self.assertTrue(c.is_closed(), more)
        self.web.ask(headers=[("Authorization_", "x")])
        with self.web.connection() as c:
            c.send(b"GET /v1/auth HTTP/1.1\r\n%s\r\n\r\n" % b"\r\n".join(b"%s: %s" % (a.encode(), b.encode())
                                                                       for a, b in web.CHARGE))
            self.assertEqual(c.reply().status, 400, "no Host")

    def test_only_a_trusted_peer_names_the_original_request(self):
        for trusted, status in (((), 403), (("10.0.0.0/8", "::1"), 403), (("127.0.0.1",), 200),
                                (("127.0.0.0/8",), 200)):
            self.web.write_config(trusted=trusted, settings=self.settings)
            self.web.reload()
            self.assertEqual(self.ask(self.key, unix=False).status, status, trusted)
            self.assertEqual(self.ask(self.key, unix=True).status, 200)
            if status == 403:
                self.denied(self.ask(self.key, unix=False), 403, "UNTRUSTED")
        self.denied(self.ask(self.key, web.CHARGE[:1]), 403, "NO_ORIGINAL")
        self.denied(self.ask(self.key, web.CHARGE[1:]), 403, "NO_ORIGINAL")

    def test_settings_read_again(self):
        def reload(settings="", **kw):
            self.web.write_config(settings=self.settings + settings, **kw)
            self.web.reload()

        self.addCleanup(reload)
        reload('error_body = false\nrealm = "Fob"\nbearer = true\n')
        reply = self.ask()
        self.assertEqual((reply.status, reply.body, reply.headers["www-authenticate"]), (401, b"", 'Basic realm="Fob"'))
        self.assertEqual(self.ask(self.keys[LIVE, "publishable"]).body, b"")
        self.assertEqual(self.ask(more=[("Authorization", "bearer " + self.key.decode())]).status, 200)
        self.assertEqual(self.ask(self.key).status, 200)
        reload('original = "request"\n', routes=("PUT /x/{y} = charges.create",))
        auth = [web.basic(self.key)]
        self.assertEqual(self.web.ask("PUT", "/v1/auth/x/1?q", auth).status, 200)
        self.denied(self.web.ask("GET", "/v1/auth/x/1", auth), 403, "UNKNOWN_ROUTE")
        self.denied(self.web.ask("PUT", "/v1/auth", auth), 403, "PATH_REFUSED")
        self.denied(self.web.ask("PUT", "/v1/auth/x/%2e%2e", auth), 403, "PATH_REFUSED")
        reload(routes=("POST /v1/charges = tokenize",))
        self.assertEqual(self.ask(self.keys[LIVE, "publishable"]).status, 200)
        with open(self.web.config, "a") as f:
            f.write("realm = 3 4\n")
        self.web.reload()
        self.assertIn("settings not reloaded; nothing has changed", self.web.log())
        self.assertEqual(self.ask(self.keys[LIVE, "publishable"]).status, 200)

    def test_a_trace_reaches_the_log_of_fobd(self):
        self.assertEqual(self.ask(self.key, more=[("traceparent", TRACE)]).status, 200)
        daemon.wait_until("fobd has logged it", lambda: TRACE in self.fobd.log())

    def test_nothing_else_is_here(self):
        for target in ("/", "/v1", "/v1/authx", "/v1/auth_", "/v1/verify/", "/metrics", "/livez", "/v1/keys/roll"):
            self.assertEqual((self.web.ask(target=target).status), 404, target)
        with web.Connection(self.web.metrics) as c:
            self.assertEqual(c.ask(target="/livez").status, 200)
            self.assertEqual(c.ask(target="/v1/auth").status, 404)


class Json(Case):
    def post(self, target, body, method="POST"):
        reply = self.web.ask(method, target, body=body if isinstance(body, bytes) else json.dumps(body).encode())
        return reply.status, json.loads(reply.body) if reply.body else None

    def test_verify(self):
        status, said = self.post("/v1/verify", {"secret": self.key.decode(), "operation": "charges.create",
                                                "require_environment": "live"})
        self.assertEqual(status, 200)
        self.assertLess(abs(said.pop("created_ms") / 1000 - time.time()), 3600)
        self.assertEqual(said, {"verdict": "VALID", "detail": "", "account": "acme", "environment": "live",
                                "livemode": True, "kind": "secret", "generation": 1, "current_generation": 1,
                                "superseded": False,
                                "expires_ms": 0, "last4": self.key[-4:].decode()})
        for body, verdict in (({"secret": "x"}, "MALFORMED"), ({"authorization": ""}, "MALFORMED"),
                              ({"secret": made_up().decode()}, "NOT_FOUND"),
                              ({"authorization": web.basic(self.key)[1]}, "VALID"),
                              ({"secret": self.key.decode(), "require_environment": "test"}, "WRONG_ENVIRONMENT"),
                              ({"secret": self.keys[LIVE, "publishable"].decode(), "operation": "x"}, "FORBIDDEN")):
            status, said = self.post("/v1/verify", body)
            self.assertEqual((status, said["verdict"]), (200, verdict))

    def test_a_batch(self):
        items = [{"secret": key.decode(), "operation": "tokenize"} for key in self.keys.values()] + [{"secret": "x"}]
        status, said = self.post("/v1/verify-batch", {"items": items * 51})
        self.assertEqual((status, len(said["items"])), (200, 255))
        self.assertEqual([i["code"] for i in said["items"]], ["OK"] * 255)
        self.assertEqual([i["result"]["verdict"] for i in said["items"]], (["VALID"] * 4 + ["MALFORMED"]) * 51)

    def test_what_is_refused(self):
        ok = {"secret": "x"}
        for body in (b"", b"{", b"[]", b"1", b"{}", b'{"secret": "x", "secret": "y"}', {"secret": 1}, {"secrets": "x"},
                     {"secret": "x", "authorization": "y"}, {"secret": "x", "operation": "a b"}, {"secret": "a\0b"},
                     {"secret": "x", "require_environment": "LIVE"}, b'{"secret": "\xff"}', b'{"secret": "x"} 1',
                     {"secret": None}, {"secret": "x", "operation": "o" * 65}, b"[" * 100000):
            status, said = self.post("/v1/verify", body)
            self.assertEqual((status, said["error"]["code"]), (400, "INVALID_ARGUMENT"), str(body)[:40])
            self.assertNotIn("a\0b", said["error"]["message"])
        for body in ({"items": []}, {"items": ok}, {"items": [ok], "x": 1}, {"items": [ok] * 257}, {"items": [1]}, ok):
            self.assertEqual(self.post("/v1/verify-batch", body)[0], 400)
        for method in ("GET", "PUT", "DELETE", "OPTIONS"):
            reply = self.web.ask(method, "/v1/verify")
            self.assertEqual((reply.status, reply.headers["allow"]), (405, "POST"))

    @unittest.skipUnless(os.geteuid() == 0, "only root may read fob-http's memory")
    def test_no_key_stays_in_memory(self):
        secrets = [self.admin.create(LIVE, "memory").secret_key.secret]
        with self.web.connection() as c:
            for _ in range(3):
                self.assertEqual(c.ask(headers=[web.basic(secrets[0]), *web.CHARGE]).status, 200)
                self.assertEqual(c.ask("POST", "/v1/verify", body=json.dumps(
                    {"secret": secrets[0].decode()}).encode()).status, 200)
                self.assertEqual(c.ask("POST", "/v1/verify-batch", body=json.dumps(
                    {"items": [{"secret": secrets[0].decode()}] * 200}).encode()).status, 200)
            c.ask(headers=[web.basic(secrets[0]), web.basic(secrets[0])])
            if not daemon.SANITIZED:  # a sanitizer keeps what was freed
                daemon.wait_until("no secret in memory",
                                  lambda: not leaks.secrets_in_memory(self.web.pid, secrets, []), 5)
        with open("/proc/%d/limits" % self.web.pid) as f:
            self.assertEqual(re.search(r"Max core file size +(\S+)", f.read())[1], "0")


class Down(Case):
    def test_503_while_fobd_is_down_and_200_when_it_is_back(self):
        self.assertEqual(self.ask(self.key).status, 200)
        self.fobd.stop()
        daemon.wait_until("all threads have noticed", lambda: all(self.ask(self.key).status == 503 for _ in range(20)))
        began = time.monotonic()
        for unix in (True, False) * 4:
            self.denied(self.ask(self.key, unix=unix), 503, "UNAVAILABLE")
        self.assertLess(time.monotonic() - began, 1 * daemon.SLOWER, "it waits for a fobd that is down")
        said = self.web.ask("POST", "/v1/verify", body=json.dumps({"secret": self.key.decode()}).encode())
        self.assertEqual((said.status, code(said)), (503, "UNAVAILABLE"))
        self.denied(self.ask(), 401, "NO_CREDENTIALS")
        self.fobd.start(init=False)
        daemon.wait_until("all threads answer", lambda: all(self.ask(self.key).status == 200 for _ in range(20)))


class Listener(Case):
    def test_an_admin_listener_is_not_asked(self):
        w = web.Web(self.fobd.urls["admin"]).start()
        self.addCleanup(w.kill)
        daemon.wait_until("both threads have found out", lambda: all(
            w.ask(headers=[web.basic(self.key), *web.CHARGE]).status == 503 for _ in range(20)))
        said = w.ask("POST", "/v1/verify", body=json.dumps({"secret": self.key.decode()}).encode())
        self.assertEqual((said.status, code(said)), (503, "FAILED_PRECONDITION"))
        self.assertIn("this fobd listener serves fob.v1.Admin", w.log())
        w.stop()


class Stop(Case):
    def test_a_stop_cuts_off_no_request(self):
        """Each connection that is in use is told with a reply that it is the last."""
        ended, begun, pause = [], threading.Semaphore(0), threading.Event()

        def ask(unix):
            with self.web.connection(unix) as c:
                while True:
                    pause.wait(0.03)  # so that most are quiet when the stop begins
                    reply = c.ask(headers=[web.basic(self.key), *web.CHARGE])
                    begun.release()
                    if reply is None or reply.headers.get("connection") == "close":
                        ended.append(reply and reply.status)
                        return

        threads = [threading.Thread(target=ask, args=(i % 2 == 0,)) for i in range(8)]
        for t in threads:
            t.start()
        for _ in range(16):
            begun.acquire()
        self.web.stop()
        for t in threads:
            t.join()
        # On a busy machine a thread may pause for longer than fob-http waits.
        self.assertGreater(ended.count(200), 4, ended)


class Start(unittest.TestCase):
    def test_settings_that_are_refused(self):
        w = web.Web("ipc:///nonexistent/v", settings='role = "operator"\n')
        done = w.run()
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr,
                         r"^fob-http: \S+/h\.conf:8: role is set twice, first on line 1; remove one of them\n$")
        w.write_config()
        self.assertEqual((w.run("--check-config").returncode, w.run("--check-config").stderr), (0, ""))
        with open(w.config) as f:
            text = f.read()
        with open(w.config, "w") as f:
            f.write(text.replace('"auth"', '"both"'))
        self.assertIn('role = "both" is unknown; give "auth" or "operator", and one role to each file',
                      w.run("--check-config").stderr)

    def test_an_address_in_use(self):
        w = web.Web("ipc:///nonexistent/v").start()
        self.addCleanup(w.kill)
        other = web.Web("ipc:///nonexistent/v", place=w.place)
        other.metrics = daemon.own_address()
        other.write_config()
        self.assertIn("Address already in use", other.run().stderr)
        with open(other.config) as f:
            text = f.read()
        with open(other.config, "w") as f:
            f.write(text.replace(other.tcp, w.tcp).replace(other.unix, other.unix + "2"))
        self.assertIn("Address already in use", other.run().stderr)
        w.kill()  # its socket file stays, and is replaced
        again = web.Web("ipc:///nonexistent/v", place=w.place).start()
        self.addCleanup(again.kill)
        self.assertEqual(os.stat(again.unix[5:]).st_mode & 0o777, 0o660)
        again.stop()
        self.assertFalse(os.path.exists(again.unix[5:]))

    def test_an_address_that_others_reach_is_warned_of(self):
        w = web.Web("ipc:///nonexistent/v")
        with open(w.config) as f:
            text = f.read()
        try:
            with socket.socket(socket.AF_INET6) as s:
                s.bind(("::", 0))
                everywhere = "[::]:%d" % s.getsockname()[1]
        except OSError:
            self.skipTest("there is no IPv6")
        for address, warned in ((w.tcp, 0), (everywhere, 1)):
            with open(w.config, "w") as f:
                f.write(text.replace(w.tcp, address))
            w.start()
            self.addCleanup(w.kill)
            w.stop()
            self.assertEqual(w.log().count("over plain HTTP keys cross the network in clear"), warned)
        self.assertLess(w.log().count("not connected to fobd"), 2 * os.cpu_count() + 1, "once for each thread")

    def test_flags(self):
        w = web.Web("ipc:///nonexistent/v")
        self.assertRegex(w.run("--version").stdout, r"^fob-http [0-9.]+\n$")
        self.assertIn("--check-config", w.run("--help").stdout)
        self.assertEqual(w.run("--nonsense").returncode, 1)
        self.assertEqual(w.run("extra").returncode, 1)


tap.main()
