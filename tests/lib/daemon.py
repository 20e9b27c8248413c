"""Start and stop a real fobd. Each has its own folder and addresses, so that tests can run in parallel.

FOB_BUILD names the folder with the fobd to test. Nothing is written outside TMPDIR. A fobd ends with the test that
started it, however the test ends. Every wait observes something, with a time limit, which is longer under a sanitizer.
"""

import atexit
import ctypes
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import fobwire
import leaks
import pb

BUILD = os.path.abspath(os.environ.get("FOB_BUILD") or os.path.join(pb.ROOT, "build", "gcc"))
FOBD = os.path.join(BUILD, "fobd")
SANITIZED = any(w in os.path.basename(BUILD) for w in ("address", "thread", "undefined"))
SLOWER = 5 if SANITIZED else 1

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_count = 0
_folders = []


@atexit.register
def _remove_folders():
    for d in _daemons:
        d.kill()
        leaks.keep_log(d.log_path)
    for folder in _folders:
        shutil.rmtree(folder, ignore_errors=True)


_daemons = []


def wait_until(what, seen, timeout_s=10.0, every_s=0.01):
    """Call ${seen} until it returns something true, and return that. A network error means "not yet"."""
    end = time.monotonic() + timeout_s * SLOWER
    last = None
    while True:
        try:
            got = seen()
            if got:
                return got
        except (OSError, fobwire.Closed, fobwire.Fault) as e:
            last = e
        if time.monotonic() > end:
            raise AssertionError("not within %g s: %s%s" % (timeout_s * SLOWER, what, ": %s" % last if last else ""))
        time.sleep(every_s)


def folder():
    """A new 0700 folder under TMPDIR, removed when the test ends. Its name is short, as a unix socket's path must be."""
    path = tempfile.mkdtemp(prefix="f.")
    _folders.append(path)
    return path


def own_address():
    """A loopback HOST:PORT that no other test process uses: HOST is made from this process's id."""
    global _count
    pid = os.getpid()
    host = "127.%d.%d.%d" % (64 + (pid >> 16 & 63), pid >> 8 & 255, pid & 255)
    while True:
        _count += 1
        with socket.socket() as s:
            try:
                s.bind((host, 20000 + _count))
            except OSError:
                continue
        return "%s:%d" % (host, 20000 + _count)


def stop_process(pid):
    """SIGSTOP, and wait until no thread of it runs any more: a busy machine takes some time over it."""
    def states():
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/stat" % (pid, task)) as f:
                yield f.read().rpartition(")")[2].split()[0]

    os.kill(pid, signal.SIGSTOP)
    wait_until("process %d is stopped" % pid, lambda: all(s in "TtZX" for s in states()))


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _raise_core_limit():
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, OSError):
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def sanitizer_runtime():
    """The sanitizer runtime that fobd is linked to, or None. It must be the first library of a process."""
    out = subprocess.run(["ldd", FOBD], capture_output=True, text=True).stdout
    found = re.search(r"(?:libasan|libtsan)\S* => (\S+)", out)
    return found.group(1) if found else None


