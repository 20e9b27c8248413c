"""What bench measures: databases first, then rounds in which everything is measured once, then a large database."""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from bench_http import HTTP_SERIES, HttpBench
from bench_programs import (Daemon, Disk, Failed, IdleConnections, check_status, finish, free_port, run, spawn)

IN_FLIGHT = (1, 16, 64)
MOST_CALLERS = 256
PIPELINES = ((1, 1), (4, 16), (4, 64))  # connections, calls in flight on each
IDLE_CONNECTIONS = 1000
PENDING_CHANGES = 256
ROLL_ACCOUNTS = 2000
ROLLS = ["--mix", "roll", "--callers", "256", "--sockets", "4", "--roll-keys", str(ROLL_ACCOUNTS)]
SMALL_KEYS = 10000
PACED = 5000  # verifies a second while rolls run: few enough that waiting is measured, and not saturation
# Fewer answers than these in one measurement are a failure of it.
LEAST_CALLS = 100
LEAST_CHANGES = 10


def note(text):
    print(text, file=sys.stderr, flush=True)


class Bench:
    def __init__(self, args):
        self.args = args
        self.started = time.monotonic()
        self.build = os.path.abspath(args.build)
        self.out = os.path.abspath(args.out)
        self.runs = os.path.join(self.out, "runs")
        shutil.rmtree(self.runs, ignore_errors=True)
        os.makedirs(self.runs)
        self.place = tempfile.mkdtemp(prefix="fob-bench-", dir=os.environ.get("TMPDIR") or self.out)
        self.duration_s, self.warmup_s = (0.25, 0.1) if args.quick else (0.8, 0.2)
        self.results = {}   # series: [result of each round, None where it failed]
        self.samples = {}   # likewise, of what is one number a round
        self.reasons = {}   # series: why it has no result
        self.facts = {}
        self.round = self.rounds_done = 0
        self.private = 0

    def tool(self, name):
        return os.path.join(self.build, name)

    def left_s(self):
        return self.args.budget - (time.monotonic() - self.started)

    # ---- one measurement ----

    def record(self, series, argv, expect=(0,), least=LEAST_CALLS):
        """Run a program of ours once and keep its result; a failure is kept as its reason."""
        path = os.path.join(self.runs, "%s-%d.json" % (series.replace(" ", "-"), self.round))
        result = None
        try:
            run(argv + ["--quiet", "--json", path, "--label", series, "--warmup", str(self.warmup_s), "--duration",
                        str(self.duration_s)], self.place, 30, expect)
            with open(path, encoding="utf-8") as f:
                result = json.load(f)
            if result["calls"] < least:
                result, calls = None, result["calls"]
                raise Failed("only %d calls were answered" % calls)
            result["path"] = path
        except Failed as e:
            self.reasons[series] = "round %d: %s" % (self.round, e)
        self.results.setdefault(series, []).append(result)
        return result

    def sample(self, name, measure):
        """Keep the number that ${measure} returns."""
        value = None
        try:
            value = measure()
        except Failed as e:
            self.reasons[name] = "round %d: %s" % (self.round, e)
        self.samples.setdefault(name, []).append(value)

    def load(self, series, daemon, keys, *flags, address=None, expect=(0,), least=LEAST_CALLS):
        result = self.record(series, [self.tool("fob-load"), "--address", address or daemon.verify, "--admin-address",
                                      daemon.admin, "--keys", keys] + list(flags), expect, least)
        if daemon is self.main:
            self.private = max(self.private, daemon.private_bytes())
        return result

    def echo(self, series, address, *flags):
        return self.record(series, [self.tool("tests/load/nng-echo"), "--address", address] + list(flags))

    # ---- databases ----

    def setup_command(self, daemon, accounts, keys):
        return [self.tool("fob-load"), "--admin-address", daemon.admin, "--setup", str(accounts), "--keys", keys,
                "--duration", "0", "--quiet"]

    def make_main(self):
        self.main = Daemon(self.build, self.place, "m")
        self.main.start()
        accounts = max(1, self.args.keys // 2)
        limit_s = max(5.0, self.left_s() / 2.5)
        note("bench: making %s keys, for at most %.0f s" % (format(2 * accounts, ","), limit_s))
        began = time.monotonic()
        process = spawn(self.setup_command(self.main, accounts, "keys"), self.place, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE, text=True)
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # it keeps what it has made
        status, _out, err = finish(process, 30)
        self.keys = self.count_lines("keys")
        if self.keys == 0:
            raise Failed("no keys could be made: %s" % (err.strip() or "exit status %d" % status))
        self.facts["accounts made per second"] = format(self.keys / 2 / (time.monotonic() - began), ",.0f")
        run(self.setup_command(self.main, ROLL_ACCOUNTS, "roll-keys"), self.place)
        self.start_s = self.restart_times(self.main)

    def make_small(self):
        self.small = Daemon(self.build, self.place, "s")
        self.small.start()
        run(self.setup_command(self.small, SMALL_KEYS // 2, "small-keys"), self.place)

    def make_idle(self):
        """The database whose fobd is started anew for each measurement of its memory."""
        self.disk = Disk(self.build, self.place)
        self.idle = Daemon(self.build, self.place, "p")
        self.idle.start()
        run(self.setup_command(self.idle, 2 * PENDING_CHANGES, "idle-keys"), self.place)
        self.idle.stop()

    def restart_times(self, daemon):
        times = []
        for _ in range(self.args.rounds):
            daemon.stop()
            times.append(daemon.start())
        return times

    def count_lines(self, name):
        try:
            with open(os.path.join(self.place, name), "rb") as f:
                return sum(block.count(b"\n") for block in iter(lambda: f.read(1 << 20), b""))
        except FileNotFoundError:
            return 0

    # ---- a large database, from `fob account import` ----

    def write_import(self, n):
        """
        The file to import, NDJSON with an account of two keys a line, sorted as an export is, and the file of keys to
        verify: every (n / 1,000,000)th secret key, as a million random keys are on nearly every page of the database
        all the same.
        """
        every = max(1, n // 1000000)

        def digest(key):
            return hashlib.sha256(key.encode()).hexdigest(), key[-4:]
        with open(os.path.join(self.place, "import"), "w", encoding="ascii") as f, \
                open(os.path.join(self.place, "imported-keys-%d" % n), "w", encoding="ascii",
                     opener=lambda path, flags: os.open(path, flags, 0o600)) as keys:
            for i in range((n + 1) // 2):
                random = hashlib.blake2b(b"%d" % i, digest_size=18).hexdigest()
                secret = "sk_live_" + random
                f.write('{"account":"moved-%08d","secret_sha256":"%s","secret_last4":"%s",'
                        '"publishable_sha256":"%s","publishable_last4":"%s"}\n' % (
                            (i,) + digest(secret) + digest("pk_live_" + random)))
                if i % every == 0:
                    keys.write(secret + "\n")

    def make_imported(self, name, n):
        """Returns the daemon, and the keys to verify."""
        daemon = Daemon(self.build, self.place, name)
        daemon.start()
        self.write_import(n)
        run([self.tool("fob"), "--address", daemon.admin, "account", "import", "--environment", "live", "import"],
            self.place, max(10.0, self.left_s() - 10))
        os.unlink(os.path.join(self.place, "import"))
        found = sum(e["keys"] for e in daemon.stats()["environments"])
        if found < n:
            raise Failed("only %s keys are there after importing %s" % (format(found, ","), format(n, ",")))
        return daemon, "imported-keys-%d" % n

    def measure_big(self):
        """After the rounds, as it takes long. Fills self.big with what the rows of a large database need."""
        n = self.args.big
        if n == 0:
            raise Failed("not part of --quick" if self.args.quick else "--big 0")
        began = time.monotonic()
        small, small_keys = self.make_imported("i", SMALL_KEYS)
        # The rate of a small one is a low estimate: starting counts in it.
        needed_s = n / SMALL_KEYS * (time.monotonic() - began) / 4 + 30
        if needed_s > self.left_s():
            raise Failed("would take about %.0f s more than this run's budget: --budget %.0f" % (
                needed_s - self.left_s(), self.args.budget + needed_s - self.left_s()))
        note("bench: importing %s keys" % format(n, ","))
        big, big_keys = self.make_imported("b", n)
        self.big = {"start": self.restart_times(big), "disk": [big.disk_bytes() / n]}
        for self.round in range(1, self.args.rounds + 1):
            self.load("imported small", small, small_keys, "--callers", "64")
            self.load("imported large", big, big_keys, "--callers", "64")
        self.big["private"] = [big.private_bytes()]
        small.stop()
        big.stop()

    # ---- a round ----

    def measure_transport(self, transport, n):
        """The echo, libfob and a bare nng client, each with ${n} calls in flight; the bare clients over ${n} sockets
        and over one."""
        name = "%s %d" % (transport, n)
        fobd = self.main.verify if transport == "ipc" else self.main.tcp
        echo = "ipc://e" if transport == "ipc" else self.echo_tcp
        threads = ["--threads", str(n)]
        if n == 1:
            threads += ["--count-switches", str(self.main.process.pid)]
        bare = ["--callers", str(n)]
        self.echo("echo " + name, echo, "--sockets", str(n), *bare)
        self.load("fob " + name, self.main, "keys", *threads, address=fobd)
        self.echo("fobd " + name, fobd, "--verify", "keys", "--sockets", str(n), *bare)
        if n > 1:
            self.echo("echo1 " + name, echo, *bare)
            self.echo("fobd1 " + name, fobd, "--verify", "keys", *bare)

    def measure_most(self, transport):
        fobd = self.main.verify if transport == "ipc" else self.main.tcp
        self.load("fob %s %d" % (transport, MOST_CALLERS), self.main, "keys", "--threads", str(MOST_CALLERS),
                  address=fobd)
        self.load("async %s %d" % (transport, MOST_CALLERS), self.main, "keys", "--callers", str(MOST_CALLERS),
                  address=fobd)

    def measure_instead(self):
        """What could have been used instead, or beside libfob."""
        self.measure_grpc()
        self.record("lookup", [self.tool("tests/load/limits"), "lookup", "--dir", "lookup", "--keys", str(self.keys)])
        self.load("async ipc 1", self.main, "keys", "--callers", "1")
        self.load("batches", self.main, "keys", "--callers", "4", "--batch", "64")
        self.measure_redis()
        if self.http is not None:
            self.http.measure()

    def measure_plain(self):
        """A blocking client on plain sockets, to an echo over nng's byte streams and to fobd."""
        for connections, depth in PIPELINES:
            name = "ipc %d x %d" % (connections, depth)
            command = [self.tool("tests/load/sp-echo"), "--connections", str(connections), "--depth", str(depth)]
            self.record("sp-echo " + name, command + ["--address", "ipc://e"])
            self.record("sp-fobd " + name, command + ["--address", self.main.verify, "--verify", "keys"])

    def measure_grpc(self):
        program = self.tool("tests/load/grpc-baseline")
        if not os.path.exists(program):
            self.reasons["grpc"] = "grpc-baseline is not built: tests/load/README.md names the packages"
            return
        self.record("grpc", [program, "--address", "127.0.0.1:%d" % self.grpc_port, "--callers", "64", "--keys",
                             str(min(self.keys, 1000000))])

    def start_redis(self):
        self.redis = None
        if shutil.which("redis-server") is None or shutil.which("redis-benchmark") is None:
            self.reasons["redis"] = "redis-server and redis-benchmark are not installed"
            return
        port = str(free_port())
        self.redis = spawn(["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                            "--dir", self.place], self.place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.redis_benchmark = ["redis-benchmark", "-p", port, "-r", str(min(self.keys, 1000000)), "--csv"]
        for _ in range(100):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", int(port))) == 0:
                    break
            time.sleep(0.02)
        run(self.redis_benchmark + ["-t", "set", "-d", "72", "-P", "32", "-n", str(2 * min(self.keys, 1000000))],
            self.place, 60)

    def start_http(self):
        self.http = None
        try:
            self.http = HttpBench(self)
        except Failed as e:
            for series in HTTP_SERIES:
                self.reasons[series] = str(e)

    def measure_redis(self):
        if self.redis is None:
            return
        try:
            out = run(self.redis_benchmark + ["-t", "get", "-c", "50", "-n", "%d" % (80000 * self.duration_s)],
                      self.place, 60)
            row = [f.strip('"') for f in out.strip().splitlines()[-1].split(",")]
            self.results.setdefault("redis", []).append(
                {"tool": "redis", "label": "redis GET", "loop": "closed", "callers": 50, "throughput": float(row[1]),
                 "latency_us": {"p50": float(row[4]) * 1000, "p99": float(row[6]) * 1000}, "curve": []})
        except (Failed, IndexError, ValueError) as e:
            self.reasons["redis"] = str(e)
            self.results.setdefault("redis", []).append(None)

    def measure_rolls(self):
        self.load("rolls", self.main, "roll-keys", *ROLLS, least=LEAST_CHANGES)
        self.record("commits", [self.tool("tests/load/limits"), "commits", "--dir", "commits"], least=LEAST_CHANGES)

    def measure_beside_rolls(self):
        """
        The same verifies without rolls and with them. The echo has nothing to do with fobd, but the rolls and their
        clients take processor time from it as well.
        """
        paced = ["--rate", str(PACED)]
        self.load("paced quiet", self.main, "keys", *paced, expect=(0, 4))
        self.load("closed quiet", self.main, "keys", "--callers", "16")
        self.echo("echo quiet", "ipc://e", "--callers", "16", "--sockets", "16")
        argv = [self.tool("fob-load"), "--admin-address", self.main.admin, "--keys", "roll-keys", *ROLLS, "--warmup",
                "0", "--duration", "60", "--quiet"]
        roller = spawn(argv, self.place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(0.2)
        self.load("paced rolls", self.main, "keys", *paced, expect=(0, 4))
        self.load("closed rolls", self.main, "keys", "--callers", "16")
        self.echo("echo rolls", "ipc://e", "--callers", "16", "--sockets", "16")
        try:
            status, _out, err = finish(roller, 30, signal.SIGINT)
            check_status(argv, status, err)
        except Failed as e:
            for series in ("paced rolls", "closed rolls", "echo rolls"):
                self.reasons[series] = "round %d: the rolls beside it: %s" % (self.round, e)
                self.results[series][-1] = None

    def measure_sizes(self):
        self.load("small", self.small, "small-keys", "--callers", "64")
        self.load("main", self.main, "keys", "--callers", "64")

    # ---- memory ----

    def memory_idle(self):
        self.idle.start()
        with open(os.path.join(self.place, "idle-keys"), "rb") as f:
            secret = f.readline().strip()
        try:
            connections = IdleConnections(os.path.join(self.idle.folder, "v"), IDLE_CONNECTIONS, secret)
            try:
                there = self.idle.stats()["connections"]
                if there < IDLE_CONNECTIONS:
                    raise Failed("fobd has only %d connections" % there)
                private = self.idle.private_bytes()
                connections.check()
                return private
            finally:
                connections.close()
        finally:
            self.idle.stop()

    def wait_for_pending(self):
        for _ in range(200):
            pending = self.idle.stats()["in_flight"]
            if pending >= PENDING_CHANGES:
                return
            time.sleep(0.02)
        raise Failed("only %d changes are pending" % pending)

    def memory_pending(self):
        argv = [self.tool("fob-load"), "--admin-address", self.idle.admin, "--keys", "idle-keys", "--mix", "roll",
                "--callers", str(PENDING_CHANGES), "--sockets", "4", "--timeout", "60000", "--warmup", "0",
                "--duration", "60", "--quiet"]
        self.idle.start(self.disk.environment)
        try:
            self.disk.stall()
            changes = spawn(argv, self.place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            try:
                self.wait_for_pending()
                private = self.idle.private_bytes()
            finally:
                self.disk.go_on()
                status, _out, err = finish(changes, 30, signal.SIGINT)
            check_status(argv, status, err)
            return private
        finally:
            self.idle.stop()

    # ---- all of it ----

    def measure_round(self):
        for transport in ("ipc", "tcp"):
            for n in IN_FLIGHT:
                self.measure_transport(transport, n)
            self.measure_most(transport)
        self.measure_instead()
        self.measure_plain()
        self.measure_rolls()
        self.measure_beside_rolls()
        self.measure_sizes()
        self.sample("memory idle", self.memory_idle)
        self.sample("memory pending", self.memory_pending)

    def measure(self):
        self.echo_tcp = "tcp://127.0.0.1:%d" % free_port()
        self.grpc_port = free_port()
        self.make_main()
        self.make_small()
        self.make_idle()
        self.start_redis()
        self.start_http()
        round_s = 0
        for self.round in range(1, self.args.rounds + 1):
            if self.left_s() < 1.1 * round_s:
                note("bench: the time is up: %d rounds of %d" % (self.round - 1, self.args.rounds))
                break
            note("bench: round %d of %d" % (self.round, self.args.rounds))
            began = time.monotonic()
            self.measure_round()
            round_s = time.monotonic() - began
            self.rounds_done = self.round
        self.small.stop()
        if self.redis is not None:
            finish(self.redis, 10, signal.SIGTERM)
        if self.http is not None:
            self.http.stop()
        self.main_disk = self.main.disk_bytes()
        self.main.stop()
        self.big, self.big_reason = None, ""
        try:
            self.measure_big()
        except Failed as e:
            self.big, self.big_reason = None, str(e)

    # ---- what it comes to ----

    def median_run(self, series):
        """The result whose throughput is the median."""
        good = sorted((r for r in self.results.get(series, []) if r), key=lambda r: r["throughput"])
        return good[(len(good) - 1) // 2] if good else None

    def ratios(self, series, base, what="throughput"):
        """Round by round; ${base} may be several series, the fastest of which counts."""
        bases = base if isinstance(base, tuple) else (base,)
        for name in (series, *bases):
            if not any(self.results.get(name, [])):
                raise Failed(self.reasons.get(name, "no result"))
        values = []
        for i, result in enumerate(self.results[series]):
            others = [b[i] for b in map(self.results.get, bases) if b and i < len(b) and b[i]]
            if result and len(others) == len(bases):
                best = max(others, key=lambda r: r["throughput"])
                values.append(_pick(result, what) / _pick(best, what))
        if not values:
            raise Failed("no round has both")
        return values

    def each(self, series, field):
        """A number that some results have, of each round that has it."""
        values = [r[field] for r in self.results.get(series, []) if r and field in r]
        if not values:
            raise Failed(self.reasons.get(series, "not counted"))
        return values

    def sampled(self, name, scale=1.0):
        values = [v * scale for v in self.samples.get(name, []) if v is not None]
        if not values:
            raise Failed(self.reasons.get(name, "no result"))
        return values


def _pick(result, what):
    return max(1e-9, result["throughput"] if what == "throughput" else result["latency_us"][what])
