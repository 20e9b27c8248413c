"""Start and stop a real fob-http, and speak HTTP/1.1 to it over raw sockets: what is sent is what a test says.

A fob-http ends with the test that started it, as fobd does (see daemon.py).
"""

import base64
import json
import os
import re
import resource
import signal
import socket
import subprocess

import daemon
import fobwire

FOB_HTTP = os.path.join(daemon.BUILD, "fob-http")
ROUTES = ("POST /v1/charges = charges.create", "GET /v1/charges/{id} = charges.read", "POST /v1/tokens = tokenize",
          "GET /v1/files/* = files.read")
CHARGE = (("X-Original-Method", "POST"), ("X-Original-URI", "/v1/charges"))
TOKEN = (("X-Original-Method", "POST"), ("X-Original-URI", "/v1/tokens"))


def quoted(words):
    return "{%s}" % ", ".join('"%s"' % w for w in words)


def basic(secret):
    """An Authorization header for the key ${secret}."""
    return ("Authorization", "Basic " + base64.b64encode(secret + b":").decode())


class Reply:
    def __init__(self, head, body):
        lines = head.decode("latin-1").split("\r\n")
        self.line, self.status = lines[0], int(lines[0].split(" ")[1])
        self.pairs = [tuple(line.split(": ", 1)) for line in lines[1:]]
        self.headers = {name.lower(): value for name, value in self.pairs}
        self.body = body


class Connection:
    """One connection to "unix:PATH" or "HOST:PORT"."""

    def __init__(self, address, timeout_s=20.0):
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            where = address[5:]
        else:
            self.socket = socket.socket()
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            host, port = address.rsplit(":", 1)
            where = host, int(port)
        self.socket.settimeout(timeout_s * daemon.SLOWER)
        self.socket.connect(where)
        self.got = b""

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.socket.sendall(data)

    def _more(self):
        try:
            part = self.socket.recv(65536)
        except ConnectionResetError:
            part = b""
        self.got += part
        return bool(part)

    def reply(self, head_only=False):
        """The next reply; None when the connection is closed instead."""
        while b"\r\n\r\n" not in self.got:
            if not self._more():
                return None
        head, _, self.got = self.got.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: (\d+)", head, re.I)
        length = int(length[1]) if length and not head_only else 0
        while len(self.got) < length and self._more():
            pass
        body, self.got = self.got[:length], self.got[length:]
        return Reply(head, body)

    def is_closed(self):
        """Has the server closed it? Waits for that. Bytes that come instead are an error."""
        try:
            return not self._more()
        except socket.timeout:
            return False

    def ask(self, method="GET", target="/v1/auth", headers=(), body=b""):
        self.send(request(method, target, headers, body))
        return self.reply(method == "HEAD")


def request(method="GET", target="/v1/auth", headers=(), body=b""):
    head = ["%s %s HTTP/1.1" % (method, target), "Host: fob"] + ["%s: %s" % pair for pair in headers]
    if body:
        head.append("Content-Length: %d" % len(body))
    return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + body


