"""Debian systems in folders, for the tests that build, install and boot. They need root, mmdebstrap once for each release,
and a network. What mmdebstrap makes is kept in build/chroot."""

import hashlib
import os
import shutil
import signal
import subprocess
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SUITES = ("bookworm", "trixie")  # Debian 12 and 13
CACHE = os.path.join(ROOT, "build", "chroot")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

# dpkg syncs every file to the disk, which is much of an installation's time.
APT = ("apt-get", "-y", "-qq", "--no-install-recommends", "-o", "Dpkg::Options::=--force-unsafe-io", "-o",
       "Acquire::Retries=3")

# The devices that programs expect, and /proc, in a mount namespace that ends with the command.
MOUNT = """
mount -t proc proc "$1/proc"
mount -t tmpfs tmpfs "$1/dev"
for n in null zero full random urandom tty; do touch "$1/dev/$n"; mount --bind "/dev/$n" "$1/dev/$n"; done
ln -s /proc/self/fd "$1/dev/fd"
mkdir "$1/dev/shm" "$1/dev/pts"
mount -t devpts devpts "$1/dev/pts" -o newinstance,ptmxmode=0666
ln -s pts/ptmx "$1/dev/ptmx"
"""
ENTER = MOUNT + """
cp --remove-destination -L /etc/resolv.conf "$1/etc/resolv.conf"
root=$1
shift
exec chroot "$root" "$@"
"""
# The folder becomes the root of a namespace of its own, and systemd its process 1.
BOOT = """
echo 0 > "$2/cgroup.procs"
exec unshare --mount --pid --cgroup --ipc --uts --fork --kill-child --propagation private sh -ec '
mount --rbind "$1" "$1"
""" + MOUNT + """
mount -t sysfs sysfs "$1/sys"
mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup"
mount -t tmpfs -o mode=0755 tmpfs "$1/run"
mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"
touch "$1/dev/console"
mkdir -p "$1/oldroot"
cd "$1"
pivot_root . oldroot
umount -l /oldroot
mount --make-rshared /
exec env -i container=fob-test PATH=%s /usr/lib/systemd/systemd --system --unit=multi-user.target --log-target=journal --show-status=no
' sh "$1"
""" % PATH


def codename():
    """The suite of this machine."""
    with open("/etc/os-release", encoding="utf-8") as f:
        return dict(line.rstrip().split("=", 1) for line in f if "=" in line)["VERSION_CODENAME"]


def missing(*tools):
    """Why such a test cannot be done here, or None."""
    if not os.environ.get("TORTURE"):
        return "takes minutes and a network: make torture"
    if os.getuid() != 0:
        return "needs root"
    gone = [t for t in ("mmdebstrap", "unshare", "chroot", *tools) if not shutil.which(t)]
    return "no " + ", ".join(gone) if gone else None


def base(suite, name=None, packages=()):
    """The archive of a small Debian with ${packages}, called ${name}. It is made at the first call; where that cannot be done
    the test is skipped."""
    # Another list of packages is another archive.
    which = "-" + hashlib.sha256(" ".join(packages).encode()).hexdigest()[:8] if packages else ""
    path = os.path.join(CACHE, (name or suite) + which + ".tar")
    if not os.path.exists(path):
        os.makedirs(CACHE, exist_ok=True)
        new = "%s.%d.tar" % (path, os.getpid())
        try:
            done = subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io",
                                   "--include=" + ",".join(("ca-certificates", *packages)), suite, new],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  errors="replace", check=False)
            if done.returncode != 0:
                raise unittest.SkipTest("mmdebstrap cannot make a %s here: %s" % (suite, done.stdout[-300:]))
            os.rename(new, path)
        finally:
            if os.path.exists(new):
                os.remove(new)
    return path


