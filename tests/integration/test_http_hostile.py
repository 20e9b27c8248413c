#!/usr/bin/python3
"""fob-http under hostile peers: requests hidden in requests, slow and large heads, thousands of connections. A polite
client is served throughout, and memory and descriptors are back where they were afterwards."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import fcntl
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
import unittest

import daemon
import tap
import web
from pb import LIVE

LONG = os.environ.get("TORTURE") == "1"
IDLE = 20000 if LONG else 2000
HEAD = b" HTTP/1.1\r\nHost: a\r\n"
REQUEST_S = 10  # SERVER_REQUEST_S
EVIL = b"GET /evil" + HEAD + b"\r\n"  # answered by 404 where it is taken for a request
SIZED = b"Content-Length: %d\r\n\r\n"


# ADDRESS NETWORK COUNT. An address has some 28,000 ports; from fewer the kernel finds a free one sooner.
CROWD = """
import resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
host, port = sys.argv[1].rsplit(":", 1)
held = []
for i in range(int(sys.argv[3])):
    s = socket.socket()
    s.bind(("%s.%d" % (sys.argv[2], i // 2000 + 1), 0))
    s.connect((host, int(port)))
    if i % 2:
        s.sendall(b"GET /v1/auth HTTP/1.1\\r\\nA: b\\r\\n")
    held.append(s)
print("all", flush=True)
sys.stdin.read()
"""


def unread(s):
    """How many bytes that were sent at the unix socket ${s} its peer has not read."""
    return struct.unpack("i", fcntl.ioctl(s, termios.TIOCOUTQ, b"\0" * 4))[0]


def cpu_s(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Polite:
    """Asks again and again, on a connection that it keeps while it can."""

    def __init__(self, address, key):
        self.address, self.headers, self.wrong, self.slowest, self.n = address, [web.basic(key), *web.CHARGE], [], 0, 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            with web.Connection(self.address) as c:
                while not self.done.wait(0.002):
                    began = time.monotonic()
                    reply = c.ask(headers=self.headers)
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    self.n += 1
                    if reply is None or reply.status != 200:
                        self.wrong.append(reply and reply.line)
                        return
        except OSError as e:
            self.wrong.append(repr(e))

    def end(self, test, what):
        self.done.set()
        self.thread.join()
        test.assertEqual(self.wrong, [], "the polite client was not served, after %d requests" % self.n)
        test.assertGreater(self.n, 0)
        tap.comment("%s: polite client: %d requests, slowest %.0f ms" % (what, self.n, self.slowest * 1000))


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.fobd = daemon.Daemon().start()
        cls.addClassCleanup(cls.fobd.kill)
        cls.cap = IDLE * 3 // 4
        cls.web = web.Web(cls.fobd.urls["verify"], settings='log_level = "debug"\n', connections=cls.cap).start()
        cls.addClassCleanup(cls.web.kill)
        with cls.fobd.client("admin") as c:
            cls.key = c.create(LIVE, "acme").secret_key.secret
        cls.auth = b"".join(b"%s: %s\r\n" % (n.encode(), v.encode()) for n, v in (web.basic(cls.key), *web.CHARGE))
        # Begun now, looked at in the last test. With a fob-http of their own: crowds would drive them out.
        cls.slow_web = web.Web(cls.fobd.urls["verify"]).start()
        cls.addClassCleanup(cls.slow_web.kill)
        cls.slow, cls.slow_took = [], {}
        for start in (b"G", b"GET /v1/auth HTTP/1.1\r\nHost: a\r\nX-A: ",
                      b"POST /v1/verify" + HEAD + SIZED % 100 + b"{"):
            cls.slow.append(web.Connection(cls.slow_web.tcp))
            cls.slow[-1].send(start)
        cls.slow_since = time.monotonic()
        cls.dripping = threading.Event()
        cls.dripper = threading.Thread(target=cls.drip, daemon=True)
        cls.dripper.start()

    @classmethod
    def drip(cls):
        """Go on with each, byte by byte, and note when it was closed."""
        while not cls.dripping.wait(0.2):
            for c in [c for c in cls.slow if c not in cls.slow_took]:
                try:
                    c.send(b"x")
                    if c.socket.recv(1, socket.MSG_DONTWAIT) == b"":
                        raise ConnectionResetError
                except BlockingIOError:
                    pass
                except OSError:
                    cls.slow_took[c] = time.monotonic() - cls.slow_since

    @classmethod
    def tearDownClass(cls):
        cls.dripping.set()
        cls.dripper.join()
        cls.web.stop()
        cls.slow_web.stop()
        cls.fobd.stop()

    def settled(self, descriptors, what):
        daemon.wait_until("the descriptors are back: " + what,
                          lambda: web.open_descriptors(self.web.pid) <= descriptors, 20)

    def one_reply(self, what, data, statuses):
        """${data} gets one reply, which closes the connection; or none."""
        with self.web.connection() as c:
            c.send(data)
            first = c.reply(data.startswith(b"HEAD"))
            self.assertIn(first.status if first else 0, statuses, what)
            self.assertEqual(c.got, b"", what)
            self.assertTrue(c.is_closed(), what)

    def test_a_request_hidden_in_a_request(self):
        auth, n = self.auth, len(EVIL)
        for method in b"GET POST HEAD PUT DELETE OPTIONS TRACE PATCH CONNECT FOO PROPFIND get".split():
            taken = method in b"GET POST HEAD PUT DELETE OPTIONS TRACE PATCH".split()
            self.one_reply(method, method + b" /v1/auth" + HEAD + auth + SIZED % n + EVIL, (200,) if taken else (400,))
        for what, head in (
                ("chunked", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
                ("gzip, chunked", b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
                ("identity", b"Transfer-Encoding: identity\r\n\r\n"),
                ("TE and CL", b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
                ("CL and TE", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
                ("xchunked", b"Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
                ("TE alias", b"Transfer_Encoding: chunked\r\n\r\n"),
                ("TE blank", b"Transfer-Encoding : chunked\r\n\r\n"),
                ("TE folded", b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
                ("two CL", b"Content-Length: 5\r\nContent-Length: 0\r\n\r\n12345"),
                ("CL list", b"Content-Length: 5, 5\r\n\r\n12345"), ("CL +5", b"Content-Length: +5\r\n\r\n12345"),
                ("CL -1", b"Content-Length: -1\r\n\r\n"), ("CL 0x5", b"Content-Length: 0x5\r\n\r\n12345"),
                ("CL nothing", b"Content-Length: \r\n\r\n"), ("CL NUL", b"Content-Length: 5\x009\r\n\r\n12345"),
                ("CL overflow", b"Content-Length: 18446744073709551621\r\n\r\n12345"),
                ("CL blank", b"Content-Length : 5\r\n\r\n12345"), ("CL alias", b"Content_Length: 5\r\n\r\n12345"),
                ("bare LF", b"A: b\n\r\n"), ("LF LF", b"A: b\n\n"), ("CR", b"A: b\rC: d\r\n\r\n")):
            for method in (b"GET", b"POST"):
                self.one_reply(what, method + b" /v1/auth" + HEAD + auth + head + EVIL, (400, 413))
        for what, data in (("version", b"GET /v1/auth HTTP/1.9\r\n"), ("blanks", b"GET /v1/auth x HTTP/1.1\r\n"),
                           ("0.9", b"GET /v1/auth\r\n"), ("2.0", b"GET /v1/auth HTTP/2.0\r\n"),
                           ("absolute", b"GET http://a/v1/auth HTTP/1.1\r\n"), ("star", b"OPTIONS * HTTP/1.1\r\n")):
            self.one_reply(what, data + b"Host: a\r\n" + auth + b"\r\n", (400,))
        # A whole body that is read is no danger, but on /v1/auth it is the last.
        self.one_reply("a body", b"POST /v1/auth" + HEAD + auth + SIZED % 5 + b"12345", (200,))
        upgrade = b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\nPRI"
        self.one_reply("upgrade", b"GET /v1/auth" + HEAD + auth + upgrade, (200,))
        self.one_reply("expect", b"POST /v1/auth" + HEAD + auth + b"Expect: 200-ok\r\n" + SIZED % 2 + b"ab", (417,))

    def test_pipelined_requests(self):
        """One is answered, and then the connection is closed: where the next one begins is not guessed."""
        self.one_reply("two", (b"GET /v1/auth" + HEAD + self.auth + b"\r\n") * 2, (200,))
        self.one_reply("many", (b"GET /v1/auth" + HEAD + self.auth + b"\r\n") * 200, (200,))
        with self.web.connection() as c:  # one after the other they are as many as the client likes
            for _ in range(200):
                self.assertEqual(c.ask(headers=[web.basic(self.key), *web.CHARGE]).status, 200)
                self.assertEqual(c.ask(headers=web.CHARGE).status, 401)
            self.assertEqual(c.ask("HEAD", headers=web.CHARGE).status, 401)
            self.assertEqual(c.ask("TRACE", headers=web.CHARGE).status, 401)

    def test_a_request_that_comes_while_another_is_handled(self):
        """It waits in the socket, costs nothing there, and is then looked at as strictly as any."""
        good = b"GET /v1/auth" + HEAD + self.auth + b"\r\n"
        waiting = [self.web.connection() for _ in range(3)]
        self.fobd.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.fobd.process.pid, os.WUNTRACED)
        try:
            for c in waiting:
                c.send(good)
                daemon.wait_until("the request was read", lambda c=c: unread(c.socket) == 0)
            waiting[0].send(good)
            waiting[1].send(EVIL.replace(b"\r\n", b"\n"))
            waiting[2].socket.shutdown(socket.SHUT_WR)
            began = cpu_s(self.web.pid)
            first = [c.reply() for c in waiting]
            self.assertLess(cpu_s(self.web.pid) - began, 0.5, "it was busy while it waited")
        finally:
            self.fobd.process.send_signal(signal.SIGCONT)
        self.assertEqual([r.status for r in first], [503] * 3)
        self.assertIn(waiting[0].reply().status, (200, 503))  # 503: not connected again yet
        self.assertEqual(waiting[1].reply().status, 400)
        for c in waiting[1:]:
            self.assertTrue(c.is_closed())
        for c in waiting:
            c.close()

    def test_http_1_0(self):
        """Its connections stay only if that is asked for."""
        old = b"GET /v1/auth HTTP/1.0\r\nHost: a\r\n" + self.auth
        with self.web.connection() as c:
            for _ in range(2):
                c.send(old + b"Connection: keep-alive\r\n\r\n")
                reply = c.reply()
                self.assertEqual((reply.status, reply.headers.get("connection")), (200, "keep-alive"))
            c.send(old + b"\r\n")
            self.assertEqual(c.reply().headers["connection"], "close")
            self.assertTrue(c.is_closed())

    def test_large_heads_and_bodies(self):
        line = b"A: " + b"x" * 1000 + b"\r\n"
        for what, data in (("bytes", b"GET /v1/auth" + HEAD + line * 100), ("a line", b"GET /v1/auth?" + b"x" * 100000),
                           ("lines", b"GET /v1/auth" + HEAD + b"a:b\r\n" * 2000 + b"\r\n"),
                           ("a name", b"GET /v1/auth" + HEAD + b"x" * 100000),
                           ("a body", b"POST /v1/verify" + HEAD + SIZED % 10**7 + b"x" * 300000)):
            with self.web.connection() as c:
                try:
                    c.send(data)
                except OSError:
                    pass  # it was closed before all was sent
                reply = c.reply()
                self.assertIn(reply.status if reply else 0, (0, 400, 413), what)
                self.assertTrue(c.is_closed(), what)
        body = b'{"secret": "%s"}' % (b"x" * 100000)
        self.assertEqual(self.web.ask("POST", "/v1/verify", body=body).status, 400)

    @unittest.skipUnless(os.geteuid() == 0, "only root may count fob-http's descriptors")
    def test_thousands_of_connections(self):
        with self.web.connection() as c:
            self.assertEqual(c.ask(headers=[web.basic(self.key), *web.CHARGE]).status, 200)
        before = web.open_descriptors(self.web.pid) + 8
        memory = web.resident_kib(self.web.pid)
        for turn in range(3):
            polite = Polite(self.web.tcp, self.key)
            held = self.crowd(turn)
            daemon.wait_until("connections have been let in",
                              lambda: web.open_descriptors(self.web.pid) > self.cap // 2)
            daemon.wait_until("the number of connections is bounded",
                              lambda: web.open_descriptors(self.web.pid) <= self.cap + before)
            with self.web.connection(unix=False) as c:  # a newcomer
                self.assertEqual(c.ask(headers=[web.basic(self.key), *web.CHARGE]).status, 200)
            polite.end(self, "%d connections" % IDLE)
            if LONG and not daemon.SANITIZED:
                self.assertLess(polite.slowest, 1, "the polite client had to wait")
            for process in held:
                self.end_crowd(process)
            self.settled(before, "%d connections" % IDLE)
            if not daemon.SANITIZED:  # a sanitizer keeps what was freed
                # libevent's tables stay: some bytes for each number that a descriptor had.
                limit = memory + 3072 + self.cap // 4
                daemon.wait_until("memory is given back", lambda: web.resident_kib(self.web.pid) < limit, 20)

    def crowd(self, turn):
        """IDLE connections; every other one has sent a part of a request. Held by processes of their own, as each may
        have only so many descriptors."""
        command = [sys.executable, "-c", CROWD, self.web.tcp]
        held = [subprocess.Popen(command + ["127.%d.%d" % (turn + 1, i), str(IDLE // 4)],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE) for i in range(4)]
        for process in held:
            self.addCleanup(self.end_crowd, process)
            self.assertEqual(process.stdout.readline(), b"all\n")
        return held

    @staticmethod
    def end_crowd(process):
        process.communicate()
        process.wait()

    @unittest.skipUnless(os.geteuid() == 0, "only root may count fob-http's descriptors")
    def test_connections_that_come_and_go(self):
        before = web.open_descriptors(self.web.pid) + 8
        polite = Polite(self.web.unix, self.key)
        whole = b"GET /v1/auth" + HEAD + self.auth + b"\r\n"
        for i in range(len(whole) * 2):
            c = web.Connection(self.web.unix if i % 2 else self.web.tcp)
            c.send(whole[:i // 2 + 1])
            if i % 3 == 0:
                c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
            c.close()
        polite.end(self, "%d that come and go" % (len(whole) * 2))
        self.settled(before, "come and go")

    def test_zz_slow_requests_end(self):
        """Bytes that come one by one do not prolong the time for a request."""
        daemon.wait_until("all are closed", lambda: len(self.slow_took) == len(self.slow), REQUEST_S + 5, 0.1)
        for took in self.slow_took.values():
            self.assertGreater(took, REQUEST_S - 1)
            self.assertLess(took, REQUEST_S + 5 * daemon.SLOWER)
        tap.comment("the slow ones were closed within %.1f s" % max(self.slow_took.values()))


tap.main()
