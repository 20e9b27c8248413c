#!/usr/bin/python3
"""A pepper rotation while fobd serves verifies, rolls, revocations, suspensions and resent tokens; with kill -9 during it,
and a second rotation after the first. No verdict is wrong, and no call fails. Then peppers and databases that are
refused."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import hashlib
import random
import re
import shutil
import subprocess
import threading
import unittest

import daemon
import fobwire
import pb
import tap
from pb import LIVE, SECRET

LONG = bool(os.environ.get("TORTURE"))
ACCOUNTS = 20000 if LONG else 1500
KILLS = 40 if LONG else 4
SEED = int(os.environ.get("TEST_SEED") or 1)


def lines(path):
    with open(path) as f:
        return f.read().splitlines(True)


class Worker(threading.Thread):
    """A worker with its own accounts. Only it changes them, so it knows the right answer to every call."""

    def __init__(self, test, number):
        super().__init__()
        self.test, self.random = test, random.Random(SEED + number)
        self.stop, self.failure = threading.Event(), None
        self.accounts = ["w%d-%d" % (number, i) for i in range(8)]
        self.state = {}  # account: {"current", "pk", "old": [(secret, verdict)], "suspended", "generation"}
        self.sent = []   # (method, request bytes, reply bytes)
        self.calls = 0
        self.lost = None  # a change that got no answer

    def run(self):
        try:
            while not self.stop.is_set():
                if not self.round():
                    self.test.up.wait(30)
        except Exception as e:  # noqa: told by the test
            self.failure = e

    def round(self):
        """Returns False when the daemon is gone."""
        self.test.up.wait(60)
        try:
            with self.test.fobd.client("admin") as c:
                while not self.stop.is_set():
                    self.finish_lost(c)
                    self.once(c)
                    self.calls += 1
        except (OSError, fobwire.Closed):
            return False
        return True

    def change(self, c, method, request, note):
        """Make a change and record its effect when it is answered. A change without an answer is sent again later."""
        self.lost = (method, fobwire.request("fob.v1.Admin/" + method, request), note)
        self.finish_lost(c)

    def finish_lost(self, c):
        if self.lost is None:
            return
        method, data, note = self.lost
        reply = c.connection.exchange(data)
        response = fobwire.result("fob.v1.Admin/" + method, fobwire.response(reply))
        note(response)
        self.sent.append((data, reply))
        self.lost = None

    def begin(self, c):
        for account in self.accounts:
            made = c.create(LIVE, account)
            self.state[account] = {"current": made.secret_key.secret, "pk": made.publishable_key.secret, "old": [],
                                   "suspended": False, "generation": 1}

    def once(self, c):
        account = self.random.choice(self.accounts)
        s, what = self.state[account], self.random.randrange(12)
        if what == 0:
            grace = self.random.choice((0, 3600)) if len([o for o in s["old"] if o[1] == "VALID"]) < 8 else 0

            def rolled(r):
                s["old"].append((s["current"], "VALID" if grace else "REVOKED", s["generation"]))
                s["current"], s["generation"] = r.new_key.secret, s["generation"] + 1
            self.change(c, "RollKey", fobwire.roll_request(
                LIVE, account, grace=grace, authorizing_secret=b"" if s["suspended"] else s["current"]), rolled)
        elif what == 1:
            alive = [i for i, o in enumerate(s["old"]) if o[1] == "VALID"]
            if alive:
                i = self.random.choice(alive)

                def revoked(_):
                    s["old"][i] = (s["old"][i][0], "REVOKED", s["old"][i][2])
                self.change(c, "RevokeKey", pb.admin.RevokeKeyRequest(
                    request_token=fobwire.new_token(), environment=LIVE, account=account, kind=SECRET,
                    generation=s["old"][i][2]), revoked)
        elif what == 2:
            name = "ResumeAccount" if s["suspended"] else "SuspendAccount"

            def suspended(_):
                s["suspended"] = not s["suspended"]
            self.change(c, name, getattr(pb.admin, name + "Request")(
                request_token=fobwire.new_token(), environment=LIVE, account=account), suspended)
        elif what == 3 and self.sent:
            data, reply = self.random.choice(self.sent)
            self.test.assertEqual(c.connection.exchange(data), reply)
        else:
            self.check(c, account)

    def check(self, c, account):
        s = self.state[account]
        usable = "SUSPENDED" if s["suspended"] else "VALID"
        for secret, verdict in [(s["current"], "VALID"), (s["pk"], "VALID")] + [o[:2] for o in s["old"]]:
            got = c.verify(secret)
            self.test.assertEqual((fobwire.verdict_name(got.verdict), got.account),
                                  (usable if verdict == "VALID" else verdict, account))
            if secret != s["pk"]:
                self.test.assertEqual(got.current_generation, s["generation"])


class Rotation(unittest.TestCase):
    def setUp(self):
        self.fobd = daemon.Daemon()
        self.addCleanup(self.fobd.kill)
        self.up = threading.Event()

    def rotate(self):
        done = subprocess.run([os.path.join(daemon.BUILD, "fob"), "pepper", "rotate", "--config", self.fobd.config, "live"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10 * daemon.SLOWER)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("live.pepper: a new pepper was added", done.stdout)

    def rotations(self):
        return re.findall(r'msg="?pepper rotated"? .*', self.fobd.log())

    def import_many(self):
        """Make keys that no worker changes. Returns {secret: account}."""
        known = {}
        with self.fobd.client("admin") as c:
            for first in range(0, ACCOUNTS, 250):
                items = []
                for i in range(first, min(first + 250, ACCOUNTS)):
                    secret = b"sk_live_imported%08d" % i
                    known[secret] = "i%06d" % i
                    items.append(pb.admin.ImportItem(account=known[secret], secret_last4=b"%04d" % (i % 10000),
                                                     secret_sha256=hashlib.sha256(secret).digest()))
                c.call("fob.v1.Admin/ImportAccounts", pb.admin.ImportAccountsRequest(
                    request_token=fobwire.new_token(), environment=LIVE, items=items))
        return known

    def check_imported(self, known, sample):
        with self.fobd.client("verify") as c:
            for first in range(0, len(sample), 200):
                part = sample[first:first + 200]
                for secret, item in zip(part, c.verify_many([fobwire.verify_request(s) for s in part])):
                    self.assertEqual(item.code, 0, item.message)
                    self.assertEqual((fobwire.verdict_name(item.result.verdict), item.result.account),
                                     ("VALID", known[secret]))
            self.assertEqual(c.verdict(b"sk_live_imported99999999"), "MALFORMED")
        # and an import finds them, too
        with self.fobd.client("admin") as c:
            done = c.call("fob.v1.Admin/ImportAccounts", pb.admin.ImportAccountsRequest(
                request_token=fobwire.new_token(), environment=LIVE, items=[pb.admin.ImportItem(
                    account=known[s], secret_last4=b"%04d" % (int(known[s][1:]) % 10000),
                    secret_sha256=hashlib.sha256(s).digest()) for s in sample[:50]]))
            self.assertEqual(set(done.outcomes), {pb.admin.UNCHANGED})

    def test_calls_beside_it_and_kills(self):
        self.fobd.start()
        known = self.import_many()
        workers = [Worker(self, i) for i in range(4)]
        with self.fobd.client("admin") as c:
            for w in workers:
                w.begin(c)
        chance = random.Random(SEED)
        self.check_imported(known, list(known)[:400])
        used = self.last_used(list(known.values())[:5])
        self.up.set()
        for w in workers:
            w.start()
        killed = 0
        for rotation in (1, 2):
            self.rotate()
            self.up.clear()
            self.fobd.kill()
            self.fobd.start(init=False)
            self.up.set()
            for _ in range(KILLS):
                if len(self.rotations()) == rotation:
                    break
                self.up.clear()
                self.fobd.kill()
                killed += 1
                # Half of it under the one pepper, half under the other: whole all the same.
                done = self.fobd.run("--check", timeout_s=60)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.fobd.start(init=False)
                self.up.set()
                self.check_imported(known, chance.sample(list(known), 200))
            while len(self.rotations()) < rotation:
                self.check_imported(known, chance.sample(list(known), 200))
                self.assertEqual([w.failure for w in workers if w.failure], [])
            self.check_imported(known, list(known))
        for w in workers:
            w.stop.set()
            w.join()
        self.assertEqual([w.failure for w in workers if w.failure], [])
        self.assertEqual(len(self.rotations()), 2)
        self.fobd.restart()
        with self.fobd.client("admin") as c:
            for w in workers:
                w.finish_lost(c)
                for account in w.accounts:
                    w.check(c, account)
                for data, reply in w.sent:
                    self.assertEqual(c.connection.exchange(data), reply)
            for e in c.stats().environments:
                self.assertEqual(e.corrupt_records, 0)
        self.assertEqual(sum(n > 0 for n in self.last_used(list(known.values())[:5])), len(used))
        self.assertGreater(killed, 0)
        self.fobd.stop()
        print("# TEST_SEED=%d: %d keys moved twice, %d kills, %d rounds of calls beside it" % (
            SEED, len(known), killed, sum(w.calls for w in workers)))

    def last_used(self, accounts):
        with self.fobd.client("admin") as c:
            found = [c.keys(LIVE, a)[0].last_used_ms for a in accounts]
        self.assertTrue(all(found), found)
        return found

    def test_a_database_and_files_that_do_not_go_together(self):
        path = self.fobd.pepper("live")
        self.fobd.start()
        with self.fobd.client("admin") as c:
            secret = c.create(LIVE, "a").secret_key.secret
        self.fobd.stop()
        before = lines(path)
        old = os.path.join(self.fobd.place, "old")
        shutil.copytree(self.fobd.database("live"), old)
        self.rotate()
        after = lines(path)
        self.assertEqual(after[:1], before)
        self.assertEqual(len(after), 2)
        self.assertEqual(os.stat(path).st_mode & 0o7777, 0o600)
        self.fobd.start(init=False)
        daemon.wait_until("the rotation's end", self.rotations)
        with self.fobd.client("verify") as c:
            self.assertEqual(c.verdict(secret), "VALID")
        self.fobd.stop()
        for wrong in (before, after[1:], after[::-1], after + [after[0][:-3] + "00\n"] * 3):
            with open(path, "w") as f:
                f.writelines(wrong)
            done = self.fobd.run()
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, "live.pepper: (this pepper does not belong|not a pepper file)")
        with open(path, "w") as f:
            f.writelines(after)
        # a backup from before it is moved, too, and its keys are as good
        shutil.rmtree(self.fobd.database("live"))
        shutil.move(old, self.fobd.database("live"))
        self.fobd.start(init=False)
        daemon.wait_until("the second end", lambda: len(self.rotations()) == 2)
        with self.fobd.client("verify") as c:
            self.assertEqual(c.verdict(secret), "VALID")
        self.fobd.stop()

    def test_what_cannot_be_rotated(self):
        self.fobd.init()
        for name in ("staging", ""):
            done = self.fobd.run("--rotate-pepper", name)
            self.assertEqual(done.returncode, 1)
            self.assertIn("no environment \"%s\" is configured" % name, done.stderr)
        self.rotate()
        with open(self.fobd.pepper("live"), "a") as f:
            f.writelines("fob-pepper-v1 %s\n" % os.urandom(32).hex() for _ in range(14))
        done = self.fobd.run("--rotate-pepper", "live")
        self.assertEqual(done.returncode, 1)
        self.assertIn("which is the limit", done.stderr)
        self.assertEqual(len(lines(self.fobd.pepper("live"))), 16)
        self.assertEqual(len(lines(self.fobd.pepper("test"))), 1)
        self.assertEqual(sorted(n for n in os.listdir(self.fobd.place) if "pepper" in n),
                         ["live.pepper", "live.pepper.used", "test.pepper", "test.pepper.used"])


if __name__ == "__main__":
    tap.main()
