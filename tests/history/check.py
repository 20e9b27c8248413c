"""Check a history that tests/history/record.c recorded: is there one order of its calls that explains every answer?

Linearizability: each call takes effect at one moment between its invocation and its answer, and each answer follows from
the calls before it. A mutation without an answer may have taken effect at any moment after its invocation, or never. The
search is Wing and Gong's, with Lowe's cache of tried configurations, for each account by itself (linearizability is
local: https://doi.org/10.1145/78969.78972). One rule makes it fast: a call that fits now and can never change anything (a
read or a refusal) is placed at once, as in any order that explains the history it can be moved to the front. This does not
hold for a mutation that would change nothing *now*: at another place it may change something.

Of a cluster, each node is checked by itself: all changes, through whichever node, and the reads and refusals of that node. Two
nodes may differ before a change is acknowledged, so that there need not be one order for all; and a refusal may know of a change
that is not yet acknowledged.

Times are used only for deadlines: may a key in grace still be valid, or have expired already?
"""

import json

UNANSWERED = {"DEADLINE_EXCEEDED", "UNAVAILABLE", "CANCELLED", "INTERNAL", "UNKNOWN"}
MUTATIONS = {"roll", "revoke", "suspend", "resume"}
IN_GRACE = 8       # of a slot, at most
AHEAD_MS = 50      # the daemon's time may be ahead of the wall, which may be slewed, but never behind it
TRIED_MAX = 300_000
NEVER = float("inf")

# A generation's state. A number above CURRENT: in grace until then. One below REVOKED: in grace, the negated earliest end.
REVOKED, CURRENT = 0, 1

NEW = (False, (CURRENT,))  # an account: is it suspended, and what its generations are, from 1 on


class Wrong(Exception):
    """No order explains the history."""


class Op:
    """One operation: all calls under one token."""

    def __init__(self, call, maybe=False):
        self.__dict__.update(call)
        self.maybe = maybe
        self.changes = self.op in MUTATIONS and (maybe or not self.fault)
        if maybe:
            self.ret = self.ret_ms = NEVER

    def __str__(self):
        said = {k: v for k, v in self.__dict__.items() if k not in ("op", "account", "inv", "ret", "inv_ms", "ret_ms")}
        return "%s %s %.6f..%s %s" % (self.account, self.op, self.inv / 1e9,
                                      "never" if self.maybe else "%.6f" % (self.ret / 1e9), said)


# ---- an account's state, and the answers that fit it ----

def ends_ms(status):
    """-> (no earlier than, no later than)"""
    return (status, status) if status > CURRENT else (-status, NEVER)


def in_grace(status):
    return status not in (REVOKED, CURRENT)


def may_be_unexpired(op, status):
    return op.inv_ms < ends_ms(status)[1]


def may_be_expired(op, status):
    return op.ret_ms + AHEAD_MS >= ends_ms(status)[0]


def is_end(status, expires):
    first, last = ends_ms(status)
    return first <= expires <= last


def is_verify(state, op):
    suspended, keys = state
    if not 1 <= op.arg <= len(keys) or op.generation != op.arg or op.current != len(keys) or op.of != op.account:
        return False
    status = keys[op.arg - 1]
    if status == REVOKED:
        return op.verdict == "REVOKED" and not op.superseded
    if status == CURRENT:
        return op.verdict == ("SUSPENDED" if suspended else "VALID") and not op.superseded and op.expires == 0
    if not is_end(status, op.expires):
        return False
    if op.verdict == "EXPIRED":
        return op.ret_ms + AHEAD_MS >= op.expires and not op.superseded
    return op.verdict == ("SUSPENDED" if suspended else "VALID") and op.superseded and op.inv_ms < op.expires


def is_listed(op, status, state, expires):
    if not in_grace(status):
        return state == ("revoked" if status == REVOKED else "current")
    if not is_end(status, expires):
        return False
    return op.ret_ms + AHEAD_MS >= expires if state == "expired" else state == "grace" and op.inv_ms < expires


def is_list(state, op):
    keys = state[1]
    return [k[0] for k in op.keys] == list(range(1, len(keys) + 1)) and \
        all(is_listed(op, keys[generation - 1], s, expires) for generation, s, expires in op.keys)


