#!/usr/bin/python3
"""fob backup and restore. A copy made under writes is whole and marked as a copy. It is served only after the keys that
ended since have ended in it, too."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import glob
import hashlib
import json
import random
import resource
import shutil
import signal
import stat
import subprocess
import time
import unittest

import daemon
import fobwire
import load
import pb
import tap
from pb import LIVE, SECRET, TEST

FOB = os.path.join(daemon.BUILD, "fob")
COPIES = 200 if os.environ.get("TORTURE") else 5
KILLS = 1000 if os.environ.get("TORTURE") else 10 if daemon.SANITIZED else 25


class Backup(unittest.TestCase):
    def setUp(self):
        self.fobd = daemon.Daemon().start()
        self.addCleanup(self.fobd.kill)
        self.dest = os.path.join(self.fobd.place, "copy")

    def fob(self, *args, code=0, preexec=None):
        done = subprocess.run([FOB, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=60 * daemon.SLOWER, preexec_fn=preexec)
        if code is not None:
            self.assertEqual(done.returncode, code, done)
        return done

    def backup(self, dest=None, environment="live", **kw):
        return self.fob("backup", "--config", self.fobd.config, environment, dest or self.dest, **kw)

    def restore(self, *args, environment="live", **kw):
        return self.fob("restore", "--config", self.fobd.config, environment, *args, **kw)

    def check(self, *args, **kw):
        return self.fob("check", "--config", self.fobd.config, *args, **kw)

    def events(self, name="events", environment="live"):
        """Write all events until now to a file, as an operator does."""
        path = os.path.join(self.fobd.place, name)
        done = self.fob("events", "--address", self.fobd.urls["admin"], "--output", "json")
        with open(path, "w") as f:
            f.write(done.stdout)
        return path, [e for e in map(json.loads, done.stdout.splitlines()) if e["environment"] == environment]

    def put_in_place(self, environment="live"):
        """The database is lost, and the copy takes its place."""
        shutil.rmtree(self.fobd.database(environment))
        shutil.copytree(self.dest, self.fobd.database(environment))

    def refused_to_serve(self):
        done = self.fobd.run()
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("this is a backup, taken 20", done.stderr)
        self.assertIn("keys that have ended since would be valid again. fob restore --help", done.stderr)

    def assert_clean(self):
        self.assertEqual(glob.glob(os.path.join(self.fobd.place, "*.partial*")), [])

    # ---- copies ----

    def test_under_writes(self):
        slots = [(LIVE, "s%d" % i) for i in range(4)] + [(TEST, "s0")]
        with self.fobd.client() as c:
            for slot in slots:
                c.create(*slot)
        rollers = load.Rollers(self.fobd, slots, depth=2).start()
        revisions = []
        for i in range(COPIES):
            seen = rollers.acknowledged()
            daemon.wait_until("rolls between copies", lambda: rollers.acknowledged() > seen + 3, 30)
            dest = self.dest + str(i)
            done = self.backup(dest)
            self.assertEqual(done.stderr, "")
            self.assertRegex(done.stdout, r"^live: copied to %s: revision \d+, events to \d+, \d+ bytes. The copy opens only "
                             r"with the pepper \(%s\), which is not in it: keep a copy of the pepper elsewhere\n$" % (
                                 dest, self.fobd.pepper("live")))
            self.assertEqual(os.listdir(dest), ["data.mdb"])
            self.assertEqual(stat.S_IMODE(os.stat(dest).st_mode), 0o700)
            self.assertEqual(stat.S_IMODE(os.stat(os.path.join(dest, "data.mdb")).st_mode), 0o600)
            self.assertIn("live: whole: ", self.check("live", dest).stdout)
            revisions.append(int(done.stdout.split("revision ")[1].split(",")[0]))
        self.assertEqual(sorted(set(revisions)), revisions)
        self.fobd.terminate()
        rollers.join()
        with open(os.path.join(dest, "data.mdb"), "rb") as f:  # the last copy includes what the others have
            self.assertEqual(daemon.secrets_in(f.read()), [])
        tap.count("%d copies under %d rolls, all whole" % (COPIES, rollers.acknowledged()))
        self.assertIn("live: whole: ", self.check().stdout)
        self.assert_clean()

    def test_of_a_stopped_fobd(self):
        with self.fobd.client() as c:
            c.create(TEST, "a")
        self.fobd.stop()
        self.backup(environment="test")
        self.assertIn("test: whole: accounts 1 ", self.check("test", self.dest).stdout)
        self.fobd.start(init=False)
        self.fobd.stop()

    def test_what_is_refused(self):
        self.backup()
        done = self.backup(code=1)
        self.assertIn("exists already; name a new folder", done.stderr)
        self.assertIn("cannot make a folder next to it", self.backup("/nowhere/copy", code=1).stderr)
        self.fob("backup", "live", code=1)
        self.fobd.stop()
        self.assertIn("nothing to restore", self.restore("--accept-revived", environment="test", code=1).stderr)
        self.put_in_place()
        self.refused_to_serve()
        self.assertIn("this is a backup", self.backup(self.dest + "2", code=1).stderr)
        self.assertFalse(os.path.exists(self.dest + "2"))
        self.assertIn("--events FILE", self.restore(code=1).stderr)
        self.assertIn("x: No such file", self.restore("--accept-revived", "--events", "x", code=1).stderr)
        self.refused_to_serve()
        self.assert_clean()

    def test_killed_half_way(self):
        with self.fobd.client() as c:
            for i in range(200):
                c.create(LIVE, "a%d" % i)
        rng = random.Random(tap.seed())
        start = time.monotonic()
        self.backup(self.dest + ".whole")
        whole_s = time.monotonic() - start
        size = os.path.getsize(os.path.join(self.dest + ".whole", "data.mdb"))
        done = partial = 0
        for i in range(KILLS):
            dest = self.dest + str(i)
            if i % 2 == 0:  # the system ends it at a random length of the file; else it is killed at a random time
                limit = rng.randrange(4096, size)
                self.backup(dest, code=None, preexec=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE,
                                                                                             (limit, limit)))
            else:
                p = subprocess.Popen([FOB, "backup", "--config", self.fobd.config, "live", dest], stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
                time.sleep(rng.uniform(0, whole_s))  # a random moment, so there is nothing to wait for
                p.send_signal(signal.SIGKILL)
                p.wait()
            if os.path.exists(dest):
                done += 1
                self.assertIn("live: whole: accounts 200 ", self.check("live", dest).stdout)
            for left in glob.glob(dest + ".partial*"):
                partial += 1
                if os.path.exists(os.path.join(left, "data.mdb")):
                    self.assert_marked(left)
                shutil.rmtree(left)
            shutil.rmtree(dest, ignore_errors=True)
        tap.count("%d copies killed: %d were done, %d left a folder called partial" % (KILLS, done, partial))
        with self.fobd.client() as c:
            c.roll(LIVE, "a0")  # a killed backup leaves no lock
        self.fobd.stop()

    def assert_marked(self, folder):
        other = daemon.Daemon(environments=("live",), place=daemon.folder())
        shutil.copytree(folder, other.database("live"))
        shutil.copy(self.fobd.pepper("live"), other.pepper("live"))
        self.assertIn("this is a backup", other.run().stderr)

    # ---- copies that fobd makes and sends ----

    def ask(self, *args, environment="live", **kw):
        return self.fob("backup", "--address", self.fobd.urls["admin"], environment, *args, **kw)

    def part(self, c, name, offset=0, environment=LIVE):
        return c.call("fob.v1.Admin/ReadBackup", pb.admin.ReadBackupRequest(environment=environment, backup=name,
                                                                            offset=offset))

    def whole(self, c, name, environment=LIVE):
        """Ask for the first part until the copy is made. Returns that part."""
        def made():
            part = self.part(c, name, environment=environment)
            return part if part.size else None
        return daemon.wait_until("the copy", made, 30)

    def test_over_the_socket(self):
        """The copy is what the program of the same name makes: marked, whole, restored. No second process opened the
        database, and nothing is left beside it."""
        secrets = self.history()
        shutil.rmtree(self.dest)
        before = sorted(os.listdir(self.fobd.database("live")))
        done = self.ask(self.dest + "/")
        self.assertEqual(done.stderr, "")
        self.assertRegex(done.stdout, r"^live: copied to %s: revision 22, events to 22, \d+ bytes\. The copy opens only with the "
                         r"pepper, which is not in it: keep a copy of the pepper elsewhere\n$" % self.dest)
        self.assertEqual(os.listdir(self.dest), ["data.mdb"])
        self.assertEqual(stat.S_IMODE(os.stat(self.dest).st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.join(self.dest, "data.mdb")).st_mode), 0o600)
        self.assertEqual(sorted(os.listdir(self.fobd.database("live"))), before)
        self.assertIn("live: whole: ", self.check("live", self.dest).stdout)
        self.assertRegex(self.fobd.log(), 'level=info msg="backup is being read" environment=live uid=%d pid=' % os.getuid())
        told = json.loads(self.ask("--output", "json", self.dest + "2").stdout)
        self.assertEqual((told["environment"], told["revision"], told["event_sequence"], told["folder"]),
                         ("live", 22, 22, self.dest + "2"))
        path, _ = self.events()
        self.fobd.stop()
        self.put_in_place()
        self.refused_to_serve()
        self.restore("--events", path)
        self.fobd.start(init=False)
        self.assertEqual(self.verdicts(secrets)["revoked"], "REVOKED")
        self.fobd.stop()
        self.assert_clean()

    def test_over_the_socket_under_writes(self):
        slots = [(LIVE, "s%d" % i) for i in range(4)]
        with self.fobd.client() as c:
            for slot in slots:
                c.create(*slot)
        rollers = load.Rollers(self.fobd, slots, depth=2).start()
        for i in range(3):
            seen = rollers.acknowledged()
            daemon.wait_until("rolls between copies", lambda: rollers.acknowledged() > seen + 3, 30)
            self.ask(self.dest + str(i))
            self.assertIn("live: whole: ", self.check("live", self.dest + str(i)).stdout)
        self.fobd.terminate()
        rollers.join()
        self.assertGreater(os.path.getsize(os.path.join(self.dest + "2", "data.mdb")), 8192)

    def test_parts(self):
        """The same request gives the same bytes; one backup at a time; one that nobody reads makes way."""
        first, second = os.urandom(16), os.urandom(16)
        with self.fobd.client() as c, self.fobd.client() as other:
            c.call("fob.v1.Admin/ImportAccounts", pb.admin.ImportAccountsRequest(
                request_token=fobwire.new_token(), environment=LIVE, items=[pb.admin.ImportItem(
                    account="a%d" % i, secret_sha256=os.urandom(32), secret_last4=b"last") for i in range(256)]))
            for bad, says in ((b"", "exactly 16"), (b"x" * 17, "exactly 16")):
                with self.assertRaisesRegex(fobwire.Fault, says):
                    self.part(c, bad)
            with self.assertRaisesRegex(fobwire.Fault, "FAILED_PRECONDITION.*begin another one"):
                self.part(c, first, offset=1)
            part = self.whole(c, first)
            self.assertEqual(len(part.data), min(part.size, 131072))
            self.assertEqual(self.part(other, first), part)
            with self.assertRaisesRegex(fobwire.Fault, "RESOURCE_EXHAUSTED.*one at a time"):
                self.part(other, second)
            self.whole(other, second, environment=TEST)  # another environment's is its own
            with self.assertRaisesRegex(fobwire.Fault, "INVALID_ARGUMENT.*the backup has %d bytes" % part.size):
                self.part(c, first, offset=part.size + 1)
            data = part.data
            while len(data) < part.size:
                data += self.part(c, first, offset=len(data)).data
            self.assertEqual(hashlib.sha256(data).digest(), part.sha256)
            self.assertEqual(self.part(c, first, offset=len(data)).data, b"")
            self.assertEqual(self.whole(other, second).event_sequence, 256)  # the first was read
            with self.assertRaisesRegex(fobwire.Fault, "begin another one"):
                self.part(c, first, offset=4096)
        with self.fobd.client("verify") as c, self.assertRaisesRegex(fobwire.Fault, "PERMISSION_DENIED"):
            self.part(c, first)
        self.fobd.stop()  # also with a backup at hand

    def test_over_the_socket_what_is_refused(self):
        self.ask(self.dest)
        self.assertIn("exists already; name a new folder", self.ask(self.dest, code=1).stderr)
        self.assertIn("cannot make a folder next to it", self.ask("/nowhere/copy", code=1).stderr)
        self.assertIn("is not an environment", self.ask(self.dest + "2", environment="prod", code=1).stderr)
        self.assertIn("with --config no fobd is asked", self.ask(self.dest + "2", "--config", self.fobd.config, code=1).stderr)
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))  # noqa: E731
        self.ask(self.dest + "2", code=None, preexec=limit)
        self.assertFalse(os.path.exists(self.dest + "2"))
        for left in glob.glob(self.dest + "2.partial*"):
            shutil.rmtree(left)
        self.fobd.stop()
        self.assertIn("fob backup --config FILE copies the database without one", self.ask(self.dest + "2", code=2).stderr)
        self.assert_clean()

    def test_from_another_pid_namespace(self):
        """Two processes of one id cannot both open the database: that is said, with the way that works."""
        space = ["unshare", "-p", "-f", "--kill-child"]
        if os.geteuid() != 0 or subprocess.run([*space, "true"], capture_output=True).returncode != 0:
            self.skipTest("needs a PID namespace of its own")
        self.fobd.stop()
        wrapper = os.path.join(self.fobd.place, "fobd")
        with open(wrapper, "w") as f:
            f.write('#!/bin/sh\nexec %s "%s" "$@"\n' % (" ".join(space), daemon.FOBD))
        os.chmod(wrapper, 0o700)
        real, daemon.FOBD = daemon.FOBD, wrapper
        try:
            self.fobd.start(init=False)
            done = self.fobd.run("--backup", "live", self.dest)
        finally:
            daemon.FOBD = real
        self.assertEqual(done.returncode, 1)
        self.assertIn("has this process's id, in another PID namespace (container). Have it make the backup itself: fob backup "
                      "without --config", done.stderr)
        self.ask(self.dest)
        self.fobd.kill()
        self.assertIn("live: whole: ", self.check("live", self.dest).stdout)

    # ---- restore ----

    def history(self):
        """Make accounts, a copy, and then changes. Returns the secrets, each named after what becomes of it."""
        with self.fobd.client() as c:
            secret = {name: c.create(LIVE, name).secret_key.secret
                      for name in ("same", "rolled", "leaked", "revoked", "suspended", "twice", "resumed", "grace")}
            secret["grace.2"] = c.roll(LIVE, "grace").new_key.secret
            c.suspend(LIVE, "resumed")
            self.backup()
            self.expires_ms = c.call("fob.v1.Admin/RollKey", fobwire.roll_request(LIVE, "rolled"),
                                     on_behalf_of="Ada <ada@example.com>").old_key.expires_ms
            c.roll(LIVE, "leaked", grace=0)
            c.revoke(LIVE, "revoked", SECRET, 1)
            c.suspend(LIVE, "suspended")
            self.new = c.roll(LIVE, "twice").new_key.secret
            c.revoke(LIVE, "twice", SECRET, 2)
            c.roll(LIVE, "twice")
            c.resume(LIVE, "resumed")
            c.revoke(LIVE, "grace", SECRET, 1)
            self.made = c.create(LIVE, "made").secret_key.secret
            c.roll(LIVE, "made")
            c.suspend(LIVE, "made")
        return secret

    def verdicts(self, secrets):
        with self.fobd.client("verify") as c:
            return {name: c.verdict(s) for name, s in secrets.items()}

    def test_with_events(self):
        secrets = self.history()
        path, events = self.events()
        before = self.verdicts(secrets)
        self.assertEqual(before, {"same": "VALID", "rolled": "VALID", "leaked": "REVOKED", "revoked": "REVOKED",
                                  "suspended": "SUSPENDED", "twice": "VALID", "resumed": "VALID", "grace": "REVOKED",
                                  "grace.2": "VALID"})
        self.fobd.stop()
        self.put_in_place()
        self.refused_to_serve()
        done = self.restore("--events", path)
        self.assertEqual(done.stderr, "")
        self.assertIn("live: restored from a copy of revision 10; events 11 to 22 replayed, 9 of them changed something. "
                      "What ended after event 22 is not known, and is valid again\n", done.stdout)
        self.assertIn("live: made or imported after the copy was taken, and missing: accounts 1, keys 0\n"
                      "live: made was made after the copy was taken, and is missing: make it again, and suspend it again\n",
                      done.stdout)
        rolled = [line.split()[1] for line in done.stdout.splitlines() if "newest secret key is lost" in line]
        self.assertEqual(rolled, ["rolled", "leaked", "twice"])
        self.assertIn("live: whole: accounts 8 (suspended 1), ", self.check("live").stdout)
        self.assertIn("nothing to restore", self.restore("--events", path, code=1).stderr)

        self.fobd.start(init=False)
        self.assertEqual(self.verdicts(secrets), before)
        self.assertEqual(self.verdicts({"new": self.new, "made": self.made}), {"new": "NOT_FOUND", "made": "NOT_FOUND"})
        with self.fobd.client() as c:
            v = c.verify(secrets["rolled"])
            self.assertEqual((v.superseded, v.expires_ms, v.generation, v.current_generation),
                             (True, self.expires_ms, 1, 2))
            key = c.roll(LIVE, "rolled").new_key
            self.assertEqual(key.key.generation, 3)
            self.assertEqual(c.verdict(key.secret), "VALID")
            c.create(LIVE, "made")
        _, after = self.events("after")
        self.assertEqual(after[:len(events)], events)
        self.assertEqual([e["event"] for e in after[len(events):]], ["restored", "key_rolled", "account_created"])
        self.assertEqual([e["sequence"] for e in after], list(range(1, len(after) + 1)))
        self.assertEqual({(e["event"], e["account"], e["on_behalf_of"]) for e in after if e["on_behalf_of"]},
                         {("key_rolled", "rolled", "Ada <ada@example.com>")})
        self.assertIsNone(after[len(events)]["account"])
        self.assertIn("restored", self.fob("events", "--address", self.fobd.urls["admin"]).stdout)
        self.fobd.stop()
        self.assertIn("live: whole: ", self.check("live").stdout)

    def test_without(self):
        secrets = self.history()
        self.fobd.stop()
        self.put_in_place()
        done = self.restore("--accept-revived")
        self.assertEqual(done.stdout, "live: restored from a copy of revision 10; what ended after event 10 is valid again, "
                         "as --accept-revived allows\n")
        self.fobd.start(init=False)
        self.assertEqual(set(v for n, v in self.verdicts(secrets).items() if n != "resumed"), {"VALID"})
        _, events = self.events()
        self.assertEqual([e["event"] for e in events[10:]], ["restored"])
        self.fobd.stop()
        self.assertIn("live: whole: ", self.check("live").stdout)

    def test_events_that_do_not_fit(self):
        self.history()
        path, events = self.events()
        self.fobd.stop()
        self.put_in_place()
        with open(os.path.join(self.fobd.database("live"), "data.mdb"), "rb") as f:
            copy = f.read()
        with open(path) as f:
            lines = f.read().splitlines()

        def changed(i, **kw):
            return "\n".join(lines[:i] + [json.dumps(dict(json.loads(lines[i]), **kw))] + lines[i + 1:])

        for text, says in (("\n".join(lines[:11] + lines[12:]), "event 13 where 12 was expected: the events between are missing"),
                           (changed(3, account="other"), "the events are another database's"),
                           (changed(3, last4="XXXX"), "the events are another database's"),
                           (changed(12, event="key_eaten"), "does not know"), (changed(12, generation=-1), "does not know"),
                           (changed(12, time_ms=None), "without its"), (changed(12, account="a b"), "does not know"),
                           ("\n".join(lines[:-1] + [lines[-1][:-5]]),
                            "events, line 22: the last line is cut off, as when the process that wrote it is killed. It may be "
                            "removed"),
                           ("\n".join(lines[:-1] + [lines[-1][:40] + lines[-1]]),
                            "events, line 22: this line is cut off, and the next event begins on the same line. The first 40 "
                            "bytes, up to that event's brace, may be removed"),
                           ("\n".join(lines) + "\n[]", "line 23: not an object")):
            with open(path, "w") as f:
                f.write(text)
            done = self.restore("--events", path, code=1)
            self.assertIn(says, done.stderr)
            self.refused_to_serve()
        self.assertIn("No such file", self.restore("--events", path + "x", code=1).stderr)
        with open(os.path.join(self.fobd.database("live"), "data.mdb"), "rb") as f:
            self.assertEqual(f.read(), copy)
        # Every event twice, as in the file of an operator who follows events over a restart; and the other environment's.
        other = json.dumps(dict(json.loads(lines[0]), environment="test", sequence=99))
        with open(path, "w") as f:
            f.write("\n".join([other] + lines + [other] + lines))
        self.restore("--events", path)
        self.assertIn("live: whole: ", self.check("live").stdout)

    # What shows that the lines are this database's, and reach from the copy to the end: the copy's own last event.
    def test_events_that_do_not_reach_back_to_the_copy(self):
        secrets = self.history()
        path, events = self.events()
        self.fobd.stop()
        self.put_in_place()
        with open(path) as f:
            lines = f.read().splitlines(True)
        other = [json.dumps(dict(json.loads(line), environment="test")) + "\n" for line in lines]
        give = (". Give a file of events that has the copy's last event, number 10. With --accept-revived it is restored all "
                "the same, and keys that have ended since may be valid again")
        for kept, says in (([], "there is no event of live"), (other, "there is no event of live"),
                           (lines[:9], "the events of live end at number 9, before the copy's last event"),
                           (lines[10:], "the events of live begin at number 11, behind the copy's last event")):
            with open(path, "w") as f:
                f.writelines(kept)
            self.refused_events(path, says + give)
        self.assertIn("what ended after event 22 is valid again, as --accept-revived allows",
                      self.restore("--events", path, "--accept-revived").stdout)
        self.fobd.start(init=False)
        self.assertEqual(self.verdicts(secrets)["revoked"], "REVOKED")
        self.fobd.stop()
        self.put_in_place()
        with open(path, "w") as f:
            f.writelines(lines[9:])
        self.restore("--events", path)

    def imported(self, c, account, **keys):
        done = c.call("fob.v1.Admin/ImportAccounts", pb.admin.ImportAccountsRequest(
            request_token=fobwire.new_token(), environment=LIVE, items=[pb.admin.ImportItem(account=account, **keys)]))
        self.assertEqual(list(done.outcomes), [pb.admin.IMPORTED])

    def test_events_that_fit_nothing(self):
        """Made and imported since the copy: named. Of no account, of another generation or key: refused, and named."""
        digest = {"secret_sha256": b"s" * 32, "secret_last4": b"abcd"}
        other = {"publishable_sha256": b"p" * 32, "publishable_last4": b"efgh"}
        with self.fobd.client() as c:
            c.create(LIVE, "a")
            self.imported(c, "half", **other)
            self.backup()
            self.imported(c, "half", **other, secret_sha256=b"h" * 32, secret_last4=b"hhhh")
            c.revoke(LIVE, "half", SECRET, 1)
            self.imported(c, "whole", **digest)
            c.roll(LIVE, "whole")
            c.suspend(LIVE, "whole")
            c.roll(LIVE, "a", grace=0)
        path, events = self.events()
        self.fobd.stop()
        self.put_in_place()
        with open(path) as f:
            lines = f.read().splitlines(True)
        roll = len(lines) - 1
        said = "live: events, line %d: event %d, key_rolled of " % (roll + 1, roll + 1)
        for change, says in (({"account": "nobody"}, "nobody, secret key 2 (%s), fits nothing: neither the copy nor an event "
                              "before it has such an account\n" % events[roll]["last4"]),
                             ({"generation": 3}, "a, secret key 3 (%s), fits nothing: its account's secret key is of generation "
                              "1 by then\n" % events[roll]["last4"]),
                             ({"event": "key_revoked", "generation": 1}, "a, secret key 1 (%s), fits nothing: that key ends in "
                              % events[roll]["last4"]),
                             ({"event": "account_created"}, "fits nothing: there is such an account before it\n")):
            with open(path, "w") as f:
                f.writelines(lines[:-1] + [json.dumps(dict(events[roll], **change)) + "\n"])
            done = self.restore("--events", path, code=1)
            self.assertIn(said.replace("key_rolled", change.get("event", "key_rolled")), done.stdout)
            self.assertIn(says, done.stdout)
            self.assertIn("events that fit nothing in the copy: 1, as listed", done.stderr)
            self.refused_to_serve()
        self.restore("--events", path, "--accept-revived")
        self.put_in_place()
        with open(path, "w") as f:
            f.writelines(lines)
        done = self.restore("--events", path)
        self.assertEqual(done.stdout.splitlines()[1:], [
            "live: made or imported after the copy was taken, and missing: accounts 1, keys 1",
            "live: half has got a secret key by an import after the copy was taken, which is missing: import it again, and end "
            "again what had ended by event 4",
            "live: whole was imported after the copy was taken, and is missing: import it again, and end again what had ended "
            "by event 6, and suspend it again",
            "live: a was rolled after the copy was taken, and its newest secret key is lost: fob key roll a --environment live"])

    def append_events(self, path):
        """Append all events, as an operator does who keeps one file and fetches all of them again after a restart."""
        done = self.fob("events", "--address", self.fobd.urls["admin"], "--output", "json")
        with open(path, "a") as f:
            f.write(done.stdout)

    def past_a_restore(self):
        """
        Make a copy at event 2, then four events. Restore the copy, which gives up the four; then revoke a key, whose event
        gets the number of one of the four. Returns the file of all events, and the revoked key.
        """
        path = os.path.join(self.fobd.place, "events")
        with self.fobd.client() as c:
            secret = c.create(LIVE, "a").secret_key.secret
            c.create(LIVE, "b")
            self.backup()
            for _ in range(2):
                c.suspend(LIVE, "b")
                c.resume(LIVE, "b")
        self.append_events(path)
        self.backup(self.dest + ".between")
        self.fobd.stop()
        self.put_in_place()
        self.restore("--accept-revived")
        self.fobd.start(init=False)
        with self.fobd.client() as c:
            c.revoke(LIVE, "a", SECRET, 1)
        self.backup(self.dest + ".since")
        with self.fobd.client() as c:
            c.suspend(LIVE, "b")
        self.append_events(path)
        self.fobd.stop()
        return path, secret

    def served_from(self, dest, path, secret):
        self.dest = dest
        self.put_in_place()
        self.restore("--events", path)
        self.assertIn("live: whole: ", self.check("live").stdout)
        self.fobd.start(init=False)
        with self.fobd.client("verify") as c:
            self.assertEqual(c.verdict(secret), "REVOKED")

    def refused_events(self, path, says):
        done = self.restore("--events", path, code=1)
        self.assertIn(says, done.stderr)
        self.refused_to_serve()

    def test_one_file_of_events_past_a_restore(self):
        """Of two events with the same number none is skipped: either may be the one that ended a key."""
        path, secret = self.past_a_restore()
        with open(path) as f:
            lines = f.readlines()
        numbers = [json.loads(line)["sequence"] for line in lines]
        self.assertEqual(numbers, [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5])
        self.put_in_place()
        self.refused_events(path, "events, line 9: event 3 is a restore, after which numbers were reused, and an earlier line has "
                            "another event 3. If there is a backup that was made after that restore, use it with the lines "
                            "from here on. If not, remove the events of live before this line that have number 3 or a higher "
                            "one: that restore gave them up. What they ended must then be ended again by hand")
        # Without the restore's own event the lines do not show where the restore was.
        with open(path + ".without", "w") as f:
            f.writelines(lines[:8] + lines[9:])
        self.refused_events(path + ".without", "line 9: event 4 is not the same in an earlier line")

        # A copy of the history that the restore gave up: no part of the lines leads from it to the lost database.
        whole, self.dest = self.dest, self.dest + ".between"
        self.put_in_place()
        self.refused_events(path, "line 9: event 3 is a restore, after which numbers were reused, and the copy may be from "
                            "before it")
        self.dest = whole + ".since"
        self.put_in_place()
        self.refused_events(path, "line 3: event 3 is from before a restore that the copy includes: give only the lines from that "
                            "restore, event 3, on")

        # Do what the errors say.
        with open(path + ".left", "w") as f:
            f.writelines([line for line in lines[:8] if json.loads(line)["sequence"] < 3] + lines[8:])
        with open(path + ".on", "w") as f:
            f.writelines(lines[8:])
        self.served_from(whole, path + ".left", secret)
        self.fobd.stop()
        self.served_from(whole + ".since", path + ".on", secret)

    def test_who_follows_events_sees_a_restore(self):
        """A follower ends at a restore, whether the restored database has fewer events or other ones of the same numbers."""
        with self.fobd.client() as c:
            c.create(LIVE, "a")
            self.backup()
            c.suspend(LIVE, "a")
        path = os.path.join(self.fobd.place, "followed")
        for others in (0, 4):
            with open(path, "w") as out, open(path + ".err", "w") as err:
                follower = subprocess.Popen([FOB, "events", "--follow", "--address", self.fobd.urls["admin"], "--environment", "live",
                                             "--output", "json"], stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            self.addCleanup(follower.wait)
            self.addCleanup(follower.kill)
            daemon.wait_until("the follower", lambda: self.numbers(path), 30)
            self.fobd.restart()  # a restart is not a restore: the follower goes on
            with self.fobd.client() as c:
                c.resume(LIVE, "a")
                newest = len(list(c.events(LIVE, "a"))) + (1 if others else 0)  # and the first restore's event
            daemon.wait_until("the follower", lambda: self.numbers(path)[-1:] == [newest], 30)
            follower.send_signal(signal.SIGSTOP)
            self.fobd.stop()
            self.put_in_place()
            self.restore("--accept-revived")
            self.fobd.start(init=False)
            with self.fobd.client() as c:
                for _ in range(others):
                    c.suspend(LIVE, "a")
                    c.resume(LIVE, "a")
                c.suspend(LIVE, "a")
            follower.send_signal(signal.SIGCONT)
            self.assertEqual(follower.wait(30 * daemon.SLOWER), 4)
            self.assertEqual(self.numbers(path), list(range(1, newest + 1)))
            with open(path + ".err") as f:
                self.assertIn("live: event %d is not there any more, or is another one: the database was restored. Keep what "
                              "was shown so far as it is, and begin anew, in a new file" % newest, f.read())

    @staticmethod
    def numbers(path):
        with open(path) as f:
            return [json.loads(line)["sequence"] for line in f if line.endswith("\n")]

    def test_events_too_old_to_be_compared(self):
        self.fobd.stop()
        self.fobd = daemon.Daemon(events_kept=1000).start()
        self.addCleanup(self.fobd.kill)
        self.dest = os.path.join(self.fobd.place, "copy")
        with self.fobd.client() as c:
            c.create(LIVE, "a")
            self.backup()
            c.suspend(LIVE, "a")
        path, events = self.events()
        self.fobd.stop()
        event = dict(events[1], environment="live")
        lines = [json.dumps(events[0])] + [json.dumps(dict(event, sequence=i, event=("account_resumed", "account_suspended")[i % 2]))
                 for i in range(2, 2002)]
        again = json.dumps(dict(event, sequence=2, event="restored", account=None))
        for more, says in ((lines[1], "line 2002: event 2 is here a second time, and is too old to be compared"),
                           (again, "line 2002: event 2 is a restore, after which numbers were reused")):
            self.put_in_place()
            with open(path, "w") as f:
                f.write("\n".join(lines + [more]))
            self.refused_events(path, says)
        with open(path, "w") as f:
            f.write("\n".join(lines + lines[1500:]))
        self.restore("--events", path)


tap.main()
