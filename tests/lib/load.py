"""Rolls from many threads, each recorded before it is sent, and a check of the result.

For tests that kill or stop the daemon under load: every acknowledged roll must exist, every other roll must have been
applied once or not at all, and every token must lead to exactly one secret.
"""

import threading

import fobwire
import pb

ROLL = "fob.v1.Admin/RollKey"


class Rollers:
    """One thread for each entry (environment, account) of ${slots}. An entry may appear several times."""

    def __init__(self, daemon, slots, listener="admin", depth=4, grace=0):
        self.daemon = daemon
        self.listener = listener
        self.depth = depth  # requests that a thread has under way at once
        self.grace = grace
        self.ended = threading.Event()
        self.records = []   # [environment, account, envelope, reply or None]; appended to by all threads
        self.strange = []   # unexpected replies and errors
        self.threads = [threading.Thread(target=self._run, args=slot, daemon=True) for slot in slots]

    def start(self):
        for t in self.threads:
            t.start()
        return self

    def acknowledged(self):
        return sum(1 for r in self.records if r[3] is not None)

    def join(self):
        self.ended.set()
        for t in self.threads:
            t.join(60)
            if t.is_alive():
                raise AssertionError("a thread hangs: a request without a reply on an open connection")
        if self.strange:
            raise AssertionError("%d strange: %s" % (len(self.strange), self.strange[0]))
        return self

    def _run(self, environment, account):
        try:
            with self.daemon.connection(self.listener) as connection:
                while not self.ended.is_set():
                    batch = []
                    for _ in range(self.depth):
                        data = fobwire.request(ROLL, fobwire.roll_request(environment, account, grace=self.grace))
                        batch.append([environment, account, data, None])
                    self.records.extend(batch)  # before they are sent
                    waiting = dict(zip(connection.send_many([r[2] for r in batch]), batch))
                    while waiting:
                        ident, data = connection.recv()
                        reply = fobwire.response(data)
                        record = waiting.pop(ident)
                        if reply.code == pb.rpc.OK:
                            record[3] = data
                        elif reply.code != pb.rpc.UNAVAILABLE:  # UNAVAILABLE: the daemon stops, or asks for a retry
                            self.strange.append(str(fobwire.Fault(reply.code, reply.message)))
        except (fobwire.Closed, OSError):
            pass  # the test has killed or stopped the daemon
        except Exception as e:
            self.strange.append(repr(e))


def judge(test, daemon, records, generation_before):
    """
    After a restart: send every request twice more, with its token, and check the replies and the keys.
    ${generation_before}, {(environment, account): generation}, is updated. Returns how many rolls had been acknowledged.
    """
    secrets = {}
    with daemon.connection("admin") as c:
        for turn in range(2):
            for i in range(0, len(records), 32):
                part = records[i:i + 32]
                for record, data in zip(part, c.exchange_many([r[2] for r in part])):
                    reply = fobwire.response(data)
                    test.assertEqual(reply.code, pb.rpc.OK, reply.message)
                    if record[3] is not None:
                        test.assertEqual(data, record[3], "a token got another reply than before")
                    elif turn == 0:
                        record.append(data)
                    else:
                        test.assertEqual(data, record[4], "a token got another reply than before")
                    new = pb.admin.RollKeyResponse.FromString(reply.body).new_key
                    secrets.setdefault(bytes(new.secret), (record[0], record[1], new.key.generation))
    test.assertEqual(len(secrets), len(records), "tokens share a secret")

    slots = {}
    for environment, account, generation in secrets.values():
        slots.setdefault((environment, account), []).append(generation)
    for slot, generations in slots.items():
        before = generation_before[slot]
        test.assertEqual(sorted(generations), list(range(before + 1, before + 1 + len(generations))),
                         "%s: a roll was lost, or applied twice" % slot[1])
        generation_before[slot] = before + len(generations)
    with daemon.client("admin") as c:
        newest = {slot: max(g) for slot, g in slots.items()}
        for slot, generation in newest.items():
            account = [a for a in c.accounts(slot[0]) if a.account == slot[1]][0]
            test.assertEqual(account.secret_generation, generation)
        sample = list(secrets.items())
        sample = [s for s in sample if s[1][2] == newest[s[1][:2]]] + sample[::max(1, len(sample) // 100)]
        for secret, (environment, account, generation) in sample:
            want = "VALID" if generation == newest[environment, account] else "REVOKED"
            test.assertEqual(c.verdict(secret), want, "%s generation %d" % (account, generation))
    return sum(1 for r in records if r[3] is not None)
