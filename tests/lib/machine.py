"""Bare Debian systems in chroots, as machines on which an operator types commands.

A test that uses them calls enter() first. It builds the packages of this tree, and those of a version after it, and makes
a bare Debian of the host's release with mmdebstrap. All of that is kept in build/day and used again while it fits. Then
the test runs in mounts, processes and a network of its own: they end when it ends, however that happens.
"""

import atexit
import os
import re
import shutil
import subprocess
import sys

import chroot
import daemon
import debian
import leaks
import pb
import services
import tap

KEPT = os.path.join(pb.ROOT, "build", "day")
MILLION = 1_000_000
_INSIDE = "FOB_TEST_OWN_NAMESPACES"
_OWN = ["unshare", "--mount", "--propagation", "private", "--net", "--pid", "--fork", "--mount-proc"]
KEY = re.compile(r"[sp]k_(?:live|test)_\w+")


def run(command, **kw):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", check=False, **kw)
    if done.returncode != 0:
        raise AssertionError("%s: exit status %d\n%s" % (" ".join(command), done.returncode, done.stdout[-4000:]))
    return done.stdout


# ---- packages, and the system that they are installed on ----

def _kept(folder, digest, make):
    """Call ${make} for a new ${folder}, unless it was made for the same ${digest}."""
    mark = os.path.join(folder, "made-for")
    if os.path.exists(mark):
        with open(mark, encoding="utf-8") as f:
            if f.read() == digest:
                return
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    make(folder)
    with open(mark, "w", encoding="utf-8") as f:
        f.write(digest)


def debs(which, name):
    """The file of the package ${name}; ${which} is "now" or "next"."""
    folder = os.path.join(KEPT, which)
    return next(os.path.join(folder, f) for f in sorted(os.listdir(folder)) if f.startswith(name + "_") and f.endswith(".deb"))


def version(which):
    return re.search(r"fobd_([^_]+)_", debs(which, "fobd")).group(1)


def _after(text):
    """The version after ${text}: the last number is one higher."""
    return re.sub(r"\d+$", lambda last: str(int(last.group()) + 1), text)


def _build_next(folder):
    """From the same sources, with a higher version in the two places that have it."""
    tree = os.path.join(folder, "tree")
    debian.copy_tree(tree)
    changelog = os.path.join(tree, "service/debian/changelog")
    with open(changelog, encoding="utf-8") as f:
        text = f.read()
    now = re.match(r"fob \(([^)]+)\)", text).group(1)
    signed = re.search(r"^ -- .*$", text, re.M).group()
    with open(changelog, "w", encoding="utf-8") as f:
        f.write("fob (%s) unstable; urgency=medium\n\n  * The next version.\n\n%s\n\n%s" % (_after(now), signed, text))
    run(["sed", "-i", 's/^\\(#define FOB_VERSION "\\)%s"/\\1%s"/' % (re.escape(now), _after(now)),
         os.path.join(tree, "client/fob.h")])
    run([os.path.join(tree, "service/debian/build"), folder])
    shutil.rmtree(tree)


def _make_base(folder):
    """A minimal Debian, with systemd's tools, and in apt's cache what the packages depend on: installing needs no
    network."""
    conf = os.path.join(folder, "conf")
    with open(conf, "w", encoding="utf-8") as f:
        f.write('APT::Get::Assume-Yes "true";\nAPT::Install-Recommends "false";\n')
    packages = [debs("now", name) for name in ("fobd", "fob")]
    run(["mmdebstrap", "--variant=minbase", "--include=systemd,openssl", "--skip=cleanup/apt,cleanup/run",
         "--customize-hook=copy-in %s /root" % " ".join(packages),
         "--customize-hook=upload %s /etc/apt/apt.conf.d/99day" % conf,
         '--customize-hook=chroot "$1" sh -c "apt-get --download-only install /root/*.deb && rm /root/*.deb"',
         chroot.codename(), os.path.join(folder, "base.tar")])


def _why_not():
    why = chroot.missing("dpkg-buildpackage", "dh")
    if why:
        return why
    if subprocess.run([*_OWN, "true"], capture_output=True, check=False).returncode != 0:
        return "needs mounts, processes and a network of its own (unshare)"
    return None


