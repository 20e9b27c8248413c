#!/usr/bin/python3
"""client/http/openapi.json against a running fob-http: each path and status of it is brought about, and each reply has
the fields and headers that stand there and no others. And the Python client of client/http/JSON.md is run."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import importlib.util
import json
import re
import unittest

import daemon
import pb
import tap
import web
from pb import LIVE

FOLDER = os.path.join(pb.ROOT, "client", "http")
TYPES = {"string": str, "boolean": bool, "integer": int, "array": list, "object": dict, "null": type(None)}
WORDS = {"$ref", "type", "description", "properties", "required", "additionalProperties", "items", "minItems",
         "maxItems", "enum", "const", "pattern", "minimum", "oneOf"}
ALWAYS = {"content-length", "content-type", "date", "connection"}


class Document:
    """An OpenAPI document, and the part of JSON Schema that ours uses: another keyword is an error."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            self.all = json.load(f)

    def get(self, what):
        if "$ref" not in what:
            return what
        at = self.all
        for name in what["$ref"].removeprefix("#/").split("/"):
            at = at[name]
        return at

    def wrong(self, schema, value, where="$"):
        """What of ${value} is not as ${schema} says; None if nothing."""
        schema = self.get(schema)
        assert set(schema) <= WORDS, "the test does not know %s" % (set(schema) - WORDS)
        types = schema.get("type", [])
        types = [types] if isinstance(types, str) else types
        if types and not any(isinstance(value, TYPES[t]) and (t == "boolean") == isinstance(value, bool)
                             for t in types):
            return "%s is no %s" % (where, types)
        if "enum" in schema and value not in schema["enum"] or "const" in schema and value != schema["const"]:
            return "%s is %r" % (where, value)
        if "pattern" in schema and not re.search(schema["pattern"], value):
            return "%s is %r" % (where, value)
        if "minimum" in schema and value < schema["minimum"]:
            return "%s is %r" % (where, value)
        if "oneOf" in schema and sum(self.wrong(one, value, where) is None for one in schema["oneOf"]) != 1:
            return "%s is not one of several" % where
        return self.wrong_inside(schema, value, where)

    def wrong_inside(self, schema, value, where):
        found = []
        if isinstance(value, dict):
            found += ["%s.%s is missing" % (where, name) for name in schema.get("required", []) if name not in value]
            if schema.get("additionalProperties") is False:
                found += ["%s.%s is not known" % (where, name) for name in value if name not in schema["properties"]]
            found += [self.wrong(s, value[name], "%s.%s" % (where, name))
                      for name, s in schema.get("properties", {}).items() if name in value]
        if isinstance(value, list):
            if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 1 << 30):
                found.append("%s has %d items" % (where, len(value)))
            found += [self.wrong(schema["items"], item, "%s[%d]" % (where, i)) for i, item in enumerate(value)]
        return next((f for f in found if f), None)


