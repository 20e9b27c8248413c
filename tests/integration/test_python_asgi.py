#!/usr/bin/python3
"""fob.asgi against a real fobd, driven by hand as a server drives it. Its answers are held against fob-http's."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import asyncio
import base64
import importlib.util
import json
import logging
import unittest

import daemon
import pyfob
import tap
import web
import fob
import fob.aio
from fob.asgi import FobMiddleware
from fob.routes import Routes, refused

LIVE, TEST = fob.Environment.LIVE, fob.Environment.TEST
ROUTES = ["POST /v1/charges = charges.create", "GET /v1/charges/{id} = charges.read", "POST /v1/tokens = tokenize",
          "GET /files/* = files.read", "HEAD /v1/charges/{id} = charges.read"]


def basic(secret):
    return b"Basic " + base64.b64encode(secret + b":")


def scope(method="POST", path="/v1/charges", headers=(), type_="http", raw=None, **more):
    from urllib.parse import unquote
    return dict({"type": type_, "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
                 "path": unquote(path.partition("?")[0]), "raw_path": path.encode() if raw is None else raw,
                 "query_string": b"", "headers": list(headers)}, **more)


class App:
    """The application behind the middleware: it notes the scopes that reach it."""

    def __init__(self):
        self.reached = []

    async def __call__(self, scope, receive, send):
        self.reached.append(scope)
        if scope["type"] == "lifespan":
            message = await receive()
            await send({"type": message["type"] + ".complete"})
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"hello"})
        else:
            await receive()
            await send({"type": "websocket.accept"})


async def drive(app, scope, *received):
    received, sent = list(received), []

    async def receive():
        return received.pop(0)

    async def send(message):
        sent.append(message)
    await app(scope, receive, send)
    return sent


class WithFobd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.fobd = daemon.Daemon().start()
        cls.addClassCleanup(cls.fobd.stop)
        cls.secret, cls.publishable = pyfob.create(cls.fobd, "acct_1")
        cls.test_secret, _ = pyfob.create(cls.fobd, "acct_1", TEST)

    def run_with(self, work, routes=ROUTES, address=None, **options):
        async def main():
            async with fob.aio.Client(address or self.fobd.urls["verify"], fail_fast=True) as client:
                app = App()
                return await work(FobMiddleware(app, client, routes, **options), app)
        return asyncio.run(main())


class Http(WithFobd):
    def denied(self, sent):
        """The status, code and headers of a denial."""
        start, body = sent
        self.assertEqual((start["type"], body["type"], body["more_body"]),
                         ("http.response.start", "http.response.body", False))
        headers = dict(start["headers"])
        self.assertEqual(len(headers), len(start["headers"]))
        self.assertEqual(headers[b"cache-control"], b"no-store")
        self.assertEqual(headers[b"content-type"], b"application/json")
        self.assertEqual(headers[b"content-length"], b"%d" % len(body["body"]))
        self.assertEqual(headers.get(b"www-authenticate"),
                         b'Basic realm="API keys"' if start["status"] == 401 else None)
        return start["status"], json.loads(body["body"])["error"]["code"]

    def test_a_key_that_may_reaches_the_application_with_the_verification(self):
        async def work(app, inner):
            sent = await drive(app, scope(headers=[(b"Host", b"a"), (b"authorization", basic(self.secret)),
                                                   (b"x-fob-account", b"forged")], state={"a": 1}))
            self.assertEqual(sent[0]["status"], 200)
            seen = inner.reached[0]
            v = seen["fob"]
            self.assertEqual((v.account, str(v.environment), v.livemode, str(v.kind), v.generation, v.superseded,
                              v.expires), ("acct_1", "live", True, "secret", 1, False, None))
            self.assertEqual(seen["headers"], [(b"Host", b"a"), (b"x-fob-account", b"forged")])
            self.assertEqual(seen["state"], {"a": 1})
            for path in ("/v1/charges/ch_1", "/v1/charges/a%20b?x=1;y#", "/files/a/b%C3%A4/c", "/files/"):
                sent = await drive(app, scope("GET", path.rstrip("#"), [(b"authorization", basic(self.test_secret))]))
                self.assertEqual(sent[0]["status"], 200, path)
            self.assertFalse(inner.reached[-1]["fob"].livemode)
            sent = await drive(app, scope("POST", "/v1/tokens", [(b"authorization", basic(self.publishable))]))
            self.assertEqual(str(inner.reached[-1]["fob"].kind), "publishable")
        self.run_with(work)

    def test_everything_else_is_answered_here(self):
        ok = [(b"authorization", basic(self.secret))]
        with_password = b"Basic " + base64.b64encode(self.secret + b":password")
        cases = [
            (scope(), (401, "NO_CREDENTIALS")),
            (scope(headers=[(b"authorization", b"")]), (401, "NO_CREDENTIALS")),
            (scope(headers=ok * 2), (401, "NO_CREDENTIALS")),
            (scope(headers=[(b"authorization", with_password)]), (401, "MALFORMED")),
            (scope(headers=[(b"authorization", b"Bearer " + self.secret)]), (401, "MALFORMED")),
            (scope(headers=[(b"authorization", b"\xff\x00")]), (401, "MALFORMED")),
            (scope(headers=[(b"authorization", basic(self.publishable))]), (403, "FORBIDDEN")),
            (scope("GET", headers=ok), (403, "UNKNOWN_ROUTE")),
            (scope(path="/v1/charges/", headers=ok), (403, "UNKNOWN_ROUTE")),
            (scope(path="/V1/charges", headers=ok), (403, "UNKNOWN_ROUTE")),
            (scope(path="/v1/%63harges", headers=ok), (403, "UNKNOWN_ROUTE")),
            (scope("GET", "/v1/charges/..", headers=ok), (403, "PATH_REFUSED")),
            (scope("GET", "/v1/charges/a%2Fb", headers=ok), (403, "PATH_REFUSED")),
            (scope("GET", "/v1/charges/a", ok, raw=b"/v1/charges/b"), (403, "PATH_REFUSED")),
        ]

        async def work(app, inner):
            for given, want in cases:
                self.assertEqual(self.denied(await drive(app, given)), want, (given["method"], given["raw_path"]))
            self.assertEqual(inner.reached, [])
            sent = await drive(app, scope("HEAD", "/v1/charges/a"))
            self.assertEqual((sent[0]["status"], sent[1]["body"]), (401, b""))
        self.run_with(work)

    def test_a_revoked_and_a_suspended_key(self):
        secret, _ = pyfob.create(self.fobd, "acct_2")

        async def work(app, inner):
            given = scope(headers=[(b"authorization", basic(secret))])
            async with fob.aio.Client(self.fobd.urls["admin"]) as admin:
                self.assertEqual((await drive(app, given))[0]["status"], 200)
                await admin.suspend_account("acct_2", LIVE)
                self.assertEqual(self.denied(await drive(app, given)), (403, "SUSPENDED"))
                await admin.resume_account("acct_2", LIVE)
                pyfob.remember(await admin.roll_key("acct_2", LIVE))
                await drive(app, given)
                self.assertTrue(inner.reached[-1]["fob"].superseded)
                self.assertIsNotNone(inner.reached[-1]["fob"].expires)
                await admin.revoke_key("acct_2", LIVE, fob.Kind.SECRET, 1)
                self.assertEqual(self.denied(await drive(app, given)), (401, "REVOKED"))
        self.run_with(work)

    def test_while_fobd_is_down_it_is_503_at_once_and_then_serves_again(self):
        fobd = daemon.Daemon().start()
        self.addCleanup(fobd.kill)
        secret, _ = pyfob.create(fobd, "acct_d")
        given = scope(headers=[(b"authorization", basic(secret))])

        async def work(app, inner):
            self.assertEqual((await drive(app, given))[0]["status"], 200)
            fobd.kill()
            for _ in range(5):
                self.assertEqual(self.denied(await asyncio.wait_for(drive(app, given), 2)), (503, "UNAVAILABLE"))
            self.assertEqual(len(inner.reached), 1)
            fobd.start(init=False)
            while (await drive(app, given))[0]["status"] == 503:
                await asyncio.sleep(0.005)
            self.assertEqual(len(inner.reached), 2)
        with self.assertLogs("fob.asgi", logging.DEBUG) as logged:
            self.run_with(work, address=fobd.urls["verify"])
        self.assertNotIn(base64.b64encode(secret + b":").decode()[12:42], "".join(logged.output))

    def test_a_function_says_the_operation(self):
        async def work(app, inner):
            ok = [(b"authorization", basic(self.publishable))]
            self.assertEqual((await drive(app, scope("GET", "/a;b", ok)))[0]["status"], 200)
            self.assertEqual(self.denied(await drive(app, scope("GET", "/c", ok))), (403, "FORBIDDEN"))
            self.assertEqual(self.denied(await drive(app, scope("GET", "/d", ok))), (403, "UNKNOWN_ROUTE"))
        self.run_with(work, lambda s: {"/a;b": "tokenize", "/c": "charges.create"}.get(s["path"]))

    def test_a_thousand_requests_at_once(self):
        async def work(app, inner):
            ok = scope(headers=[(b"authorization", basic(self.secret))])
            wrong = scope(headers=[(b"authorization", basic(b"sk_live_nonsense"))])
            sent = await asyncio.gather(*[drive(app, wrong if i % 3 else ok) for i in range(999)])
            self.assertEqual([s[0]["status"] for s in sent], [200, 401, 401] * 333)
        self.run_with(work)


class Example(WithFobd):
    def test_the_example_says_whose_key_it_is(self):
        os.environ["FOB_VERIFY"] = self.fobd.urls["verify"]
        spec = importlib.util.spec_from_file_location("app", os.path.join(pyfob.PACKAGE, "examples", "app.py"))
        example = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(example)

        async def work():
            sent = await drive(example.app, scope("GET", "/v1/whoami", [(b"authorization", basic(self.secret))]))
            await example.client.aclose()
            return json.loads(sent[1]["body"])
        self.assertEqual(asyncio.run(work()), {"account": "acct_1", "livemode": True, "kind": "secret",
                                               "superseded": False})


class OtherConnections(WithFobd):
    def test_lifespan_passes_and_unknown_types_do_not(self):
        async def work(app, inner):
            sent = await drive(app, {"type": "lifespan"}, {"type": "lifespan.startup"})
            self.assertEqual(sent, [{"type": "lifespan.startup.complete"}])
            with self.assertRaises(RuntimeError):
                await drive(app, {"type": "webtransport"})
            self.assertEqual(len(inner.reached), 1)
        self.run_with(work)

    def test_websockets(self):
        connect = {"type": "websocket.connect"}
        ok = [(b"authorization", basic(self.secret))]

        def socket(headers=(), **more):
            given = scope(None, "/v1/charges/a", headers, "websocket", **more)
            del given["method"]
            return given

        async def work(app, inner):
            self.assertEqual(await drive(app, socket(ok), connect), [{"type": "websocket.accept"}])
            self.assertEqual(inner.reached[0]["fob"].account, "acct_1")
            self.assertEqual(await drive(app, socket(), connect), [{"type": "websocket.close", "code": 1008}])
            sent = await drive(app, socket(extensions={"websocket.http.response": {}}), connect)
            self.assertEqual([m["type"] for m in sent],
                             ["websocket.http.response.start", "websocket.http.response.body"])
            self.assertEqual((sent[0]["status"], dict(sent[0]["headers"])[b"cache-control"]), (401, b"no-store"))
            self.assertEqual(await drive(app, socket(), {"type": "websocket.disconnect"}), [])
            self.assertEqual(len(inner.reached), 1)

        async def down(app, inner):
            self.assertEqual(await drive(app, socket(ok), connect), [{"type": "websocket.close", "code": 1013}])
        self.run_with(work)
        self.run_with(down, address="ipc:///nonexistent/fob")

    def test_a_realm_that_cannot_stand_in_a_header_is_refused(self):
        for realm in ('a"b', "a\r\nb", "ä", "a\\"):
            with self.assertRaises(ValueError):
                FobMiddleware(App(), fob.aio.Client("ipc:///a"), [], realm=realm)
        with self.assertRaises(ValueError):
            FobMiddleware(App(), fob.aio.Client("ipc:///a"), ["GET /a"])


class LikeFobHttp(WithFobd):
    """The same requests to fob-http and to the middleware, with the same routes."""

    PATHS = ["/v1/charges", "/v1/charges/", "/v1/charges/a", "/v1/charges/a/b", "/v1//charges", "/v1/charges/%2e%2E",
             "/v1/charges/%2e", "/v1/charges/...", "/v1/charges/%41", "/v1/charges/%", "/v1/charges/%4",
             "/v1/charges/%zz", "/v1/charges/a;b", "/v1/charges/a%3Bb", "/v1/charges/a%5cb", "/v1/charges/a\\b",
             "/v1/charges/%00",
             "/v1/charges/%25", "/v1/charges/%7f", "/v1/charges/?a=//..", "/v1/charges/a?b;c", "/files", "/files/",
             "/files/a/b/c", "/files/../a", "/", "/v1/charges/a:b@c,d~e!f", "/v1/charges/%C3%A4"]

    def compare(self, sent, other, method):
        headers = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
        for name in ("content-type", "content-length", "cache-control", "www-authenticate"):
            self.assertEqual(headers.get(name), other.headers.get(name))
        self.assertEqual(sent[1]["body"], b"" if method == "HEAD" else other.body)

    def test_the_answers_are_the_same(self):
        http = web.Web(self.fobd.urls["verify"], ROUTES).start()
        self.addCleanup(http.stop)
        connection = http.connection()
        self.addCleanup(connection.close)
        headers = {"none": [], "secret": [(b"authorization", basic(self.secret))],
                   "publishable": [(b"authorization", basic(self.publishable))],
                   "nonsense": [(b"authorization", b"Basic nonsense")]}
        compared = 0

        async def work(app, inner):
            nonlocal compared
            for method in ("GET", "POST", "HEAD", "DELETE"):
                for path in self.PATHS:
                    for who, authorization in headers.items():
                        with self.subTest(method=method, path=path, who=who):
                            sent = await drive(app, scope(method, path, authorization))
                            other = connection.ask(headers=[("X-Original-Method", method), ("X-Original-URI", path)] + [
                                (k.decode(), v.decode()) for k, v in authorization])
                            self.assertEqual(sent[0]["status"], other.status)
                            if other.status != 200:
                                self.compare(sent, other, method)
                            compared += 1
        self.run_with(work)
        tap.count("%d requests are answered as fob-http answers them" % compared)


class Table(unittest.TestCase):
    def test_routes_that_are_refused(self):
        for route in ("GET /a", "GET /a b = c", "get /a = a", "GET a = a", "GET /a = ä", "GET /a = " + "a" * 65,
                      "GET /a//b = a", "GET /../b = a", "GET /a;b = a", "GET /a?b = a", "GET /a*b = a", "GET /*/b = a",
                      "GET /a/{b = a", "GET /a/b} = a", "GET /a/x{b} = a", "GET /a/{} = a", "GET /a/%2F = a"):
            with self.assertRaises(ValueError, msg=route):
                Routes([route])
        with self.assertRaises(ValueError):
            Routes(["GET /a/{x} = a", "GET /a/b = b"])
        table = Routes(["GET /a/b = b", "GET /a/{x} = a", "POST /a/* = c"])
        self.assertEqual([table.find("GET", "/a/b"), table.find("GET", "/a/c"), table.find("POST", "/a/c/d"),
                          table.find("GET", "/a/"), table.find("PUT", "/a/b")], ["b", "a", "c", None, None])
        self.assertEqual(refused("/v1/charges/a b"), "the path holds a character that is not taken")


tap.main()
