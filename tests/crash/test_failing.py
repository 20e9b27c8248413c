#!/usr/bin/python3
"""A running fobd whose disk or memory fails: what it answers, that the other environment goes on, and that all is right
after a restart. (test_faults.c tries every n within one program.) TORTURE=1: each allocation of a start fails."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import errno
import random
import re
import shutil
import socket
import subprocess
import unittest

import shimmed

import daemon
import fobwire
import pb
import tap
from pb import LIVE, SECRET, TEST

TORTURE = bool(os.environ.get("TORTURE"))


def status_name(client, service):
    return pb.health.CheckResponse.ServingStatus.Name(client.check(service))


class Failing(unittest.TestCase):
    def setUp(self):
        self.fobd = shimmed.Daemon()
        self.addCleanup(self.fobd.kill)
        self.fobd.start(shim=True)
        with self.fobd.client("admin") as c:
            self.secret = {e: c.create(e, "kept").secret_key.secret for e in (LIVE, TEST)}
            self.leaked = c.create(LIVE, "leaked").secret_key.secret

    def hang_a_backup(self):
        """A backup that has the live database open, and hangs until the handle that is returned is disarmed."""
        handle = shimmed.Handle(self.fobd.place, "shim-of-backup")
        handle.arm(shimmed.LMDB, 7, shimmed.HANG)
        process = subprocess.Popen([daemon.FOBD, "--config", self.fobd.config, "--backup", "live",
                                    os.path.join(self.fobd.place, "copy")], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, env={**os.environ, **shimmed.preload(handle)})
        self.addCleanup(process.kill)
        daemon.wait_until("the backup hangs", lambda: handle.get("fired") == 1)
        return process, handle

    def fails_and_is_opened_anew(self, kind, action, code):
        """One roll fails by ${code}. Then live answers no request, not even a read, until its database can be opened anew."""
        data = fobwire.request("fob.v1.Admin/RollKey", fobwire.roll_request(LIVE, "kept", grace=0))
        pid = self.fobd.pid
        self.fobd.handle.arm(kind, 1, action, errno.EIO, shimmed.FOREVER)
        with self.fobd.client("admin") as c:
            self.assertEqual(fobwire.code_name(c.raw(data).code), code)
            for call in (lambda: c.verdict(self.secret[LIVE]), lambda: c.roll(LIVE, "kept"), lambda: c.accounts(LIVE)):
                with self.assertRaises(fobwire.Fault) as caught:
                    call()
                self.assertEqual(caught.exception.name, "UNAVAILABLE")
            self.assertEqual(c.verdict(self.secret[TEST]), "VALID")
            daemon.wait_until("an attempt fails", lambda: 'msg="this environment is not served"' in self.fobd.log())
            self.assertEqual(status_name(c, "live"), "NOT_SERVING")
            self.assertEqual(status_name(c, ""), "NOT_SERVING")
            self.assertEqual(status_name(c, "test"), "SERVING")
            self.fobd.handle.disarm()
            self.assertEqual(c.verdict(c.roll(TEST, "kept", grace=60).new_key.secret), "VALID")
            daemon.wait_until("live is served again", lambda: status_name(c, "live") == "SERVING")
            new = fobwire.result("fob.v1.Admin/RollKey", c.raw(data)).new_key.secret
            self.assertEqual(c.verdict(self.secret[LIVE]), "REVOKED")
            self.assertEqual(c.verdict(new), "VALID")
            self.assertEqual(c.raw(data).body, c.raw(data).body)
            self.assertEqual([c.environment_stats(e).failures for e in (LIVE, TEST)], [1, 0])
        self.assertEqual(self.fobd.pid, pid)
        self.assertIn("this environment has failed", self.fobd.log())

    def test_what_failed_is_opened_anew(self):
        """After a sync that failed, a later commit of LMDB's might succeed on lost pages: it is not used any more."""
        self.fails_and_is_opened_anew(shimmed.SYNC, shimmed.FAIL, "INTERNAL")
        self.fobd.stop()

    def test_a_trap_beside_a_backup(self):
        """A trap in a write leaves LMDB's lock taken, and a backup keeps it in use. It is free when the writer's thread ends."""
        backup, of_backup = self.hang_a_backup()
        self.fails_and_is_opened_anew(shimmed.PUT, shimmed.TRAP, "UNAVAILABLE")
        of_backup.disarm()
        self.assertEqual(backup.wait(20 * daemon.SLOWER), 0)
        if not daemon.SANITIZED:  # the transaction's own pages are lost, which a sanitizer would report at the end
            self.fobd.stop()

    def test_a_file_that_is_renamed(self):
        """Without its name the database fails; another file in its place is not served; its name back, it is. systemd is
        told of it, and the watchdog is still notified."""
        path = os.path.join(self.fobd.database("live"), "data.mdb")
        self.fobd.stop()
        shutil.copy(path, path + ".copy")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(os.path.join(self.fobd.place, "n"))
            s.settimeout(10 * daemon.SLOWER)
            environ = self.fobd.environ
            self.fobd.environ = lambda clock=None: dict(environ(clock), NOTIFY_SOCKET=s.getsockname(),
                                                        WATCHDOG_USEC="1000000")
            self.fobd.start(init=False)
            with self.fobd.client("admin") as c:
                self.assertEqual(c.verdict(c.roll(LIVE, "kept", grace=0).new_key.secret), "VALID")
                os.rename(path, path + ".away")
                os.rename(path + ".copy", path)
                with self.assertRaises(fobwire.Fault):
                    c.roll(LIVE, "kept")
                refused = "data.mdb is not the file that was open"
                daemon.wait_until(refused, lambda: refused in self.fobd.log())
                daemon.wait_until("systemd is told", lambda: (
                    s.recv(4096) == b"STATUS=live: not served, its database has failed"))
                daemon.wait_until("the watchdog is notified", lambda: s.recv(4096) == b"WATCHDOG=1")
                self.assertEqual(status_name(c, "live"), "NOT_SERVING")
                self.assertEqual(c.verdict(self.secret[TEST]), "VALID")
                os.rename(path + ".away", path)
                daemon.wait_until("live is served again", lambda: status_name(c, "live") == "SERVING")
                self.assertEqual(c.verdict(self.secret[LIVE]), "REVOKED")
            self.fobd.stop()

    def test_without_room_keys_can_still_be_ended(self):
        """The disk is full: new keys are refused, and all else works, 20 times."""
        for turn in range(20 if TORTURE else 2):
            with self.fobd.client("admin") as c:
                name = "room-%d" % turn
                old = c.create(LIVE, name).secret_key.secret
                # A fresh process, whose reserve is not set aside yet
                self.fobd.kill()
                self.fobd.start(init=False, shim=True)
            self.fobd.handle.arm(shimmed.ALLOCATE, 1, shimmed.FAIL, errno.ENOSPC, shimmed.FOREVER)
            with self.fobd.client("admin") as c:
                for call in (lambda: c.create(LIVE, "more"), lambda: c.roll(LIVE, name)):
                    with self.assertRaises(fobwire.Fault) as caught:
                        call()
                    self.assertEqual(caught.exception.name, "RESOURCE_EXHAUSTED")
                self.assertEqual(c.verdict(old), "VALID")
                self.assertEqual(c.revoke(LIVE, name, SECRET, 1).state, pb.types.KEY_STATE_REVOKED)
                self.assertEqual(c.verdict(old), "REVOKED")
                self.assertGreater(self.fobd.handle.disarm(), 0)
                self.assertEqual(c.verdict(c.roll(LIVE, name).new_key.secret), "VALID")
        self.fobd.stop()

    def start_without(self, n):
        """A start whose ${n}th allocation fails. Returns False if the start makes fewer."""
        self.fobd.handle.arm(shimmed.MEMORY, n, shimmed.FAIL, errno.ENOMEM)
        try:
            self.fobd.start(init=False, shim=True)
        except RuntimeError:
            self.assertEqual(self.fobd.process.returncode, 1, self.fobd.log()[-2000:])
            self.assertIn("memory", self.fobd.log().splitlines()[-1])
            self.refused += 1
            return True
        else:
            fired = self.fobd.handle.disarm()
            with self.fobd.client("admin") as c:
                for e in (LIVE, TEST):
                    r = c.response("fob.v1.Keys/VerifyKey", fobwire.verify_request(self.secret[e]))
                    got = fobwire.code_name(r.code)
                    if r.code == pb.rpc.OK:
                        got = fobwire.verdict_name(pb.keys.VerifyKeyResponse.FromString(r.body).verdict)
                    self.assertIn(got, ("VALID", "UNAVAILABLE"))
            self.served += 1
            return bool(fired)
        finally:
            self.fobd.kill()

    @unittest.skipIf(daemon.SANITIZED, "a sanitizer's malloc comes before ours; test_faults.c has its own way")
    def test_a_start_whose_nth_allocation_fails(self):
        """fobd serves, or ends with status 1 and a line with the reason."""
        pick = random.Random(tap.seed())
        self.fobd.stop()
        self.served = self.refused = 0
        n = shimmed.at_each(self.start_without, lambda _: 1 if TORTURE else pick.randrange(1, 150))
        tap.count("%d starts served, %d were refused, up to the %dth allocation" % (self.served, self.refused, n))
        self.fobd.handle.disarm()
        self.fobd.start(init=False)
        self.fobd.stop()

    def test_a_database_that_cannot_be_read_at_the_start(self):
        """Each read of a start fails in turn. A failed read of a database: that environment is not served, the other is, and
        soon both are. A failed read of a pepper: fobd does not start."""
        self.fobd.stop()
        outcomes = {"live": 0, "test": 0, "refused": 0}

        def start(n):
            said = len(self.fobd.log())
            self.fobd.handle.arm(shimmed.READ, n, shimmed.FAIL, errno.EIO)
            try:
                self.fobd.start(init=False, shim=True, listener="verify")
            except RuntimeError:
                self.assertEqual(self.fobd.process.returncode, 1)
                self.assertIn(".pepper: ", self.fobd.log().splitlines()[-1])
                outcomes["refused"] += 1
                return True
            else:
                fired = self.fobd.handle.disarm()
                failed = re.findall('msg="this environment is not served" environment=(live|test) reason=.*'
                                    "Input/output error", self.fobd.log()[said:])
                self.assertEqual(len(failed), 1 if fired else 0)
                with self.fobd.client("verify") as c:
                    for e, name in ((LIVE, "live"), (TEST, "test")):
                        r = c.response("fob.v1.Keys/VerifyKey", fobwire.verify_request(self.secret[e]))
                        if r.code != pb.rpc.OK:
                            self.assertEqual(fobwire.code_name(r.code), "UNAVAILABLE")
                            self.assertIn(name, failed)
                        if name not in failed or outcomes[name] == 0:
                            daemon.wait_until(name + " is served", lambda e=e: c.verdict(self.secret[e]) == "VALID")
                for name in failed:
                    outcomes[name] += 1
                return bool(fired)
            finally:
                self.fobd.kill()

        shimmed.at_each(start, lambda _: 1)
        self.assertGreater(outcomes["live"], 0)
        self.assertGreater(outcomes["test"], 0)
        self.fobd.handle.disarm()
        self.fobd.start(init=False)
        self.fobd.stop()


tap.main()
