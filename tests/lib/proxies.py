"""Run fob-http, the proxies of client/http/examples and an API behind them, as processes and threads of the test.

The example files are what runs: only addresses and paths are replaced. Each process has its own folder and addresses,
and ends with the test.
"""

import atexit
import http.server
import json
import os
import re
import select
import shutil
import subprocess
import threading
import time

import daemon
import leaks
import pb
import web

EXAMPLES = os.path.join(pb.ROOT, "client", "http", "examples")
PROGRAMS = ("nginx", "caddy", "haproxy")
FOB_HEADER = re.compile("x[-_.]fob", re.I)


def program(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def example(name, replace):
    """The text of an example file. Each key of ${replace} is in it, and is replaced."""
    with open(os.path.join(EXAMPLES, name), encoding="utf-8") as f:
        text = f.read()
    for old, new in replace.items():
        if old not in text:
            raise AssertionError("%s has no %s" % (name, old))
        text = text.replace(old, new)
    return text


# ---- processes ----

_proxies = []


class Proxy:
    """A proxy, in a folder of its own, that listens at ${address}."""

    def __init__(self):
        self.place = daemon.folder()
        self.address = daemon.own_address()
        self.log_path = os.path.join(self.place, "log")
        self.process = None
        _proxies.append(self)

    def write(self, name, text):
        path = os.path.join(self.place, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def launch(self, *argv):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("NOTIFY_SOCKET", "WATCHDOG", "LD_"))}
        env.update(HOME=self.place, XDG_DATA_HOME=self.place, XDG_CONFIG_HOME=self.place)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd="/",
                                            preexec_fn=daemon._die_with_parent)
        return self

    def wait(self):
        """Until it accepts connections."""
        def up():
            if self.process.poll() is not None:
                raise RuntimeError("%s ended with %s:\n%s" % (type(self).__name__, self.process.returncode, self.log()))
            web.Connection(self.address).close()
            return True

        daemon.wait_until("%s listens" % type(self).__name__, up, 15)
        return self

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@atexit.register
def _end():
    for p in _proxies:
        p.kill()
        leaks.keep_log(p.log_path)


class FobHttp(web.Web):
    """fob-http with one of the example settings: at its addresses, as far as those settings have them."""

    def __init__(self, settings, fob):
        self.example = settings
        super().__init__(fob)

    def write_config(self, *_, **__):
        addresses = {"unix:/run/fob-http/auth.sock": self.unix, "127.0.0.1:8480": self.tcp}
        used = {k: v for k, v in addresses.items() if k in example(self.example, {})}
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(example(self.example, {"ipc:///run/fob/verify.sock": self.fob, "127.0.0.1:9480": self.metrics, **used}))


class Nginx(Proxy):
    MAIN = """daemon off;
master_process off;
pid %(place)s/pid;
events { worker_connections 512; }
http {
	client_body_temp_path %(place)s/body;
	proxy_temp_path %(place)s/proxy;
	fastcgi_temp_path %(place)s/fastcgi;
	uwsgi_temp_path %(place)s/uwsgi;
	scgi_temp_path %(place)s/scgi;
	include %(place)s/api.conf;
}
"""

    def __init__(self, fob_http, api):
        super().__init__()
        self.write("api.conf", example("nginx.conf", {
            "unix:/run/fob-http/auth.sock": fob_http.unix, "127.0.0.1:9000": api.address,
            "127.0.0.1:8080": self.address, "/var/log/nginx/api.log": self.log_path}))
        main = self.write("main.conf", self.MAIN % {"place": self.place})
        self.launch(program("nginx"), "-e", "stderr", "-p", self.place, "-c", main)


class Caddy(Proxy):
    def __init__(self, fob_http, api):
        super().__init__()
        host, port = self.address.rsplit(":", 1)
        self.write("api", example("Caddyfile", {
            "unix//run/fob-http/auth.sock": "unix/" + fob_http.unix[5:], "127.0.0.1:9000": api.address,
            "http://:8080": "http://:" + port, "bind 127.0.0.1": "bind " + host}))
        main = self.write("main", "{\n\tadmin off\n\tauto_https off\n}\nimport %s/api\n" % self.place)
        self.launch(program("caddy"), "run", "--adapter", "caddyfile", "--config", main)


class Haproxy(Proxy):
    def __init__(self, fob_http, api):
        super().__init__()
        lua = self.write("fob-auth.lua", example("fob-auth.lua", {"/run/fob-http/auth.sock": fob_http.unix[5:]}))
        config = self.write("haproxy.cfg", example("haproxy.cfg", {
            "/etc/haproxy/fob-auth.lua": lua, "127.0.0.1:9000": api.address, "127.0.0.1:8080": self.address}))
        self.launch(program("haproxy"), "-db", "-f", config)


# ---- an API ----

class Api:
    """Answers every request with what it got, as JSON, and notes that in self.got. /v1/charges/status-N: status N."""

    def __init__(self):
        self.address = daemon.own_address()
        self.got = []
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # headers and body leave together

            def answer(self):
                got = {"method": self.command, "path": self.path, "body": self.body(),
                       "fob": [(k, v) for k, v in self.headers.items() if FOB_HEADER.match(k)],
                       "authorization": "Authorization" in self.headers}
                api.got.append(got)
                text = json.dumps(got).encode()
                status = re.search(r"/status-(\d+)$", self.path)
                self.send_response(int(status.group(1)) if status else 200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text)

            def body(self):
                """Reads the body; returns its length."""
                left = int(self.headers.get("Content-Length") or 0)
                if "chunked" in self.headers.get("Transfer-Encoding", ""):
                    total = 0
                    while True:
                        size = int(self.rfile.readline(), 16)
                        self.rfile.read(size + 2)
                        total += size
                        if size == 0:
                            return total
                return len(self.rfile.read(left))

            def log_message(self, *_):
                pass

            def __getattr__(self, name):
                if name.startswith("do_"):
                    return self.answer
                raise AttributeError(name)

        host, port = self.address.rsplit(":", 1)
        self.server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # a proxy that closes its connection
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


# ---- a client ----

class Connection(web.Connection):
    def send(self, data):
        """Send until the peer answers or closes: it may answer before it has read a body."""
        view, end = memoryview(data), time.monotonic() + 20 * daemon.SLOWER
        while view and time.monotonic() < end:
            readable, writable, _ = select.select([self.socket], [self.socket], [], 1)
            if readable:
                return
            if writable:
                try:
                    view = view[self.socket.send(view[:65536]):]
                except (BrokenPipeError, ConnectionResetError):
                    return

    def reply(self, head_only=False):
        reply = super().reply(head_only)
        return self.reply(head_only) if reply is not None and reply.status == 100 else reply


def request(method, target, headers=(), body=b"", host="api.test"):
    lines = ["%s %s HTTP/1.1" % (method, target), "Host: " + host] + ["%s: %s" % h for h in headers]
    if body and "Transfer-Encoding" not in dict(headers):
        lines.append("Content-Length: %d" % len(body))
    return "\r\n".join(lines + ["", ""]).encode("latin-1") + body


def ask(address, method, target, *args, **kw):
    """One request on a connection of its own. Its reply is an error if the connection ends without one."""
    with Connection(address) as c:
        c.send(request(method, target, *args, **kw))
        reply = c.reply(method == "HEAD")
    if reply is None:
        raise AssertionError("%s %s: no reply" % (method, target))
    return reply
