"""Hold an OpenAPI document against replies: is each as the document says, and was all of the document seen?

Needs python3-yaml and python3-jsonschema.
"""

import json

import jsonschema
import yaml

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
# Of every reply. OpenAPI has no place for Content-Type, and the others are the connection's.
ALWAYS = {"content-length", "content-type", "date", "connection"}


class Document:
    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            self.raw = yaml.safe_load(f)  # as it is
            f.seek(0)
            self.all = yaml.safe_load(f)  # without $ref
        self._whole = set()
        self._resolve(self.all)
        self.paths = self.all["paths"]
        self._seen = set()

    def _resolve(self, node):
        """Put in the place of each $ref below ${node} what it names. What is named twice is one object."""
        if isinstance(node, dict) and "$ref" in node:
            named = self.all
            for step in node["$ref"].removeprefix("#/").split("/"):
                named = named[step]
            return self._resolve(named)
        if isinstance(node, (dict, list)) and id(node) not in self._whole:
            self._whole.add(id(node))
            for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
                node[key] = self._resolve(value)
        return node

    def methods(self, path):
        return [m for m in METHODS if m.lower() in self.paths[path]]

    def request_schema(self, path, method):
        return self.paths[path][method.lower()]["requestBody"]["content"]["application/json"]["schema"]

    # ---- a reply ----

    def check(self, path, method, reply, no_body=False):
        """AssertionError if ${reply} is not as the document says. ${no_body}: the settings leave out its body."""
        responses = self.paths[path][method.lower()]["responses"]
        where = "%s %s: %d" % (method, path, reply.status)
        if str(reply.status) not in responses:
            raise AssertionError("%s is not in the document: %s" % (where, reply.body[:200]))
        self.check_response(responses[str(reply.status)], method, reply, where, no_body)
        self._seen.add((path, method, str(reply.status)))

    def check_response(self, response, method, reply, where, no_body=False):
        headers = {name.lower(): (name, header) for name, header in response.get("headers", {}).items()}
        unknown = set(reply.headers) - set(headers) - ALWAYS
        if unknown:
            raise AssertionError("%s: the document has no header %s" % (where, ", ".join(sorted(unknown))))
        for lower, (name, header) in headers.items():
            if lower in reply.headers:
                self._check_value(header["schema"], reply.headers[lower], "%s: %s" % (where, name))
            elif header.get("required"):
                raise AssertionError("%s: no header %s" % (where, name))
        self._check_body(response.get("content", {}), method, reply, where, no_body)

    def _check_body(self, content, method, reply, where, no_body):
        kind = reply.headers.get("content-type")
        if no_body or not content:
            if kind is not None or reply.body or reply.headers["content-length"] != "0":
                raise AssertionError("%s: it has a body" % where)
            return
        if kind not in content:
            raise AssertionError("%s: the document has no %s" % (where, kind))
        self._seen.add((id(content), kind))
        if method != "HEAD":
            body = reply.body.decode()
            self._check_value(content[kind]["schema"], json.loads(body) if kind == "application/json" else body, where)

    def _check_value(self, schema, value, where):
        wrong = self.wrong(schema, value)
        if wrong:
            raise AssertionError("%s: %s" % (where, wrong))
        self._see(schema, value)

    @staticmethod
    def wrong(schema, value):
        """What is wrong with ${value}; None: nothing."""
        error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(value))
        return error and "%s: %s" % (error.json_path, error.message[:300])

    def _see(self, schema, value):
        if value in schema.get("enum", ()):
            self._seen.add((id(schema), value))
        for part in schema.get("allOf", []) + [s for s in schema.get("oneOf", ()) if not self.wrong(s, value)]:
            self._see(part, value)
        if isinstance(value, dict):
            for name, part in schema.get("properties", {}).items():
                # 0 is no number there, but where null is, it is one.
                if value.get(name) or (value.get(name) is not None and "null" in part.get("type", ())):
                    self._seen.add((id(schema), name))
                if name in value:
                    self._see(part, value[name])
        for item in value if isinstance(value, list) else ():
            self._see(schema["items"], item)

    # ---- what was not seen ----

    def unseen(self):
        """What no reply had: a status (but "default") of a method and path, a media type of a status, a value of an
        enum, a member of an object with something in it."""
        wanted = {}
        for path in self.paths:
            for method in self.methods(path):
                for status, response in self.paths[path][method.lower()]["responses"].items():
                    if status == "default":
                        continue
                    where = "%s %s: %s" % (method, path, status)
                    wanted[path, method, status] = where
                    for header, part in response.get("headers", {}).items():
                        self._want(part["schema"], where + " " + header, wanted)
                    for kind, part in response.get("content", {}).items():
                        wanted.setdefault((id(response["content"]), kind), where + " " + kind)
                        self._want(part["schema"], where, wanted)
        return sorted(label for key, label in wanted.items() if key not in self._seen)

    def _want(self, schema, where, wanted):
        for value in schema.get("enum", ()):
            wanted.setdefault((id(schema), value), "%s = %s" % (where, value))
        for part in schema.get("allOf", []) + schema.get("oneOf", []):
            self._want(part, where, wanted)
        for name, part in schema.get("properties", {}).items():
            wanted.setdefault((id(schema), name), "%s.%s" % (where, name))
            self._want(part, "%s.%s" % (where, name), wanted)
        if "items" in schema:
            self._want(schema["items"], where + "[]", wanted)
