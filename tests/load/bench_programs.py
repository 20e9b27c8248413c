"""What bench runs: processes that end with it, a fobd in a folder of its own, and idle connections to it."""

import ctypes
import json
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import time

PR_SET_PDEATHSIG = 1
# Of fob-load, nng-echo and sp-echo.
STATUSES = {2: "some calls failed", 3: "some answers were not as they should be", 4: "the rate was not met"}


class Failed(Exception):
    """A measurement that did not happen, and why."""


# ---- processes ----

_libc = ctypes.CDLL(None)
_running = set()


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def spawn(argv, cwd, **kwargs):
    process = subprocess.Popen(argv, cwd=cwd, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent,
                               start_new_session=True, **kwargs)
    _running.add(process)
    return process


def finish(process, timeout_s, signal_first=None):
    """Wait for the end of a process, after sending it a signal if one is given; kill it when it does not end. Returns
    (exit status, what it wrote to stdout, to stderr)."""
    try:
        if signal_first is not None:
            process.send_signal(signal_first)
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Failed("%s did not end in %g s" % (os.path.basename(process.args[0]), timeout_s)) from None
    finally:
        if process.poll() is not None:
            _running.discard(process)
    return process.returncode, out, err


def check_status(argv, status, err, good=(0,)):
    if status not in good:
        lines = (err or "").splitlines() or [STATUSES.get(status, "exit status %d" % status)]
        raise Failed("%s: %s" % (os.path.basename(argv[0]), lines[-1]))


