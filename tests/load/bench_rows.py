"""The rows of bench's tables: what is compared with what, and the targets."""

import io
import os
import re
import statistics
import subprocess
import tarfile

from bench_http import CONNECTIONS
from bench_programs import Failed
from bench_rounds import IDLE_CONNECTIONS, IN_FLIGHT, MOST_CALLERS, PACED, PENDING_CHANGES, PIPELINES, SMALL_KEYS

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BEFORE = "e6706b3"  # the last commit whose fobd and libfob used nng's REP and REQ sockets
MEGABYTE = 1e6


class Row:
    """${values}: a function that returns what each round found, or raises Failed."""

    def __init__(self, measure, must, stretch, values, unit="", more_is_better=True):
        self.measure, self.must, self.stretch, self.unit, self.more = measure, must, stretch, unit, more_is_better
        try:
            self.values, self.reason = values(), ""
        except Failed as e:
            self.values, self.reason = [], str(e)

    def show(self, value):
        return ("%.3g%s" if abs(value) < 100 else "%.0f%s") % (value, self.unit)

    def limit(self, value):
        return "" if value is None else "%s %g%s" % ("≥" if self.more else "≤", value, self.unit)

    def reaches(self, limit):
        value = statistics.median(self.values)
        return limit is not None and (value >= limit if self.more else value <= limit)

    def verdict(self):
        if self.must is None:
            return ""
        if not self.values:
            return "not measured"
        if self.reaches(self.stretch):
            return "met, stretch"
        return "met, must" if self.reaches(self.must) else "**missed**"

    def found(self):
        if not self.values:
            return self.reason
        text = self.show(statistics.median(self.values))
        if len(self.values) > 1:
            text += " (%s..%s)" % (self.show(min(self.values)), self.show(max(self.values)))
        return text

    def line(self):
        return "| %s | %s | %s | %s | %s |" % (self.measure, self.limit(self.must), self.limit(self.stretch),
                                              self.found(), self.verdict())


# ---- lines of C ----

def is_counted(path):
    """fobd and libfob, without the command line; proto/c is what both share, which was libfob's before."""
    return re.fullmatch(r"(service/.*|client/[^/]*|proto/c/[^/]*)\.[ch]", path) is not None


def lines_now():
    lines = 0
    for folder, _folders, files in os.walk(ROOT):
        for name in files:
            path = os.path.join(folder, name)
            if is_counted(os.path.relpath(path, ROOT)):
                with open(path, "rb") as f:
                    lines += f.read().count(b"\n")
    return lines