def authorizes(state, op):
    suspended, keys = state
    return op.authorizing == 0 or (op.authorizing == len(keys) and keys[-1] == CURRENT and not suspended)


def graces(state, op, counts):
    return sum(1 for status in state[1] if in_grace(status) and counts(op, status))


def roll_refused(state, op):
    """Does the operation's fault fit the state? Checked in fobd's order."""
    if not authorizes(state, op):
        return op.fault == "PERMISSION_DENIED"
    if op.expected not in (0, len(state[1])):
        return op.fault == "ABORTED"
    return op.fault == "RESOURCE_EXHAUSTED" and op.arg > 0 and state[1][-1] == CURRENT and \
        graces(state, op, may_be_unexpired) >= IN_GRACE


def rolled(state, op):
    """The state after the operation, or None if its answer does not fit."""
    suspended, keys = state
    old = keys[-1]
    if not authorizes(state, op) or op.expected not in (0, len(keys)):
        return None
    if old == CURRENT:
        old = -(op.inv_ms + op.arg * 1000) if op.arg > 0 else REVOKED
    if not op.maybe:
        if op.generation != len(keys) + 1 or op.old != len(keys):
            return None
        if op.state != ("grace" if in_grace(old) else "revoked"):
            return None
        if in_grace(old):
            if not op.inv_ms <= op.expires - op.arg * 1000 <= op.ret_ms + AHEAD_MS:
                return None
            if graces(state, op, lambda o, status: not may_be_expired(o, status)) >= IN_GRACE:
                return None
            old = op.expires
    return suspended, keys[:-1] + (old, CURRENT)


def revoked(state, op):
    suspended, keys = state
    if not 1 <= op.arg <= len(keys):
        return None
    status = keys[op.arg - 1]
    if not op.maybe:
        if op.generation != op.arg:
            return None
        if op.state == "expired":  # too late: it stays what it is
            return state if in_grace(status) and may_be_expired(op, status) and is_end(status, op.expires) else None
        if op.state != "revoked" or in_grace(status) and not may_be_unexpired(op, status):
            return None
    return suspended, keys[:op.arg - 1] + (REVOKED,) + keys[op.arg:]


def suspended_or_resumed(state, op):
    suspend = op.op == "suspend"
    if not op.maybe and (op.suspended != suspend or op.generation != len(state[1])):
        return None
    return suspend, state[1]


def step(state, op):
    """The state after ${op}, or None if its answer does not fit here."""
    if op.op == "verify":
        return state if is_verify(state, op) else None
    if op.op == "list":
        return state if is_list(state, op) else None
    if op.fault and not op.maybe:
        return state if op.op == "roll" and roll_refused(state, op) else None
    return {"roll": rolled, "revoke": revoked}.get(op.op, suspended_or_resumed)(state, op)


# ---- from calls to operations ----

def answer(call):
    return {k: v for k, v in call.items() if k not in ("inv", "ret", "inv_ms", "ret_ms", "node")}


def of_token(calls):
    """The operations of the calls under one token: the one change, if it was or may have been made, and the refusals. A refusal
    may come before the change, from another call that was under way, but never after it."""
    calls.sort(key=lambda c: c["inv"])
    refused = [c for c in calls if c["fault"] and c["fault"] not in UNANSWERED]
    others = [c for c in calls if c not in refused]
    done = sorted((c for c in others if c["fault"] == ""), key=lambda c: c["ret"])
    if not done:
        return [Op(c) for c in refused] + ([Op(others[0], maybe=True)] if others else [])
    if any(answer(c) != answer(done[0]) for c in done) or any(c["inv"] > done[0]["ret"] for c in refused):
        raise Wrong("one token, and two answers:\n  " + "\n  ".join(json.dumps(c) for c in calls))
    first = {"ret": done[0]["ret"], "ret_ms": done[0]["ret_ms"]}
    return [Op(dict(done[0], inv=others[0]["inv"], inv_ms=others[0]["inv_ms"]))] + [
        Op(dict(c, **(first if c["ret"] > done[0]["ret"] else {}))) for c in refused]