def run(argv, cwd, timeout_s=30, good=(0,)):
    process = spawn(argv, cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    status, out, err = finish(process, timeout_s)
    check_status(argv, status, err, good)
    return out


def kill_all():
    for process in list(_running):
        process.kill()
        process.wait()
    _running.clear()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ---- fobd ----

class Daemon:
    """A fobd in a folder of its own below ${place}. Addresses are relative to it: a socket's path must be short."""

    def __init__(self, build, place, name):
        self.build, self.place, self.name = build, place, name
        self.fobd = os.path.join(build, "fobd")
        self.folder = os.path.join(place, name)
        self.process = None
        self.verify = "ipc://%s/v" % name
        self.admin = "ipc://%s/a" % name
        self.tcp = "tcp://127.0.0.1:%d" % free_port()
        os.mkdir(self.folder, 0o700)
        with open(os.path.join(self.folder, "fobd.conf"), "w", encoding="utf-8") as f:
            f.write('listen "ipc://v" { role = "verify" }\nlisten "ipc://a" { role = "admin" }\n'
                    'listen "%s" { role = "verify" }\n'
                    'environment "live" { path = "live" pepper = "live.pepper" }\n'
                    # A bare client has up to 64 calls on one connection, and may begin one more before fobd has
                    # finished the last.
                    'in_flight = 256\n' % self.tcp)
        run([self.fobd, "--init", "--config", self.conf(), "--log-level", "warn"], place)

    def conf(self):
        return self.name + "/fobd.conf"

    def start(self, more_environment=None):
        """Returns the seconds until it reported, by sd_notify, that it is ready."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            address = "\0fob-bench-%d-%s" % (os.getpid(), self.name)
            ready.bind(address)
            ready.settimeout(60)
            env = dict(os.environ, NOTIFY_SOCKET="@" + address[1:], **(more_environment or {}))
            started = time.monotonic()
            with open(os.path.join(self.folder, "log"), "ab") as log:
                self.process = spawn([self.fobd, "--config", self.conf(), "--log-level", "warn"], self.place, env=env,
                                     stdout=log, stderr=log)
            try:
                while b"READY=1" not in ready.recv(4096):
                    pass
            except socket.timeout:
                raise Failed("fobd was not ready in 60 s: %s" % self.last_words()) from None
            return time.monotonic() - started

    def last_words(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as log:
            return (log.read().splitlines() or ["its log is empty"])[-1]

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            finish(self.process, 30, signal.SIGTERM)
        self.process = None

    def stats(self):
        return json.loads(run([os.path.join(self.build, "fob"), "--address", self.admin, "--output", "json", "stats"],
                              self.place))

    def private_bytes(self):
        """
        The memory that is fobd's alone, without the map of the database. fobd lets only root read the first file; the
        second differs from it by some pages.
        """
        if self.process.poll() is not None:
            raise Failed("fobd has ended: %s" % self.last_words())
        for name, field in (("smaps_rollup", "Private_Dirty"), ("status", "RssAnon")):
            try:
                with open("/proc/%d/%s" % (self.process.pid, name), encoding="ascii") as f:
                    return 1024 * int(re.search(field + r":\s*(\d+) kB", f.read()).group(1))
            except PermissionError:
                pass
        raise Failed("/proc does not tell fobd's memory")

    def disk_bytes(self):
        """Blocks that the file system has given to the databases: the length of a file with holes is no measure."""
        total = 0
        for folder, _folders, files in os.walk(self.folder):
            names = [f for f in files if f == "data.mdb" or f.startswith("last")]
            total += sum(os.stat(os.path.join(folder, f)).st_blocks * 512 for f in names)
        return total


class Disk:
    """A disk that can be stalled: see stall.c. Give ${environment} to Daemon.start()."""

    def __init__(self, build, place):
        path = os.path.join(place, "gate")
        os.mkfifo(path, 0o600)
        self.gate = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        os.write(self.gate, b"x")
        self.environment = {"LD_PRELOAD": os.path.join(build, "tests", "load", "stall.so"), "FOB_STALL": path}

    def stall(self):
        os.read(self.gate, 1)

    def go_on(self):
        os.write(self.gate, b"x")


# ---- idle connections ----

METHOD = b"fob.v1.Keys/VerifyKey"
GREETING, ANSWER = (b"\0SP\0" + struct.pack(">HH", protocol, 0) for protocol in (0x30, 0x31))
VALID = 1


def _read_exactly(s, n):
    data = b""
    while len(data) < n:
        got = s.recv(n - len(data))
        if not got:
            raise Failed("fobd closed a connection")
        data += got
    return data


class IdleConnections:
    """Connections over ipc that have verified a key each, as those of a service have, and are idle then."""

    def __init__(self, path, n, secret):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < n + 100:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, n + 100), hard))
        self.sockets = []
        try:
            for _ in range(n):
                self.sockets.append(self._connect(path))
            for s in self.sockets:
                self._verify(s, secret)
        except OSError as e:
            self.close()
            raise Failed("connection %d of %d: %s" % (len(self.sockets) + 1, n, e)) from None

    @staticmethod
    def _connect(path):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(5)
        s.connect(path)
        s.sendall(GREETING)
        if _read_exactly(s, len(ANSWER)) != ANSWER:
            raise Failed("fobd's greeting is not SP's")
        return s

    @staticmethod
    def _verify(s, secret):
        body = b"\x0a%c%s" % (len(secret), secret)
        payload = b"\x80\0\0\1\x0a%c%s\x12%c%s" % (len(METHOD), METHOD, len(body), body)
        s.sendall(b"\1" + struct.pack(">Q", len(payload)) + payload)
        kind, length = struct.unpack(">BQ", _read_exactly(s, 9))
        reply = _read_exactly(s, length) if kind == 1 and length < 1000 else b""
        if reply[:4] != payload[:4] or reply[4:5] != b"\x1a" or reply[6:8] != bytes([8, VALID]):
            raise Failed("a key on an idle connection was not VALID")

    def check(self):
        for s in self.sockets:
            s.setblocking(False)
            try:
                s.recv(1)
            except BlockingIOError:
                continue
            raise Failed("fobd closed an idle connection, or wrote to it")

    def close(self):
        for s in self.sockets:
            s.close()
        self.sockets = []
