#!/usr/bin/python3
"""The packages under a real systemd, which is process 1 of a Debian in a folder: Type=notify, the watchdog, reload, peppers by
LoadCredential=, the journal's priorities, fobd@live and fobd@test with users and slices of their own, and an upgrade and a
removal while they run."""

import os
import sys

sys.dont_write_bytecode = True
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))

import json
import re
import tempfile
import unittest

import chroot
import daemon
import debian
import leaks
import tap


class Systemd(unittest.TestCase):
    """The tests of one release, each with a fobd that has databases of its own or the one before it has left."""
    suite = None

    @classmethod
    def setUpClass(cls):
        why = chroot.missing("nsenter")
        if cls.suite is None or why:
            raise unittest.SkipTest(why or "no release")
        cls.system = chroot.System(os.path.join(tempfile.mkdtemp(), cls.suite), chroot.base(cls.suite))
        cls.folder = debian.packages(cls.suite, cls.system.folder + "-build")
        packages = debian.installed(cls.folder)
        cls.system.copy_in(*packages)
        cls.system.install("systemd", "procps", "systemd-sysv", *("./root/" + os.path.basename(p) for p in packages))
        cls.booted = chroot.Booted(cls.system)
        if cls.booted.boot_problem:
            raise unittest.SkipTest(cls.booted.boot_problem)

    @classmethod
    def tearDownClass(cls):
        if hasattr(cls, "booted"):
            cls.booted.end()

    def tearDown(self):
        # The starts of one test do not count towards the next one's five in a minute.
        self.sh("systemctl reset-failed fobd", check=False)

    def sh(self, script, check=True):
        return self.booted.sh(script, check)

    def show(self, unit, name):
        return self.sh("systemctl show -P %s %s" % (name, unit)).strip()

    def active(self, *units):
        """Each unit of ${units} is active; if not, its last lines say why."""
        for unit in units:
            self.assertEqual(self.show(unit, "ActiveState"), "active", self.sh("journalctl --no-pager -n 30 -u " + unit))

    def wait(self, what, seen):
        daemon.wait_until(what, seen, timeout_s=60, every_s=0.1)

    def create(self, account, address="ipc:///run/fob/admin.sock", more=""):
        self.sh("fob --address %s account create %s %s --output json > /root/created 2>/dev/null" % (address, account, more))
        with open(self.system.path("root/created"), "rb") as f:
            keys = [key.decode() for key in leaks.keys_in(f.read())]
        return keys

    def verdict(self, key, address="ipc:///run/fob/admin.sock"):
        path = self.system.path("root/key")
        with open(path, "w", encoding="ascii", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
            f.write(key)
        said = self.sh("fob --address %s verify < /root/key 2>&1 || true" % address)
        found = re.search(r"^verdict +(\w+)$", said, re.M)
        return found[1] if found else said

    def priorities(self, unit):
        """{message: priority} of the unit's lines in the journal."""
        lines = self.sh("journalctl -u %s -o json --no-pager" % unit).splitlines()
        return {m["MESSAGE"]: m.get("PRIORITY") for m in map(json.loads, lines) if isinstance(m.get("MESSAGE"), str)}

    def test_1_a_start_without_a_database_fails_and_says_so(self):
        # The package was installed before the system was booted, so fobd was started.
        self.assertEqual(self.sh("systemctl is-enabled fobd fob-http-auth fob-http-operator fob-cluster || true").split(),
                         ["enabled", "enabled", "disabled", "disabled"])
        self.wait("it ends trying", lambda: self.show("fobd", "ActiveState") == "failed")
        self.assertLessEqual(int(self.show("fobd", "NRestarts")), 5)
        said = [p for m, p in self.priorities("fobd").items() if "`fobd --init` makes one for a new database" in m]
        self.assertEqual(set(said), {"3"})
        self.assertEqual(os.listdir(self.system.path("var/lib/fob")), [])

    def test_2_notify_reload_watchdog_and_journal(self):
        self.sh("runuser -u fob -- fobd --init; systemctl start fobd")  # Type=notify: the start waits until it serves
        key = self.create("acct_1")[0]
        self.assertEqual(self.verdict(key), "VALID")
        self.assertEqual(self.show("fobd", "User"), "fob")

        # A reload is over when fobd says so, and a setting that is wrong changes nothing.
        pid = self.show("fobd", "MainPID")
        self.sh("sed -i 's/^log_level = \"info\"/log_level = \"debug\"/' /etc/fob/fobd.conf; systemctl reload fobd")
        self.assertEqual(self.verdict(key), "VALID")
        self.wait("the reload", lambda: any("level=debug" in m for m in self.priorities("fobd")))
        self.sh("echo wrong = 1 >> /etc/fob/fobd.conf; systemctl reload fobd")
        self.wait("the error", lambda: any("settings not reloaded" in m for m in self.priorities("fobd")))
        self.sh("sed -i '/^wrong/d' /etc/fob/fobd.conf; systemctl reload fobd")
        self.assertEqual(self.show("fobd", "MainPID"), pid)

        levels = {"error": "3", "warn": "4", "info": "6", "debug": "7"}
        seen = set()
        for message, priority in self.priorities("fobd").items():
            found = re.match(r"time=\S+ level=(\w+) ", message)  # no <N> is left in the text
            if found:
                self.assertEqual(priority, levels[found[1]], message)
                seen.add(found[1])
        self.assertLessEqual({"error", "info", "debug"}, seen)

        # The watchdog: a fobd that hangs is ended and started again. A shorter one, so that the test is.
        self.sh("mkdir -p /run/systemd/system/fobd.service.d; "
                "printf '[Service]\\nWatchdogSec=3\\nTimeoutAbortSec=1\\n' > /run/systemd/system/fobd.service.d/test.conf; "
                "systemctl daemon-reload; systemctl restart fobd")
        pid = self.show("fobd", "MainPID")
        self.sh("kill -STOP %s" % pid)
        self.wait("the watchdog", lambda: self.show("fobd", "MainPID") not in (pid, "0") and
                  self.show("fobd", "SubState") == "running")
        self.assertIn("watchdog", " ".join(m.lower() for m in self.priorities("fobd")))
        self.assertEqual(self.verdict(key), "VALID")
        self.sh("rm /run/systemd/system/fobd.service.d/test.conf; systemctl daemon-reload; systemctl restart fobd")

    def test_3_peppers_by_LoadCredential(self):
        key = self.create("acct_3")[0]
        self.sh("""
            install -d -m 0700 /etc/keys
            mv /etc/fob/live.pepper /etc/fob/test.pepper /etc/keys
            chown root:root /etc/keys/*; chmod 0400 /etc/keys/*
            sed -i -E 's#/etc/fob/(live|test)[.]pepper#/run/credentials/fobd.service/\\1.pepper#' /etc/fob/fobd.conf
            mkdir -p /run/systemd/system/fobd.service.d
            printf '[Service]\\nLoadCredential=live.pepper:/etc/keys/live.pepper\\nLoadCredential=test.pepper:/etc/keys/test.pepper\\n' \\
                > /run/systemd/system/fobd.service.d/peppers.conf
            systemctl daemon-reload; systemctl restart fobd""")
        self.assertEqual(self.verdict(key), "VALID")
        self.assertRegex(self.sh("fob health"), "all +SERVING")

    def test_4_live_and_test_by_themselves(self):
        self.sh("systemctl disable --now fobd")
        keys = {}
        for e in ("live", "test"):
            self.sh("runuser -u fob-%s -- fobd --config /etc/fob-%s/fobd.conf --init; systemctl enable --now fobd@%s" % (e, e, e))
            keys[e] = self.create("acct_1", "ipc:///run/fob-%s/admin.sock" % e, "--environment " + e)[0]
            self.assertEqual(self.show("fobd@" + e, "User"), "fob-" + e)
            self.assertEqual(self.show("fobd@" + e, "ControlGroup"), "/fob.slice/fob-%s.slice/fobd@%s.service" % (e, e))
        for e, other in (("live", "test"), ("test", "live")):
            self.assertEqual(self.verdict(keys[e], "ipc:///run/fob-%s/verify.sock" % e), "VALID")
            self.assertNotEqual(self.verdict(keys[e], "ipc:///run/fob-%s/verify.sock" % other), "VALID")
            self.assertNotEqual(0, self.booted.run("runuser", "-u", "fob-" + e, "--", "ls", "/var/lib/fob-" + other, check=False)[0])
            self.assertNotEqual(0, self.booted.run("runuser", "-u", "fob-" + e, "--", "ls", "/etc/fob-" + other, check=False)[0])
        # Neither needs the other.
        self.sh("systemctl kill --signal=KILL fobd@test && systemctl stop fobd@test")
        self.assertEqual(self.verdict(keys["live"], "ipc:///run/fob-live/verify.sock"), "VALID")
        self.sh("systemctl start fobd@test")

    def test_5_fob_http(self):
        self.sh("systemctl disable --now fobd@live fobd@test; systemctl enable --now fobd; systemctl restart fob-http-auth")
        self.assertEqual(self.show("fob-http-auth", "User"), "fob-http-auth")
        self.wait("it is ready", lambda: any("msg=ready" in m for m in self.priorities("fob-http-auth")))
        self.assertEqual({p for m, p in self.priorities("fob-http-auth").items() if "msg=ready" in m}, {"6"})
        self.active("fob-http-auth")

    def test_6_an_upgrade_starts_again_what_ran(self):
        key = self.create("acct_6")[0]
        self.sh("systemctl start fobd@live")
        before = [self.show(u, "MainPID") for u in ("fobd", "fobd@live", "fob-http-auth")]
        next_one = debian.repacked(debian.installed(self.folder), self.system.path("root"), lambda v: v + "+next")
        said = self.sh("dpkg -i " + " ".join("/root/" + os.path.basename(p) for p in next_one))
        self.assertNotIn("there is no database yet", said)
        after = [self.show(u, "MainPID") for u in ("fobd", "fobd@live", "fob-http-auth")]
        self.assertFalse(set(before) & set(after), "%s %s" % (before, after))
        self.active("fobd", "fobd@live", "fob-http-auth")
        self.assertEqual(self.show("fobd@test", "ActiveState"), "inactive")
        self.assertEqual(self.verdict(key), "VALID")

    def test_7_a_removal_stops_them_and_a_purge_keeps_the_databases(self):
        said = self.sh("dpkg --purge fobd fob-http 2>&1")
        self.assertRegex(said, "fobd: /var/lib/fob is kept")
        self.assertEqual(self.booted.run("pgrep", "-x", "fobd|fob-http", check=False)[1], "")
        self.assertTrue(os.path.exists(self.system.path("var/lib/fob/live/data.mdb")))
        self.assertFalse(os.path.exists(self.system.path("etc/fob/fobd.conf")))

    def test_8_an_installation_enables_and_does_not_start(self):
        self.sh("rm -rf /etc/fob /var/lib/fob /var/lib/fob-live /var/lib/fob-test /run/systemd/system/fobd.service.d")
        said = self.sh("dpkg -i /root/fobd_*.deb")
        self.assertIn("fobd:     runuser -u fob -- fobd --init && systemctl start fobd\n", said)
        self.assertEqual(self.sh("systemctl is-enabled fobd").strip(), "enabled")
        self.assertEqual(self.show("fobd", "ActiveState"), "inactive")
        self.sh("runuser -u fob -- fobd --init && systemctl start fobd && fob health")


for suite in chroot.SUITES:
    globals()[suite.title()] = type(suite.title(), (Systemd,), {"suite": suite})
del Systemd

tap.main()
