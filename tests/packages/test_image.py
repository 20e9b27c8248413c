#!/usr/bin/python3
"""The container image: built twice, the same; what is in it; and run by crun and runc with the mounts of
service/container/compose.yaml and kubernetes/, from the first start without databases to a kill and a restart.
FOB_DEBS names a folder of packages that are to be used instead of new ones."""

import os
import sys

sys.dont_write_bytecode = True
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))

import glob
import json
import shutil
import signal
import stat
import subprocess
import tarfile
import tempfile
import unittest

import yaml

import certs
import chroot
import container
import debian
import leaks
import tap
from container import FOB, bind

HTTP = 17480
FOLDER = os.path.join(ROOT, "service", "container")
BUILD = os.path.join(ROOT, os.environ.get("FOB_BUILD", "build/gcc"))
MOST_KIB = 8 * 1024


def read(*names):
    with open(os.path.join(*names), encoding="utf-8") as f:
        return f.read()


def write(path, text, mode=0o440, group=FOB):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chown(path, 0, group)
    os.chmod(path, mode)


def folder(path, owner, mode):
    os.makedirs(path)
    os.chown(path, owner, FOB)
    os.chmod(path, mode)
    return path


def secret(path, files):
    """A folder as Kubernetes mounts a Secret with defaultMode 0440 and fsGroup: links to a folder that is replaced."""
    folder(path, 0, 0o3777)
    folder(os.path.join(path, "..2026_01"), 0, 0o2755)
    os.symlink("..2026_01", os.path.join(path, "..data"))
    for name, text in files.items():
        write(os.path.join(path, "..2026_01", name), text)
        os.symlink("..data/" + name, os.path.join(path, name))
    return path


