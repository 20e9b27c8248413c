"""Start and stop real etcd members with TLS, each with its own folder and loopback address, for tests of a cluster."""

import os
import shutil
import signal
import subprocess

import certs
import daemon

ETCD = shutil.which("etcd")
ETCDCTL = shutil.which("etcdctl")

_EXTENSIONS = "subjectAltName = IP:%s\nextendedKeyUsage = serverAuth, clientAuth\n"


class Member:
    def __init__(self, etcd, number):
        self.etcd = etcd
        self.name = "m%d" % number
        self.client = daemon.own_address()
        self.peer = daemon.own_address()
        self.process = None
        self.log_path = os.path.join(etcd.place, self.name + ".log")

    @property
    def url(self):
        return "https://" + self.client

    def start(self, state="new"):
        e = self.etcd
        command = [ETCD, "--name", self.name, "--data-dir", os.path.join(e.place, self.name),
                   "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
                   "--listen-peer-urls", "https://" + self.peer, "--initial-advertise-peer-urls", "https://" + self.peer,
                   "--initial-cluster", ",".join("%s=https://%s" % (m.name, m.peer) for m in e.members),
                   "--initial-cluster-state", state, "--initial-cluster-token", e.place,
                   "--heartbeat-interval", str(e.heartbeat_ms), "--election-timeout", str(e.heartbeat_ms * 10),
                   "--cert-file", e.certs.pem("server"), "--key-file", e.certs.key("server"),
                   "--client-cert-auth", "--trusted-ca-file", e.certs.pem("ca"),
                   "--peer-cert-file", e.certs.pem("server"), "--peer-key-file", e.certs.key("server"),
                   "--peer-client-cert-auth", "--peer-trusted-ca-file", e.certs.pem("ca"), "--logger", "zap"]
        if e.quota:
            command += ["--quota-backend-bytes", str(e.quota)]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                                            preexec_fn=daemon._die_with_parent)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Etcd:
    """${n} members. certs has the CA, and the pairs server and client; clients("name") makes one more."""

    def __init__(self, n=1, quota=0, heartbeat_ms=50, place=None):
        self.place = place or daemon.folder()
        self.quota = quota
        self.heartbeat_ms = heartbeat_ms
        self.certs = certs.Certs(self.place).ca("ca")
        self.members = []
        self.members = [Member(self, i) for i in range(n)]
        self.pair("server", [m.client.split(":")[0] for m in self.members] + ["127.0.0.1"])
        self.pair("client")

    def pair(self, name, addresses=("127.0.0.1",)):
        c = self.certs
        with open(c.path(name + ".ext"), "w") as f:
            f.write(_EXTENSIONS % ",IP:".join(addresses))
        c.openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=" + name, "-keyout", c.key(name), "-out",
                  c.path(name + ".csr"))
        c.openssl("x509", "-req", "-in", c.path(name + ".csr"), "-CA", c.pem("ca"), "-CAkey", c.key("ca"),
                  "-CAcreateserial", "-days", "2", "-extfile", c.path(name + ".ext"), "-out", c.pem(name))

    def start(self):
        for m in self.members:
            m.start()
        self.wait()
        return self

    def wait(self):
        daemon.wait_until("etcd answers", lambda: self.ctl("get", "nothing", check=False).returncode == 0, 30, 0.1)

    def ctl(self, *args, check=True, members=None):
        """Run etcdctl."""
        c = self.certs
        done = subprocess.run([ETCDCTL, "--endpoints", ",".join(m.url for m in members or self.members), "--cacert", c.pem("ca"),
                               "--cert", c.pem("client"), "--key", c.key("client"), "--command-timeout", "2s", *args],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                              env=dict(os.environ, ETCDCTL_API="3"))
        if check and done.returncode != 0:
            raise AssertionError("etcdctl %s: %s" % (" ".join(args), done.stderr))
        return done

    def stop(self):
        for m in self.members:
            if m.process is not None:
                m.signal(signal.SIGCONT)
            m.kill()


class Agent:
    """A fob-cluster between the fobd that listens at the socket ${path} and ${etcd}."""

    def __init__(self, path, etcd, environment="live", endpoints=None, settings=""):
        self.place = daemon.folder()
        self.config = os.path.join(self.place, "c")
        self.log_path = os.path.join(self.place, "log")
        self.process = None
        c = etcd.certs
        with open(self.config, "w") as f:
            f.write('environment = "%s"\nfobd = "ipc://%s"\nendpoints = {%s}\nca = "%s"\ncert = "%s"\nkey = "%s"\n%s' % (
                environment, path, ", ".join('"%s"' % u for u in endpoints or [m.url for m in etcd.members]), c.pem("ca"),
                c.pem("client"), c.key("client"), settings))

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([os.path.join(daemon.BUILD, "fob-cluster"), "--config", self.config],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                                            preexec_fn=daemon._die_with_parent)
        return self

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self):
        if self.process is None:
            return
        running = self.process.poll() is None
        self.process.terminate()
        status = self.process.wait(10)
        self.process = None
        log = self.log()
        if not running or status != 0 or "Sanitizer" in log or "runtime error" in log:
            raise AssertionError("fob-cluster ended with %s:\n%s" % (status, log[-4000:]))
