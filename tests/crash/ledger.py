"""A client's record of its accounts and their keys, and the check of a daemon that was killed against it.

Each account belongs to one worker, which has at most one change under way. So after a kill only that change is in doubt,
and a resend with its token settles it. judge() then compares everything that fobd returns with the record.
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import fobwire  # noqa: E402
import pb  # noqa: E402
from pb import PUBLISHABLE, SECRET  # noqa: E402

CURRENT, GRACE = pb.types.KEY_STATE_CURRENT, pb.types.KEY_STATE_GRACE
EXPIRED, REVOKED = pb.types.KEY_STATE_EXPIRED, pb.types.KEY_STATE_REVOKED
CLOCK_MS = 50  # by how much the two sides' readings of one clock may differ


def now_ms():
    return int(time.time() * 1000)


class Key:
    def __init__(self, account, secret, kind, generation):
        self.account, self.secret, self.kind, self.generation = account, secret, kind, generation
        self.state, self.expires_ms = CURRENT, 0

    def verdicts(self, before_ms, after_ms):
        """The verdicts that are right while a change is under way."""
        if self.state == CURRENT:
            return {"VALID"}
        if self.state == REVOKED:
            return {"REVOKED"}
        if self.state == EXPIRED or before_ms >= self.expires_ms + CLOCK_MS:
            return {"EXPIRED"}
        return {"VALID"} if after_ms < self.expires_ms - CLOCK_MS else {"VALID", "EXPIRED"}


class Account:
    def __init__(self, environment, name):
        self.environment, self.name = environment, name
        self.secrets, self.publishable = [], None  # secrets[g - 1] is generation g
        self.rolled = self.revoked = 0

    def in_grace(self):
        return [k for k in self.secrets if k.state == GRACE]


class Worker:
    """Changes its own accounts, one change after another, over one connection at a time."""

    def __init__(self, ledger, name, environment, pick):
        self.ledger, self.name, self.environment, self.pick = ledger, name, environment, pick
        self.accounts = []
        self.pending = None  # (method, envelope, account): sent, and not answered
        self.acknowledged = self.verified = 0
        self.touched = set()
        self.done = []       # (envelope, reply) since the last judgement

    # ---- one change ----

    def next_change(self):
        """-> (method, message, account)"""
        live = [a for a in self.accounts if a.secrets]
        choice = self.pick.random()
        if not live or choice < 0.15:
            account = Account(self.environment, "%s-%d" % (self.name, len(self.accounts)))
            return "CreateAccount", fobwire.create_request(self.environment, account.name), account
        account = self.pick.choice(live)
        if choice < 0.75 and len(account.in_grace()) < 7:
            grace = self.pick.choice((0, 0, 1, 2, 3600))
            return "RollKey", fobwire.roll_request(self.environment, account.name, grace=grace), account
        key = self.pick.choice(account.secrets)
        return "RevokeKey", pb.admin.RevokeKeyRequest(
            request_token=fobwire.new_token(), environment=self.environment, account=account.name, kind=SECRET,
            generation=key.generation), account

    def send(self, connection, method, message, account):
        envelope = fobwire.request("fob.v1.Admin/" + method, message)
        self.pending = (method, envelope, account)
        self.settle(connection)

    def settle(self, connection):
        """Send the pending change, perhaps for the second time, and record its reply."""
        if self.pending is None:
            return
        method, envelope, account = self.pending
        data = connection.exchange(envelope)
        reply = fobwire.result("fob.v1.Admin/" + method, fobwire.response(data))
        self.pending = None
        self.acknowledged += 1
        self.done.append((envelope, data))
        self.touched.add(account)
        getattr(self, "_" + method)(account, reply)

    def _CreateAccount(self, account, reply):
        account.secrets = [Key(account, reply.secret_key.secret, SECRET, 1)]
        account.publishable = Key(account, reply.publishable_key.secret, PUBLISHABLE, 1)
        self.accounts.append(account)
        self.ledger.remember(account.secrets[0])
        self.ledger.remember(account.publishable)

    def _RollKey(self, account, reply):
        old = account.secrets[-1]
        if reply.new_key.key.generation != old.generation + 1:
            raise AssertionError("%s: generation %d became %d" % (account.name, old.generation,
                                                                  reply.new_key.key.generation))
        account.secrets.append(Key(account, reply.new_key.secret, SECRET, old.generation + 1))
        account.rolled += 1
        if old.state == CURRENT:
            old.state = reply.old_key.state
            old.expires_ms = reply.old_key.expires_ms
        self.ledger.remember(account.secrets[-1])

    def _RevokeKey(self, account, reply):
        key = account.secrets[reply.key.generation - 1]
        if key.state in (CURRENT, GRACE) and reply.key.state == REVOKED:
            account.revoked += 1
        key.state = reply.key.state

    # ---- verifies in between ----

    def verify(self, connection):
        """Verify some of its own keys in one VerifyKeys."""
        keys = [k for a in self.pick.sample(self.accounts, min(4, len(self.accounts))) for k in a.secrets[-4:]]
        if keys:
            self.verified += self.ledger.verify(connection, keys)

    def run(self, fobd, ended):
        """Run until the daemon is gone or ${ended} is set."""
        try:
            with fobd.connection("admin") as connection:
                while not ended.is_set():
                    self.send(connection, *self.next_change())
                    if self.pick.random() < 0.4:
                        self.verify(connection)
        except (fobwire.Closed, OSError):
            pass  # which is what the test is about
        except Exception as e:
            self.ledger.problems.append("%s: %r" % (self.name, e))


class Ledger:
    def __init__(self):
        self.workers, self.keys, self.problems = [], [], []
        self.secrets = set()
        self.position = {}   # environment -> (page token, last sequence), for events
        self.seen = {}       # (environment, account) -> {type: count}
        self.expired = set()
        self.replayed = self.verified = self.events = 0

    def worker(self, name, environment, pick):
        self.workers.append(Worker(self, name, environment, pick))
        return self.workers[-1]

    def remember(self, key):
        if key.secret in self.secrets:
            raise AssertionError("one secret twice")
        self.secrets.add(key.secret)
        self.keys.append(key)

    def acknowledged(self):
        return sum(w.acknowledged for w in self.workers)

    def verify(self, connection, keys):
        """Check that each of ${keys} is as recorded; returns how many there are."""
        for i in range(0, len(keys), 256):
            part = keys[i:i + 256]
            before = now_ms()
            items = fobwire.result("fob.v1.Keys/VerifyKeys", fobwire.response(connection.exchange(
                fobwire.request("fob.v1.Keys/VerifyKeys", pb.keys.VerifyKeysRequest(
                    items=[fobwire.verify_request(k.secret) for k in part]))))).items
            after = now_ms()
            for key, item in zip(part, items):
                got = fobwire.verdict_name(item.result.verdict) if item.code == 0 else fobwire.code_name(item.code)
                if got not in key.verdicts(before, after):
                    raise AssertionError("%s generation %d: %s, not %s" % (
                        key.account.name, key.generation, got, key.verdicts(before, after)))
        return len(keys)

    # ---- after a restart ----

    def judge(self, fobd, pick, everything=False):
        """Raises AssertionError for anything that differs from what was acknowledged."""
        if self.problems:
            raise AssertionError("%d: %s" % (len(self.problems), self.problems[0]))
        with fobd.connection("admin") as connection, fobd.client("admin") as client:
            for w in self.workers:
                w.settle(connection)
                # A used token gets the same reply again and changes nothing, or the checks below would fail.
                for envelope, reply in w.done if everything else w.done[-8:]:
                    if connection.exchange(envelope) != reply:
                        raise AssertionError("%s: a used token gets another reply" % w.name)
                    self.replayed += 1
            touched = {a for w in self.workers for a in (w.accounts if everything else w.touched)}
            keys = self.keys if everything else [k for a in touched for k in a.secrets + [a.publishable]]
            self.verified += self.verify(connection, keys)
            self.verified += self.verify(connection, pick.sample(self.keys, min(256, len(self.keys))))
            for account in touched:
                self._judge_keys(client, account)
            for environment in {w.environment for w in self.workers}:
                self._judge_accounts(client, environment)
                self._judge_events(client, environment)
            for w in self.workers:
                w.touched, w.done = set(), []

    def _judge_keys(self, client, account):
        before = now_ms()
        listed = client.keys(account.environment, account.name, page_size=1000)
        after = now_ms()
        secrets = [k for k in listed if k.kind == SECRET]
        if [k.generation for k in secrets] != list(range(1, len(account.secrets) + 1)):
            raise AssertionError("%s: generations %s" % (account.name, [k.generation for k in secrets]))
        for got, known in zip(secrets, account.secrets):
            allowed = {known.state}
            if known.state == GRACE:
                verdicts = known.verdicts(before, after)
                allowed = {GRACE} if verdicts == {"VALID"} else {EXPIRED} if verdicts == {"EXPIRED"} else {GRACE, EXPIRED}
            if got.state not in allowed:
                raise AssertionError("%s generation %d: state %d, not %s" % (account.name, got.generation, got.state,
                                                                             allowed))

    def _judge_accounts(self, client, environment):
        listed = {a.account: a.secret_generation for a in client.accounts(environment, page_size=1000)}
        known = {a.name: len(a.secrets) for w in self.workers if w.environment == environment for a in w.accounts}
        if listed != known:
            raise AssertionError("accounts: %s" % sorted(set(listed.items()) ^ set(known.items()))[:4])

    def _judge_events(self, client, environment):
        """Check the events since the last call: no gap, no repeat, and for each account one event for each change."""
        token, sequence = self.position.get(environment, (b"", 0))
        while True:
            page = client.call("fob.v1.Admin/ListEvents", pb.admin.ListEventsRequest(
                environment=environment, page_size=1000, page_token=token))
            for e in page.events:
                if e.sequence != sequence + 1:
                    raise AssertionError("event %d comes after %d" % (e.sequence, sequence))
                sequence = e.sequence
                self._count_event(environment, e)
            token = page.next_page_token
            if not page.more:
                break
        self.position[environment] = (token, sequence)
        for account in (a for w in self.workers if w.environment == environment for a in w.accounts):
            want = {pb.admin.ACCOUNT_CREATED: 1, pb.admin.KEY_ROLLED: account.rolled,
                    pb.admin.KEY_REVOKED: account.revoked}
            got = self.seen.get((environment, account.name), {})
            if any(got.get(kind, 0) != n for kind, n in want.items()):
                raise AssertionError("%s: events %s, not %s" % (account.name, got, want))

    def _count_event(self, environment, e):
        self.events += 1
        if e.type == pb.admin.KEY_EXPIRED:
            if (environment, e.account, e.generation) in self.expired:
                raise AssertionError("%s generation %d expired twice" % (e.account, e.generation))
            self.expired.add((environment, e.account, e.generation))
        counts = self.seen.setdefault((environment, e.account), {})
        counts[e.type] = counts.get(e.type, 0) + 1
