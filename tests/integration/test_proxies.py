#!/usr/bin/python3
"""Forward auth through real proxies: nginx, Caddy and HAProxy with the example files, an API behind them. Envoy and
Traefik are not in Debian: the requests that they send are replayed, as their documentation describes them."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import base64
import concurrent.futures
import functools
import json
import re
import signal
import time
import unittest

import daemon
import proxies
import tap
import web
from pb import LIVE, PUBLISHABLE, SECRET, TEST
from proxies import ask

MISSING = [p for p in proxies.PROGRAMS if not proxies.program(p)]
CHARGE = ("GET", "/v1/charges/ch_1")
TOKENS = ("POST", "/v1/tokens")
ROUTES = ((CHARGE[0], r"/v1/charges/[^/]+"), ("POST", r"/v1/charges"), ("POST", r"/v1/tokens"))
MIB = 1 << 20
ODD = ["/v1/charges/../tokens", "/v1/tokens/../charges/ch_1", "/v1/tokens/%2e%2e/charges/ch_1", "/v1//tokens",
       "//v1/tokens", "/v1/tokens;/../charges/ch_1", "/v1/tokens;a=b", "/v1%2Ftokens", "/v1%2ftokens",
       "/v1/tokens%00", "/v1/tokens%", "/v1/tokens%zz", "/v1\\tokens", "/v1/%5Ctokens", "/v1/./tokens",
       "/v1/tokens/.", "/v1/tokens/", "/V1/tokens", "/v1/token%73", "/v1/tokens#/../charges", "/", "*",
       "v1/tokens", "/v1/tokens ", "/v1/charges", "/v1/charges/a/b", "/v1/charges/ch_1/../../tokens",
       "/fob-auth", "/v1/auth", "http://api.test/v1/charges/ch_1", "http://other.test/v1/charges/ch_1",
       "/v1/charges/ch_1?/../../v1/tokens", "?/v1/tokens"]
UNAVAILABLE = {"nginx": (503,), "haproxy": (503,), "caddy": (502, 503, 504)}


def basic(secret):
    return [web.basic(secret)]


def chunked(data):
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)


def fob_headers(reply):
    """The X-Fob-* headers that the API got, each once, by name in lower case."""
    got = json.loads(reply.body)["fob"]
    if len({k.lower() for k, _ in got}) != len(got):
        raise AssertionError(got)
    return {k.lower(): v for k, v in got}


def path_of(target):
    """Without the scheme and host that an absolute target begins with. HAProxy passes them on."""
    return re.sub(r"\Ahttp://[a-z.]+", "", target.strip())


def through_each(test):
    """Run ${test} once for each proxy, with its name and address."""
    @functools.wraps(test)
    def run(self):
        for name, proxy in self.proxies.items():
            with self.subTest(proxy=name):
                self.api.got.clear()
                test(self, name, proxy.address)
    return run


class Stack(unittest.TestCase):
    """fobd with an account "acme" in both environments, and fob-http with each of the example settings."""

    @classmethod
    def setUpClass(cls):
        cls.fobd = daemon.Daemon().start()
        cls.addClassCleanup(cls.fobd.kill)
        cls.secret, cls.publishable = cls.account("acme", LIVE)
        cls.test_secret, cls.test_publishable = cls.account("acme", TEST)

    @classmethod
    def account(cls, name, environment=LIVE):
        with cls.fobd.client() as admin:
            made = admin.create(environment, name)
        return made.secret_key.secret, made.publishable_key.secret

    @classmethod
    def fob_http(cls, settings):
        started = proxies.FobHttp(settings, cls.fobd.urls["verify"])
        cls.addClassCleanup(started.stop)
        return started.start()


@unittest.skipIf(MISSING, "not installed: %s" % ", ".join(MISSING))
class Proxies(Stack):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.original = cls.fob_http("fob-http-original.conf")
        cls.forwarded = cls.fob_http("fob-http-forwarded.conf")
        cls.api = proxies.Api()
        cls.addClassCleanup(cls.api.stop)
        cls.proxies = {"nginx": proxies.Nginx(cls.original, cls.api), "caddy": proxies.Caddy(cls.forwarded, cls.api),
                       "haproxy": proxies.Haproxy(cls.original, cls.api)}
        for proxy in cls.proxies.values():
            cls.addClassCleanup(proxy.kill)
            proxy.wait()

    def setUp(self):
        self.api.got.clear()

    def allowed(self, address, key, method, path, headers=(), **kw):
        """The request reaches the API. Returns the headers that the API got, by name in lower case."""
        reply = ask(address, method, path, basic(key) + list(headers), **kw)
        self.assertEqual(reply.status, 200, reply)
        got = json.loads(reply.body)
        self.assertEqual((got["method"], got["path"]), (method, path))
        self.assertFalse(got["authorization"], "the API got the key")
        return fob_headers(reply)

    def denied(self, address, status, *args, **kw):
        """The request does not reach the API. ${status}: one, or several."""
        before = len(self.api.got)
        reply = ask(address, *args, **kw)
        self.assertIn(reply.status, status if isinstance(status, tuple) else (status,), reply)
        self.assertEqual(len(self.api.got), before, "it reached the API")
        return reply

    def fob(self, account="acme", environment="live", kind="secret", generation=1, superseded=False, expires="never"):
        return {"x-fob-account": account, "x-fob-environment": environment, "x-fob-kind": kind,
                "x-fob-livemode": "true" if environment == "live" else "false", "x-fob-generation": str(generation),
                "x-fob-superseded": "true" if superseded else "false", "x-fob-expires": expires}

    # ---- keys ----

    @through_each
    def test_all_four_keys(self, _, address):
        for key, environment in ((self.secret, "live"), (self.test_secret, "test")):
            for route in (CHARGE, TOKENS, ("POST", "/v1/charges?expand=all")):
                self.assertEqual(self.allowed(address, key, *route), self.fob(environment=environment))
        for key, environment in ((self.publishable, "live"), (self.test_publishable, "test")):
            self.assertEqual(self.allowed(address, key, *TOKENS), self.fob(environment=environment, kind="publishable"))
            for route in (CHARGE, ("POST", "/v1/charges")):
                self.denied(address, 403, *route, basic(key))

    @through_each
    def test_no_key_and_wrong_keys(self, _, address):
        unknown = b"sk_live_" + self.test_secret[8:]
        bad = [[], basic(b""), basic(self.secret[:-1]), basic(unknown), [("Authorization", "Basic !")],
               [("Authorization", "Bearer " + self.secret.decode())],
               [("Authorization", "Basic " + base64.b64encode(self.secret + b":password").decode())]]
        for headers in bad:
            reply = self.denied(address, 401, *CHARGE, headers)
            self.assertEqual(reply.headers["www-authenticate"], 'Basic realm="API keys"')
            self.assertEqual(reply.headers["cache-control"], "no-store")
            self.assertIn("error", json.loads(reply.body))
        for twice in (basic(self.secret) * 2, basic(self.secret) + basic(self.publishable)):
            self.denied(address, (400, 401, 403), *CHARGE, twice)
        self.denied(address, (400, 403), *CHARGE, [("Authorization", "Basic \x01")])

    @through_each
    def test_what_the_client_sends_beside_the_key(self, name, address):
        cookies = [("Cookie", "c" * 7000)] * (1 if name == "haproxy" else 3)  # HAProxy takes 15 KiB of headers
        for headers in (cookies, [("X-%d" % i, "x") for i in range(80)], [("Traceparent", "1")] * 2):
            self.allowed(address, self.secret, *CHARGE, headers)
        reply = ask(address, *CHARGE, basic(self.secret) + [("Transfer_Encoding", "chunked")])
        self.assertIn(reply.status, (200, 400))

    @through_each
    def test_a_roll_revocation_and_suspension(self, name, address):
        account = "life." + name
        old, publishable = self.account(account)
        with self.fobd.client() as admin:
            new = admin.roll(LIVE, account).new_key.secret
            got = self.allowed(address, old, *CHARGE)
            self.assertRegex(got["x-fob-expires"], r"\A20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z\Z")
            self.assertEqual(got, self.fob(account, generation=1, superseded=True, expires=got["x-fob-expires"]))
            self.assertEqual(self.allowed(address, new, *CHARGE), self.fob(account, generation=2))

            admin.revoke(LIVE, account, SECRET, 1)
            self.assertIn("www-authenticate", self.denied(address, 401, *CHARGE, basic(old)).headers)
            self.allowed(address, new, *CHARGE)
            admin.revoke(LIVE, account, PUBLISHABLE, 1)
            self.denied(address, 401, *TOKENS, basic(publishable))

            admin.suspend(LIVE, account)
            self.denied(address, 403, *CHARGE, basic(new))
            admin.resume(LIVE, account)
            self.allowed(address, new, *CHARGE)

    # ---- forgery ----

    @through_each
    def test_forged_headers_never_reach_the_api(self, proxy, address):
        names = list(self.fob()) + [n.title() for n in self.fob()]
        spelled = [name.replace("-", c, n) for name in names for c in "_." for n in (1, 2)]
        spelled += [re.sub("(?<=fob)-", c, name, flags=re.I) for name in names for c in "_."]
        for name in names:
            for value in ("forged", ""):
                self.assertEqual(self.allowed(address, self.publishable, *TOKENS, [(name, value)]),
                                 self.fob(kind="publishable"), name)
        self.assertEqual(self.allowed(address, self.publishable, *TOKENS, [(n, "forged") for n in names]),
                         self.fob(kind="publishable"))
        # nginx can replace headers by their names only, so others of ours than these seven pass it.
        for name in spelled + ([] if proxy == "nginx" else ["X-Fob-Other", "X-Fob"]):
            reply = ask(address, *TOKENS, basic(self.publishable) + [(name, "forged")])
            self.assertIn(reply.status, (200, 400, 403), name)
            if reply.status == 200:
                self.assertEqual(fob_headers(reply), self.fob(kind="publishable"), name)
        for got in self.api.got:
            self.assertNotIn("forged", str(got))

    @through_each
    def test_a_client_cannot_choose_the_original_request(self, _, address):
        pairs = (("X-Original-Method", "X-Original-URI"), ("X-Forwarded-Method", "X-Forwarded-Uri"),
                 ("X_Original_Method", "X_Original_URI"), ("X_Forwarded_Method", "X_Forwarded_Uri"),
                 ("X.Original.Method", "X.Original.URI"), ("X-Original-Url", "X-Rewrite-Url"),
                 ("X-HTTP-Method-Override", "X-Forwarded-Prefix"))
        for method, uri in pairs:
            forged = [(method, TOKENS[0]), (uri, TOKENS[1])]
            for headers in (forged, forged * 2, forged + [("Connection", "%s, %s" % (method, uri))]):
                self.denied(address, (400, 403), *CHARGE, basic(self.publishable) + headers)

    @through_each
    def test_a_client_cannot_take_headers_away(self, _, address):
        """Connection names headers that a proxy may drop before it passes the request on."""
        pairs = ["x-original-method", "x-original-uri", "x-forwarded-method", "x-forwarded-uri"]
        for gone in (list(self.fob()), pairs):
            headers = [("Connection", ", ".join(["close"] + gone))]
            reply = ask(address, *TOKENS, basic(self.publishable) + headers)
            self.assertIn(reply.status, (200, 400, 403))
            if reply.status == 200:
                self.assertEqual(fob_headers(reply), self.fob(kind="publishable"))
            self.denied(address, (400, 403), *CHARGE, basic(self.publishable) + headers)
        self.denied(address, (400, 401), *CHARGE, [("Connection", "close, authorization")])

    # ---- paths ----

    @through_each
    def test_odd_paths(self, name, address):
        """What reaches the API is what the table allows, spelled as the client spelled it."""
        methods = ("GET", "POST", "HEAD", "PUT", "OPTIONS", "get", "PURGE", "TRACE")
        for method in methods:
            for target in ODD:
                for key in (self.publishable, self.secret):
                    self.api.got.clear()
                    reply = ask(address, method, target, basic(key))
                    for got in self.api.got:
                        self.assertIn(got["path"], (target.strip(), path_of(target)))
                        path = path_of(target).partition("?")[0]
                        self.assertTrue(any(got["method"] == m and re.fullmatch(p, path) for m, p in ROUTES), got)
                        self.assertTrue(key == self.secret or path == TOKENS[1], got)
                    if not self.api.got and (name, method, target) != ("caddy", "OPTIONS", "*"):  # Caddy's own 200
                        self.assertGreaterEqual(reply.status, 400, (reply, method, target))
                        self.assertNotIn(reply.status, (500, 503), (reply, method, target))
        tap.count("%d odd requests through %s" % (len(methods) * len(ODD) * 2, name))

    # ---- bodies ----

    @through_each
    def test_large_bodies(self, _, address):
        body = os.urandom(MIB) * 10
        for how in ({"body": body}, {"body": chunked(body), "more": [("Transfer-Encoding", "chunked")]}):
            headers, data = how.get("more", []), how["body"]
            reply = ask(address, "POST", "/v1/charges", basic(self.secret) + headers, data)
            self.assertEqual((reply.status, json.loads(reply.body)["body"]), (200, len(body)), reply)
            self.denied(address, 401, "POST", "/v1/charges", headers, data)
            self.denied(address, 403, "POST", "/v1/charges", basic(self.publishable) + headers, data)
        self.allowed(address, self.secret, *CHARGE)

    @through_each
    def test_a_body_is_never_the_next_request(self, _, address):
        hidden = proxies.request(*CHARGE, basic(self.secret))
        for headers, body in (([], hidden), ([("Transfer-Encoding", "chunked")], chunked(hidden))):
            with proxies.Connection(address) as c:
                c.send(proxies.request("POST", "/v1/charges", headers, body)
                       + proxies.request("GET", "/v1/charges/last", basic(self.secret)))
                self.assertEqual(c.reply().status, 401)
                last = c.reply()  # None: it closed the connection
                self.assertTrue(last is None or json.loads(last.body)["path"] == "/v1/charges/last")
            self.assertNotIn(CHARGE[1], [got["path"] for got in self.api.got])

    @through_each
    def test_upgrade_requests(self, _, address):
        upgrades = ([("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
                     ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")],
                    [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__")],
                    [("Expect", "100-continue")])
        for headers in upgrades:
            self.denied(address, 401, *CHARGE, headers)
            self.denied(address, 403, *CHARGE, basic(self.publishable) + headers)
            self.allowed(address, self.secret, *CHARGE, headers)

    @through_each
    def test_the_answers_of_the_api_are_its_own(self, _, address):
        for status in (400, 401, 403, 404, 500, 503):
            reply = ask(address, "GET", "/v1/charges/status-%d" % status, basic(self.secret))
            self.assertEqual((reply.status, json.loads(reply.body)["method"]), (status, "GET"))

    # ---- faults ----

    def all_at_once(self, *args, **kw):
        """The same request through all proxies at the same time."""
        with concurrent.futures.ThreadPoolExecutor(len(self.proxies)) as pool:
            asked = {name: pool.submit(ask, proxy.address, *args, **kw) for name, proxy in self.proxies.items()}
            return {name: answer.result() for name, answer in asked.items()}

    def unavailable(self):
        self.api.got.clear()
        for key in (self.secret, self.publishable):
            for name, reply in self.all_at_once(*TOKENS, basic(key)).items():
                with self.subTest(proxy=name):
                    self.assertIn(reply.status, UNAVAILABLE[name], reply)
                    self.assertIn("error", json.loads(reply.body))
        self.assertEqual(self.api.got, [])

    def back(self):
        for name, proxy in self.proxies.items():
            daemon.wait_until(name + " allows again",
                              lambda at=proxy.address: ask(at, *CHARGE, basic(self.secret)).status == 200)

    def test_fobd_stopped_and_back(self):
        self.back()
        self.fobd.stop()
        try:
            self.unavailable()
            for name, reply in self.all_at_once(*TOKENS, basic(self.secret)).items():
                self.assertEqual(reply.status, 503, name)
        finally:
            self.fobd.start(init=False)
        self.back()

    def test_fob_http_stopped_and_back(self):
        self.original.stop()
        self.forwarded.stop()
        try:
            self.unavailable()
        finally:
            self.original.start()
            self.forwarded.start()
        self.back()

    def test_fob_http_hangs(self):
        for fob_http in (self.original, self.forwarded):
            fob_http.process.send_signal(signal.SIGSTOP)
        try:
            start = time.monotonic()
            for name, reply in self.all_at_once(*TOKENS, basic(self.secret)).items():
                self.assertIn(reply.status, UNAVAILABLE[name], (name, reply))
            self.assertLess(time.monotonic() - start, 6 * daemon.SLOWER)
        finally:
            for fob_http in (self.original, self.forwarded):
                fob_http.process.send_signal(signal.SIGCONT)
        self.back()

    def test_no_secret_in_a_log(self):
        self.back()
        for process in list(self.proxies.values()) + [self.original, self.forwarded]:
            self.assertEqual(daemon.secrets_in(process.log().encode()), [], process.log_path)


class Replayed(Stack):
    """The requests of proxies that are not run."""

    def reply(self, fob_http, method, target, headers, **kw):
        reply = ask(fob_http.tcp, method, target, headers, host="api.example.com", **kw)
        if reply.status == 200:
            self.assertEqual(reply.body, b"")
            self.assertEqual(reply.headers["x-fob-account"], "acme")
        return reply.status

    def test_envoy(self):
        """https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/filters/http/ext_authz/v3/ext_authz.proto
        The method, path, host and authorization of the client's request, path_prefix before the path, Content-Length 0,
        and what allowed_headers names. The router of Envoy adds the x-envoy and x-forwarded headers."""
        fob_http = self.fob_http("fob-http-request.conf")

        def envoy(method, path, key=None):
            headers = [(k.lower(), v) for k, v in (basic(key) if key else [])]
            headers += [("content-length", "0"), ("x-envoy-internal", "true"), ("x-forwarded-for", "203.0.113.9"),
                        ("x-envoy-expected-rq-timeout-ms", "1500"),
                        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
            return self.reply(fob_http, method, "/v1/auth" + path, headers)

        self.assertEqual(envoy(*CHARGE, self.secret), 200)
        self.assertEqual(envoy("POST", "/v1/charges?expand=all", self.secret), 200)
        self.assertEqual(envoy(*TOKENS, self.publishable), 200)
        self.assertEqual(envoy(*CHARGE, self.publishable), 403)
        self.assertEqual(envoy(*CHARGE), 401)
        for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"):
            self.assertEqual(envoy(method, "/v1/tokens", self.secret), 403, method)
        for path in ("", "/", "/v1/charges/../tokens", "/v1//tokens", "/v1/tokens%2f..", "/v1/auth/v1/tokens"):
            self.assertEqual(envoy("POST", path, self.secret), 403, path)

    def test_traefik(self):
        """https://doc.traefik.io/traefik/reference/routing-configuration/http/middlewares/forwardauth/
        A GET of the address with the headers of the client that authRequestHeaders names, and five X-Forwarded headers.
        The client is Go's net/http, which adds User-Agent and Accept-Encoding."""
        fob_http = self.fob_http("fob-http-forwarded.conf")

        def traefik(method, uri, key=None):
            headers = [("User-Agent", "Go-http-client/1.1")] + (basic(key) if key else [])
            headers += [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Host", "api.example.com"),
                        ("X-Forwarded-Method", method), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Uri", uri),
                        ("Accept-Encoding", "gzip")]
            return self.reply(fob_http, "GET", "/v1/auth", headers)

        self.assertEqual(traefik(*CHARGE, self.secret), 200)
        self.assertEqual(traefik("POST", "/v1/charges?expand=all", self.secret), 200)
        self.assertEqual(traefik(*TOKENS, self.publishable), 200)
        self.assertEqual(traefik(*CHARGE, self.publishable), 403)
        self.assertEqual(traefik(*CHARGE), 401)
        self.assertEqual(traefik("GET", "/v1/tokens", self.secret), 403)
        self.assertEqual(traefik("POST", "/v1/charges/../tokens", self.secret), 403)


tap.main()