class Daemon:
    """One fobd and its folder. Its listeners are verify and admin (ipc), tcp and tcpadmin."""

    def __init__(self, environments=("live", "test"), place=None, settings="", ceiling=None, events_kept=None,
                 data=None, name="c", in_verify="", in_admin="", descriptors=0, core=False, before_exec=None):
        _daemons.append(self)
        self.descriptors = descriptors  # fobd's limit of descriptors at start; 0: this process's limit
        self.core = core                # allow core dumps, if this process may
        self.before_exec = before_exec  # called in fobd's process before it becomes fobd; None: nothing
        self.place = place or folder()
        self.config = os.path.join(self.place, name)
        self.log_path = os.path.join(self.place, "log")
        self.data = data or self.place
        self.process = None
        self.urls = {
            "verify": "ipc://" + os.path.join(self.place, "v"),
            "admin": "ipc://" + os.path.join(self.place, "a"),
            "tcp": "tcp://" + own_address(),
            "tcpadmin": "tcp://" + own_address(),
        }
        text = ""
        for name, url in self.urls.items():
            admin = "admin" in name
            text += 'listen "%s" {\n\trole = "%s"\n%s%s}\n' % (
                url, "admin" if admin else "verify", "\tinsecure = true\n" if name == "tcpadmin" else "",
                in_admin if admin else in_verify)
        for name in environments:
            text += 'environment "%s" {\n\tpath = "%s"\n\tpepper = "%s"\n%s%s}\n' % (
                name, self.database(name), self.pepper(name),
                '\tceiling = "%s"\n' % ceiling if ceiling else "",
                "\tevents_kept = %d\n" % events_kept if events_kept else "")
        self.write_config(text + settings)

    def database(self, environment):
        return os.path.join(self.data, environment)

    def pepper(self, environment):
        return os.path.join(self.place, environment + ".pepper")

    def write_config(self, text):
        self.config_text = text
        with open(self.config, "w") as f:
            f.write(text)

    # ---- run ----

    def environ(self, clock=None):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("NOTIFY_SOCKET", "WATCHDOG", "LD_"))}
        if clock:
            first = sanitizer_runtime()
            env.update(LD_PRELOAD=(first + ":" if first else "") + CLOCK_LIBRARY, TEST_CLOCK=clock.path)
        return env

    def init(self):
        done = self.run("--init")
        if done.returncode != 0:
            raise AssertionError("fobd --init: %d: %s" % (done.returncode, done.stderr))
        return self

    def run(self, *args, timeout_s=10, clock=None, user=None):
        """Run fobd until it ends; returns a CompletedProcess with text."""
        return subprocess.run([FOBD, "--config", self.config, *args], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True,
                              errors="replace", timeout=timeout_s * SLOWER, env=self.environ(clock), cwd="/",
                              preexec_fn=_die_with_parent, user=user, group=user, extra_groups=[] if user else None)

    def start(self, clock=None, init=True, listener="admin"):
        """Start fobd and wait until ${listener} answers. All starts append to the same log file."""
        if init:
            self.init()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([FOBD, "--config", self.config], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=self.environ(clock), cwd="/",
                                            preexec_fn=self._before_exec)

        def up():
            if self.process.poll() is not None:
                raise RuntimeError("fobd ended with %s:\n%s" % (self.process.returncode, self.log()[-4000:]))
            with self.client(listener, timeout_s=2) as c:
                c.check()
            return True

        wait_until("fobd answers", up, 15)
        return self

    def _before_exec(self):
        _die_with_parent()
        if self.descriptors:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.descriptors, self.descriptors))
        if self.core:
            _raise_core_limit()
        if self.before_exec:
            self.before_exec()

    @property
    def pid(self):
        return self.process.pid

    def client(self, listener="admin", timeout_s=20.0):
        return fobwire.Client(self.urls[listener], timeout_s * SLOWER)

    def connection(self, listener="admin", timeout_s=20.0):
        return fobwire.Connection(self.urls[listener], timeout_s * SLOWER)

    def log(self):
        try:
            with open(self.log_path, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def terminate(self, timeout_s=10.0):
        """SIGTERM; returns (exit status, seconds that it took)."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout_s * SLOWER)
        except subprocess.TimeoutExpired:
            status = None
        took = time.monotonic() - start
        if status is None:
            self.kill()
        self.process = None
        return status, took

    def kill(self):
        """SIGKILL, and wait until it is gone."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self):
        """Stop fobd by SIGTERM, and check what holds for every test: it exits with 0, its log has no secret, and it made
        no system call that confine_calls.c does not list."""
        if self.process is None:
            return
        running = self.process.poll() is None
        status, _ = self.terminate()
        log = self.log()
        if not running or status != 0:
            raise AssertionError("fobd %s with %s:\n%s" % ("ended" if running else "was gone", status, log[-4000:]))
        for bad in ("AddressSanitizer", "ThreadSanitizer", "LeakSanitizer", "runtime error:", "Assertion",
                    "a system call that"):
            if bad in log:
                raise AssertionError("%s:\n%s" % (bad, log[-8000:]))
        found = secrets_in(log.encode(errors="replace"))
        if found:
            raise AssertionError("the log holds %d secrets or tokens" % len(found))

    def restart(self, **kw):
        self.stop()
        return self.start(init=False, **kw)


def secrets_in(data):
    """Which of the secrets and tokens that this process has seen are in ${data}, as text or, tokens, raw."""
    found = leaks.words_in(data, leaks.pieces(fobwire.known_secrets, fobwire.known_tokens))
    raw = fobwire.known_tokens
    found.update(data[i:i + 32] for i in range(len(data) - 31) if data[i:i + 32] in raw)
    return sorted(found)


# ---- a clock that the test sets ----

CLOCK_LIBRARY = os.path.join(BUILD, "tests", "lib", "clock.so")


class Clock:
    """A wall clock that stands still until the test sets it; see clock.c. A reading after set() is the new time."""

    def __init__(self, place, start_s=1_900_000_000):
        self.path = os.path.join(place, "now")
        with open(self.path, "wb") as f:
            f.write(bytes(8))
        self.set(start_s)

    def set(self, seconds):
        self.now_s = seconds
        with open(self.path, "r+b", buffering=0) as f:  # one write: never half of a time
            f.write((seconds * 1_000_000_000).to_bytes(8, sys.byteorder))


if not os.access(FOBD, os.X_OK):
    print("Bail out! no %s" % FOBD)
    sys.exit(1)