def lines_before():
    done = subprocess.run(["git", "archive", BEFORE, "service", "client"], cwd=ROOT, capture_output=True, check=False,
                          stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Failed("needs a clone with commit %s" % BEFORE)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        return sum(tar.extractfile(m).read().count(b"\n") for m in tar if m.isfile() and is_counted(m.name))


def lines_of_c(b):
    now, before = lines_now(), lines_before()
    b.facts["lines of C"] = "%s, before %s" % (format(now, ","), format(before, ","))
    return [now - before]


# ---- the tables ----

def best_echo():
    return tuple("%s %s %d" % (echo, transport, n) for transport in ("ipc", "tcp") for n in (16, 64)
                 for echo in ("echo", "echo1"))


def wire_rows(b):
    """The targets of the wire, of libfob and of fobd's own footprint."""
    rows = []
    for transport in ("ipc", "tcp"):
        fob, echo = "fob %s 1" % transport, "echo %s 1" % transport
        rows.append(Row("VerifyKey by libfob, one in flight ÷ nng REQ/REP echo, %s: p50" % transport, 0.6, 0.4,
                        lambda: b.ratios(fob, echo, "p50"), more_is_better=False))
        rows.append(Row("the same: throughput", 1.7, 2.5, lambda: b.ratios(fob, echo)))
    for transport in ("ipc", "tcp"):
        for n in IN_FLIGHT:
            for one in ("", "1") if n > 1 else ("",):
                sockets = " over one socket" if one else ", a socket each" if n > 1 else ""
                rows.append(Row("nng REQ client → fobd ÷ → nng REP echo, %s, %d in flight%s" % (transport, n, sockets), 0.8,
                                1.0, lambda: b.ratios("fobd%s %s %d" % (one, transport, n),
                                                      "echo%s %s %d" % (one, transport, n))))
    for transport in ("ipc", "tcp"):
        for n, must in ((16, 1.4), (64, 1.3)):
            name = "%s %d" % (transport, n)
            rows.append(Row("libfob, %d threads ÷ nng echo, %d in flight, %s" % (n, n, transport), must, 2,
                            lambda: b.ratios("fob " + name, "echo " + name)))
        rows.append(Row("libfob, %d threads ÷ nng echo, 64 in flight, %s" % (MOST_CALLERS, transport), 1.8, 3,
                        lambda: b.ratios("fob %s %d" % (transport, MOST_CALLERS), "echo %s 64" % transport)))
    many = "async ipc %d" % MOST_CALLERS
    return rows + [
        Row("libfob, %d asynchronous callers, ipc ÷ nng echo at its best" % MOST_CALLERS, 4.5, 8,
            lambda: b.ratios(many, best_echo())),
        Row("the same ÷ gRPC C++, callback service", 10, 20, lambda: b.ratios(many, "grpc")),
        Row("the same ÷ hash and LMDB read in a loop on one core", 0.7, 1.2, lambda: b.ratios(many, "lookup")),
        Row("private memory of fobd with %s idle ipc connections" % format(IDLE_CONNECTIONS, ","), 24, 12,
            lambda: b.sampled("memory idle", 1 / MEGABYTE), " MB", False),
        Row("private memory of fobd with %d pending changes" % PENDING_CHANGES, 24, 12,
            lambda: b.sampled("memory pending", 1 / MEGABYTE), " MB", False),
        Row("thread switches per lone VerifyKey, both processes, ipc", 6, 4,
            lambda: b.each("fob ipc 1", "thread_switches_per_call"), more_is_better=False),
        Row("lines of C in service/ and libfob: now − before", -1, -1500, lambda: lines_of_c(b), more_is_better=False),
    ]


def store_rows(b):
    """The targets of changes and of large databases."""
    big = "%s keys" % format(b.args.big or 10000000, ",")

    def of_big(what, scale=1.0):
        if b.big is None:
            raise Failed(b.big_reason)
        return [v * scale for v in b.big[what]]

    def big_ratio():
        if b.big is None:
            raise Failed(b.big_reason)
        return b.ratios("imported large", "imported small")

    return [
        Row("durable rolls, 256 in flight ÷ LMDB commits one at a time", 10, 30, lambda: b.ratios("rolls", "commits")),
        Row("verify p99 while rolls run flat out ÷ without (%s verifies/s)" % format(PACED, ","), 2, 1.2,
            lambda: b.ratios("paced rolls", "paced quiet", "p99"), more_is_better=False),
        Row("%s ÷ %s: verify throughput" % (big, format(SMALL_KEYS, ",")), 0.6, 0.85, big_ratio),
        Row("bytes on disk per key, %s" % big, 250, 160, lambda: of_big("disk"), more_is_better=False),
        Row("private memory of fobd under load, %s" % big, 64, 24, lambda: of_big("private", 1 / MEGABYTE), " MB", False),
        Row("start to ready, %s" % big, 200, 50, lambda: of_big("start", 1000), " ms", False),
    ]


def http_rows(b):
    """The targets of fob-http."""
    return [
        Row("forward auth by fob-http ÷ evhttp that answers a constant, %d connections" % CONNECTIONS, 0.6, 0.8,
            lambda: b.ratios("http fob-http", "http constant")),
        Row("nginx with auth_request to fob-http ÷ to a constant, %d connections" % CONNECTIONS, 0.85, 0.95,
            lambda: b.ratios("http nginx fob-http", "http nginx constant")),
    ]


def target_rows(b):
    return wire_rows(b) + store_rows(b) + http_rows(b)


def further_rows(b):
    """Without a target: they tell where to look when a target is missed."""
    rows = []
    for connections, depth in PIPELINES:
        name = "ipc %d x %d" % (connections, depth)
        rows.append(Row("client on plain sockets, %d × %d in flight: → fobd ÷ → SP echo over nng_stream" % (connections, depth),
                        None, None, lambda: b.ratios("sp-fobd " + name, "sp-echo " + name)))
    name = "ipc %d x %d" % PIPELINES[-1]
    keys = "%s keys" % format(b.keys, ",")
    many = "async ipc %d" % MOST_CALLERS
    return rows + [
        Row("the last, → fobd ÷ nng echo at its best", None, None, lambda: b.ratios("sp-fobd " + name, best_echo())),
        Row("libfob, %d asynchronous callers ÷ the last, → fobd" % MOST_CALLERS, None, None,
            lambda: b.ratios(many, "sp-fobd " + name)),
        Row("libfob, one thread ÷ client on a plain socket → fobd, ipc: p50", None, None,
            lambda: b.ratios("fob ipc 1", "sp-fobd ipc 1 x 1", "p50"), more_is_better=False),
        Row("libfob, one asynchronous caller ÷ nng echo, one in flight, ipc: p50", None, None,
            lambda: b.ratios("async ipc 1", "echo ipc 1", "p50"), more_is_better=False),
        Row("libfob, %d asynchronous callers, tcp ÷ ipc" % MOST_CALLERS, None, None,
            lambda: b.ratios("async tcp %d" % MOST_CALLERS, many)),
        Row("VerifyKeys, 4 × 64 keys by hand ÷ nng echo at its best", None, None,
            lambda: b.ratios("batches", best_echo())),
        Row("libfob, 64 threads, ipc ÷ gRPC C++", None, None, lambda: b.ratios("fob ipc 64", "grpc")),
        Row("libfob, 64 threads, tcp ÷ Redis GET, 50 connections", None, None,
            lambda: b.ratios("fob tcp 64", "redis")),
        Row("forward auth by fob-http ÷ evhttp that answers a constant: p99", None, None,
            lambda: b.ratios("http fob-http", "http constant", "p99"), more_is_better=False),
        Row("nginx with auth_request to fob-http ÷ to a constant: p99", None, None,
            lambda: b.ratios("http nginx fob-http", "http nginx constant", "p99"), more_is_better=False),
        Row("thread switches per call, nng REQ/REP echo, one in flight, ipc", None, None,
            lambda: b.each("echo ipc 1", "thread_switches_per_call"), more_is_better=False),
        Row("thread switches per call, SP echo over nng_stream, one in flight, ipc", None, None,
            lambda: b.each("sp-echo ipc 1 x 1", "thread_switches_per_call"), more_is_better=False),
        Row("verify p99 while rolls run flat out ÷ without (closed loop, 16 in flight)", None, None,
            lambda: b.ratios("closed rolls", "closed quiet", "p99"), more_is_better=False),
        Row("nng echo, which no roll touches: p99 while rolls run flat out ÷ without (closed loop, 16 in flight)", None,
            None, lambda: b.ratios("echo rolls", "echo quiet", "p99"), more_is_better=False),
        Row("%s ÷ %s: verify throughput" % (keys, format(SMALL_KEYS, ",")), None, None,
            lambda: b.ratios("main", "small")),
        Row("bytes on disk per key, %s, after the rolls" % keys, None, None, lambda: [b.main_disk / b.keys]),
        Row("private memory of fobd under load, %s" % keys, None, None, lambda: [b.private / MEGABYTE], " MB"),
        Row("start to ready, %s" % keys, None, None, lambda: [1000 * s for s in b.start_s], " ms"),
    ]
