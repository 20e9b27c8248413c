"""What systemd does with a unit, in a chroot that has no systemd running: `systemctl start fobd`, typed there or run by a
package, starts the unit's ExecStart as its user and waits until it says READY=1.

Of a unit are obeyed: ExecStart, User, Group, RuntimeDirectory, UMask, LimitNOFILE, TimeoutStartSec, TimeoutStopSec.
What confines a process (namespaces, system calls) is not: tests/integration/test_confined.py is about that.
"""

import os
import re
import resource
import shlex
import signal
import socket
import subprocess
import threading
import time

# Enabling only makes links, which the real systemctl does in a chroot as well.
_SYSTEMCTL = r"""#!/usr/bin/perl
use IO::Socket::UNIX;
if (grep { /^(is-enabled|enable|disable|preset|mask|unmask|daemon-reload)$/ } @ARGV) {
	$ENV{SYSTEMD_OFFLINE} = 1;
	exec '/usr/bin/systemctl.real', @ARGV;
}
my $asked = IO::Socket::UNIX->new(Peer => '/run/systemctl.sock') or die "systemctl: $!\n";
print $asked join("\0", @ARGV);
$asked->shutdown(1);
my $status = <$asked>;
print <$asked>;
exit $status;
"""


class Unit:
    """A unit's settings, and its process while it runs."""

    def __init__(self, root, name):
        self.root, self.name, self.process = root, name, None
        self.log = os.path.join(root, "var/log", name + ".log")
        self.began = self.ready = self.asked_to_stop = None  # by time.monotonic()
        paths = [os.path.join(root, folder, name + ".service") for folder in ("usr/lib/systemd/system", "lib/systemd/system")]
        with open(next(p for p in paths if os.path.exists(p)), encoding="utf-8") as f:
            self.settings = dict(re.findall(r"^(\w+)=(.*)$", f.read(), re.M))

    def _identity(self, kind, name):
        with open(os.path.join(self.root, "etc", kind), encoding="utf-8") as f:
            return next(int(line.split(":")[2]) for line in f if line.startswith(name + ":"))

    def _become(self):
        os.chroot(self.root)
        os.chdir("/")
        files = int(self.settings["LimitNOFILE"])
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        os.umask(int(self.settings["UMask"], 8))
        os.setgroups([])
        os.setgid(self.gid)
        os.setuid(self.uid)

    def active(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        if self.active():
            return 0, ""
        self.uid, self.gid = (self._identity("passwd", self.settings["User"]), self._identity("group", self.settings["Group"]))
        runtime = os.path.join(self.root, "run", self.settings["RuntimeDirectory"])
        os.makedirs(runtime, exist_ok=True)
        os.chmod(runtime, int(self.settings["RuntimeDirectoryMode"], 8))
        os.chown(runtime, self.uid, self.gid)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, open(self.log, "ab") as log:
            path = os.path.join(self.root, "run/systemd/notify")
            if os.path.exists(path):
                os.unlink(path)
            notify.bind(path)
            os.chmod(path, 0o666)
            self.began = time.monotonic()
            self.process = subprocess.Popen(shlex.split(self.settings["ExecStart"]), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, preexec_fn=self._become,
                                            env={"NOTIFY_SOCKET": "/run/systemd/notify", "PATH": "/usr/sbin:/usr/bin"})
            if self._is_ready(notify, float(self.settings["TimeoutStartSec"])):
                self.ready = time.monotonic()
                return 0, ""
        self.stop()
        return 1, "Job for %s.service failed; its log:\n%s" % (self.name, self.says())

    def _is_ready(self, notify, timeout_s):
        notify.settimeout(0.1)
        while self.active() and time.monotonic() < self.began + timeout_s:
            try:
                if b"READY=1" in notify.recv(4096):
                    return True
            except socket.timeout:
                pass
        return False

    def stop(self):
        if not self.active():
            return 0, ""
        self.asked_to_stop = time.monotonic()
        self.process.terminate()
        try:
            self.process.wait(float(self.settings["TimeoutStopSec"]))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return 0, ""

    def restart(self):
        self.stop()
        return self.start()

    def reload(self):
        self.process.send_signal(signal.SIGHUP)
        return 0, ""

    def says(self):
        if not os.path.exists(self.log):
            return ""
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()


class Services:
    """The services of the machine below ${root}, and the systemctl that asks for them there."""

    def __init__(self, root):
        self.root, self.units = root, {}
        os.makedirs(os.path.join(root, "run/systemd/system"), exist_ok=True)
        shim = os.path.join(root, "usr/bin/systemctl")
        os.rename(shim, shim + ".real")  # packages look for it nowhere else
        with open(shim, "w", encoding="utf-8") as f:
            f.write(_SYSTEMCTL)
        os.chmod(shim, 0o755)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(os.path.join(root, "run/systemctl.sock"))
        self._listener.listen(8)
        threading.Thread(target=self._serve, daemon=True).start()

    def unit(self, name):
        name = name.removesuffix(".service")
        if name not in self.units:
            self.units[name] = Unit(self.root, name)
        return self.units[name]

    def _serve(self):
        while True:
            asked, _ = self._listener.accept()
            with asked:
                words = b"".join(iter(lambda: asked.recv(4096), b"")).decode().split("\0")
                try:
                    status, text = self._do([w for w in words if not w.startswith("-")])
                except Exception as e:  # the caller sees it
                    status, text = 1, "systemctl %s: %r" % (" ".join(words), e)
                asked.sendall(("%d\n%s" % (status, text)).encode())

    def _do(self, words):
        action, names = words[0], words[1:]
        for name in names:
            if "*" in name:  # of instances, which no day starts
                continue
            unit = self.unit(name)
            if action == "is-active":
                status, text = (0, "active\n") if unit.active() else (3, "inactive\n")
            elif action == "try-restart":
                status, text = unit.restart() if unit.active() else (0, "")
            elif action in ("start", "stop", "restart", "reload"):
                status, text = getattr(unit, action)()
            else:
                status, text = 1, "systemctl %s: not known here\n" % action
            if status != 0 or text:
                return status, text
        return 0, ""

    def stop(self):
        for unit in self.units.values():
            unit.stop()
        self._listener.close()