class Web:
    """One fob-http and its folder. It listens at ${unix}, ${tcp} and ${metrics}."""

    def __init__(self, fob, routes=ROUTES, trusted=("127.0.0.0/8",), settings="", place=None, connections=1000):
        daemon._daemons.append(self)
        self.place = place or daemon.folder()
        self.config, self.log_path = os.path.join(self.place, "h.conf"), os.path.join(self.place, "h.log")
        self.unix, self.tcp = "unix:" + os.path.join(self.place, "h"), daemon.own_address()
        self.metrics = daemon.own_address()
        self.fob, self.process = fob, None
        self.write_config(routes, trusted, settings, connections)

    def write_config(self, routes=ROUTES, trusted=("127.0.0.0/8",), settings="", connections=1000):
        with open(self.config, "w") as f:
            f.write('role = "auth"\nfob = {"%s"}\nlisten = %s\nmetrics = "%s"\ntrusted = %s\nroutes = %s\n'
                    'connections = %d\n%s' % (self.fob, quoted((self.unix, self.tcp)), self.metrics, quoted(trusted),
                                              quoted(routes), connections, settings))

    def run(self, *args, timeout_s=10):
        return subprocess.run([FOB_HTTP, "--config", self.config, *args], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=timeout_s * daemon.SLOWER, env=self.environ(), cwd="/")

    @staticmethod
    def environ():
        return {k: v for k, v in os.environ.items() if not k.startswith(("NOTIFY_SOCKET", "LD_"))}

    def start(self, descriptors=0):
        def before_exec():
            daemon._die_with_parent()
            if descriptors:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([FOB_HTTP, "--config", self.config], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=self.environ(), cwd="/", preexec_fn=before_exec)

        def up():
            if self.process.poll() is not None:
                raise RuntimeError("fob-http ended with %s:\n%s" % (self.process.returncode, self.log()[-4000:]))
            with Connection(self.metrics) as c:
                return c.ask(target="/livez").status == 200

        daemon.wait_until("fob-http answers", up, 15)
        return self

    @property
    def pid(self):
        return self.process.pid

    def connection(self, unix=True, timeout_s=20.0):
        return Connection(self.unix if unix else self.tcp, timeout_s)

    def ask(self, *args, unix=True, **kw):
        with self.connection(unix) as c:
            return c.ask(*args, **kw)

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def reload(self):
        seen = self.log().count("reloaded")
        self.process.send_signal(signal.SIGHUP)
        daemon.wait_until("the settings were read again", lambda: self.log().count("reloaded") > seen)

    def kill(self):
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self):
        """SIGTERM, and what holds for every test: status 0, no sanitizer's report, no secret in the log."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(10 * daemon.SLOWER)
        self.process = None
        log = self.log()
        bad = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:", "Assertion")
        if status != 0 or any(words in log for words in bad):
            raise AssertionError("fob-http ended with %s:\n%s" % (status, log[-8000:]))
        if daemon.secrets_in(log.encode(errors="replace")):
            raise AssertionError("the log holds secrets")


def open_descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def resident_kib(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"VmRSS:\s*(\d+)", f.read())[1])


class Operator(Web):
    """A fob-http in the role operator, with fobd's admin listener at ${fob}. ${user_header}: instead of a token's file."""

    def __init__(self, fob, user_header=None, settings="", **kw):
        self.user_header = user_header
        super().__init__(fob, settings=settings, **kw)
        self.token_path = os.path.join(self.place, "token")

    def write_config(self, routes=(), trusted=(), settings="", connections=1000):
        how = 'user_header = "%s"\n' % self.user_header if self.user_header else \
            'token_file = "%s"\n' % os.path.join(self.place, "token")
        with open(self.config, "w") as f:
            f.write('role = "operator"\nfob = {"%s"}\nlisten = %s\nmetrics = "%s"\ntrusted = %s\nconnections = %d\n%s%s' % (
                self.fob, quoted((self.unix, self.tcp)), self.metrics, quoted(trusted), connections, how, settings))

    def token(self):
        """The sign-in token of this start, as text. It is searched for in logs, as all secrets are."""
        with open(self.token_path) as f:
            text = f.read().strip()
        fobwire.known_tokens.add(base64.urlsafe_b64decode(text + "="))
        return text

    def start(self, **kw):
        super().start(**kw)
        if not self.user_header:
            self.token()
        return self

    def post(self, target, body=None, headers=(), method="POST", unix=False):
        """-> (reply, its JSON). The secrets in it are noted. ${body}: bytes as they are, or what becomes JSON."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        reply = self.ask(method, target, headers=headers, body=data, unix=unix)
        fobwire.known_secrets.update(fobwire._SECRET.findall(reply.body))
        return reply, json.loads(reply.body) if reply.body else None

    def bearer(self):
        return [("Authorization", "Bearer " + self.token())]
