#!/usr/bin/python3
"""A fobd that cannot start says why in one clear line, exits with status 1, and changes nothing."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import shutil
import socket
import unittest

import daemon
import fobwire
import tap
from pb import LIVE, TEST


class Start(unittest.TestCase):
    def setUp(self):
        self.fobd = daemon.Daemon()

    def tearDown(self):
        self.fobd.kill()

    def refused(self, *words, fobd=None, args=(), **kw):
        """Check that fobd exits with 1 and prints one line that contains ${words}."""
        done = (fobd or self.fobd).run(*args, **kw)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(done.stdout, "")
        lines = [line for line in done.stderr.splitlines() if "level=info" not in line and "level=warn" not in line]
        self.assertEqual(len(lines), 1, done.stderr)
        for word in words:
            self.assertIn(word, lines[0])
        return lines[0]

    def both_environments_verify(self):
        self.fobd.start(init=False)
        with self.fobd.client() as c:
            self.assertEqual(c.verdict(self.secret), "VALID")
        self.fobd.stop()

    def made(self):
        """A database with an account in it."""
        self.fobd.start()
        with self.fobd.client() as c:
            self.secret = c.create(LIVE, "kept").secret_key.secret
        self.fobd.stop()

    def test_init_makes_what_is_missing_and_nothing_twice(self):
        done = self.fobd.run("--init")
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
        peppers = {}
        for name in ("live", "test"):
            path = self.fobd.pepper(name)
            status = os.stat(path)
            self.assertEqual(status.st_mode & 0o7777, 0o600)
            with open(path, "rb") as f:
                peppers[name] = f.read()
            self.assertEqual(os.stat(self.fobd.database(name)).st_mode & 0o077, 0)
        self.assertNotEqual(peppers["live"], peppers["test"])
        self.assertEqual(self.fobd.run("--init").returncode, 0)
        for name, old in peppers.items():
            with open(self.fobd.pepper(name), "rb") as f:
                self.assertEqual(f.read(), old)
        self.made()
        self.assertEqual(self.fobd.run("--init").returncode, 0)
        self.both_environments_verify()
        for name in ("live", "test"):
            for entry in os.scandir(self.fobd.database(name)):
                self.assertEqual(entry.stat().st_mode & 0o077, 0, entry.path)

    def test_init_makes_no_new_pepper_for_a_database_that_has_one(self):
        self.made()
        os.unlink(self.fobd.pepper("live"))
        line = self.refused("live.pepper", args=("--init",))
        self.assertFalse(os.path.exists(self.fobd.pepper("live")), line)

    def test_the_pepper_of_another_database(self):
        self.made()
        live, test = self.fobd.pepper("live"), self.fobd.pepper("test")
        keep = live + ".keep"
        os.rename(live, keep)
        shutil.copy(test, live)
        self.refused("pepper", self.fobd.database("live"))
        os.unlink(live)
        other = daemon.Daemon().init()
        shutil.copy(other.pepper("live"), live)
        self.refused("pepper", self.fobd.database("live"))
        os.rename(keep, live)
        self.both_environments_verify()

    def test_the_database_of_the_other_environment(self):
        self.made()
        for kind in ("database", "pepper"):
            a, b = getattr(self.fobd, kind)("live"), getattr(self.fobd, kind)("test")
            os.rename(a, a + ".x"), os.rename(b, a), os.rename(a + ".x", b)
        self.refused()

    def test_a_missing_pepper(self):
        self.made()
        os.unlink(self.fobd.pepper("test"))
        self.refused("test.pepper", "No such file")

    def test_a_pepper_that_others_can_read(self):
        self.made()
        # Root's group may read what root owns.
        for mode in (0o644, 0o604, 0o660) + (() if os.geteuid() == 0 else (0o640,)):
            os.chmod(self.fobd.pepper("live"), mode)
            self.refused("live.pepper", "600")
        os.chmod(self.fobd.pepper("live"), 0o400)
        self.both_environments_verify()

    def test_a_pepper_that_is_none(self):
        self.made()
        path = self.fobd.pepper("live")
        with open(path, "rb") as f:
            good = f.read()
        for bad in (b"", b"\n", good[:20], good[:-2] + b"\n", good + good, b"x" * len(good),
                    good.replace(b"v1", b"v9"), b"\0" * 4096):
            with open(path, "wb") as f:
                f.write(bad)
            line = self.refused("live.pepper")
            self.assertNotIn(good.split()[1][:16].decode(), line)
        with open(path, "wb") as f:
            f.write(good)
        self.both_environments_verify()
        os.rename(path, path + ".x")
        os.mkdir(path, 0o700)
        self.refused("live.pepper")

    def test_a_folder_that_is_missing_without_init(self):
        self.refused("--init")
        self.made()
        for name in ("live", "test"):
            os.rename(self.fobd.database(name), self.fobd.database(name) + ".away")
        self.assertEqual(self.refused("--init").count("there is no database here"), 2)
        for name in ("live", "test"):
            os.rename(self.fobd.database(name) + ".away", self.fobd.database(name))
        os.rename(self.fobd.database("live"), self.fobd.database("live") + ".away")
        self.only_test_is_served("there is no database here")
        self.assertFalse(os.path.exists(self.fobd.database("live")), "a start without --init made an empty database")
        self.refused("live.pepper.used shows that there was a database", args=("--init",))
        os.rename(self.fobd.database("live") + ".away", self.fobd.database("live"))
        data = os.path.join(self.fobd.database("live"), "data.mdb")
        os.rename(data, os.path.join(self.fobd.place, "data.mdb"))
        self.only_test_is_served("there is no database here")
        self.refused("shows that there was a database", args=("--init",))
        with open(data, "w"):
            pass
        self.only_test_is_served("the file is empty")
        self.refused("shows that there was a database", args=("--init",))
        os.rename(os.path.join(self.fobd.place, "data.mdb"), data)
        self.both_environments_verify()

    def only_test_is_served(self, reason):
        """The storage of one environment is lost: that is said, and the other one starts and serves."""
        self.fobd.start(init=False)
        with self.fobd.client() as c:
            self.assertEqual(c.verdict(c.create(TEST, "of-%d" % len(self.fobd.log())).secret_key.secret), "VALID")
            with self.assertRaises(fobwire.Fault) as caught:
                c.verify(self.secret)
            self.assertEqual(caught.exception.name, "UNAVAILABLE")
            self.assertEqual([c.check(s) for s in ("live", "", "test")], [2, 2, 1])
        self.fobd.stop()
        said = [line for line in self.fobd.log().splitlines() if "this environment is not served" in line]
        self.assertIn("level=error", said[-1])
        self.assertIn("environment=live", said[-1])
        self.assertIn(reason, said[-1])

    def test_a_folder_that_is_a_file(self):
        self.fobd.init()
        shutil.rmtree(self.fobd.database("live"))
        with open(self.fobd.database("live"), "w"):
            pass
        self.refused(self.fobd.database("live"))
        self.refused(self.fobd.database("live"), args=("--init",))

    def test_a_data_folder_that_is_not_writable(self):
        self.fobd.init()
        user = None
        if os.geteuid() == 0:  # root may write everywhere: try as another user
            user = 65534
            for base, folders, files in os.walk(self.fobd.place):
                for name in [base] + [os.path.join(base, n) for n in folders + files]:
                    os.chown(name, user, user)
        try:
            self.assertEqual(self.fobd.run("--init", user=user).returncode, 0)
        except PermissionError:
            self.skipTest("fobd is where only root can run it")
        os.chmod(self.fobd.database("live"), 0o500)
        lock = [e.path for e in os.scandir(self.fobd.database("live"))]
        for path in lock:
            os.chmod(path, 0o400)
        self.refused(self.fobd.database("live"), user=user)
        os.chmod(self.fobd.database("live"), 0o700)

    def test_a_truncated_or_wrong_database(self):
        self.made()
        alone = daemon.Daemon(environments=("live",), place=self.fobd.place, name="alone")
        path = os.path.join(self.fobd.database("live"), "data.mdb")
        with open(path, "rb") as f:
            good = f.read()
        for bad in (b"", good[:100], good[:4096], good[:2 * 4096], good[:len(good) - 4096], b"x" * len(good),
                    b"\0" * len(good)):
            with open(path, "wb") as f:
                f.write(bad)
            with self.subTest(length=len(bad)):
                # Alone it is refused; beside another it leaves that one served (test_damage.py).
                self.refused(self.fobd.database("live"), fobd=alone)
        with open(path, "wb") as f:
            f.write(good)
        self.both_environments_verify()

    def test_already_in_use_by_another_fobd(self):
        self.made()
        self.fobd.start(init=False)
        second = daemon.Daemon(place=self.fobd.place, name="c2")  # other addresses over TCP, the same folders
        second.write_config(second.config_text.replace(self.fobd.place + '/v"', self.fobd.place + '/v2"')
                            .replace(self.fobd.place + '/a"', self.fobd.place + '/a2"'))
        self.refused("in use", fobd=second)
        with self.fobd.client() as c:
            self.assertEqual(c.verdict(self.secret), "VALID")
        self.fobd.kill()  # a lock does not outlive its process
        self.both_environments_verify()

    def test_a_socket_in_use_by_another_fobd(self):
        """A second fobd with its own folders but the first one's unix socket must not replace that socket."""
        self.made()
        self.fobd.start(init=False)
        second = daemon.Daemon().init()
        second.write_config(second.config_text.replace(second.urls["verify"], self.fobd.urls["verify"]))
        self.refused("another program", self.fobd.urls["verify"], fobd=second)
        with self.fobd.client("verify") as c:
            self.assertEqual(c.verdict(self.secret), "VALID")
        self.fobd.stop()

    def test_a_stale_socket_is_replaced(self):
        self.made()
        self.fobd.start(init=False)
        self.fobd.kill()
        self.assertTrue(os.path.exists(self.fobd.urls["verify"][6:]))
        self.both_environments_verify()

    def test_a_port_in_use(self):
        self.fobd.init()
        host, port = self.fobd.urls["tcp"][6:].rsplit(":", 1)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((host, int(port)))
            s.listen()
            self.refused("in use", self.fobd.urls["tcp"])

    def test_an_ipc_path_that_is_no_socket(self):
        self.fobd.init()
        path = self.fobd.urls["verify"][6:]
        for what in ("file", "folder", "link"):
            with self.subTest(what=what):
                if what == "file":
                    with open(path, "w") as f:
                        f.write("precious")
                elif what == "folder":
                    os.mkdir(path)
                else:
                    with open(path + ".target", "w") as f:
                        f.write("precious")
                    os.symlink(path + ".target", path)
                self.refused(path, "socket")
                self.assertTrue(os.path.lexists(path), "it removed what was there")
                if what == "file":
                    with open(path) as f:
                        self.assertEqual(f.read(), "precious")
                os.rmdir(path) if what == "folder" else os.unlink(path)

    def test_an_ipc_path_whose_folder_is_missing(self):
        self.fobd.init()
        self.fobd.write_config(self.fobd.config_text.replace(self.fobd.place + '/v"', self.fobd.place + '/no/no/v"'))
        self.refused(self.fobd.place + "/no/no/v")

    def test_unix_sockets_have_their_modes(self):
        self.fobd.start()
        self.assertEqual(os.stat(self.fobd.urls["verify"][6:]).st_mode & 0o777, 0o660)
        self.assertEqual(os.stat(self.fobd.urls["admin"][6:]).st_mode & 0o777, 0o600)
        self.fobd.stop()
        self.assertFalse(os.path.exists(self.fobd.urls["admin"][6:]), "a stopped fobd leaves its socket behind")

    def test_config_errors_name_file_and_line(self):
        self.fobd.init()
        good = self.fobd.config_text
        lines = good.count("\n")
        for extra, word in (("nonsense = 1\n", "nonsense"), ("timeout = 0\n", "timeout"),
                            ("timeout = 60001\n", "timeout"),
                            ("timeout = soon\n", "timeout"), ("connections = 0\n", "connections"),
                            ("in_flight = 5000\n", "in_flight"),
                            ("log_level = \"loud\"\n", "log_level"),
                            ("publishable_operations = {\"a b\"}\n", "publishable_operations"),
                            ('environment "staging" {\n\tpath = "/x"\n\tpepper = "/y"\n}\n', "staging"),
                            ('listen "http://127.0.0.1:1" {\n\trole = "verify"\n}\n', "http://"),
                            ('listen "tcp://127.0.0.1:1" {\n\trole = "king"\n}\n', "king"),
                            ('listen "tcp://127.0.0.1:1" {\n\trole = "admin"\n}\n', "insecure"),
                            ("timeout = 5000\ntimeout = 6000\n", "timeout"), ("}\n", "")):
            with self.subTest(extra=extra):
                self.fobd.write_config(good + extra)
                line = self.refused(self.fobd.config, word)
                if extra.endswith("\n"):
                    self.assertRegex(line, r"%s:\d+: " % self.fobd.config)
                    number = int(line.split(self.fobd.config + ":")[1].split(":")[0])
                    self.assertGreaterEqual(number, lines)
        self.fobd.write_config("")
        self.refused(self.fobd.config)
        os.unlink(self.fobd.config)
        self.refused(self.fobd.config, "No such file")

    def test_wrong_flags(self):
        for args in (("--nonsense",), ("stray",), ("--config",)):
            done = self.fobd.run(*args)
            self.assertNotEqual(done.returncode, 0, args)
            self.assertTrue(done.stderr)
        self.refused("unexpected argument", args=("--init", "live"))
        self.refused("unexpected argument", args=("--restore", "live", "test"))
        self.refused("--events goes only with --restore", args=("--check", "--events", "x"))
        self.refused("--accept-revived goes only with --restore", args=("--accept-revived",))
        self.assertEqual(self.fobd.run("--init", "--help").returncode, 0)

    def test_one_mode_at_a_time(self):
        """None is dropped in silence."""
        modes = ("--init", "--check", "--backup", "--restore", "--check-config", "--rotate-pepper")
        for i, first in enumerate(modes):
            for second in modes[i + 1:]:
                self.refused("%s and %s exclude each other" % (first, second), args=(first, second))

    def test_closed_standard_descriptors(self):
        self.made()
        self.fobd.before_exec = lambda: os.closerange(0, 3)
        self.both_environments_verify()
        self.fobd.before_exec = None
        self.both_environments_verify()

    def test_a_failed_start_leaves_no_socket_and_no_lock(self):
        self.made()
        os.chmod(self.fobd.pepper("test"), 0o644)
        self.refused("test.pepper")
        for name in ("verify", "admin"):
            self.assertFalse(os.path.exists(self.fobd.urls[name][6:]))
        os.chmod(self.fobd.pepper("test"), 0o600)
        self.both_environments_verify()


tap.main()
