"""What bench measures of fob-http: forward auth by itself and behind nginx, and the same with a constant answer."""

import base64
import json
import os
import shutil
import signal
import socket
import time

from bench_programs import Failed, finish, free_port, run, spawn

HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLES = os.path.join(os.path.dirname(os.path.dirname(HERE)), "client", "http", "examples")
HTTP_SERIES = ("http constant", "http fob-http", "http nginx constant", "http nginx fob-http")
CONNECTIONS = 64
KEYS = 20000
# A path for which the route table has an operation that both kinds of key may do: see wrk.lua.
SETTINGS = """role = "auth"
fob = {"%(fob)s"}
listen = {"127.0.0.1:%(port)d"}
trusted = {"127.0.0.1"}
original = "headers"
original_method = "X-Original-Method"
original_uri = "X-Original-URI"
routes = {"POST /v1/tokens = tokenize"}
log_level = "warn"
"""
NGINX = """daemon off;
master_process on;
worker_processes auto;
pid %(place)s/pid;
events { worker_connections 1024; }
http {
	client_body_temp_path %(place)s/body;
	proxy_temp_path %(place)s/proxy;
	fastcgi_temp_path %(place)s/fastcgi;
	uwsgi_temp_path %(place)s/uwsgi;
	scgi_temp_path %(place)s/scgi;
	include %(place)s/api.conf;
}
"""


def find(program):
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin")


def await_port(port):
    for _ in range(250):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise Failed("nothing listens on port %d" % port)


class HttpBench:
    """Four servers: fob-http and one that answers a constant; and nginx that asks either of them."""

    def __init__(self, bench):
        self.bench, self.place = bench, os.path.join(bench.place, "http")
        self.processes = []
        self.ports = {}
        if find("wrk") is None:
            raise Failed("wrk is not installed")
        os.mkdir(self.place)
        self.write_authorizations()
        self.ports["http constant"] = self.start("constant", bench.tool("tests/load/http-constant"), "127.0.0.1", "%d")
        self.ports["http fob-http"] = self.start_fob_http()
        if find("nginx") is None:
            for series in HTTP_SERIES[2:]:
                bench.reasons[series] = "nginx is not installed"
            return
        for upstream in ("constant", "fob-http"):
            self.ports["http nginx " + upstream] = self.start_nginx(self.ports["http " + upstream])

    def write_authorizations(self):
        """Of keys all over the database: the file has them in the order in which they were made."""
        every = max(1, self.bench.keys // KEYS)
        with open(os.path.join(self.bench.place, "keys"), "rb") as keys, \
                open(os.path.join(self.place, "authorizations"), "wb",
                     opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
            for i, key in enumerate(keys):
                if i % every == 0:
                    out.write(b"Basic " + base64.b64encode(key.strip() + b":") + b"\n")

    def start(self, name, *argv):
        """Start a server that listens on a new port, which is the %d of its arguments. Returns the port."""
        port = free_port()
        with open(os.path.join(self.place, name + ".log"), "wb") as log:
            self.processes.append(spawn([a % port if a == "%d" else a for a in argv], self.place, stdout=log, stderr=log))
        await_port(port)
        return port

    def write(self, name, text):
        path = os.path.join(self.place, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def start_fob_http(self):
        port = free_port()
        fob = "ipc://" + os.path.join(self.bench.place, self.bench.main.verify[len("ipc://"):])
        config = self.write("fob-http.conf", SETTINGS % {"fob": fob, "port": port})
        with open(os.path.join(self.place, "fob-http.log"), "wb") as log:
            self.processes.append(spawn([self.bench.tool("fob-http"), "--config", config], self.place, stdout=log,
                                        stderr=log))
        await_port(port)
        return port

    def start_nginx(self, upstream):
        """With client/http/examples/nginx.conf, of which addresses and the log are replaced."""
        port = free_port()
        place = os.path.join(self.place, "nginx-%d" % port)
        os.mkdir(place, 0o755)
        with open(os.path.join(EXAMPLES, "nginx.conf"), encoding="utf-8") as f:
            text = f.read()
        for old, new in (("unix:/run/fob-http/auth.sock", "127.0.0.1:%d" % upstream),
                         ("127.0.0.1:9000", "127.0.0.1:%d" % self.ports["http constant"]),
                         ("127.0.0.1:8080", "127.0.0.1:%d" % port),
                         ("access_log /var/log/nginx/api.log without_user", "access_log off")):
            if old not in text:
                raise Failed("nginx.conf has no %s" % old)
            text = text.replace(old, new)
        self.write(os.path.join(place, "api.conf"), text)
        main = self.write(os.path.join(place, "main.conf"), NGINX % {"place": place})
        with open(os.path.join(place, "log"), "wb") as log:
            self.processes.append(spawn([find("nginx"), "-e", "stderr", "-p", place, "-c", main], place, stdout=log,
                                        stderr=log))
        await_port(port)
        return port

    # ---- one measurement ----

    def wrk(self, series, port, path, seconds):
        argv = [find("wrk"), "-t", "2", "-c", str(CONNECTIONS), "-d", "%ds" % seconds, "-s",
                os.path.join(HERE, "wrk.lua"), "http://127.0.0.1:%d%s" % (port, path), "--",
                os.path.join(self.place, "authorizations")]
        found = json.loads(run(argv, self.place, seconds + 20).splitlines()[-1])
        if found["failed"] > 0:
            raise Failed("%d of %d requests were not answered with 200" % (found["failed"], found["calls"]))
        return {"tool": "wrk", "label": series, "loop": "closed", "callers": CONNECTIONS,
                "throughput": found["calls"] / found["seconds"], "curve": [],
                "latency_us": {k: found[k] for k in ("p50", "p99", "max")}}

    def measure(self):
        b = self.bench
        for series, port in self.ports.items():
            path = "/v1/tokens" if "nginx" in series else "/v1/auth"
            result = None
            try:
                result = self.wrk(series, port, path, 1)
            except (Failed, ValueError, IndexError) as e:
                b.reasons[series] = "round %d: %s" % (b.round, e)
            b.results.setdefault(series, []).append(result)

    def stop(self):
        for process in self.processes:
            finish(process, 10, signal.SIGTERM)
        self.processes = []