class System:
    """A Debian in ${folder}, unpacked from ${archive}."""

    def __init__(self, folder, archive):
        self.folder = folder
        os.makedirs(folder)
        subprocess.run(["tar", "-xpf", archive, "-C", folder], check=True)
        # No package starts a service, unless systemd runs there.
        with open(self.path("usr/sbin/policy-rc.d"), "w", encoding="utf-8") as f:
            f.write("#!/bin/sh\n[ -d /run/systemd/system ] || exit 101\n")
        os.chmod(self.path("usr/sbin/policy-rc.d"), 0o755)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def run(self, *command, check=True, env=None):
        """Run ${command} there. Returns status and output; an unexpected failure raises with the output's end."""
        full = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive", **(env or {})}
        done = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh",
                               "-ec", ENTER, "sh", self.folder, *command], env=full, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
        if check and done.returncode != 0:
            raise AssertionError("%s: %d\n%s" % (" ".join(command), done.returncode, done.stdout[-3000:]))
        return done.returncode, done.stdout

    def sh(self, script, check=True, env=None):
        """The output of a shell's ${script}."""
        return self.run("sh", "-ec", script, check=check, env=env)[1]

    def install(self, *packages):
        if not os.listdir(self.path("var/lib/apt/lists")) or not os.path.exists(self.path("var/lib/apt/lists/updated")):
            self.run(*APT, "update")
            open(self.path("var/lib/apt/lists/updated"), "w", encoding="utf-8").close()
        return self.run(*APT, "install", *packages)[1]

    def copy_in(self, *paths, to="root"):
        for path in paths:
            shutil.copy(path, self.path(to))

    def remove(self):
        shutil.rmtree(self.folder)


def cgroup_mount():
    """Where version 2 of control groups is mounted, or None."""
    with open("/proc/mounts", encoding="utf-8") as f:
        return next((line.split()[1] for line in f if line.split()[2] == "cgroup2"), None)


class Booted:
    """${system}, with its systemd running as process 1 of namespaces of its own. boot_problem: why it does not, or None."""

    def __init__(self, system):
        self.pid, self.boot_problem, self.process = None, None, None
        mount = cgroup_mount()
        if mount is None:
            self.boot_problem = "no cgroup2 here"
            return
        self.group = os.path.join(mount, "fob-test-%d" % os.getpid())
        try:
            os.mkdir(self.group)
        except OSError as e:
            self.boot_problem = "no control group can be made: %s" % e
            return
        self.process = subprocess.Popen(["sh", "-ec", BOOT, "sh", system.folder, self.group], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        until = time.monotonic() + 120
        while time.monotonic() < until and self.process.poll() is None:
            self.pid = self._first()
            if self.pid and self.run("systemctl", "is-system-running", check=False)[1].strip() in ("running", "degraded"):
                return
            time.sleep(0.2)
        self.end()
        self.boot_problem = "systemd does not start in a namespace here: %s" % self.process.stdout.read()[-500:]

    def _first(self):
        """The process that is 1 in there, as the outside knows it: once it is systemd."""
        with open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid), encoding="ascii") as f:
            children = f.read().split()
        if not children:
            return None
        with open("/proc/%s/comm" % children[0], encoding="utf-8") as f:
            return int(children[0]) if f.read().strip() == "systemd" else None

    def run(self, *command, check=True):
        done = subprocess.run(["nsenter", "--target", str(self.pid), "--mount", "--uts", "--ipc", "--pid", "--cgroup", "env",
                               "-i", "PATH=" + PATH, "LC_ALL=C.UTF-8", "HOME=/root", "DEBIAN_FRONTEND=noninteractive",
                               *command], cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
        if check and done.returncode != 0:
            raise AssertionError("%s: %d\n%s" % (" ".join(command), done.returncode, done.stdout[-3000:]))
        return done.returncode, done.stdout

    def sh(self, script, check=True):
        return self.run("sh", "-ec", script, check=check)[1]

    def end(self):
        if self.process is None:
            return
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)  # the kernel kills the namespace's other processes
        else:
            self.process.kill()
        self.process.wait()
        for folder, _folders, _files in os.walk(self.group, topdown=False):
            os.rmdir(folder)
