#!/usr/bin/python3
"""Tests of check.py: right and wrong histories written by hand, of one node and of a cluster, and thousands of small random
ones for which every order is tried, too."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import itertools
import random
import unittest

import check
import tap

HISTORIES = 200000 if os.environ.get("TORTURE") else 5000
ACCOUNT = "live/a"
DAY_S = 86400
DAY_MS = DAY_S * 1000


def call(op, inv, ret, **said):
    """A call from ${inv} to ${ret}, in milliseconds of both clocks."""
    return dict({"op": op, "account": ACCOUNT, "token": 0, "inv": inv * 10**6, "ret": ret * 10**6, "inv_ms": inv, "node": 0,
                 "ret_ms": ret, "arg": 0, "expected": 0, "authorizing": 0, "fault": ""}, **said)


class Calls:
    """Makes calls. Each mutation has a new token unless one is given."""

    def __init__(self):
        self.token = 0

    def _mutation(self, op, inv, ret, said):
        self.token += 1
        return call(op, inv, ret, **{"token": self.token, **said})

    def roll(self, inv, ret, made, grace=0, **said):
        expires = said.pop("expires", inv + grace * 1000 if grace else 0)
        return self._mutation("roll", inv, ret, {
            "arg": grace, "generation": made, "old": made - 1, "state": "grace" if grace else "revoked",
            "expires": expires, "mark": "m%d" % made, **said})

    def revoke(self, inv, ret, key, **said):
        return self._mutation("revoke", inv, ret, {"arg": key, "generation": key, "state": "revoked",
                                                   "expires": 0, **said})

    def suspend(self, inv, ret, current=1, **said):
        return self._mutation("suspend", inv, ret, {"suspended": True, "generation": current, **said})

    def resume(self, inv, ret, current=1, **said):
        return self._mutation("resume", inv, ret, {"suspended": False, "generation": current, **said})

    @staticmethod
    def verify(inv, ret, key, verdict, current=None, expires=0, **said):
        return call("verify", inv, ret, **{
            "arg": key, "generation": key, "verdict": verdict, "current": current or key, "expires": expires,
            "superseded": verdict in ("VALID", "SUSPENDED") and expires > 0, "of": ACCOUNT, **said})

    @staticmethod
    def list(inv, ret, *keys):
        return call("list", inv, ret, keys=[[i + 1, state, expires] for i, (state, expires) in enumerate(keys)])


LOST = "DEADLINE_EXCEEDED"


def is_right(calls, by=check.check):
    try:
        by(calls)
    except check.Wrong:
        return False
    return True


class ByHand(unittest.TestCase):
    def setUp(self):
        self.c = Calls()

    def right(self, *calls):
        check.check(list(calls))

    def wrong(self, *calls):
        self.assertFalse(is_right(list(calls)), "a wrong history was accepted")

    # ---- right histories ----

    def test_one_after_the_other(self):
        c = self.c
        self.right(c.verify(0, 1, 1, "VALID"), c.roll(2, 3, 2, grace=DAY_S), c.verify(4, 5, 2, "VALID"),
                   c.verify(4, 5, 1, "VALID", 2, expires=2 + DAY_MS), c.revoke(6, 7, 1),
                   c.verify(8, 9, 1, "REVOKED", 2),
                   c.suspend(10, 11, 2), c.verify(12, 13, 2, "SUSPENDED"), c.resume(14, 15, 2),
                   c.verify(16, 17, 2, "VALID"), c.list(18, 19, ("revoked", 0), ("current", 0)))

    def test_while_a_change_is_under_way_either_is_right(self):
        c = self.c
        for verdict in ("VALID", "REVOKED"):
            self.right(c.revoke(0, 10, 1), c.verify(3, 4, 1, verdict))
            self.right(c.revoke(0, 10, 1), c.verify(9, 20, 1, verdict))

    def test_a_change_without_an_answer_may_come_late_or_never(self):
        c = self.c
        lost = c.revoke(0, 5, 1, fault=LOST)
        self.right(lost, c.verify(6, 7, 1, "VALID"))
        self.right(lost, c.verify(6, 7, 1, "VALID"), c.verify(8, 9, 1, "REVOKED"))
        self.right(lost, c.verify(6, 7, 1, "VALID"), c.list(100, 101, ("revoked", 0)))
        rolled = c.roll(0, 5, 0, grace=DAY_S, fault=LOST)
        self.right(rolled, c.list(6, 7, ("current", 0)))
        self.right(rolled, c.list(6, 7, ("grace", 3 + DAY_MS), ("current", 0)), c.roll(8, 9, 3))

    def test_a_token_that_was_answered_at_last(self):
        c = self.c
        self.right(c.roll(0, 5, 0, fault=LOST, token=7), c.verify(1, 2, 1, "VALID"), c.roll(20, 30, 2, token=7),
                   c.roll(40, 50, 2, token=7), c.verify(51, 52, 2, "VALID"),
                   c.list(53, 54, ("revoked", 0), ("current", 0)))

    def test_what_changes_nothing_now_may_do_so_later(self):
        # The resume begins before there is anything to resume, and must not be put there: with that order in mind the
        # last verify could not be explained.
        c = self.c
        self.right(c.resume(0, 100), c.suspend(1, 10), c.verify(20, 21, 1, "SUSPENDED"), c.verify(101, 102, 1, "VALID"))

    def test_a_token_whose_first_try_had_been_made(self):
        c = self.c
        self.right(c.roll(0, 5, 0, fault=LOST, token=7), c.list(10, 11, ("revoked", 0), ("current", 0)),
                   c.roll(20, 30, 2, token=7))

    def test_refusals(self):
        c = self.c
        none = {"made": 0, "old": 0, "state": "UNKNOWN"}
        self.right(c.roll(0, 1, 2), c.roll(2, 3, expected=1, fault="ABORTED", **none),
                   c.roll(2, 3, authorizing=1, fault="PERMISSION_DENIED", **none),
                   c.roll(4, 5, 3, expected=2, authorizing=2))
        many = [c.roll(10 * i, 10 * i + 1, i + 2, grace=DAY_S) for i in range(8)]
        self.right(*many, c.roll(90, 91, grace=DAY_S, fault="RESOURCE_EXHAUSTED", **none), c.roll(92, 93, 10))

    def test_around_a_deadline(self):
        c = self.c
        rolled = c.roll(0, 1, 2, grace=1, expires=1000)
        self.right(rolled, c.verify(999, 1001, 1, "VALID", 2, expires=1000))
        self.right(rolled, c.verify(999, 1001, 1, "EXPIRED", 2, expires=1000), c.revoke(1002, 1003, 1, state="expired",
                   expires=1000), c.list(1004, 1005, ("expired", 1000), ("current", 0)))

    # ---- wrong histories ----

    def test_stale_reads(self):
        c = self.c
        self.wrong(c.revoke(0, 1, 1), c.verify(2, 3, 1, "VALID"))
        self.wrong(c.suspend(0, 1), c.verify(2, 3, 1, "VALID"))
        self.wrong(c.suspend(0, 1), c.resume(2, 3), c.verify(4, 5, 1, "SUSPENDED"))
        self.wrong(c.roll(0, 1, 2), c.verify(2, 3, 1, "VALID"))
        self.wrong(c.roll(0, 1, 2, grace=DAY_S), c.verify(2, 3, 1, "VALID", 1))
        self.wrong(c.roll(0, 1, 2, grace=DAY_S), c.verify(2, 3, 1, "VALID", 1, expires=DAY_MS))
        self.wrong(c.revoke(0, 1, 1), c.list(2, 3, ("current", 0)))

    def test_a_state_that_was_seen_and_is_gone(self):
        c = self.c
        self.wrong(c.revoke(0, 100, 1), c.verify(1, 2, 1, "REVOKED"), c.verify(3, 4, 1, "VALID"))
        self.wrong(c.revoke(0, 1, 1, fault=LOST), c.verify(2, 3, 1, "REVOKED"), c.verify(4, 5, 1, "VALID"))

    def test_an_effect_without_a_cause(self):
        c = self.c
        self.wrong(c.verify(0, 1, 1, "REVOKED"))
        self.wrong(c.verify(0, 1, 1, "VALID", 2, expires=DAY_MS))
        self.wrong(c.verify(0, 1, 1, "SUSPENDED"), c.suspend(2, 3))
        self.wrong(c.verify(0, 1, 1, "REVOKED"), c.revoke(2, 3, 1, fault=LOST))

    def test_lost_changes(self):
        c = self.c
        self.wrong(c.roll(0, 1, 2), c.verify(2, 3, 2, "NOT_FOUND", generation=0, current=0, of="live/"))
        self.wrong(c.roll(0, 1, 2), c.list(2, 3, ("current", 0)))
        self.wrong(c.roll(0, 1, 2), c.roll(2, 3, 2))
        self.wrong(c.revoke(0, 1, 1), c.roll(2, 3, 2, grace=DAY_S))
        self.wrong(c.suspend(0, 1), c.roll(2, 3, 2, authorizing=1))

    def test_double_rolls(self):
        c = self.c
        self.wrong(c.roll(0, 1, 2), c.roll(2, 3, 4))
        self.wrong(c.roll(0, 1, 3, old=1))
        self.wrong(c.roll(0, 1, 2), c.list(2, 3, ("revoked", 0), ("revoked", 0), ("current", 0)))
        # A mutation that was sent twice with one token, and applied twice.
        lost = c.roll(0, 5, 0, fault=LOST, token=7)
        self.wrong(lost, c.roll(6, 7, 3, token=7))
        self.wrong(lost, c.roll(6, 7, 2, token=7), c.list(8, 9, ("revoked", 0), ("revoked", 0), ("current", 0)))
        self.wrong(lost, c.list(8, 9, ("revoked", 0), ("revoked", 0), ("current", 0)))

    def test_one_token_and_two_answers(self):
        c = self.c
        self.wrong(c.roll(0, 1, 2, token=7), c.roll(2, 3, 3, token=7))
        self.wrong(c.roll(0, 1, 2, token=7), c.roll(2, 3, 2, token=7, mark="another"))
        self.wrong(c.revoke(0, 1, 1, token=7), c.revoke(2, 3, 1, token=7, fault="ALREADY_EXISTS"))

    def test_wrong_refusals(self):
        c = self.c
        none = {"made": 0, "old": 0, "state": "UNKNOWN"}
        self.wrong(c.roll(0, 1, expected=1, fault="ABORTED", **none))
        self.wrong(c.roll(0, 1, authorizing=1, fault="PERMISSION_DENIED", **none))
        self.wrong(c.roll(0, 1, grace=DAY_S, fault="RESOURCE_EXHAUSTED", **none))
        self.wrong(c.revoke(0, 1, 1, fault="NOT_FOUND"))
        self.wrong(c.verify(0, 1, 1, "", fault="INVALID_ARGUMENT"))
        self.wrong(*[c.roll(10 * i, 10 * i + 1, i + 2, grace=DAY_S) for i in range(9)])

    def test_deadlines(self):
        c = self.c
        rolled = c.roll(0, 1, 2, grace=10, expires=10000)
        self.wrong(rolled, c.verify(10000, 10001, 1, "VALID", 2, expires=10000))
        self.wrong(rolled, c.verify(10000, 10001, 1, "SUSPENDED", 2, expires=10000), c.suspend(9000, 11000, 2))
        self.wrong(rolled, c.verify(9000, 9001, 1, "EXPIRED", 2, expires=10000))
        self.wrong(rolled, c.verify(20000, 20001, 1, "EXPIRED", 2, expires=19999))
        self.wrong(rolled, c.list(10000, 10001, ("grace", 10000), ("current", 0)))
        self.wrong(rolled, c.list(9000, 9001, ("expired", 10000), ("current", 0)))
        # A second roll that lengthens the first one's grace, and graces that are not what was asked for.
        self.wrong(rolled, c.roll(2, 3, 3, grace=10), c.verify(4, 5, 1, "VALID", 3, expires=10002))
        self.wrong(c.roll(0, 1, 2, grace=10, expires=10500))
        self.wrong(c.roll(5, 6, 2, grace=10, expires=10004))

        self.wrong(rolled, c.revoke(2, 3, 1, state="expired", expires=10000))
        self.wrong(rolled, c.revoke(10000, 10001, 1))

    def test_answers_that_say_something_else(self):
        c = self.c
        self.wrong(c.verify(0, 1, 1, "VALID", of="live/b"))
        self.wrong(c.suspend(0, 1, suspended=False))
        self.wrong(c.suspend(0, 1, 2))
        self.wrong(c.revoke(0, 1, 1, generation=2))


class OfACluster(unittest.TestCase):
    """Each node by itself, with the changes of all."""

    def setUp(self):
        self.c = Calls()

    def right(self, *calls):
        check.check_nodes(list(calls))

    def wrong(self, node, *calls):
        with self.assertRaisesRegex(check.Wrong, "^node %d: " % node):
            check.check_nodes(list(calls))

    def test_nodes_may_differ_before_a_change_is_acknowledged(self):
        c = self.c
        history = (c.revoke(0, 10, 1, node=0), c.verify(1, 2, 1, "REVOKED", node=2), c.verify(3, 4, 1, "VALID", node=1),
                   c.verify(11, 12, 1, "REVOKED", node=1))
        self.right(*history)
        self.assertFalse(is_right(list(history)), "one node may not")

    def test_a_refusal_may_know_of_a_change_that_is_not_acknowledged(self):
        c = self.c
        rolled, refused = c.roll(0, 10, 2, node=0), {"made": 0, "old": 0, "state": "UNKNOWN", "fault": "ABORTED", "expected": 1}
        self.right(rolled, c.roll(1, 2, node=1, **refused), c.verify(3, 4, 1, "VALID", node=2))
        self.wrong(1, rolled, c.roll(1, 2, node=1, **refused), c.verify(3, 4, 1, "VALID", node=1))
        self.wrong(1, rolled, c.roll(11, 12, node=1, **dict(refused, expected=2)))

    def test_a_stale_verdict_of_one_node(self):
        c = self.c
        for stale in (0, 1, 2):
            others = [n for n in (0, 1, 2) if n != stale]
            for made in (c.revoke(0, 1, 1, node=0), c.roll(0, 1, 2, node=1)):
                self.wrong(stale, made, *[c.verify(2, 3, 1, "REVOKED", 1 if made["op"] == "revoke" else 2, node=n)
                                          for n in others], c.verify(4, 5, 1, "VALID", node=stale))
            self.wrong(stale, c.suspend(0, 1, node=2), *[c.verify(2, 3, 1, "SUSPENDED", node=n) for n in others],
                       c.verify(4, 5, 1, "VALID", node=stale))
            self.wrong(stale, c.roll(0, 1, 2, grace=DAY_S, node=2), c.verify(2, 3, 1, "VALID", node=stale))

    def test_a_node_does_not_go_back(self):
        c = self.c
        self.wrong(1, c.revoke(0, 100, 1, node=0), c.verify(1, 2, 1, "REVOKED", node=1), c.verify(3, 4, 1, "VALID", node=1),
                   c.verify(5, 6, 1, "VALID", node=2))

    def test_a_node_that_lacks_a_change(self):
        c = self.c
        self.wrong(2, c.roll(0, 1, 2, node=0), c.verify(2, 3, 2, "VALID", node=1), dict(c.list(4, 5, ("current", 0)), node=2))
        self.wrong(2, c.roll(0, 1, 2, node=0),
                   c.verify(2, 3, 2, "NOT_FOUND", node=2, generation=0, current=0, of="live/"))

    def test_a_list_tells_what_was_acknowledged(self):
        c = self.c
        self.right(c.revoke(0, 1, 1, node=0), dict(c.list(2, 3, ("revoked", 0)), node=1))
        self.wrong(1, c.revoke(0, 1, 1, node=0), dict(c.list(2, 3, ("current", 0)), node=1))

    def test_one_token_through_two_nodes_at_once(self):
        c = self.c
        none = {"made": 0, "old": 0, "state": "UNKNOWN", "fault": "ABORTED"}
        first = c.roll(0, 10, 2, token=70, node=0, mark="a")
        self.right(first, c.roll(1, 20, 2, token=70, node=1, mark="a"))
        self.right(first, c.roll(1, 20, 0, token=70, node=1, fault=LOST), c.verify(11, 12, 2, "VALID", node=2))
        with self.assertRaisesRegex(check.Wrong, "two answers"):
            check.check_nodes([first, c.roll(1, 20, 3, token=70, node=1, mark="b")])
        # It is effective with the first answer, whichever was asked first.
        late = c.revoke(0, 100, 1, token=80, node=0)
        self.wrong(2, late, c.revoke(1, 10, 1, token=80, node=1), c.verify(11, 12, 1, "VALID", node=2))
        # A refusal of one, and then the other one's change; not the other way round.
        made = c.roll(0, 20, 3, expected=2, token=90, node=0)
        self.right(made, c.roll(1, 5, expected=2, token=90, node=1, **none), c.roll(6, 7, 2, node=1))
        self.right(made, c.roll(1, 30, expected=2, token=90, node=1, **none), c.roll(6, 7, 2, node=1))
        with self.assertRaisesRegex(check.Wrong, "two answers"):
            check.check_nodes([made, c.roll(6, 7, 2, node=1), c.roll(21, 22, expected=2, token=90, node=1, **none)])


# ---- compared with a search of every order ----

def explains(order, needed):
    """Do these operations, in this order, give their answers, and are all answered ones among them?"""
    state = check.NEW
    for op in order:
        state = check.step(state, op)
        if state is None:
            return False
    return needed <= {id(o) for o in order}


def by_every_order(calls):
    operations = check.operations_of(calls)[0].get(ACCOUNT, [])
    needed = {id(o) for o in operations if not o.maybe}
    for size in range(len(needed), len(operations) + 1):
        for order in itertools.permutations(operations, size):
            kept = all(not b.ret < a.inv for i, a in enumerate(order) for b in order[i + 1:])
            if kept and explains(order, needed):
                return True
    return False


class AgainstEveryOrder(unittest.TestCase):
    def make(self, pick):
        """A small history of right answers, of which some are then made wrong and some of mutations removed."""
        c, calls, generations, suspended, at = Calls(), [], ["current"], False, 0
        for _ in range(pick.randrange(2, 7)):
            at += 10
            inv, ret = at - pick.randrange(0, 35), at + pick.randrange(1, 35)
            current = len(generations)
            generation = pick.randrange(current) + 1
            what = pick.choice("vvvrxsul")
            if what == "v":
                revoked = generations[generation - 1] == "revoked"
                verdict = "REVOKED" if revoked else "SUSPENDED" if suspended else "VALID"
                if pick.random() < 0.15:
                    verdict = pick.choice(("VALID", "REVOKED", "SUSPENDED"))
                calls.append(c.verify(inv, ret, generation, verdict, current if pick.random() < 0.9 else 1))
                continue
            if what == "l":
                calls.append(c.list(inv, ret, *[(state, 0) for state in generations]))
                continue
            before = (list(generations), suspended)
            if what == "r":
                generations[-1] = "revoked"
                generations.append("current")
                made = c.roll(inv, ret, current + 1 if pick.random() < 0.9 else current + 2)
            elif what == "x":
                generations[generation - 1] = "revoked"
                made = c.revoke(inv, ret, generation)
            else:
                suspended = what == "s"
                made = (c.suspend if suspended else c.resume)(inv, ret, current)
            if pick.random() < 0.25:
                made["fault"] = LOST
                if pick.random() < 0.5:
                    generations, suspended = before
            calls.append(made)
        return calls

    def test_the_search_and_every_order_agree(self):
        pick = random.Random(tap.seed())
        right = wrong = 0
        for _ in range(HISTORIES):
            calls = self.make(pick)
            expected = by_every_order(calls)
            self.assertEqual(is_right(calls), expected, "\n".join(map(str, calls)))
            right += expected
            wrong += not expected
        tap.count("%d histories: %d right, %d wrong" % (HISTORIES, right, wrong))
        self.assertGreater(min(right, wrong), HISTORIES // 10)


tap.main()
