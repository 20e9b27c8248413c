#!/usr/bin/python3
"""client/http/openapi.yaml against the running fob-http: each path, method, status, header and member of a reply is in
the file, and what is in the file is served. And the clients of client/http/examples."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import glob
import hashlib
import json
import re
import shutil
import signal
import subprocess
import unittest
import zlib

import daemon
import fobwire
import openapi
import pb
import tap
import web
from pb import LIVE, PUBLISHABLE, TEST

FOLDER = os.path.join(pb.ROOT, "client", "http")
FILE = os.path.join(FOLDER, "openapi.yaml")
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# What fob-http refuses before it looks at the path, with the status that it then answers.
AMBIGUOUS, LONG_HEAD = [("Host", "again")], [("A", "b" * 20000)]
LARGE, EXPECT = [("Content-Length", "140000")], [("Expect", "much"), ("Content-Length", "2")]
# In the file for clients, but no reply of this fobd has it.
NEVER = r"\.verdict = DENIED$|\.type = restored$|\.certificate$"
# The files of the page for operators are no calls, and not in the file.
PAGE = re.compile(r"text/(html|css|javascript)\b")
ADMIN = ("/v1/accounts/create", "/v1/accounts/suspend", "/v1/accounts/resume", "/v1/accounts/list", "/v1/keys/roll",
         "/v1/keys/revoke", "/v1/keys/list", "/v1/events/list")
# Values for members of requests; which of them a call takes, the file says.
VALUES = {"request_token": ("0" * 63, "g" * 64, 1), "environment": ("test", "LIVE", None),
          "account": ("other", "", "a b", "a" * 65),
          "kind": ("secret", "publishable", "x"), "generation": (1, 0, -1, "1", 1 << 32),
          "grace": ({"seconds": 60}, {"seconds": 0}, {"seconds": 86401}, {}, 5),
          "expected_generation": (1, -1, 1.5, 1 << 32),
          "authorizing_secret": ("sk_live_x", "", 1), "page_size": (0, 1, 1000, 1001), "page_token": ("", "!", 1),
          "nonsense": (1,)}


def made_up():
    """A key of the right form that nobody has."""
    body, check = "sk_live_" + "0" * 30, ""
    crc = zlib.crc32(body.encode())
    for _ in range(6):
        crc, digit = divmod(crc, 62)
        check = BASE62[digit] + check
    return (body + check).encode()


def original(method, uri):
    return [("X-Original-Method", method), ("X-Original-URI", uri)]


class Case(unittest.TestCase):
    """A fobd, one that serves live only, and one whose test environment has failed. A fob-http of each, one of none,
    and one for operators."""

    @classmethod
    def start_web(cls, *args, kind=web.Web, **kw):
        started = kind(*args, **kw).start()
        cls.addClassCleanup(started.kill)
        cls.webs.append(started)
        return started

    @classmethod
    def start_fobd(cls, **kw):
        started = daemon.Daemon(**kw).start()
        cls.addClassCleanup(started.kill)
        return started

    @classmethod
    def setUpClass(cls):
        cls.document = openapi.Document(FILE)
        cls.webs = []
        cls.fobd, cls.live_only, cls.half = cls.start_fobd(), cls.start_fobd(environments=("live",)), cls.start_fobd()
        cls.web = cls.start_web(cls.fobd.urls["verify"])
        cls.of_live = cls.start_web(cls.live_only.urls["verify"], settings='original = "request"\nerror_body = false\n')
        cls.of_half = cls.start_web(cls.half.urls["verify"], trusted=())
        cls.down = cls.start_web("ipc:///nonexistent/v")
        cls.operator = cls.start_web(cls.fobd.urls["admin"], kind=web.Operator)
        cls.make_keys()
        os.rename(os.path.join(cls.half.database("test"), "data.mdb"), os.path.join(cls.half.place, "kept.mdb"))
        cls.listeners = {"8480": cls.web.tcp, "8490": cls.operator.tcp, "9480": cls.web.metrics}

    @classmethod
    def make_keys(cls):
        with cls.fobd.client("admin") as c:
            made = c.create(LIVE, "acme")
            cls.key, cls.weak = made.secret_key.secret, made.publishable_key.secret
            cls.test = c.create(TEST, "acme").secret_key.secret
            cls.old = c.create(LIVE, "rolled").secret_key.secret
            cls.ending = c.roll(LIVE, "rolled", grace=3600).new_key.secret
            cls.new = c.roll(LIVE, "rolled", grace=1).new_key.secret
            cls.revoked = c.create(LIVE, "revoked").publishable_key.secret
            c.revoke(LIVE, "revoked", PUBLISHABLE, 1)
            cls.suspended = c.create(LIVE, "suspended").secret_key.secret
            c.suspend(LIVE, "suspended")
        with cls.half.client("admin") as c:
            cls.half_live, cls.half_test = (c.create(e, "acme").secret_key.secret for e in (LIVE, TEST))

    @classmethod
    def tearDownClass(cls):
        for w in cls.webs:
            w.stop()
        for fobd in (cls.fobd, cls.live_only):
            fobd.stop()
        cls.half.terminate()

    def at(self, path):
        """The address that has ${path}."""
        servers = self.document.paths[path].get("servers", self.document.all["servers"])
        return self.listeners[servers[0]["url"].rsplit(":", 1)[1]]

    @staticmethod
    def send(address, method, target, headers=(), body=None):
        with web.Connection(address) as c:
            return c.ask(method, target, headers, b"" if body is None else json.dumps(body).encode())

    def ask(self, path, method, headers=(), body=None, at=None, target=None, no_body=False):
        """Send it to ${at}, or where the file says, and hold the reply against the file."""
        reply = self.send(at or self.at(path), method, target or path.replace("{path}", "a/b"), headers, body)
        self.document.check(path, method, reply, no_body)
        fobwire.known_secrets.update(fobwire._SECRET.findall(reply.body))
        return reply


class Replies(Case):
    def refusals(self, path, method, headers=()):
        """What is refused alike at all paths."""
        for more in (AMBIGUOUS, LONG_HEAD) + ((LARGE, EXPECT) if method not in ("HEAD", "TRACE") else ()):
            self.ask(path, method, [*headers, *more])

    def auth(self):
        for path in ("/v1/auth", "/v1/auth/{path}"):
            for method in self.document.methods(path):
                self.ask(path, method, [web.basic(self.key), *web.CHARGE])
                self.ask(path, method, [web.basic(self.weak), *web.CHARGE])
                self.ask(path, method, web.CHARGE)
                self.ask(path, method, [web.basic(self.key), *web.CHARGE], at=self.down.tcp)
                self.refusals(path, method, [web.basic(self.key), *web.CHARGE])
        for key in (self.test, self.old, self.revoked, self.suspended, made_up(), b"x"):
            self.ask("/v1/auth", "GET", [web.basic(key), *web.CHARGE])
        self.ask("/v1/auth", "GET", [web.basic(self.weak), *web.TOKEN])
        for wanted in (original("GET", "/v1/nothing"), original("GET", "/v1/../x"), web.CHARGE[:1]):
            self.ask("/v1/auth", "GET", [web.basic(self.key), *wanted])
        self.ask("/v1/auth", "GET", [web.basic(self.key), *web.CHARGE], at=self.of_half.tcp)
        daemon.wait_until("its grace has ended", lambda: b"EXPIRED" in self.ask(
            "/v1/auth", "GET", [web.basic(self.ending), *web.CHARGE]).body)

    def auth_by_the_request_line(self):
        with self.live_only.client("admin") as c:
            key = c.create(LIVE, "acme").secret_key.secret
        for method, target, secret, status in (("POST", "/v1/charges", key, 200), ("POST", "/v1/x", key, 403),
                                               ("GET", "/v1/charges/ch_1", None, 401)):
            reply = self.ask("/v1/auth/{path}", method, [web.basic(secret)] if secret else [], at=self.of_live.tcp,
                             target="/v1/auth" + target, no_body=True)
            self.assertEqual(reply.status, status)
        # A fobd without the environment test.
        self.of_live.write_config()
        self.of_live.reload()
        self.ask("/v1/auth", "GET", [web.basic(self.test), *web.CHARGE], at=self.of_live.tcp)

    def items(self):
        for key in (self.key, self.weak, self.test, self.old, self.ending, self.new, self.revoked, self.suspended,
                    made_up(), b"x", b""):
            yield {"secret": key.decode(), "operation": "charges.create"}
        yield {"authorization": web.basic(self.key)[1], "require_environment": "test"}
        yield {"authorization": "", "operation": ""}
        yield {"secret": self.key.decode(), "operation": "o" * 64}
        # These are refused.
        yield from ({}, {"secret": "x", "authorization": "y"}, {"secret": "x", "more": 1}, {"secret": 1},
                    {"secret": "\0"}, {"secret": "x", "operation": "a b"}, {"secret": "x", "operation": "o" * 65},
                    {"authorization": None}, {"secret": "x", "require_environment": "LIVE"},
                    {"secret": "x", "require_environment": ""})

    def verify(self):
        schema = self.document.request_schema("/v1/verify", "POST")
        for item in self.items():
            right = self.document.wrong(schema, item) is None
            self.assertEqual(self.ask("/v1/verify", "POST", body=item).status, 200 if right else 400, item)
        self.ask("/v1/verify", "POST", body={"secret": self.key.decode()}, at=self.down.tcp)
        self.refusals("/v1/verify", "POST")

    def verify_batch(self):
        path, schema = "/v1/verify-batch", self.document.request_schema("/v1/verify-batch", "POST")
        items = [item for item in self.items() if self.document.wrong(schema, {"items": [item]}) is None]
        for body in ({"items": items}, {"items": items[:8] * 32}, {"items": items[:1] * 257}, {"items": []}, {},
                     {"items": items, "more": 1}, {"items": [1]}, {"items": items[0]}, []):
            right = self.document.wrong(schema, body) is None
            self.assertEqual(self.ask(path, "POST", body=body).status, 200 if right else 400)
        self.ask(path, "POST", body={"items": items}, at=self.down.tcp)
        two = {"items": [{"secret": key.decode()} for key in (self.half_live, self.half_test)]}

        def half():
            codes = [i["code"] for i in json.loads(self.ask(path, "POST", body=two, at=self.of_half.tcp).body)["items"]]
            return codes == ["OK", "UNAVAILABLE"]

        daemon.wait_until("one key of two cannot be checked", half)
        self.refusals(path, "POST")

    def health(self):
        for path in ("/livez", "/readyz", "/metrics"):
            for method in self.document.methods(path):
                for at in (self.web, self.of_half, self.down):
                    self.ask(path, method, at=at.metrics)
                self.refusals(path, method)

    # ---- the role operator ----

    def admin(self, path, body, at=None, **more):
        """Asked by a script, with the sign-in token."""
        where = at or self.operator
        return self.ask(path, "POST", where.bearer(), {**body, **more}, where.tcp)

    def base(self, path, account="acme"):
        """The members that ${path} must have."""
        needs = self.document.request_schema(path, "POST")["required"]
        have = {"request_token": fobwire.new_token().hex(), "environment": "live", "account": account, "kind": "secret",
                "generation": 1}
        return {name: have[name] for name in needs}

    def changes(self):
        """Each call as it should be, and with each member as it should be or not."""
        for path in ADMIN:
            schema = self.document.request_schema(path, "POST")
            for name, values in VALUES.items():
                for value in values:
                    body = {**self.base(path), name: value}
                    right = self.document.wrong(schema, body) is None
                    self.assertEqual(self.admin(path, body).status != 400, right, (path, name, value))
            for name in self.base(path):
                body = self.base(path)
                del body[name]
                self.assertEqual(self.admin(path, body).status, 400)
            if "request_token" in self.base(path):
                body = self.base(path, "first")
                self.admin(path, body)
                self.admin(path, body, account="second")
                if "create" not in path:
                    self.admin(path, self.base(path, "nobody"))
        self.admin("/v1/keys/list", self.base("/v1/keys/list", "nobody"))
        for _ in range(9):
            self.admin("/v1/keys/roll", self.base("/v1/keys/roll", "first"))
        self.admin("/v1/accounts/suspend", self.base("/v1/accounts/suspend", "first"))
        self.import_one()

    def import_one(self):
        """What the calls over HTTP cannot do: an account without a secret key, a change over TCP, one for a named person."""
        with self.fobd.client("tcpadmin") as c:
            item = pb.admin.ImportItem(account="imported", publishable_last4="abcd",
                                       publishable_sha256=hashlib.sha256(b"imported").digest())
            c.call("fob.v1.Admin/ImportAccounts", pb.admin.ImportAccountsRequest(
                request_token=fobwire.new_token(), environment=LIVE, items=[item]), on_behalf_of="ada")
        rolled = self.admin("/v1/keys/roll", self.base("/v1/keys/roll", "imported"))
        self.assertIsNone(json.loads(rolled.body)["old_key"])

    def lists(self):
        for path in ("/v1/accounts/list", "/v1/keys/list", "/v1/events/list"):
            for account in ("acme", "rolled", "first"):
                token = json.loads(self.admin(path, self.base(path, account), page_size=1).body)["next_page_token"]
                self.admin(path, self.base(path, account), page_token=token)

    def sessions(self):
        ours = [("Origin", "http://fob")]
        good = {"token": self.operator.token()}

        def post(headers=ours, body=good, at=None):
            return self.ask("/v1/session", "POST", headers, body, at)

        signed_in = post()
        cookie = ("Cookie", signed_in.headers["set-cookie"].split(";")[0])
        csrf = ("X-CSRF-Token", json.loads(signed_in.body)["csrf_token"])
        post([("Origin", "http://evil")])
        for body in ({}, {"token": 1}, {**good, "more": 1}, []):
            self.assertEqual(post(body=body).status, 400)
        for headers in ([], [cookie]):
            self.ask("/v1/session", "GET", headers)
        for path in ADMIN:
            self.ask(path, "POST", [], self.base(path))
            self.ask(path, "POST", [cookie, *ours], self.base(path))
            self.refusals(path, "POST", self.operator.bearer())
        for headers in ([], [cookie, *ours], [cookie, csrf, *ours]):
            self.ask("/v1/session", "DELETE", headers)
        for method in self.document.methods("/v1/session"):
            self.refusals("/v1/session", method)
        self.sessions_of_a_proxy(post, ours)

    def sessions_of_a_proxy(self, post, ours):
        proxied = self.start_web(self.fobd.urls["admin"], "X-User", kind=web.Operator, trusted=("10.0.0.0/8",))
        ada = [("X-User", "ada"), *ours]
        post(ada, {}, proxied.unix)
        post(ada, {}, proxied.tcp)
        for method in ("GET", "DELETE"):
            self.ask("/v1/session", method, ada, at=proxied.tcp)
        self.ask(ADMIN[0], "POST", ada, self.base(ADMIN[0]), at=proxied.tcp)

    def operator_faults(self):
        unadmitted = self.start_web(self.fobd.urls["verify"], kind=web.Operator)
        down = self.start_web("ipc:///nonexistent/a", kind=web.Operator)
        slow = self.start_web(self.half.urls["admin"], kind=web.Operator, settings="timeout = 100\n")
        self.assertEqual(self.admin("/v1/keys/list", self.base("/v1/keys/list"), slow).status, 200)
        os.kill(self.half.pid, signal.SIGSTOP)
        try:
            for path in ADMIN:
                self.assertEqual(self.admin(path, self.base(path), unadmitted).status, 403)
                self.assertEqual(self.admin(path, self.base(path), down).status, 503)
                self.assertEqual(self.admin(path, self.base(path), slow).status, 504)
        finally:
            os.kill(self.half.pid, signal.SIGCONT)
        for _ in range(5):
            self.ask("/v1/session", "POST", [], {"token": "A" * 43}, down.tcp)
        self.ask("/v1/session", "POST", [], {"token": down.token()}, down.tcp)
        for path in ADMIN:
            self.assertEqual(self.admin(path, self.base(path), down).status, 429)

    def test_each_reply_is_in_the_file_and_all_of_the_file_is_replied(self):
        self.auth()
        self.auth_by_the_request_line()
        self.verify()
        self.verify_batch()
        self.health()
        self.changes()
        self.lists()
        self.sessions()
        self.operator_faults()
        self.assertEqual([what for what in self.document.unseen() if not re.search(NEVER, what)], [])
        tap.count("%d statuses of the OpenAPI file" % sum(
            len(self.document.paths[path][m.lower()]["responses"])
            for path in self.document.paths for m in self.document.methods(path)))


class Paths(Case):
    def test_other_methods_are_refused(self):
        response = self.document.all["components"]["responses"]["MethodNotAllowed"]
        for path in self.document.paths:
            have = self.document.methods(path)
            for method in set(openapi.METHODS) - set(have):
                reply = self.send(self.at(path), method, path)
                self.assertEqual(reply.status, 405, (method, path))
                self.document.check_response(response, method, reply, path)
                self.assertEqual(sorted(reply.headers["allow"].split(", ")), sorted(have))

    def test_no_path_is_missing(self):
        """Every text in the sources that could be a path is asked for, at every listener."""
        response = self.document.all["components"]["responses"]["NoSuchPath"]
        texts = set(self.document.paths)
        for name in glob.glob(os.path.join(FOLDER, "**", "*.[ch]"), recursive=True):
            with open(name, encoding="utf-8") as f:
                texts.update(re.findall(r'"(/[\w./-]*)"', f.read()))
        self.assertGreater(len(texts), 8)
        for text in sorted(texts):
            for address in self.listeners.values():
                reply = self.send(address, "GET", text)
                if (reply.status, address) == (200, self.operator.tcp) and PAGE.match(reply.headers["content-type"]):
                    continue
                here = text in self.document.paths and self.at(text) == address
                self.assertEqual(reply.status != 404, here, (text, address))
                if not here:
                    self.document.check_response(response, "GET", reply, text)

    def test_the_names_are_those_of_the_proto_files(self):
        schemas = self.document.all["components"]["schemas"]
        for name, message in (("VerifyRequest", pb.keys.VerifyKeyRequest), ("Verification", pb.keys.VerifyKeyResponse),
                              ("RollRequest", pb.admin.RollKeyRequest), ("RevokeRequest", pb.admin.RevokeKeyRequest),
                              ("Key", pb.types.Key), ("Account", pb.types.Account), ("Event", pb.admin.Event),
                              ("EventPage", pb.admin.ListEventsResponse), ("RolledKey", pb.admin.RollKeyResponse)):
            fields = sorted(f.name for f in message.DESCRIPTOR.fields)
            self.assertEqual(sorted(schemas[name]["properties"]), fields, name)
        verdicts = {v.name for v in pb.keys.Verdict.DESCRIPTOR.values if v.number}
        self.assertEqual(set(schemas["Verification"]["properties"]["verdict"]["enum"]), verdicts | {"DENIED"})

    def test_a_validator_finds_nothing(self):
        tool = shutil.which("openapi-spec-validator")
        if tool is None:
            self.skipTest("openapi-spec-validator is not installed; Debian has no package of it")
        copy = os.path.join(daemon.folder(), "openapi.json")
        with open(copy, "w", encoding="utf-8") as f:
            json.dump(self.document.raw, f)
        done = subprocess.run([tool, copy], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Examples(Case):
    def run_client(self, command, at, key):
        done = subprocess.run([*command, "http://" + at], input=key.decode() + "\n", capture_output=True, text=True,
                              timeout=20 * daemon.SLOWER, cwd=daemon.folder(),
                              env={**os.environ, "http_proxy": "http://" + self.down.metrics})
        self.assertNotIn(key.decode()[8:], done.stdout + done.stderr)
        return done.returncode, done.stdout, done.stderr

    def check_client(self, command):
        self.assertEqual(self.run_client(command, self.web.tcp, self.key), (0, "acme\n", ""))
        status, out, err = self.run_client(command, self.web.tcp, self.weak)
        self.assertEqual((status, out.split(":")[0], err), (1, "FORBIDDEN", ""))
        for at in (self.down.tcp, daemon.own_address()):  # fobd is down; nobody listens
            status, out, err = self.run_client(command, at, self.key)
            self.assertEqual((status, out), (2, ""), err)
            self.assertTrue(err.startswith("Fob could not say: "), err)

    def test_python(self):
        self.check_client(["/usr/bin/python3", os.path.join(FOLDER, "examples", "verify.py")])

    def test_the_page_shows_it(self):
        with open(os.path.join(FOLDER, "JSON.md"), encoding="utf-8") as page:
            shown = re.search(r"^```python\n(.*?)^```$", page.read(), re.M | re.S)[1]
        with open(os.path.join(FOLDER, "examples", "verify.py"), encoding="utf-8") as f:
            self.assertIn(shown, f.read())

    def test_go(self):
        if shutil.which("go") is None:
            self.skipTest("go is not installed")
        place = daemon.folder()
        program, source = os.path.join(place, "verify"), os.path.join(FOLDER, "examples", "verify.go")
        subprocess.run(["go", "build", "-o", program, source], check=True, cwd=place,
                       env={**os.environ, "GOCACHE": place, "GO111MODULE": "off", "CGO_ENABLED": "0"})
        self.check_client([program])

    def test_node(self):
        node = shutil.which("node")
        if node is None:
            self.skipTest("node is not installed")
        self.check_client([node, os.path.join(FOLDER, "examples", "verify.mjs")])


tap.main()
