#!/usr/bin/python3
"""A pepper rotation by SIGHUP, and the next one after it, under verifies, batches, rolls, revocations and resent tokens,
without a restart, an error or a wait; kill -9 around its beginning; pepper files that are refused; another user."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import random
import re
import shutil
import signal
import struct
import threading
import time
import unittest

import daemon
import fobwire
import pb
import tap
import test_rotation  # its cases are its own
from pb import LIVE, TEST

ROUNDS = 60 if test_rotation.LONG else 2
WORKERS = 4


class Batches(threading.Thread):
    """Sends VerifyKeys one after another, as libfob does when it coalesces. None may fail or take long."""

    def __init__(self, fobd, known):
        super().__init__()
        self.fobd, self.known = fobd, list(known.items())
        self.stop, self.failure, self.verified = threading.Event(), None, 0
        self.took = []  # (when it was sent, seconds until it was answered)

    def run(self):
        try:
            with self.fobd.client("verify") as c:
                first = 0
                while not self.stop.is_set():
                    part = self.known[first:first + 100] or self.known[:100]
                    first = (first + 100) % len(self.known)
                    started = time.monotonic()
                    items = c.verify_many([fobwire.verify_request(secret) for secret, _ in part])
                    self.took.append((started, time.monotonic() - started))
                    for (_, account), item in zip(part, items):
                        if (item.code, item.result.verdict, item.result.account) != (0, pb.keys.VALID, account):
                            raise AssertionError("%s: %s" % (account, item))
                    self.verified += len(part)
        except Exception as e:  # noqa: told by the test
            self.failure = e


class Base(unittest.TestCase):
    rotate = test_rotation.Rotation.rotate
    import_many = test_rotation.Rotation.import_many
    rotations = test_rotation.Rotation.rotations

    def setUp(self):
        self.fobd = daemon.Daemon()
        self.addCleanup(self.fobd.kill)
        self.up = threading.Event()

    def hangup(self):
        self.fobd.process.send_signal(signal.SIGHUP)

    def count(self, message):
        return len(re.findall('msg="%s"' % message, self.fobd.log()))

    def await_end(self, n, meanwhile=lambda: None):
        daemon.wait_until("the end of rotation %d" % n, lambda: meanwhile() or len(self.rotations()) == n, 60)


class Calls(Base):
    def begin_work(self, known):
        threads = [test_rotation.Worker(self, i) for i in range(WORKERS)]
        with self.fobd.client("admin") as c:
            for w in threads:
                w.begin(c)
        self.up.set()
        threads.append(Batches(self.fobd, known))
        for t in threads:
            t.daemon = True  # a test that fails waits for none of them
        return threads

    def check_work(self, threads):
        self.assertEqual([t.failure for t in threads if t.failure], [], self.fobd.log()[-1000:])

    def test_without_a_restart(self):
        self.fobd.start()
        known = self.import_many()
        threads = self.begin_work(known)
        for t in threads:
            t.start()
        began, ended = [], []
        for n in (1, 2, 3):
            self.rotate()
            began.append(time.monotonic())
            self.hangup()
            self.await_end(n, lambda: self.check_work(threads))
            ended.append(time.monotonic())
        for t in threads:
            t.stop.set()
            t.join()
        self.check_work(threads)
        batches = threads[-1]
        with self.fobd.client("admin") as c:
            for w in threads[:-1]:
                self.assertIsNone(w.lost)
                for account in w.accounts:
                    w.check(c, account)
                for data, reply in w.sent:
                    self.assertEqual(c.connection.exchange(data), reply)
            stats = c.stats()
        bad = {fobwire.code_name(x.code) for x in stats.codes} - {"OK"}
        self.assertEqual(bad, set())
        for e in stats.environments:
            self.assertEqual((e.corrupt_records, e.rotating, e.pepper_lines), (0, False, 4 if e.environment == LIVE else 1))
        # Nothing of it is the other environment's.
        self.assertEqual(set(re.findall(r'msg="pepper rotat.*?" environment=(\w+)', self.fobd.log())), {"live"})
        self.assertEqual(self.count("pepper rotation begins"), 3)
        self.fobd.restart()
        self.assertEqual(len(self.rotations()), 3)
        self.fobd.stop()

        def longest(first, last):
            return max([took for at, took in batches.took if first - took <= at <= last] or [0]) * 1000
        tap.comment("%d keys moved three times beside %d verifies in batches and %d rounds of calls; the longest batch around "
                    "a beginning took %.1f ms, during a move %.1f, otherwise %.1f" % (
                        len(known), batches.verified, sum(w.calls for w in threads[:-1]),
                        max(longest(b, b + 0.1) for b in began), max(longest(b, e) for b, e in zip(began, ended)),
                        longest(0, began[0])))

    def test_killed_around_its_beginning(self):
        chance = random.Random(tap.seed())
        kills, before = 0, 0
        for _ in range(ROUNDS):
            self.fobd.kill()
            self.setUp()
            self.fobd.start()
            known = self.import_many() if not test_rotation.LONG else self.few()
            threads = self.begin_work(known)[:-1]
            for t in threads:
                t.start()
            for n in (1, 2, 3):
                self.rotate()
                self.up.clear()
                self.hangup()
                time.sleep(chance.uniform(0, 0.006))  # the moment is what is random
                self.fobd.kill()
                kills += 1
                before += self.count("pepper rotation begins") < n
                done = self.fobd.run("--check", timeout_s=60)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.fobd.start(init=False)
                self.up.set()
                self.await_end(n, lambda: self.check_work(threads))
            for t in threads:
                t.stop.set()
                t.join()
            self.check_work(threads)
            with self.fobd.client("admin") as c:
                for w in threads:
                    w.finish_lost(c)
                    for account in w.accounts:
                        w.check(c, account)
                    for data, reply in w.sent:
                        self.assertEqual(c.connection.exchange(data), reply)
                self.assertEqual([e.corrupt_records for e in c.stats().environments], [0, 0])
            with self.fobd.client("verify") as c:
                for secret, account in list(known.items())[:200]:
                    self.assertEqual(c.verify(secret).account, account)
            self.fobd.stop()
        tap.comment("TEST_SEED=%d: %d kills, %d of them before a beginning; nothing lost" % (tap.seed(), kills, before))

    def few(self):
        with self.fobd.client("admin") as c:
            return {c.create(LIVE, "few%d" % i).secret_key.secret: "few%d" % i for i in range(200)}


class Files(Base):
    REFUSED = "the pepper's new file is refused, and the pepper in use stays in use"

    def reread(self, reason):
        """Send SIGHUP and wait until the log has the reason of the refusal."""
        before = self.count(self.REFUSED)
        self.hangup()
        daemon.wait_until("a refusal", lambda: self.count(self.REFUSED) > before)
        said = re.findall('level=error msg="%s" environment=live reason="(.*)"' % self.REFUSED, self.fobd.log())[-1]
        self.assertRegex(said, reason)

    def write(self, path, text, mode=0o600):
        with open(path + ".new", "w") as f:
            f.writelines(text)
        os.chmod(path + ".new", mode)
        os.rename(path + ".new", path)

    def check_keys(self):
        with self.fobd.client("admin") as c:
            self.assertEqual([c.verdict(s) for s in self.secrets], ["VALID"] * len(self.secrets))
            self.secrets.append(c.create(LIVE, "f%d" % len(self.secrets)).secret_key.secret)

    def test_what_is_refused(self):
        path = self.fobd.pepper("live")
        self.fobd.start()
        self.secrets = []
        self.check_keys()
        self.rotate()
        self.hangup()
        self.await_end(1)
        good = test_rotation.lines(path)
        other = good[0][:-3] + ("00\n" if good[0][-3:-1] != "00" else "11\n")
        new = good[0][:20] + good[1][20:]
        for text, reason in ((good[:1], "a line that the file had is missing or changed: put it back"),
                             ([other, good[1]], "a line that the file had is missing"),
                             ([good[1], good[0]], "a line that the file had is missing"),
                             ([good[0], new, good[1]], "a line that the file had is missing"),
                             ([], "not a pepper file: it is empty"), (good + [good[0]], "not a pepper file: line . repeats"),
                             (good + ["fob-pepper-v1 12\n"], "not a pepper file: line . has 2 characters"),
                             (good + ["fob-pepper-v1 %s\n" % os.urandom(32).hex() for _ in range(15)],
                              "not a pepper file: it has more than 16 lines")):
            self.write(path, text)
            self.reread(reason)
            self.check_keys()
        self.write(path, good + [new], 0o644)
        self.reread("others may read it: chmod 0600")
        os.unlink(path)
        self.reread("No such file")
        os.mkfifo(path, 0o600)
        self.reread("not a regular file")
        os.unlink(path)
        self.check_keys()
        # The settings are wrong: nothing is read, not even a pepper that is right.
        self.write(path, good + [new])
        settings = self.fobd.config_text
        self.fobd.write_config(settings + "log_level = \n")
        self.hangup()
        daemon.wait_until("a refusal", lambda: self.count("settings not reloaded; nothing has changed"))
        with self.fobd.client("admin") as c:
            self.assertEqual((c.environment_stats(LIVE).pepper_lines, c.environment_stats(LIVE).rotating), (2, False))
        self.assertEqual(self.count("pepper rotation begins"), 1)
        # Each has been put right.
        self.fobd.write_config(settings)
        self.hangup()
        self.await_end(2)
        self.check_keys()
        self.fobd.restart()
        self.check_keys()
        self.fobd.stop()

    def test_nothing_new(self):
        self.fobd.start()
        for n in (1, 2, 3):
            self.hangup()
            daemon.wait_until("the settings", lambda: self.count("settings reloaded") + self.fobd.log().count(
                '"settings reloaded"') >= n)
        with self.fobd.client("admin") as c:
            c.create(LIVE, "a")
            c.create(TEST, "a")
            self.assertEqual([(e.pepper_lines, e.rotating) for e in c.stats().environments], [(1, False)] * 2)
        self.assertNotIn("pepper", self.fobd.log().replace("pepper_", ""))
        self.fobd.stop()

    def test_a_new_line_for_each_environment(self):
        self.fobd.start()
        for name in ("live", "test"):
            self.assertEqual(self.fobd.run("--rotate-pepper", name).returncode, 0)
        self.hangup()
        daemon.wait_until("both", lambda: len(self.rotations()) == 2)
        with self.fobd.client("admin") as c:
            self.assertEqual([e.pepper_lines for e in c.stats().environments], [2, 2])
        self.fobd.stop()

    def test_a_new_path_needs_a_restart(self):
        """A new pepper path needs a restart; until then a rotation reads the file at the old path."""
        self.fobd.start()
        path = self.fobd.pepper("live")
        shutil.copy(path, path + "2")
        self.rotate()
        self.fobd.write_config(self.fobd.config_text.replace(path, path + "2"))
        self.hangup()
        self.await_end(1)
        self.assertRegex(self.fobd.log(), 'needs a restart" setting=pepper of=live')
        self.fobd.stop()

    @unittest.skipUnless(os.geteuid() == 0, "only root may give itself up")
    def test_as_another_user(self):
        """The user that fobd has become must be able to read the pepper file again, in the same folder."""
        path = self.fobd.pepper("live")
        os.chown(self.fobd.place, 65534, 65534)
        self.fobd.write_config(self.fobd.config_text + 'user = "nobody"\n')
        self.fobd.start()
        self.secrets = []
        self.check_keys()
        self.rotate()
        self.assertEqual(os.stat(path).st_uid, 65534)
        os.chown(path, 0, 0)
        self.reread("cannot read the pepper: Permission denied")
        self.check_keys()
        os.chown(path, 65534, 65534)
        if re.search("msg=confined .*landlock=abi", self.fobd.log()):
            away = daemon.folder()
            os.chmod(away, 0o755)
            os.rename(path, os.path.join(away, "pepper"))
            os.symlink(os.path.join(away, "pepper"), path)
            self.reread("cannot read the pepper: Permission denied. fobd may only read in the folders .*: restart it")
            self.check_keys()
            os.rename(os.path.join(away, "pepper"), path)
        self.hangup()
        self.await_end(1)
        self.check_keys()
        self.fobd.stop()

    def give_as_systemd_does(self, path, mode):
        """Root's, and an access control list lets nobody read it: as LoadCredential= leaves it for User=nobody."""
        os.chown(path, 0, 0)
        os.chmod(path, mode)
        execute = mode & 0o100 and 1
        entries = ((0x01, mode >> 6), (0x02, 4 | execute, 65534), (0x04, 0), (0x10, 4 | execute), (0x20, 0))
        acl = struct.pack("<I", 2) + b"".join(
            struct.pack("<HHI", tag, rights, of[0] if of else 0xffffffff) for tag, rights, *of in entries)
        try:
            os.setxattr(path, "system.posix_acl_access", acl)
        except OSError as e:
            self.skipTest("this file system has no access control lists: %s" % e)

    @unittest.skipUnless(os.geteuid() == 0, "only root may give itself up")
    def test_as_a_credential_of_systemd(self):
        os.chown(self.fobd.place, 65534, 65534)
        self.fobd.write_config(self.fobd.config_text + 'user = "nobody"\n')
        self.fobd.init()
        credentials = daemon.folder()
        path = os.path.join(credentials, "live.pepper")
        shutil.move(self.fobd.pepper("live"), path)
        self.give_as_systemd_does(path, 0o400)
        self.give_as_systemd_does(credentials, 0o500)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o440)
        self.fobd.write_config(self.fobd.config_text.replace(self.fobd.pepper("live"), path))
        self.fobd.start(init=False)
        self.assertRegex(self.fobd.log(), "msg=(confined|.*sanitizer)")
        self.secrets = []
        self.check_keys()
        self.hangup()
        daemon.wait_until("a reload", lambda: self.count("settings reloaded"))
        self.assertNotIn("is refused", self.fobd.log())
        # A credential cannot be changed in its place: the file that it is loaded from is rotated.
        done = self.fobd.run("--rotate-pepper", "live")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("cannot write the pepper file: Permission denied", done.stderr)
        os.chmod(path, 0o444)
        self.reread("others may read it")
        self.fobd.stop()


tap.main()