def pepper():
    return "fob-pepper-v1 %s\n" % os.urandom(32).hex()


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        why = chroot.missing("umoci", "dpkg-scanpackages")
        if why:
            raise unittest.SkipTest(why)
        cls.scratch = tempfile.mkdtemp()
        # mmdebstrap's apt may read packages as another user.
        os.chmod(cls.scratch, 0o755)
        cls.addClassCleanup(shutil.rmtree, cls.scratch)
        cls.debs = os.environ.get("FOB_DEBS") or debian.packages(chroot.codename(), os.path.join(cls.scratch, "build"))
        cls.image = cls.build("image")
        cls.version = read(ROOT, "service/debian/changelog").split("(")[1].split(")")[0]
        cls.bundle = os.path.join(cls.scratch, "bundle")
        subprocess.run(["umoci", "unpack", "--image", "%s:%s" % (cls.image, cls.version), cls.bundle], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.root = os.path.join(cls.bundle, "rootfs")

    @classmethod
    def build(cls, name):
        path = os.path.join(cls.scratch, name)
        done = subprocess.run([os.path.join(FOLDER, "build"), cls.debs, path], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(done.stdout)
        cls.said = done.stdout
        return path

    def blob(self, descriptor):
        return os.path.join(self.image, "blobs", *descriptor["digest"].split(":"))

    def manifest(self):
        index = json.loads(read(self.image, "index.json"))
        return json.loads(read(self.blob(index["manifests"][0])))

    def config(self):
        return json.loads(read(self.blob(self.manifest()["config"])))

    # ---- what it is ----

    def test_1_two_builds_give_the_same_bytes(self):
        other = self.build("other")
        self.assertEqual(read(self.image, "index.json"), read(other, "index.json"))
        shutil.rmtree(other)
        tap.count(self.said.strip().rpartition("/")[2])

    def test_2_its_configuration(self):
        config = self.config()["config"]
        self.assertEqual(config["User"], "%d:%d" % (FOB, FOB))
        self.assertEqual(config["Entrypoint"], ["/usr/sbin/fobd"])
        self.assertEqual(config["StopSignal"], "SIGTERM")
        self.assertEqual(config["Healthcheck"]["Test"], ["CMD", "/usr/bin/fob", "health"])
        self.assertEqual(config["Labels"]["org.opencontainers.image.version"], self.version)
        layers = self.manifest()["layers"]
        self.assertEqual(len(layers), 1)
        self.assertLess(layers[0]["size"], MOST_KIB << 10)
        # No blob that nothing names: umoci's steps leave some.
        self.assertEqual(len(os.listdir(os.path.join(self.image, "blobs", "sha256"))), 3)

    def test_3_it_has_the_three_programs_and_nothing_else_to_run(self):
        programs, others = set(), []
        for place, folders, names in os.walk(self.root):
            for name in names:
                path = os.path.join(place, name)
                status = os.lstat(path)
                if stat.S_ISREG(status.st_mode) and status.st_mode & 0o111 and ".so" not in name:
                    programs.add(os.path.relpath(path, self.root))
                if status.st_mode & 0o6000 and not stat.S_ISDIR(status.st_mode):
                    others.append(path)
                self.assertFalse(name.endswith((".gz", ".mo", ".service")), path)
            self.assertNotIn("apt", folders, place)
        self.assertEqual(programs, {"usr/bin/fob", "usr/sbin/fobd", "usr/sbin/fob-http"})
        self.assertEqual(others, [], "setuid or setgid")
        for name in programs:
            said = subprocess.run(["chroot", self.root, "/" + name, "--version"], stdout=subprocess.PIPE, text=True, check=True)
            self.assertIn(self.version, said.stdout)
        # For scanners: what is there, and the licences.
        for package in ("libssl3*", "libc6", "fobd"):
            found = glob.glob(os.path.join(self.root, "var/lib/dpkg/status.d", package))
            self.assertEqual(len(found), 1, package)
            self.assertTrue(os.path.exists(os.path.join(self.root, "usr/share/doc", os.path.basename(found[0]), "copyright")))

    def test_4_an_archive_for_docker_load_has_the_health_check_too(self):
        if not shutil.which("skopeo"):
            self.skipTest("no skopeo")
        archive = os.path.join(self.scratch, "fob.tar")
        subprocess.run(["skopeo", "copy", "--quiet", "oci:%s:%s" % (self.image, self.version),
                        "docker-archive:%s:fob:%s" % (archive, self.version)], check=True)
        with tarfile.open(archive) as tar:
            entry = json.load(tar.extractfile("manifest.json"))[0]
            config = json.load(tar.extractfile(entry["Config"]))
        self.assertTrue(entry["RepoTags"][0].endswith("fob:" + self.version), entry["RepoTags"])
        self.assertEqual(config["config"]["Healthcheck"]["Test"], ["CMD", "/usr/bin/fob", "health"])

    # ---- running ----

    def place(self, name):
        path = os.path.join(self.scratch, name)
        os.makedirs(path)
        self.addCleanup(shutil.rmtree, path)
        return path

    def as_compose(self, name):
        """The mounts of compose.yaml: named volumes, which begin as the image's folders, and files as secrets."""
        place = self.place(name)
        peppers = []
        for environment in ("live", "test"):
            write(os.path.join(place, environment), pepper())
            peppers.append(bind(os.path.join(place, environment), "/etc/fob/peppers/%s.pepper" % environment, "ro"))
        sockets = folder(os.path.join(place, "sockets"), FOB, 0o750)
        return ([bind(folder(os.path.join(place, "data"), FOB, 0o700), "/var/lib/fob"), bind(sockets, "/run/fob"), *peppers],
                [bind(sockets, "/run/fob", "ro")])

    def as_kubernetes(self, name):
        """The mounts of kubernetes/fob.yaml: a volume and an emptyDir that fsGroup has changed, secrets, settings."""
        place = self.place(name)
        self.certs = certs.Certs(place).ca("ca")
        for pair in ("server", "client"):
            self.certs.pair("ca", pair, common_name="localhost")
        documents = list(yaml.safe_load_all(read(FOLDER, "kubernetes/base.yaml")))
        settings = next(d for d in documents if d["kind"] == "ConfigMap")["data"]
        for file, text in settings.items():
            write(os.path.join(place, file), text, 0o644, 0)
        run = folder(os.path.join(place, "run"), 0, 0o2777)
        tls = {"tls.crt": read(self.certs.pem("server")), "tls.key": read(self.certs.key("server")),
               "ca.crt": read(self.certs.pem("ca"))}
        return ([bind(folder(os.path.join(place, "data"), 0, 0o2775), "/var/lib/fob"), bind(run, "/run"),
                 bind(os.path.join(place, "fobd.conf"), "/etc/fob/fobd.conf", "ro"),
                 bind(secret(os.path.join(place, "peppers"), {"live.pepper": pepper(), "test.pepper": pepper()}),
                      "/etc/fob/peppers", "ro"),
                 bind(secret(os.path.join(place, "tls"), tls), "/etc/fob/tls", "ro")],
                [bind(run, "/run", "ro"), bind(os.path.join(place, "fob-http.conf"), "/etc/fob/fob-http.conf", "ro")])

    def container(self, runtime, name, mounts, **kw):
        made_here = container.Container(runtime, self.bundle, "%s-%d" % (name, os.getpid()), mounts, **kw)
        self.addCleanup(made_here.remove)
        return made_here

    def health(self, fobd):
        return fobd.execute(*self.config()["config"]["Healthcheck"]["Test"][1:])[0]

    def verify(self, fobd, key):
        status, said = fobd.execute("/usr/bin/fob", "verify", data=key)
        self.assertEqual(status, 0)
        self.assertIn(b"VALID", said)

    def check_confined(self, fobd):
        status = fobd.status()
        self.assertEqual((status["Uid"].split()[0], status["CapEff"], status["CapBnd"], status["NoNewPrivs"],
                          status["Seccomp"]), (str(FOB), "0" * 16, "0" * 16, "1", "2"))
        self.assertRegex(fobd.log(), r"msg=confined seccomp=on landlock=(abi|off)")
        # Among them that a system call was refused that is not on the list.
        warnings = [line for line in fobd.log().splitlines() if "level=warn" in line]
        self.assertEqual([], [line for line in warnings if "not confined by Landlock" not in line])

    def check_http(self, runtime, fobd, mounts, key, seccomp):
        http = self.container(runtime, "http", mounts, entrypoint=["/usr/sbin/fob-http"], user=(HTTP, HTTP), groups=(FOB,),
                              netns=fobd.pid(), seccomp=seccomp).start("msg=ready")
        asked = fobd.inside("/usr/bin/python3", os.path.join(ROOT, "client/http/examples/verify.py"), input=key)
        self.assertEqual(asked.returncode, 0, (asked.stdout, http.log()))
        self.assertEqual(http.end(), 0, http.log())

    def live(self, runtime, mounts, http_mounts, name, tls=False):
        """From the first start to a restart after a kill."""
        seccomp = container.profile()
        fobd = lambda step, **kw: self.container(runtime, "%s-%s" % (name, step), mounts, seccomp=seccomp, **kw)
        status, said = fobd("none").once()
        self.assertEqual(status, 1, said)
        self.assertRegex(said, "there is no database here.* fobd --init makes one")
        status, said = fobd("init", args=["--init"]).once()
        self.assertEqual(status, 0, said)
        one = fobd("one").start("msg=ready")
        self.assertEqual(self.health(one), 0)
        self.check_confined(one)
        status, said = one.execute("/usr/bin/fob", "account", "create", "acct_1", "--output", "json")
        self.assertEqual(status, 0)
        key = next(k for k in leaks.keys_in(said) if k.startswith(b"sk_live_"))
        self.verify(one, key)
        self.check_http(runtime, one, http_mounts, key, seccomp)
        if tls:
            asked = one.inside(os.path.join(BUILD, "fob"), "health", "--address", "tls+tcp://127.0.0.1:7401", "--tls-ca",
                               self.certs.pem("ca"), "--tls-cert", self.certs.pem("client"), "--tls-key",
                               self.certs.key("client"), "--tls-server-name", "localhost")
            self.assertEqual(asked.returncode, 0, (asked.stdout, one.log()))
        self.assertEqual(one.end(), 0, one.log())
        self.assertIn("databases closed", one.log())
        two = fobd("two").start("msg=ready")
        self.verify(two, key)
        two.end(signal.SIGKILL)
        three = fobd("three").start("msg=ready")  # process 1 again, as the dead one was
        self.verify(three, key)
        self.assertEqual(three.end(), 0, three.log())

    def runtimes(self):
        found = [container.Runtime(name, self.scratch) for name in ("crun", "runc") if shutil.which(name)]
        if not found:
            self.skipTest("no crun, no runc")
        if container.profile() is None:
            tap.comment("no %s: run without an engine's filter of system calls" % container.PROFILE)
        return found

    def test_5_as_compose_runs_it(self):
        for runtime in self.runtimes():
            with self.subTest(runtime=runtime.name):
                self.live(runtime, *self.as_compose("compose-" + runtime.name), "compose")

    def test_6_as_kubernetes_runs_it(self):
        for runtime in self.runtimes():
            with self.subTest(runtime=runtime.name):
                self.live(runtime, *self.as_kubernetes("kubernetes-" + runtime.name), "kubernetes", tls=True)

    def test_7_where_the_engine_does_not_know_landlock_it_serves_and_says_so(self):
        seccomp = container.profile(without=container.LANDLOCK)
        if seccomp is None:
            self.skipTest("no " + container.PROFILE)
        for runtime in self.runtimes():
            mounts, _http = self.as_compose("old-" + runtime.name)
            self.assertEqual(self.container(runtime, "old-init", mounts, args=["--init"], seccomp=seccomp).once()[0], 0)
            fobd = self.container(runtime, "old", mounts, seccomp=seccomp).start("msg=ready")
            self.assertIn("not confined by Landlock", fobd.log())
            self.check_confined(fobd)
            self.assertEqual(self.health(fobd), 0)
            self.assertEqual(fobd.end(), 0)


tap.main()