def enter():
    """Prepare, then run this program again on its own. Returns None there, or why that cannot be done."""
    if os.environ.get(_INSIDE):
        run(["ip", "link", "set", "lo", "up"])
        return None
    why = _why_not()
    if why:
        return why
    sources = debian.tree_hash()
    _kept(os.path.join(KEPT, "now"), sources,
          lambda folder: run([os.path.join(pb.ROOT, "service/debian/build"), folder]))
    _kept(os.path.join(KEPT, "next"), sources, _build_next)
    needs = run(["dpkg-deb", "-f", debs("now", "fobd"), "Depends"]) + run(["dpkg-deb", "-f", debs("now", "fob"), "Depends"])
    try:
        _kept(os.path.join(KEPT, "base"), needs, _make_base)
    except AssertionError as e:
        tap.comment(e)
        return "mmdebstrap cannot make a Debian here"
    run(["make", "-s", "-C", pb.ROOT, "fob-load"])
    os.environ[_INSIDE] = "1"
    os.execvp("unshare", [*_OWN, "--kill-child", sys.executable, os.path.abspath(sys.argv[0]), *sys.argv[1:]])


# ---- machines ----

_machines = []


@atexit.register
def _end():  # runs before daemon.py removes the folders
    for machine in _machines:
        machine.end()


class Machine:
    """A bare Debian, and the operator's shell as root in /root on it."""

    def __init__(self):
        self.root = os.path.join(daemon.folder(), "root")
        os.mkdir(self.root)
        _machines.append(self)
        run(["tar", "-xf", os.path.join(KEPT, "base", "base.tar"), "-C", self.root])
        run(["mount", "-t", "proc", "proc", self.path("/proc")])
        self.services = services.Services(self.root)
        shutil.copy(os.path.join(pb.ROOT, "build/gcc/fob-load"), self.path("/usr/local/bin/fob-load"))
        self.running = []

    def path(self, path):
        return self.root + path

    def write(self, path, text, mode="w"):
        os.makedirs(os.path.dirname(self.path(path)), exist_ok=True)
        with open(self.path(path), mode, encoding="utf-8") as f:
            f.write(text)

    def has_packages(self, which):
        """The packages of a version are in /root, and no others."""
        for name in os.listdir(self.path("/root")):
            if name.endswith(".deb"):
                os.unlink(self.path("/root/" + name))
        for name in ("fobd", "fob"):
            shutil.copy(debs(which, name), self.path("/root"))

    def small_disk(self, path, size):
        """A file system of its own at ${path}."""
        os.makedirs(self.path(path), exist_ok=True)
        run(["mount", "-t", "tmpfs", "-o", "size=%s" % size, "tmpfs", self.path(path)])

    def _shell(self, command, **kw):
        env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8",
               "DEBIAN_FRONTEND": "noninteractive"}
        return subprocess.Popen(["chroot", self.root, "/bin/bash", "-c", "cd /root && exec 2>&1; " + command], env=env,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace", **kw)

    def types(self, command, *sees, status=0):
        """Run ${command}. It must end with ${status}, and show each text of ${sees}. Returns what it shows."""
        tap.comment("# " + command)
        return self.quietly(command, *sees, status=status)

    def quietly(self, command, *sees, status=0):
        """The same for what no operator types."""
        with self._shell(command) as shell:
            shown = shell.communicate()[0]
        missing = [text for text in sees if text not in shown]
        if shell.returncode != status or missing:
            raise AssertionError("%s\nexit status %d, not %d; not shown: %s\n%s" % (
                command, shell.returncode, status, missing, KEY.sub("(a key)", shown)[-4000:]))
        return shown

    def begins(self, command):
        """Run ${command} beside all that follows."""
        tap.comment("# %s &" % command)
        process = self._shell("exec " + command)
        self.running.append(process)
        return process

    def end(self):
        self.services.stop()
        for process in self.running:
            process.kill()
            process.wait()
            process.stdout.close()
        for unit in self.services.units.values():
            leaks.keep_log(unit.log)
        with open("/proc/mounts", encoding="utf-8") as f:
            for path in reversed([line.split()[1] for line in f if line.split()[1].startswith(self.root + "/")]):
                run(["umount", "--lazy", path])
        _machines.remove(self)
