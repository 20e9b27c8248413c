#!/usr/bin/python3
"""fob-http in the role operator with a real fobd: each Admin call as JSON, signing in and out, what a browser on another site
can not do, and that no secret is in its log or memory."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import base64
import concurrent.futures
import re
import stat
import subprocess
import time
import unittest

import daemon
import fobwire
import leaks
import tap
import web
from pb import LIVE

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OURS = [("Sec-Fetch-Site", "same-origin"), ("Origin", "http://fob")]  # Host is "fob" in web.request()


def code(said):
    return said["error"]["code"]


def new_token():
    return fobwire.new_token().hex()


class Case(unittest.TestCase):
    """One fobd, which admits this user to its admin listener, and one fob-http for all tests of a class."""
    settings, user_header, trusted = "", None, ()

    @classmethod
    def setUpClass(cls):
        cls.fobd = daemon.Daemon(in_admin="", settings='log_level = "debug"\n')
        # As OPERATIONS has it: the unix socket is for named users only. This one is fob-http's here.
        text = cls.fobd.config_text.replace('listen "%s" {\n' % cls.fobd.urls["admin"],
                                            'listen "%s" {\n\tallow_users = "%d"\n' % (cls.fobd.urls["admin"], os.getuid()))
        cls.fobd.write_config(text)
        cls.fobd.start()
        cls.addClassCleanup(cls.fobd.kill)
        cls.web = web.Operator(cls.fobd.urls["admin"], cls.user_header, cls.settings + 'log_level = "debug"\n',
                               trusted=cls.trusted).start()
        cls.addClassCleanup(cls.web.kill)

    @classmethod
    def tearDownClass(cls):
        cls.web.stop()
        cls.fobd.stop()

    def post(self, target, body=None, headers=None, **kw):
        """As a program does it, with the sign-in token; ${headers} instead."""
        return self.web.post(target, body, self.web.bearer() if headers is None else headers, **kw)

    def ok(self, target, body, **kw):
        reply, said = self.post(target, body, **kw)
        self.assertEqual(reply.status, 200, said)
        self.assertEqual(reply.headers["cache-control"], "no-store")
        return said

    def refused(self, got, status, name):
        reply, said = got
        self.assertEqual((reply.status, code(said)), (status, name), said)
        self.assertEqual(reply.headers["cache-control"], "no-store")
        self.assertEqual("www-authenticate" in reply.headers, status == 401)

    def change(self, target, account, **more):
        return self.ok(target, {"request_token": new_token(), "environment": "live", "account": account, **more})

    def sign_in(self, headers=OURS, body=None, **kw):
        """-> (Cookie header, CSRF header)."""
        reply, said = self.web.post("/v1/session", {"token": self.web.token()} if body is None else body, headers, **kw)
        self.assertEqual(reply.status, 200, said)
        cookie = reply.headers["set-cookie"].split(";")[0]
        for text in (cookie.split("=")[1], said["csrf_token"]):
            fobwire.known_tokens.add(base64.urlsafe_b64decode(text + "="))
        return ("Cookie", cookie), ("X-CSRF-Token", said["csrf_token"])


class Calls(Case):
    def verdict(self, secret):
        with self.fobd.client("verify") as c:
            return c.verdict(secret.encode())

    def test_an_account_and_its_keys(self):
        made = self.change("/v1/accounts/create", "acme")
        self.assertEqual(sorted(made), ["account", "publishable_key", "secret_key"])
        self.assertEqual(made["account"], {
            "account": "acme", "environment": "live", "created_ms": made["account"]["created_ms"], "suspended": False,
            "suspended_ms": 0, "secret_generation": 1, "publishable_generation": 1, "keys_in_grace": 0})
        self.assertLess(abs(made["account"]["created_ms"] / 1000 - time.time()), 3600)
        old = made["secret_key"]
        self.assertEqual(old["key"], {
            "account": "acme", "environment": "live", "kind": "secret", "generation": 1, "last4": old["secret"][-4:],
            "state": "current", "created_ms": made["account"]["created_ms"], "expires_ms": 0, "ended_ms": 0,
            "last_used_ms": 0})
        self.assertEqual((self.verdict(old["secret"]), self.verdict(made["publishable_key"]["secret"])), ("VALID", "VALID"))

        rolled = self.change("/v1/keys/roll", "acme", kind="secret", grace={"seconds": 60}, expected_generation=1,
                             authorizing_secret=old["secret"])
        self.assertEqual((rolled["new_key"]["key"]["generation"], rolled["old_key"]["state"]), (2, "grace"))
        self.assertAlmostEqual(rolled["old_key"]["expires_ms"] - rolled["new_key"]["key"]["created_ms"], 60000)
        self.assertEqual(self.verdict(old["secret"]), "VALID")
        now = self.change("/v1/keys/roll", "acme", grace={"seconds": 0})
        self.assertEqual((now["old_key"]["state"], self.verdict(rolled["new_key"]["secret"])), ("revoked", "REVOKED"))
        later = self.change("/v1/keys/roll", "acme")
        self.assertEqual(later["old_key"]["expires_ms"] - later["new_key"]["key"]["created_ms"], 86400000)

        gone = self.change("/v1/keys/revoke", "acme", kind="secret", generation=1)
        self.assertEqual((gone["key"]["state"], self.verdict(old["secret"])), ("revoked", "REVOKED"))
        held = self.change("/v1/accounts/suspend", "acme")
        self.assertTrue(held["account"]["suspended"] and held["account"]["suspended_ms"])
        self.assertEqual(self.verdict(later["new_key"]["secret"]), "SUSPENDED")
        self.assertFalse(self.change("/v1/accounts/resume", "acme")["account"]["suspended"])
        self.assertEqual(self.verdict(later["new_key"]["secret"]), "VALID")

        keys = self.ok("/v1/keys/list", {"environment": "live", "account": "acme"})
        self.assertEqual([(k["kind"], k["generation"]) for k in keys["keys"]],
                         [("secret", n) for n in (1, 2, 3, 4)] + [("publishable", 1)])
        self.assertEqual(keys["next_page_token"], "")
        events = self.ok("/v1/events/list", {"environment": "live", "account": "acme"})
        self.assertEqual([e["type"] for e in events["events"]],
                         ["account_created"] + ["key_rolled"] * 3 + ["key_revoked", "account_suspended", "account_resumed"])
        self.assertEqual({e["origin"]["uid"] for e in events["events"]}, {os.getuid()})
        self.assertEqual({e["origin"]["pid"] for e in events["events"]}, {self.web.pid})
        self.assertEqual({e["origin"]["on_behalf_of"] for e in events["events"]}, {None})
        log = self.web.log()
        for what in ("account create", "account suspend", "account resume", "key roll", "key revoke"):
            self.assertRegex(log, 'msg="%s" outcome=OK environment=live account=acme user="by the token"' % what)

    def test_pages(self):
        for i in range(5):
            self.ok("/v1/accounts/create", {"request_token": new_token(), "environment": "test", "account": "p%d" % i})
        for target, name, more in (("/v1/accounts/list", "accounts", {}), ("/v1/keys/list", "keys", {"account": "p1"}),
                                   ("/v1/events/list", "events", {})):
            whole = self.ok(target, {"environment": "test", **more})
            seen, token = [], ""
            for _ in range(9):
                page = self.ok(target, {"environment": "test", "page_size": 1, "page_token": token, **more})
                seen += page[name]
                token = page["next_page_token"]
                if not (page["more"] if name == "events" else token):
                    break
            self.assertEqual(seen, whole[name])
            self.assertGreaterEqual(len(seen), 2)
        after = self.ok("/v1/events/list", {"environment": "test", "page_token": token})
        self.assertEqual((after["events"], after["more"]), ([], False))
        self.assertTrue(after["next_page_token"])

    def test_the_same_request_twice_is_one_change(self):
        for target, more in (("/v1/accounts/create", {}), ("/v1/keys/roll", {}), ("/v1/keys/revoke", {
                "kind": "secret", "generation": 1}), ("/v1/accounts/suspend", {}), ("/v1/accounts/resume", {})):
            body = {"request_token": new_token(), "environment": "live", "account": "twice", **more}
            first = self.ok(target, body)
            body["request_token"] = body["request_token"].upper()
            self.assertEqual(self.ok(target, body), first)
            body["account"] = "other"
            self.refused(self.post(target, body), 409, "ALREADY_EXISTS")
        self.assertEqual(len(self.ok("/v1/events/list", {"environment": "live", "account": "twice"})["events"]), 5)

    def test_faults_of_fobd(self):
        self.change("/v1/accounts/create", "faults")

        def ask(target, account="faults", **more):
            return self.post(target, {"request_token": new_token(), "environment": "live", "account": account, **more})

        self.refused(ask("/v1/accounts/create"), 409, "ALREADY_EXISTS")
        self.refused(ask("/v1/keys/roll", "nobody"), 404, "NOT_FOUND")
        self.refused(ask("/v1/keys/roll", expected_generation=7), 409, "ABORTED")
        self.refused(ask("/v1/keys/roll", authorizing_secret="sk_live_x"), 403, "PERMISSION_DENIED")
        self.refused(ask("/v1/keys/roll", kind="publishable"), 409, "FAILED_PRECONDITION")
        self.refused(ask("/v1/keys/revoke", kind="secret", generation=9), 404, "NOT_FOUND")
        for _ in range(8):
            self.change("/v1/keys/roll", "faults", grace={"seconds": 3600})
        self.refused(ask("/v1/keys/roll", grace={"seconds": 3600}), 429, "RESOURCE_EXHAUSTED")
        self.refused(self.post("/v1/keys/list", {"environment": "live", "account": "nobody"}), 404, "NOT_FOUND")

    def test_bodies_that_are_refused(self):
        good = {"request_token": new_token(), "environment": "live", "account": "bad"}
        roll, revoke = "/v1/keys/roll", "/v1/keys/revoke"
        for target, body, why in (
                (roll, b"", "the body is not JSON"), (roll, b"[]", "the body is not a JSON object"),
                (roll, {k: good[k] for k in ("environment", "account")}, "request_token: give 64 hexadecimal digits"),
                (roll, {**good, "request_token": "00"}, "request_token: give 64"),
                (roll, {**good, "request_token": "g" * 64}, "request_token: give 64"),
                (roll, {**good, "request_token": "0" * 66}, "request_token: give 64"),
                (roll, {**good, "environment": "LIVE"}, "environment: give 'live' or 'test'"),
                (roll, {"request_token": good["request_token"], "account": "a"}, "environment: give"),
                (roll, {**good, "account": "a b"}, "account: give 1 to 64"), (roll, {**good, "account": ""}, "account: give"),
                (roll, {**good, "account": "a" * 65}, "account: give"), (roll, {**good, "kind": 1}, "kind: give"),
                (roll, {**good, "grace": 5}, "grace: give"), (roll, {**good, "grace": {"seconds": 86401}}, "grace: give"),
                (roll, {**good, "grace": {"seconds": 1, "x": 1}}, "grace: give"),
                (roll, {**good, "grace": {"seconds": True}}, "grace: give"),
                (roll, {**good, "expected_generation": -1}, "expected_generation: give"),
                (roll, {**good, "expected_generation": 4294967296}, "expected_generation: give"),
                (roll, {**good, "authorizing_secret": ""}, "authorizing_secret: give"),
                (roll, {**good, "generation": 1}, "the body has a member that this call does not have"),
                (roll, {**good, "graces": 1}, "the body has a member"), (revoke, {**good, "kind": "secret"}, "generation: give"),
                (revoke, {**good, "generation": 1}, "kind: give"),
                (revoke, {**good, "kind": "secret", "generation": 0}, "generation: give"),
                ("/v1/keys/list", {"environment": "live"}, "account: give"),
                ("/v1/keys/list", {"environment": "live", "account": "a", "page_size": 1001}, "page_size: give"),
                ("/v1/events/list", {"environment": "live", "page_token": "!"}, "page_token: give"),
                ("/v1/events/list", {"environment": "live", "page_token": "A" * 400}, "page_token: give")):
            reply, said = self.post(target, body)
            self.assertEqual((reply.status, code(said)), (400, "INVALID_ARGUMENT"), body)
            self.assertTrue(said["error"]["message"].startswith(why), (said, why))
        self.refused(self.post("/v1/events/list", {"environment": "live", "page_token": "AAAA"}), 400, "INVALID_ARGUMENT")
        for method in ("GET", "PUT", "DELETE"):
            reply, _ = self.post(roll, method=method)
            self.assertEqual((reply.status, reply.headers["allow"]), (405, "POST"))
        self.assertEqual(self.post("/v1/session", method="PUT")[0].headers["allow"], "GET, POST, DELETE")

    def test_what_the_other_role_has_is_not_here(self):
        for target in ("/v1/verify", "/v1/verify-batch", "/v1/auth", "/v1/keys", "/v1/keys/roll/", "/page.css/", "/index.html"):
            self.assertEqual(self.post(target, {})[0].status, 404)

    def test_a_trace_reaches_the_log_of_fobd(self):
        self.post("/v1/accounts/create", {"request_token": new_token(), "environment": "live", "account": "trace"},
                  headers=self.web.bearer() + [("traceparent", TRACE)])
        self.assertRegex(self.fobd.log(), "account=trace .*traceparent=" + TRACE)
        self.change("/v1/accounts/create", "untraced")
        ours = re.search(r"account=untraced .*traceparent=(00-[0-9a-f]{32}-[0-9a-f]{16}-01)", self.web.log())[1]
        self.assertRegex(self.fobd.log(), "account=untraced .*traceparent=" + ours)

    def test_two_who_roll_at_once(self):
        self.change("/v1/accounts/create", "race")

        def roll(_):
            return self.post("/v1/keys/roll", {"request_token": new_token(), "environment": "live", "account": "race",
                                               "expected_generation": 1})[0].status

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            self.assertEqual(sorted(pool.map(roll, range(2))), [200, 409])

    @unittest.skipUnless(os.geteuid() == 0, "only root may read fob-http's memory")
    @unittest.skipIf(daemon.SANITIZED, "a sanitizer keeps what was freed")
    def test_no_secret_stays_in_memory(self):
        cookie, csrf = self.sign_in()
        made = self.change("/v1/accounts/create", "memory")
        secrets = [made[name]["secret"].encode() for name in ("secret_key", "publishable_key")]
        body = {"request_token": new_token(), "environment": "live", "account": "memory"}
        for _ in range(2):
            reply, said = self.post("/v1/keys/roll", body, [cookie, csrf, *OURS])
            secrets.append(said["new_key"]["secret"].encode())
        tokens = [bytes.fromhex(body["request_token"])] + [
            base64.urlsafe_b64decode(text + "=") for text in (self.web.token(), cookie[1].split("=")[1], csrf[1])]
        daemon.wait_until("no secret in memory",
                          lambda: not leaks.secrets_in_memory(self.web.pid, secrets, tokens), 5)


class Sessions(Case):
    CHANGE = "/v1/accounts/create"

    def body(self, account):
        return {"request_token": new_token(), "environment": "live", "account": account}

    def test_the_token_file(self):
        where = os.stat(self.web.token_path)
        self.assertEqual((stat.S_IMODE(where.st_mode), where.st_uid), (0o600, os.getuid()))
        self.assertRegex(self.web.token(), r"^[A-Za-z0-9_-]{43}$")

    def test_sign_in_and_out(self):
        list_all = ("/v1/accounts/list", {"environment": "live"})
        self.refused(self.web.post(*list_all, OURS), 401, "UNAUTHENTICATED")
        reply, said = self.web.post("/v1/session", {"token": self.web.token()}, OURS)
        self.assertRegex(reply.headers["set-cookie"], r"^fob-session=[\w-]{43}; Path=/; HttpOnly; SameSite=Strict$")
        self.assertEqual((said["user"], sorted(said)), (None, ["csrf_token", "left_ms", "user"]))
        self.assertTrue(0 < said["left_ms"] <= 900000)
        cookie, csrf = ("Cookie", reply.headers["set-cookie"].split(";")[0]), ("X-CSRF-Token", said["csrf_token"])
        seen = self.web.post("/v1/session", None, [cookie], method="GET")[1]
        self.assertEqual(seen["csrf_token"], said["csrf_token"])
        self.assertEqual(self.web.post(*list_all, [cookie, csrf, *OURS])[0].status, 200)
        self.assertEqual(self.web.post(self.CHANGE, self.body("by.cookie"), [cookie, csrf, *OURS])[0].status, 200)
        reply, _ = self.web.post("/v1/session", None, [cookie, csrf, *OURS], method="DELETE")
        self.assertRegex(reply.headers["set-cookie"], r"^fob-session=; Path=/; .*Max-Age=0$")
        self.refused(self.web.post(*list_all, [cookie, csrf, *OURS]), 401, "UNAUTHENTICATED")
        self.refused(self.web.post("/v1/session", None, [cookie], method="GET"), 401, "UNAUTHENTICATED")
        self.assertIn("signed in", self.web.log())
        self.assertIn("signed out", self.web.log())

    def test_a_second_sign_in(self):
        first, second = self.sign_in(), self.sign_in()
        self.assertNotEqual(first, second)
        for cookie, csrf in (first, second):
            self.assertEqual(self.web.post("/v1/accounts/list", {"environment": "live"}, [cookie, csrf, *OURS])[0].status, 200)
        # The tokens are each session's own.
        self.refused(self.web.post("/v1/accounts/list", {"environment": "live"}, [first[0], second[1], *OURS]), 403, "CSRF")
        # In the same browser it ends the session before.
        third = self.sign_in([*OURS, first[0]])
        self.assertEqual(self.web.post("/v1/session", None, [first[0]], method="GET")[0].status, 401)
        for cookie, _ in (second, third):
            self.assertEqual(self.web.post("/v1/session", None, [cookie], method="GET")[0].status, 200)

    def test_a_session_of_the_past(self):
        for value in ("fob-session=" + "A" * 43, "fob-session=", "fob-session", "x=y", "fob-session=" + "A" * 9000):
            self.refused(self.web.post("/v1/accounts/list", {"environment": "live"}, [("Cookie", value), *OURS]), 401,
                         "UNAUTHENTICATED")
        cookie, _ = self.sign_in()
        twice = ("Cookie", cookie[1] + "; " + cookie[1])
        self.assertEqual(self.web.post("/v1/session", None, [twice], method="GET")[0].status, 401)
        among = ("Cookie", "a=b; " + cookie[1] + "; xfob-session=1")
        self.assertEqual(self.web.post("/v1/session", None, [among], method="GET")[0].status, 200)

    def test_what_another_site_can_not_do(self):
        cookie, csrf = self.sign_in()
        for headers in ([cookie, *OURS], [cookie, csrf], [cookie, ("X-CSRF-Token", "A" * 43), *OURS],
                        [cookie, ("X-CSRF-Token", ""), *OURS], [cookie, ("X-CSRF-Token", csrf[1][:-1]), *OURS],
                        [cookie, csrf, ("Origin", "http://evil")], [cookie, csrf, ("Origin", "null")],
                        [cookie, csrf, ("Origin", "http://fob:81")], [cookie, csrf, ("Origin", "http://fob.evil")],
                        [cookie, csrf, ("Sec-Fetch-Site", "cross-site")], [cookie, csrf, ("Sec-Fetch-Site", "same-site")],
                        [cookie, csrf, ("Sec-Fetch-Site", "none")],
                        [cookie, csrf, ("Sec-Fetch-Site", "same-origin"), ("Origin", "http://evil")],
                        [cookie, csrf, csrf, *OURS], [cookie, csrf, *OURS, OURS[1]], [cookie, csrf, *OURS, ("X_CSRF_Token", "a")]):
            self.refused(self.web.post(self.CHANGE, self.body("csrf"), headers), 403, "CSRF")
            self.refused(self.web.post("/v1/session", None, headers, method="DELETE"), 403, "CSRF")
        self.refused(self.web.post("/v1/session", {"token": self.web.token()}, [("Origin", "http://evil")]), 403, "CSRF")
        self.refused(self.web.post("/v1/session", {"token": self.web.token()}, [("Sec-Fetch-Site", "cross-site")]), 403, "CSRF")
        for headers in ([cookie, csrf, ("Origin", "https://fob")], [cookie, csrf, OURS[0]], [cookie, csrf, *OURS]):
            self.assertEqual(self.web.post("/v1/accounts/list", {"environment": "live"}, headers)[0].status, 200)
        with self.fobd.client() as c:
            self.assertNotIn("csrf", [a.account for a in c.accounts(LIVE)])

    def test_sign_in_bodies(self):
        for body in (b"", b"[]", {}, {"token": 1}, {"token": "x", "y": 1}, {"Token": "x"}):
            self.refused(self.web.post("/v1/session", body, OURS), 400, "INVALID_ARGUMENT")


class Idle(Case):
    settings = 'session_idle = 1\norigin = "https://fob.example.com"\n'

    def test_a_session_ends_when_it_is_idle(self):
        theirs = [("Origin", "https://fob.example.com")]
        reply, said = self.web.post("/v1/session", {"token": self.web.token()}, theirs)
        # The settings' origin has TLS.
        self.assertRegex(reply.headers["set-cookie"],
                         r"^__Host-fob-session=[\w-]{43}; Path=/; HttpOnly; SameSite=Strict; Secure$")
        cookie, csrf = ("Cookie", reply.headers["set-cookie"].split(";")[0]), ("X-CSRF-Token", said["csrf_token"])
        self.refused(self.web.post("/v1/accounts/list", {"environment": "live"}, [cookie, csrf, *OURS]), 403, "CSRF")
        self.assertEqual(self.web.post("/v1/accounts/list", {"environment": "live"}, [cookie, csrf, *theirs])[0].status, 200)
        daemon.wait_until("the session has ended, though it is asked for",
                          lambda: self.web.post("/v1/session", None, [cookie], method="GET")[0].status == 401, 5)
        self.refused(self.web.post("/v1/accounts/list", {"environment": "live"}, [cookie, csrf, *theirs]), 401,
                     "UNAUTHENTICATED")


class Attempts(Case):
    def test_sign_in_attempts_are_limited(self):
        wrong = "A" * 43
        cookie, csrf = self.sign_in()
        for i in range(5):
            if i % 2:
                self.refused(self.web.post("/v1/session", {"token": wrong}, OURS), 401, "UNAUTHENTICATED")
            else:
                self.refused(self.post("/v1/accounts/list", {"environment": "live"},
                                       [("Authorization", "Bearer " + wrong)]), 401, "UNAUTHENTICATED")
        for got in (self.web.post("/v1/session", {"token": self.web.token()}, OURS),
                    self.post("/v1/accounts/list", {"environment": "live"})):
            self.refused(got, 429, "TOO_MANY_ATTEMPTS")
            self.assertTrue(0 < int(got[0].headers["retry-after"]) <= 60)
        # Another peer has attempts of its own, and who is signed in stays so.
        self.assertEqual(self.post("/v1/accounts/list", {"environment": "live"}, unix=True)[0].status, 200)
        self.assertEqual(self.web.post("/v1/accounts/list", {"environment": "live"}, [cookie, csrf, *OURS])[0].status, 200)
        self.assertEqual(self.web.log().count("sign-in refused: a wrong token"), 5)
        self.assertNotIn(wrong[:30], self.web.log())


class Proxy(Case):
    """A proxy names the user. Only the unix socket is trusted."""
    user_header, trusted = "X-Forwarded-User", ("10.0.0.0/8",)

    def test_the_user_that_a_trusted_proxy_names(self):
        ada, bob = ("X-Forwarded-User", "ada@example.com"), ("X-Forwarded-User", "bob")
        cookie, csrf = self.sign_in([ada, *OURS], {}, unix=True)
        listing = ("/v1/accounts/list", {"environment": "live"})
        self.assertEqual(self.web.post(*listing, [ada, cookie, csrf, *OURS], unix=True)[0].status, 200)
        self.assertEqual(self.web.post("/v1/session", None, [ada, cookie], method="GET", unix=True)[1]["user"], ada[1])
        for headers in ([cookie, csrf, *OURS], [bob, cookie, csrf, *OURS], [ada, ada, cookie, csrf, *OURS],
                        [ada, ("X_Forwarded_User", "bob"), cookie, csrf, *OURS],
                        [("X-Forwarded-User", ""), cookie, csrf, *OURS], [("X-Forwarded-User", "a b"), cookie, csrf, *OURS],
                        *([("X-Forwarded-User", name), cookie, csrf, *OURS] for name in ("a" * 65, 'a"', "a\\", "\xe9", "\xc3\xa9")),
                        [ada, csrf, *OURS]):
            self.refused(self.web.post(*listing, headers, unix=True), 401, "UNAUTHENTICATED")
        body = {"request_token": new_token(), "environment": "live", "account": "proxied"}
        self.refused(self.web.post("/v1/accounts/create", {**body, "on_behalf_of": "bob"}, [ada, cookie, csrf, *OURS],
                                   unix=True), 400, "INVALID_ARGUMENT")
        self.assertEqual(self.web.post("/v1/accounts/create", body, [ada, cookie, csrf, *OURS], unix=True)[0].status, 200)
        self.assertRegex(self.web.log(), r'msg="account create" outcome=OK .*account=proxied user=ada@example.com peer=unix')

    def test_fobd_names_the_user(self):
        """In its log line and in the event, beside this process, which it knows itself."""
        users = ["ada@example.com", "bob"]
        changes = [("/v1/accounts/create", {}), ("/v1/keys/roll", {}), ("/v1/accounts/suspend", {}), ("/v1/accounts/resume", {}),
                   ("/v1/keys/revoke", {"kind": "secret", "generation": 1})]
        for i, (target, more) in enumerate(changes):
            user = ("X-Forwarded-User", users[i % 2])
            cookie, csrf = self.sign_in([user, *OURS], {}, unix=True)
            headers = [user, cookie, csrf, *OURS]
            body = {"request_token": new_token(), "environment": "live", "account": "named", **more}
            self.assertEqual(self.web.post(target, body, headers, unix=True)[0].status, 200)
        named = [users[i % 2] for i in range(len(changes))]
        said = self.web.post("/v1/events/list", {"environment": "live", "account": "named"}, headers, unix=True)[1]
        origin = {"address": None, "certificate": None, "uid": os.getuid(), "pid": self.web.pid}
        self.assertEqual([e["origin"] for e in said["events"]], [{**origin, "on_behalf_of": name} for name in named])
        with self.fobd.client() as c:
            self.assertEqual([(e.origin.uid, e.origin.pid, e.origin.on_behalf_of) for e in c.events(LIVE, "named")],
                             [(os.getuid(), self.web.pid, name) for name in named])
        shown = subprocess.run([os.path.join(daemon.BUILD, "fob"), "events", "--address", self.fobd.urls["admin"], "--account",
                                "named"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout
        self.assertEqual(re.findall(r"  [a-z]+_[a-z]+ for (\S+)  ", shown), named)
        self.assertEqual(re.findall(r" account=named .*?uid=%d pid=%d on_behalf_of=(\S+) " % (os.getuid(), self.web.pid),
                                    self.fobd.log()), named)

    def test_an_untrusted_peer(self):
        ada = ("X-Forwarded-User", "ada")
        cookie, csrf = self.sign_in([ada, *OURS], {}, unix=True)
        self.refused(self.web.post("/v1/session", {}, [ada, *OURS]), 403, "UNTRUSTED")
        self.refused(self.web.post("/v1/accounts/list", {"environment": "live"}, [ada, cookie, csrf, *OURS]), 403, "UNTRUSTED")
        self.refused(self.web.post("/v1/session", None, [ada, cookie], method="GET"), 403, "UNTRUSTED")

    def test_there_is_no_token(self):
        self.assertFalse(os.path.exists(self.web.token_path))
        for token in ("", "A" * 43):
            self.refused(self.web.post("/v1/accounts/list", {"environment": "live"},
                                       [("Authorization", "Bearer " + token)], unix=True), 401, "UNAUTHENTICATED")
        self.refused(self.web.post("/v1/session", {"token": "A" * 43}, [("X-Forwarded-User", "ada"), *OURS], unix=True), 400,
                     "INVALID_ARGUMENT")


class Down(Case):
    def test_503_while_fobd_is_down(self):
        body = {"request_token": new_token(), "environment": "live", "account": "down"}
        first = self.ok("/v1/accounts/create", body)
        cookie, csrf = self.sign_in()
        self.fobd.stop()
        self.refused(self.post("/v1/accounts/create", body), 503, "UNAVAILABLE")
        self.refused(self.post("/v1/keys/list", {"environment": "live", "account": "down"}), 503, "UNAVAILABLE")
        self.assertEqual(self.web.post("/v1/session", None, [cookie], method="GET")[0].status, 200)
        self.fobd.start(init=False)
        daemon.wait_until("it answers again", lambda: self.post("/v1/accounts/create", body)[0].status == 200)
        self.assertEqual(self.ok("/v1/accounts/create", body), first)

    def test_fobd_admits_named_users_only(self):
        other = daemon.Daemon()
        text = other.config_text.replace('listen "%s" {\n' % other.urls["admin"],
                                         'listen "%s" {\n\tallow_users = "%d"\n' % (other.urls["admin"], os.getuid() + 1))
        other.write_config(text)
        other.start(listener="tcpadmin")
        self.addCleanup(other.kill)
        for listener, why in (("admin", "not one of this listener's allow_users"),
                              ("verify", "this listener does not serve fob.v1.Admin")):
            w = web.Operator(other.urls[listener]).start()
            self.addCleanup(w.kill)
            reply, said = w.post("/v1/accounts/list", {"environment": "live"}, w.bearer())
            self.assertEqual((reply.status, code(said)), (403, "PERMISSION_DENIED"))
            self.assertIn(why, said["error"]["message"])
            line = re.compile('msg="this fobd listener does not serve fob.v1.Admin to this user.*' + why)
            daemon.wait_until("the log says so, too", lambda: line.search(w.log()))
            w.stop()
            self.assertFalse(os.path.exists(w.token_path))
        other.stop()


class Start(unittest.TestCase):
    def test_a_token_for_each_start(self):
        w = web.Operator("ipc:///nonexistent/a")
        with open(w.token_path, "w") as f:
            f.write("of an earlier start")
        os.chmod(w.token_path, 0o644)
        tokens = set()
        for _ in range(2):
            w.start()
            tokens.add(w.token())
            self.assertEqual(stat.S_IMODE(os.stat(w.token_path).st_mode), 0o600)
            w.stop()
        self.assertEqual(len(tokens), 2)

    def test_settings_that_are_refused(self):
        w = web.Operator("ipc:///nonexistent/a", place=daemon.folder())
        with open(w.config) as f:
            text = f.read()
        for old, new, why in (
                (w.tcp, "0.0.0.0:8490", "listen: 0.0.0.0:8490 is not a loopback address, and there is no TLS"),
                ("token_file", "#", "none of token_file and user_header"),
                (w.place + "/token", "/nonexistent/token", r"token_file = \"/nonexistent/token\" cannot be written")):
            with open(w.config, "w") as f:
                f.write(text.replace(old, new))
            done = w.run()
            self.assertEqual(done.returncode, 1)
            self.assertIn(why.replace("\\", ""), done.stderr)


tap.main()
