"""Real etcd members with TLS on loopback addresses, which end with the test. Elections are quick: 100 ms heartbeats would be
etcd's default, here they come every 20 ms."""

import json
import os
import signal
import subprocess

import certs
import daemon

CURVE = "ec:prime256v1"
_members = []


def make_certs(place):
    """ca, and a server certificate for each address of this test, as "etcd"; clients "agent", "root" and "stranger"."""
    made = certs.Certs(place).ca("ca")
    host = daemon.own_address().rsplit(":", 1)[0]
    made.pair("ca", "etcd", kind=CURVE, alt="IP:%s" % host)
    for name in ("agent", "root", "stranger"):
        made.pair("ca", name, kind=CURVE)
    return made


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
        self.signal(signal.SIGSTOP)

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
        self.members = []
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

    def ctl(self, *args, user="root", check=True, stdin=None):
        """Run etcdctl with the certificate of ${user}."""
        c = self.certs
        done = subprocess.run(["etcdctl", "--endpoints", ",".join(self.endpoints), "--cacert", c.pem("ca"), "--cert",
                               c.pem(user), "--key", c.key(user), *args], capture_output=True, text=True, input=stdin,
                              env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "ETCDCTL_API": "3"}, timeout=60)
        if check and done.returncode != 0:
            raise AssertionError("etcdctl %s: %s" % (" ".join(args), done.stderr))
        return done

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