class OpenApi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.document = Document(os.path.join(FOLDER, "openapi.json"))
        cls.fobd = daemon.Daemon().start()
        cls.addClassCleanup(cls.fobd.kill)
        cls.web = web.Web(cls.fobd.urls["verify"]).start()
        cls.addClassCleanup(cls.web.kill)
        cls.down = web.Web("ipc:///nonexistent/v").start()
        cls.addClassCleanup(cls.down.kill)
        with cls.fobd.client("admin") as c:
            cls.made = c.create(LIVE, "acme")
            cls.gone = c.create(LIVE, "gone").secret_key.secret
            c.roll(LIVE, "gone", grace=3600)
            c.suspend(LIVE, "gone")
        cls.key, cls.weak = cls.made.secret_key.secret, cls.made.publishable_key.secret

    @classmethod
    def tearDownClass(cls):
        cls.web.stop()
        cls.down.stop()
        cls.fobd.stop()

    def calls(self):
        """(path, how the request differs, at which fob-http)"""
        key, weak, gone = self.key.decode(), self.weak.decode(), self.gone.decode()
        items = [{"secret": key, "operation": "charges.create", "require_environment": "live"}, {"authorization": ""},
                 {"secret": "x"}, {"secret": weak, "operation": "charges.create"},
                 {"secret": weak, "operation": "tokenize"},
                 {"secret": gone}, {"secret": key, "require_environment": "test"},
                 {"authorization": web.basic(self.key)[1]},
                 {}, {"secret": "x", "authorization": "y"}, {"secret": "x", "more": 1}, {"secret": 1},
                 {"secret": "x", "operation": "a b"}, {"secret": "x", "require_environment": "all"}]
        for at in (self.web, self.down):
            for item in items:
                yield "/v1/verify", {"body": item}, at
                yield "/v1/verify-batch", {"body": {"items": [item] * 3}}, at
            yield "/v1/verify-batch", {"body": {"items": items[:8] * 32}}, at
            yield "/v1/verify-batch", {"body": {"items": []}}, at
            yield "/v1/verify-batch", {"body": {"items": items[:1] * 257}}, at
            for secret in (self.key, self.weak, self.gone, b"x", None):
                for original in (web.CHARGE, web.TOKEN, web.CHARGE[:1], web.CHARGE + web.TOKEN):
                    yield "/v1/auth", {"headers": [*original] + ([web.basic(secret)] if secret else [])}, at

    def check_reply(self, path, reply, responses):
        answer = responses.get(str(reply.status))
        self.assertIsNotNone(answer, "%s: the document has no %d" % (path, reply.status))
        headers = {name.lower(): self.document.get(h) for name, h in answer["headers"].items()}
        self.assertEqual(set(headers), set(reply.headers) - ALWAYS, "%s: %d" % (path, reply.status))
        for name, header in headers.items():
            self.assertIsNone(self.document.wrong(header["schema"], reply.headers[name], name))
        if "content" not in answer:
            self.assertEqual(reply.body, b"")
            return None
        self.assertEqual(list(answer["content"]), [reply.headers["content-type"]])
        body = json.loads(reply.body)
        self.assertIsNone(self.document.wrong(answer["content"]["application/json"]["schema"], body), reply.body)
        return body

    def test_each_path_and_status(self):
        seen, verdicts = set(), set()
        for path, how, at in self.calls():
            (method, operation), = self.document.all["paths"][path].items()
            right = True
            if "body" in how:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                right = self.document.wrong(schema, how["body"]) is None
                how = {"body": json.dumps(how["body"]).encode()}
            reply = at.ask(method.upper(), path, **how)
            body = self.check_reply(path, reply, operation["responses"])
            if path != "/v1/auth":
                # A wrong name of an operation within a batch is that item's fault alone.
                allowed = ({200, 503} if right else {400}) | ({200, 503} if b'"a b"' in how["body"] else set())
                self.assertIn(reply.status, allowed, how["body"][:200])
            seen.add((path, str(reply.status)))
            verdicts.update(re.findall(r'"verdict":"(\w+)"', json.dumps(body, separators=(",", ":"))))
        every = {(path, status) for path, item in self.document.all["paths"].items() for operation in item.values()
                 for status in operation["responses"]}
        self.assertEqual(seen, every)
        self.assertEqual(verdicts, {"VALID", "MALFORMED", "SUSPENDED", "WRONG_ENVIRONMENT", "FORBIDDEN"})
        tap.count("%d paths and statuses of the OpenAPI file" % len(every))

    def test_every_name_is_there(self):
        """Verdicts, faults and fields are those of the .proto files, and every part of the document is used."""
        schemas = self.document.all["components"]["schemas"]
        names = [v.name for v in pb.keys.Verdict.DESCRIPTOR.values]
        self.assertEqual(schemas["Verification"]["properties"]["verdict"]["enum"], ["DENIED"] + names[1:])
        self.assertEqual(list(schemas["Verification"]["properties"]),
                         [f.name for f in pb.keys.VerifyKeyResponse.DESCRIPTOR.fields])
        self.assertEqual(list(schemas["VerifyRequest"]["properties"]),
                         [f.name for f in pb.keys.VerifyKeyRequest.DESCRIPTOR.fields])
        codes = {v.name for v in pb.rpc.Code.DESCRIPTOR.values}
        self.assertLessEqual(set(schemas["BatchItem"]["properties"]["code"]["enum"]), codes)
        text = json.dumps(self.document.all)
        for kind, parts in self.document.all["components"].items():
            for name in parts if kind != "securitySchemes" else ():
                self.assertIn('"#/components/%s/%s"' % (kind, name), text)

    def test_a_validator_finds_nothing(self):
        if importlib.util.find_spec("openapi_spec_validator") is None:
            self.skipTest("openapi_spec_validator, a Python package, is not installed")
        import openapi_spec_validator
        openapi_spec_validator.validate(self.document.all)

    def test_the_client_in_the_page(self):
        with open(os.path.join(FOLDER, "JSON.md"), encoding="utf-8") as f:
            text = re.search(r"^```python\n(.*?)^```$", f.read(), re.M | re.S)[1]
        self.assertIn("http://127.0.0.1:8480/", text)
        there, gone = {}, {}
        exec(text.replace("127.0.0.1:8480", self.web.tcp), there)
        exec(text.replace("127.0.0.1:8480", self.down.tcp), gone)
        self.assertEqual(there["verify"](self.key.decode(), "charges.create"), "acme")
        self.assertIsNone(there["verify"](self.weak.decode(), "charges.create"))
        self.assertIsNone(there["verify"]("x", "charges.create"))
        with self.assertRaises(OSError):
            gone["verify"](self.key.decode(), "charges.create")


tap.main()
