#!/usr/bin/python3
"""Debian packages, in a Debian 12 and a Debian 13 of their own: two builds give the same bytes, lintian finds nothing, a clean
system installs, upgrades with data, removes and purges them, piuparts finds nothing left, autopkgtest verifies a key."""

import os
import sys

sys.dont_write_bytecode = True
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))

import re
import shutil
import subprocess
import tempfile
import unittest

import chroot
import debian
import leaks
import tap

ALL = " ".join(debian.INSTALLED)

# A fobd without systemd: it serves while the commands run.
SERVING = """
install -d -o fob -g fob -m 0750 /run/fob
: > /tmp/log
setpriv --reuid=fob --regid=fob --init-groups fobd 2>> /tmp/log & fobd=$!
until grep -q msg=ready /tmp/log; do kill -0 $fobd || { cat /tmp/log; exit 1; }; done
%s
kill $fobd; wait $fobd
"""


class Debian(unittest.TestCase):
    suite = None

    @classmethod
    def setUpClass(cls):
        why = chroot.missing()
        if why:
            raise unittest.SkipTest(why)
        cls.scratch = tempfile.mkdtemp()
        cls.folder = debian.packages(cls.suite, os.path.join(cls.scratch, "first"))

    def clean(self, name):
        return chroot.System(os.path.join(self.scratch, name), chroot.base(self.suite))

    def tool(self, *command):
        """A program of this system, that brings its own mounts."""
        if not shutil.which(command[0]):
            self.skipTest("no " + command[0])
        done = subprocess.run(["env", "TMPDIR=/tmp", *command], cwd=self.scratch, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
        return done.returncode, done.stdout

    def test_1_two_builds_give_the_same_bytes_and_lintian_finds_nothing(self):
        system = debian.builder(os.path.join(self.scratch, "second"), self.suite)
        # In another folder, 40 days later, with another umask, time zone and language.
        other = debian.build(system, "/home/somebody/elsewhere", "umask 077; faketime -f +40d",
                             {"TZ": "Asia/Tokyo", "LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8"})
        first, second = debian.results(self.folder), debian.results(other)
        self.assertEqual([os.path.basename(p) for p in first], [os.path.basename(p) for p in second])
        self.assertGreater(len(first), 10)
        for a, b in zip(first, second):
            with open(a, "rb") as f, open(b, "rb") as g:
                self.assertTrue(f.read() == g.read(), "%s is not the same each time" % os.path.basename(a))
        status, said = system.run("sh", "-c", "cd /home/somebody/elsewhere/out && "
                                  "lintian --allow-root --fail-on error,warning *.changes", check=False)
        self.assertEqual(status, 0, said)
        system.remove()
        tap.count("%s: %d files built twice, the same" % (self.suite, len(first)))

    def create(self, system):
        system.sh(SERVING % "fob account create acct_1 --output json > /root/created 2>/dev/null")
        with open(system.path("root/created"), "rb") as f:
            keys = [key.decode() for key in leaks.keys_in(f.read())]
        with open(system.path("root/key"), "w", encoding="ascii") as f:
            f.write(keys[0])

    def test_2_installed_upgraded_removed_purged(self):
        system, packages = self.clean("clean"), debian.installed(self.folder)
        names = " ".join("/root/" + os.path.basename(p) for p in packages)
        # The version before this one, as far as dpkg knows it.
        debian.repacked(packages, system.path("root"), lambda v: v + "~previous")
        said = system.install(*names.split())
        self.assertIn("fobd: there is no database yet", said)
        self.assertEqual(system.sh("stat -c '%a %U %G %n' /etc/fob /var/lib/fob /etc/fob-live /var/lib/fob-live /etc/fob-test "
                                   "/var/lib/fob-test").splitlines(),
                         ["750 fob fob /etc/fob", "700 fob fob /var/lib/fob",
                          "750 fob-live fob-live /etc/fob-live", "700 fob-live fob-live /var/lib/fob-live",
                          "750 fob-test fob-test /etc/fob-test", "700 fob-test fob-test /var/lib/fob-test"])
        self.assertEqual(system.sh("ls /var/lib/fob"), "")
        self.assertIn("fob", system.sh("id -nG fob-http-auth").split())
        self.assertIn("fob", system.sh("id -nG fob-http-operator").split())
        self.assertIn("fob", system.sh("id -nG fob-cluster").split())
        self.assertIn("~previous", system.sh("dpkg-query -W fobd"))

        # With data and a setting of the operator's.
        system.sh("echo 'drain = 900' >> /etc/fob/fobd.conf; sed -i '/^drain = 1000/d' /etc/fob/fobd.conf; "
                  "runuser -u fob -- fobd --check-config; runuser -u fob -- fobd --init")
        self.create(system)
        system.copy_in(*packages)
        said = system.sh("dpkg -i " + names)
        self.assertNotIn("there is no database yet", said)
        self.assertNotIn("~previous", system.sh("dpkg-query -W " + ALL))
        self.assertIn("drain = 900", system.sh("cat /etc/fob/fobd.conf"))
        valid = SERVING % "fob verify < /root/key"
        self.assertRegex(system.sh(valid), "verdict +VALID")

        # A removal keeps settings and data; installed again, all is as before.
        system.sh("dpkg --remove " + ALL)
        self.assertFalse(os.path.exists(system.path("usr/sbin/fobd")))
        self.assertTrue(os.path.exists(system.path("etc/fob/fobd.conf")))
        system.sh("dpkg -i " + names)
        self.assertRegex(system.sh(valid), "verdict +VALID")

        # A purge keeps databases and peppers, and says where; the operator removes them.
        said = system.sh("dpkg --purge %s 2>&1" % ALL)
        self.assertEqual(re.findall(r"^fobd: (\S+) is kept", said, re.M), ["/var/lib/fob", "/etc/fob"])
        self.assertEqual(system.sh("find /usr /etc -name '*fob*' -not -type d"), "")
        self.assertEqual(system.sh("ls /etc/fob").split(),
                         ["live.pepper", "live.pepper.used", "test.pepper", "test.pepper.used"])
        self.assertTrue(os.path.exists(system.path("var/lib/fob/live/data.mdb")))
        self.assertTrue(os.path.exists(system.path("etc/fob/live.pepper")))
        system.sh("dpkg -i %s" % names)
        self.assertRegex(system.sh(valid), "verdict +VALID")
        system.sh("dpkg --purge %s; rm -r /etc/fob /var/lib/fob" % ALL)

        # Without data nothing is left.
        system.sh("dpkg -i %s; dpkg --purge %s" % (names, ALL))
        self.assertEqual(system.sh("ls -d /etc/fob* /var/lib/fob* 2>/dev/null || true"), "")
        system.remove()

    def test_3_piuparts_finds_nothing(self):
        system = self.clean("piuparts")
        system.install("systemd")  # what its own installation leaves is not Fob's
        os.remove(system.path("usr/sbin/policy-rc.d"))  # piuparts makes its own
        status, said = self.tool("piuparts", "--existing-chroot", system.folder, "--distribution", self.suite,
                                 "--keep-sources-list", "--no-eatmydata", "--tmpdir", self.scratch,
                                 *debian.installed(self.folder))
        self.assertEqual(status, 0, said[-3000:])
        system.remove()

    def test_4_autopkgtest_verifies_a_key(self):
        system = self.clean("autopkgtest")
        system.run(*chroot.APT, "update")
        shutil.copyfile("/etc/resolv.conf", system.path("etc/resolv.conf"))
        debs = [p for p in debian.results(self.folder) if p.endswith(".deb") and "-dbgsym_" not in p]
        dsc = [p for p in debian.results(self.folder) if p.endswith(".dsc")]
        status, said = self.tool("autopkgtest", *debs, *dsc, "--no-built-binaries", "--", "chroot", system.folder)
        self.assertEqual(status, 0, said[-3000:])
        summary = said.rpartition(" summary")[2]  # each result is told before it, too
        self.assertEqual(re.findall(r"^(\S+) +PASS$", summary, re.M), ["verify-key", "build-client"])
        system.remove()


for suite in chroot.SUITES:
    globals()[suite.title()] = type(suite.title(), (Debian,), {"suite": suite})
del Debian

tap.main()