def operations_of(calls):
    """-> {account: [Op]}, and the number of reads without an answer, which are left out."""
    accounts, tokens, silent = {}, {}, 0
    for call in calls:
        accounts.setdefault(call["account"], [])
        if call["op"] in MUTATIONS:
            tokens.setdefault(call["token"], []).append(call)
        elif call["fault"] in UNANSWERED:
            silent += 1
        elif call["fault"]:
            raise Wrong("a fault that nothing explains: " + json.dumps(call))
        else:
            accounts[call["account"]].append(Op(call))
    for same in tokens.values():
        accounts[same[0]["account"]] += of_token(same)
    return accounts, silent


# ---- the search ----

class Search:
    """Search the orders of one account's operations. A configuration is (the bits of the placed ones, the state)."""

    def __init__(self, operations):
        self.ops = sorted(operations, key=lambda o: o.inv)
        self.answered = sum(1 << i for i, o in enumerate(self.ops) if not o.maybe)
        self.deepest = (-1, 0, NEW)

    def candidates(self, placed):
        """The operations that may be next: those that began before any other one that is left was answered."""
        found, horizon = [], NEVER
        i = (~placed & (placed + 1)).bit_length() - 1  # the first that is not placed
        while i < len(self.ops) and self.ops[i].inv <= horizon:
            if not placed >> i & 1:
                found.append(i)
                horizon = min(horizon, self.ops[i].ret)
            i += 1
        return [i for i in found if self.ops[i].inv <= horizon]

    def settle(self, placed, state):
        """Place every operation that fits and can change nothing. -> (placed, the candidates that are left)"""
        while True:
            candidates = self.candidates(placed)
            free = [i for i in candidates if not self.ops[i].changes and step(state, self.ops[i]) is not None]
            if not free:
                return placed, candidates
            for i in free:
                placed |= 1 << i

    def run(self):
        """Returns how many configurations were tried. Raises Wrong if no order explains the history."""
        stack, seen = [(0, NEW)], set()
        while stack:
            placed, state = stack.pop()
            placed, candidates = self.settle(placed, state)
            if placed & self.answered == self.answered:
                return len(seen) + 1
            if (placed, state) in seen:
                continue
            seen.add((placed, state))
            if len(seen) > TRIED_MAX:
                raise Wrong("undecided after %d configurations, of %d operations" % (TRIED_MAX, len(self.ops)))
            self.deepest = max(self.deepest, (bin(placed & self.answered).count("1"), placed, state))
            # Last in, first out: what has been answered first is the likeliest, what never was the least likely.
            for i in sorted(candidates, key=lambda i: -self.ops[i].ret):
                after = step(state, self.ops[i]) if self.ops[i].changes else None
                if after is not None and not (self.ops[i].maybe and after == state):
                    stack.append((placed | 1 << i, after))
        raise Wrong(self.explain())

    def explain(self):
        count, placed, state = self.deepest
        lines = ["no order explains this history: after %d of its %d answers, %s" % (
            count, bin(self.answered).count("1"), state), "none of these fits:"]
        lines += ["  %s" % self.ops[i] for i in self.candidates(placed)]
        lines += ["what was placed last:"] + ["  %s" % o for i, o in enumerate(self.ops) if placed >> i & 1][-12:]
        return "\n".join(lines)


def check(calls):
    """Returns counts of what was checked. Raises Wrong if no order explains the history."""
    accounts, silent = operations_of(calls)
    counts = {"calls": len(calls), "answered": 0, "maybe": 0, "silent": silent, "configurations": 0}
    for operations in accounts.values():
        counts["configurations"] += Search(operations).run()
        counts["maybe"] += sum(o.maybe for o in operations)
    counts["answered"] = sum(c["fault"] not in UNANSWERED for c in calls)
    return counts


def check_nodes(calls):
    """The same for each node of a cluster: all changes, and that node's reads and refusals."""
    operations_of(calls)  # each token has one answer, whichever nodes were asked
    changes = [c["op"] in MUTATIONS and (not c["fault"] or c["fault"] in UNANSWERED) for c in calls]
    configurations = silent = 0
    for node in sorted({c["node"] for c in calls}):
        try:
            counts = check([c for c, change in zip(calls, changes) if change or c["node"] == node])
        except Wrong as wrong:
            raise Wrong("node %d: %s" % (node, wrong)) from None
        configurations += counts["configurations"]
        silent += counts["silent"]
    return dict(counts, calls=len(calls), answered=sum(c["fault"] not in UNANSWERED for c in calls), silent=silent,
                configurations=configurations)


def read(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]
