"""Containers of the image that `make image` makes, run by crun or runc as an engine would run them: the image's own
configuration, a read-only root, no capabilities, a user that is not root, a filter of system calls. Needs root."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess

import daemon

FOB = 17400  # the user and group of fobd in the image
PROFILE = "/usr/share/containers/seccomp.json"  # Podman's, which is Docker's with few changes
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # without a capability no runtime may give more
LANDLOCK = ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")


def profile(without=()):
    """The system calls that an engine lets a container without capabilities make, as a runtime reads them; None where the
    engine's list is not installed. ${without}: names that an older engine does not know."""
    if not os.path.exists(PROFILE):
        return None
    with open(PROFILE, encoding="utf-8") as f:
        engine = json.load(f)

    def holds(rule):
        only = rule.get("includes") or {}
        return not only.get("caps") and ("arches" not in only or "amd64" in only["arches"])

    calls = []
    for rule in filter(holds, engine["syscalls"]):
        names = [n for n in rule["names"] if n not in without]
        if names:
            calls.append({k: v for k, v in rule.items() if k in ("action", "args", "errnoRet") and v is not None} |
                         {"names": names})
    return {"defaultAction": engine["defaultAction"], "defaultErrnoRet": engine.get("defaultErrnoRet", 1),
            "architectures": ["SCMP_ARCH_X86_64"], "syscalls": calls}


def bind(source, destination, *options):
    return {"destination": destination, "type": "bind", "source": source,
            "options": ["rbind", "nosuid", "nodev", "noexec", *options]}


def _enter():
    """crun takes control groups of version 2 only where nothing else is mounted around them."""
    if os.path.exists("/sys/fs/cgroup/unified"):
        return ["unshare", "--mount", "--propagation", "private", "sh", "-ec",
                'mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup; exec "$@"', "sh"]
    return []


class Runtime:
    """crun or runc, with its state in ${folder}."""

    def __init__(self, name, folder):
        self.name = name
        self.command = [*_enter(), name, "--root", os.path.join(folder, name)]
        if name == "crun":
            self.command.append("--cgroup-manager=disabled")

    def run(self, *args, data=b"", timeout_s=60):
        return subprocess.run([*self.command, *args], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=timeout_s, check=False)


class Container:
    """A container ${name} of the image that was unpacked to ${bundle} (by umoci, which writes a config.json, too). ${mounts}
    are added; ${args} follow the entrypoint, unless ${entrypoint} is given; ${netns} is a process whose network it has."""

    def __init__(self, runtime, bundle, name, mounts, args=(), entrypoint=None, user=(FOB, FOB), groups=(), netns=None,
                 seccomp=None):
        with open(os.path.join(bundle, "config.json"), encoding="utf-8") as f:
            config = json.load(f)
        self.runtime, self.name = runtime, name
        self.bundle = "%s.%s" % (bundle, name)
        self.log_path = self.bundle + ".log"
        process, mounted = config["process"], {m["destination"] for m in mounts}
        process.update(terminal=False, args=[*(entrypoint or process["args"]), *args], noNewPrivileges=True,
                       capabilities={k: [] for k in process["capabilities"]},
                       user={"uid": user[0], "gid": user[1], "additionalGids": list(groups)},
                       rlimits=[{"type": "RLIMIT_NOFILE", "hard": FILES, "soft": FILES}])
        config["root"] = {"path": os.path.join(bundle, "rootfs"), "readonly": True}
        config["mounts"] = [m for m in config["mounts"] if m["destination"] not in mounted |
                            {"/sys", "/sys/fs/cgroup", "/var/lib/fob"}] + list(mounts)
        if netns:
            next(n for n in config["linux"]["namespaces"] if n["type"] == "network")["path"] = "/proc/%d/ns/net" % netns
        if seccomp:
            config["linux"]["seccomp"] = seccomp
        self.args = process["args"]
        os.makedirs(self.bundle, exist_ok=True)
        with open(os.path.join(self.bundle, "config.json"), "w", encoding="utf-8") as f:
            json.dump(config, f)
        self.process = None

    def once(self):
        """Run it to its end. Returns status and what it wrote to standard error."""
        done = self.runtime.run("run", "--bundle", self.bundle, self.name)
        return done.returncode, done.stderr.decode()

    def start(self, ready):
        """Start it, and wait until its log has ${ready}."""
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([*self.runtime.command, "run", "--bundle", self.bundle, self.name],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def up():
            if self.process.poll() is not None:
                raise AssertionError("%s ended with %d: %s" % (self.name, self.process.returncode, self.log()))
            return ready in self.log()
        daemon.wait_until(self.name, up, timeout_s=60)
        return self

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def execute(self, *command, data=b"", user=FOB):
        """Run ${command} in it. Returns status and standard output; errors go to the log's end of a failed test."""
        done = self.runtime.run("exec", "--user", "%d:%d" % (user, user), self.name, *command, data=data)
        return done.returncode, done.stdout

    def pid(self):
        """Of its first process, as the outside knows it."""
        return json.loads(self.runtime.run("state", self.name).stdout)["pid"]

    def status(self):
        with open("/proc/%d/status" % self.pid(), encoding="utf-8") as f:
            return dict(re.findall(r"^(\w+):\s*(.*)$", f.read(), re.M))

    def inside(self, *command, **kw):
        """A program of this machine, in the container's network."""
        return subprocess.run(["nsenter", "--net", "--target", str(self.pid()), *command], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, **{"input": b"", **kw})

    def end(self, signum=signal.SIGTERM):
        """Send it ${signum}; returns its status."""
        self.runtime.run("kill", self.name, str(int(signum)))
        return self.process.wait(30)

    def remove(self):
        if self.process and self.process.poll() is None:
            self.end(signal.SIGKILL)
        self.runtime.run("delete", "--force", self.name)
        shutil.rmtree(self.bundle, ignore_errors=True)
