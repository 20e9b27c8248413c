"""Real etcd members with TLS on loopback addresses, which end with the test. Elections are quick: 100 ms heartbeats would be
etcd's default, here they come every 20 ms."""

import base64
import json
import os
import shutil
import signal
import subprocess

import certs
import daemon

CURVE = "ec:prime256v1"
PREFIX = "/fob/live/"
_members = []


def make_certs(place):
    """ca, and a server certificate for each address of this test, as "etcd"; clients "agent", "root" and "stranger"."""
    made = certs.Certs(place).ca("ca")
    host = daemon.own_address().rsplit(":", 1)[0]
    made.pair("ca", "etcd", kind=CURVE, alt="IP:%s" % host)
    for name in ("agent", "root", "stranger"):
        made.pair("ca", name, kind=CURVE)
    return made


def _quoted(value):
    """As etcdctl's txn reads it, which is as Go does."""
    return '"%s"' % "".join("\\x%02x" % b for b in value)


class Member:
    def __init__(self, cluster, name):
        self.cluster, self.name, self.process = cluster, name, None
        self.client, self.peer = "https://" + daemon.own_address(), "http://" + daemon.own_address()
        self.data = os.path.join(cluster.place, name)
        self.log_path = os.path.join(cluster.place, name + ".log")

    def start(self, state="new"):
        c = self.cluster.certs
        args = ["etcd", "--name", self.name, "--data-dir", self.data, "--listen-client-urls", self.client,
                "--advertise-client-urls", self.client, "--listen-peer-urls", self.peer,
                "--initial-advertise-peer-urls", self.peer, "--initial-cluster-state", state, "--initial-cluster",
                ",".join("%s=%s" % (m.name, m.peer) for m in self.cluster.members), "--cert-file", c.pem("etcd"),
                "--key-file", c.key("etcd"), "--trusted-ca-file", c.pem("ca"), "--client-cert-auth",
                "--heartbeat-interval", "20", "--election-timeout", "200", "--log-level", "error", "--logger", "zap",
                *self.cluster.flags]
        env = {k: v for k, v in os.environ.items() if not k.startswith("ETCD_")}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd="/",
                                            preexec_fn=daemon._die_with_parent)
        _members.append(self)
        return self

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        daemon.stop_process(self.process.pid)

    def cont(self):
        self.signal(signal.SIGCONT)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()


class Etcd:
    """A cluster of ${n} members in a folder of its own. ${flags}: more of etcd's, such as --quota-backend-bytes=N."""

    def __init__(self, n=1, flags=(), made=None):
        self.place = daemon.folder()
        self.flags = list(flags)
        self.certs = made or make_certs(self.place)
        self.members, self.snapshots = [], 0
        for i in range(n):
            self.members.append(Member(self, "m%d" % i))

    def start(self):
        for m in self.members:
            m.start()
        daemon.wait_until("etcd has a leader", self.is_up, 20)
        return self

    def is_up(self):
        for m in self.members:
            if m.process.poll() is not None:
                raise AssertionError("etcd ended:\n" + m.log()[-2000:])
        return self.ctl("endpoint", "health", check=False).returncode == 0

    @property
    def endpoints(self):
        return [m.client for m in self.members]

    def ctl(self, *args, user="root", check=True, stdin=None, member=None):
        """Run etcdctl with the certificate of ${user}; for all members, or only one."""
        c = self.certs
        endpoints = member.client if member else ",".join(self.endpoints)
        done = subprocess.run(["etcdctl", "--endpoints", endpoints, "--cacert", c.pem("ca"), "--cert", c.pem(user), "--key",
                               c.key(user), *args], capture_output=True, text=True, input=stdin,
                              env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "ETCDCTL_API": "3"}, timeout=60)
        if check and done.returncode != 0:
            raise AssertionError("etcdctl %s: %s" % (" ".join(args), done.stderr))
        return done

    def kv(self, key):
        """The bytes of a key, without the prefix /fob/live/; None: it is not there."""
        found = json.loads(self.ctl("get", PREFIX + key, "-w", "json").stdout).get("kvs")
        return base64.b64decode(found[0]["value"]) if found else None

    def put(self, values):
        """Write keys of /fob/live/ at once, as a user with all rights. ${values}: {key: bytes, or None to delete it}."""
        lines = ["del %s%s\n" % (PREFIX, k) if v is None else "put %s%s %s\n" % (PREFIX, k, _quoted(v))
                 for k, v in values.items()]
        done = self.ctl("txn", stdin="\n" + "".join(lines) + "\n\n")
        if "SUCCESS" not in done.stdout:
            raise AssertionError(done.stdout + done.stderr)

    def empty(self):
        """Delete all below /fob/live/."""
        self.ctl("del", "--prefix", PREFIX)

    def snapshot(self):
        """Save a snapshot; returns its path."""
        self.snapshots += 1
        path = os.path.join(self.place, "snapshot%d" % self.snapshots)
        self.ctl("snapshot", "save", path, member=self.members[0])
        return path

    def restore(self, snapshot):
        """All members end, and begin anew with what was saved."""
        self.end()
        for m in self.members:
            shutil.rmtree(m.data)
            self.ctl("snapshot", "restore", snapshot, "--name", m.name, "--data-dir", m.data, "--initial-cluster",
                     ",".join("%s=%s" % (o.name, o.peer) for o in self.members), "--initial-advertise-peer-urls", m.peer)
        self.start()

    def status(self):
        return json.loads(self.ctl("endpoint", "status", "-w", "json").stdout)

    def leader(self):
        """The member that leads."""
        for m, s in zip(self.members, self.status()):
            if s["Status"]["header"]["member_id"] == s["Status"]["leader"]:
                return m
        raise AssertionError("no leader")

    def end(self):
        for m in self.members:
            m.kill()


@daemon.atexit.register
def _end():
    for m in _members:
        m.kill()
