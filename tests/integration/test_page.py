#!/usr/bin/python3
"""Settings > API Keys in a real browser, headless Chromium, with a real fobd and fob-http. What the page did to the keys is
asked of fobd. Pictures are kept in the folder of the variant's programs, in page/; secrets in them are replaced."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import http.server
import re
import shutil
import socket
import threading
import unittest

import daemon
import fobwire
import pb
import tap
import web
from pb import LIVE, TEST

try:
    from selenium import webdriver
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.keys import Keys
except ImportError:
    webdriver = None

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
PICTURES = os.path.join(daemon.BUILD, "page")
AXE = ("/usr/share/nodejs/axe-core/axe.min.js", "/usr/lib/node_modules/axe-core/axe.min.js",
       "/usr/local/lib/node_modules/axe-core/axe.min.js", os.environ.get("AXE_CORE", ""))
SECRET = re.compile(r"[sp]k_(?:live|test)_[0-9A-Za-z]{20,}")


def start_browser():
    try:
        socket.getaddrinfo("localhost", None)
    except socket.gaierror:
        raise unittest.SkipTest("no name localhost, which chromedriver needs: no /etc/hosts?") from None
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.page_load_strategy = "eager"
    for flag in ("--headless=new", "--window-size=1200,960", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync", "--lang=en-GB",
                 "--user-data-dir=" + os.path.join(daemon.folder(), "u")):
        options.add_argument(flag)
    if os.getuid() == 0:  # Chromium's sandbox does not start as root
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    env = dict(os.environ, HOME=daemon.folder(), LANGUAGE="en_GB")
    service = Service(DRIVER, env=env)
    try:
        return webdriver.Chrome(service=service, options=options)
    except WebDriverException as e:  # for example without user namespaces, which its sandbox needs
        service.stop()
        raise unittest.SkipTest("Chromium does not start here: %s" % str(e).strip().split("\n")[0])


def setUpModule():
    if webdriver is None or not CHROMIUM or not DRIVER:
        raise unittest.SkipTest("no browser here: chromium, chromium-driver or python3-selenium is not installed")
    Page.browser = start_browser()
    unittest.addModuleCleanup(Page.browser.quit)
    Page.fobd = daemon.Daemon().start()
    unittest.addModuleCleanup(Page.fobd.stop)
    Page.web = web.Operator(Page.fobd.urls["admin"]).start()
    unittest.addModuleCleanup(Page.web.stop)


class Case(unittest.TestCase):
    """What a person does and sees. Elements are found by their ids."""
    browser = fobd = web = None
    documents = 0

    def see(self, what, look, timeout_s=10):
        """Wait until ${look} returns something true. An element that is gone, or not there yet, means "not yet"."""
        def seen():
            try:
                return look()
            except WebDriverException:
                return None
        return daemon.wait_until(what, seen, timeout_s, every_s=0.02)

    def element(self, name):
        return self.see(name, lambda: self.js("return [...document.querySelectorAll(arguments[0])].find((e) => e.checkVisibility())",
                                              name if name[0] in ".#[" else "#" + name))

    def text(self, name="main"):
        return self.js("return document.getElementById(arguments[0])?.innerText ?? ''", name)

    def js(self, code, *args):
        return self.browser.execute_script(code, *args)

    def click(self, name):
        """On what is seen at its middle: nothing that a dialog covers. Much faster than WebDriver's click."""
        self.see("a click on " + name, lambda: self.js("""
            const e = [...document.querySelectorAll(arguments[0])].find((e) => e.checkVisibility() && !e.disabled);
            if (!e) return false;
            e.scrollIntoView({block: 'nearest'});
            const r = e.getBoundingClientRect();
            const top = document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2);
            if (!top || !(e.contains(top) || top.contains(e) && top.matches('label'))) return false;
            e.focus();
            e.click();
            return true;""", name if name[0] in ".#[" else "#" + name))

    def type(self, name, text):
        self.element(name)
        self.js("""const e = document.getElementById(arguments[0]); e.focus(); e.value = arguments[1];
            e.dispatchEvent(new Event('input'))""", name, text)

    def has(self, text, name="main", timeout_s=10):
        try:
            self.see(text, lambda: text in self.text(name), timeout_s)
        except AssertionError:
            raise AssertionError("%r is not in #%s: %s" % (text, name, SECRET.sub("(secret)", self.text(name))))

    def picture(self, name):
        self.js("""for (const e of document.querySelectorAll('.secret'))
            e.textContent = e.textContent.slice(0, 8) + '(replaced in this picture)'""")
        try:
            os.makedirs(PICTURES, exist_ok=True)
        except OSError:
            return  # another user's build folder
        self.browser.save_screenshot(os.path.join(PICTURES, name + ".png"))

    # ---- the page ----

    def open(self, where="#/live", web=None, token=None):
        """A new document, signed in."""
        w = web or self.web
        Case.documents += 1  # another query: else only the fragment would change
        self.browser.get("http://%s/?%d%s" % (w.tcp, Case.documents, where))
        self.see("the page", lambda: self.js("return document.querySelector('#sign-in[open], #main > *') !== null"))
        if self.js("return document.getElementById('sign-in').open"):
            self.type("token", token or w.token())
            self.click("sign-in-go")
            self.see("signed in", lambda: not self.js("return document.getElementById('sign-in').open"))

    def open_account(self, name, environment="live"):
        self.open("#/%s/account/%s" % (environment, name))
        self.element("slot-secret")

    def new_account(self, name, environment=LIVE):
        with self.fobd.client() as c:
            return c.create(environment, name)

    def secrets(self):
        """Those that the dialog shows, which is then confirmed."""
        self.element("stored")
        found = [e.text for e in self.browser.find_elements("css selector", "#dialog .secret")]
        fobwire.known_secrets.update(s.encode() for s in found)
        return found

    def store(self):
        self.click("stored")
        self.see("the dialog is closed", lambda: not self.js("return document.getElementById('dialog').open"))
        self.no_secret()

    def no_secret(self):
        self.assertFalse(SECRET.search(self.js("return document.documentElement.outerHTML")), "a secret is in the document")
        self.assertEqual(self.js("return localStorage.length + sessionStorage.length + (location.href.match(/[sp]k_/) ? 1 : 0)"), 0)

    def verdict(self, secret):
        with self.fobd.client("verify") as c:
            return c.verdict(secret.encode() if isinstance(secret, str) else secret)

    def key(self, account, generation, environment=LIVE):
        with self.fobd.client() as c:
            return next(k for k in c.keys(environment, account) if k.generation == generation)


Page = Case


class SignIn(Case):
    def test_sign_in(self):
        self.browser.delete_all_cookies()
        self.browser.get("http://%s/" % self.web.tcp)
        self.type("token", "A" * 43)
        self.picture("sign-in")
        self.click("sign-in-go")
        self.has("This is not the sign-in token", "sign-in-why")
        self.assertEqual(self.text("main"), "")
        self.type("token", self.web.token())
        self.click("sign-in-go")
        self.has("Accounts")

    def test_expired_session(self):
        w = web.Operator(self.fobd.urls["admin"], settings="session_idle = 2\n").start()
        self.addCleanup(w.kill)
        self.browser.delete_all_cookies()
        self.new_account("expires")
        self.open("#/live/account/expires", w)
        cookie = self.browser.get_cookies()[0]
        self.assertEqual((cookie["httpOnly"], cookie["sameSite"]), (True, "Strict"))
        known = ("Cookie", "%s=%s" % (cookie["name"], cookie["value"]))
        self.click("roll")
        self.has("Your session has ended", "sign-in-why")
        self.assertEqual(w.post("/v1/session", headers=[known], method="GET")[0].status, 401)
        self.assertEqual(self.text("main"), "")
        self.type("token", w.token())
        self.click("sign-in-go")
        self.click("confirm")  # the same request, in the dialog that stayed
        self.assertEqual(len(self.secrets()), 1)
        self.assertEqual(self.key("expires", 2).state, pb.types.KEY_STATE_CURRENT)
        self.see("a secret does not outlive its session", lambda: not self.js("return document.getElementById('dialog').open"))
        self.has("Your session has ended", "sign-in-why")
        self.no_secret()
        w.stop()

    def test_sign_out(self):
        self.open()
        self.click("sign-out")
        self.has("You have signed out", "sign-in-why")
        self.assertEqual(self.browser.get_cookies(), [])

    def test_what_the_proxy_says(self):
        w = web.Operator(self.fobd.urls["admin"], "X-Forwarded-User", trusted=("127.0.0.0/8",)).start()
        self.addCleanup(w.kill)
        self.browser.delete_all_cookies()
        self.browser.execute_cdp_cmd("Network.enable", {})
        self.browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {"X-Forwarded-User": "ada@example.com"}})
        try:
            self.browser.get("http://%s/" % w.tcp)
            self.has("Accounts")
            self.assertEqual(self.text("user"), "ada@example.com")
            self.click("create")
            self.type("new-account", "for-ada")
            self.click("confirm")
            self.assertEqual(len(self.secrets()), 4)
            self.store()
            self.has("Account created", "events")
            self.has("ada@example.com, through user %d on fobd's machine" % os.getuid(), "events")
        finally:
            self.browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {}})
        w.stop()


class Account(Case):
    def test_create(self):
        self.open()
        self.click("create")
        self.type("new-account", "made-here")
        self.click("confirm")
        live, live_public, test, test_public = self.secrets()
        self.picture("created")
        self.store()
        self.assertEqual([self.verdict(s) for s in (live, live_public, test, test_public)], ["VALID"] * 4)
        self.assertTrue(live.startswith("sk_live_") and test_public.startswith("pk_test_"))
        self.has("sk_live_…" + live[-4:], "slot-secret")
        self.has("pk_live_…" + live_public[-4:], "slot-publishable")
        self.has("Generation\n1", "slot-secret")
        self.has("Account created", "events")
        self.click("[for=test], label:has(#test)")
        self.has("sk_test_…" + test[-4:], "slot-secret")
        self.open()
        self.click("create")
        self.type("new-account", "made-here")
        self.click("confirm")
        self.has("The account made-here exists already", "dialog")
        self.type("new-account", "no such name")  # the browser refuses it
        self.click("confirm")
        self.assertTrue(self.js("return document.querySelector('#new-account:invalid') !== null"))
        self.browser.switch_to.active_element.send_keys(Keys.ESCAPE)
        self.see("focus is back", lambda: self.js("return document.activeElement.id") == "create")

    def test_search(self):
        for name in ("find-a", "find-b", "x-find-c", "other"):
            self.new_account(name)
        self.open()
        self.type("search", "find-")
        self.see("the found", lambda: [e.text for e in self.browser.find_elements("css selector", "#found tbody a")] ==
                 ["find-a", "find-b", "x-find-c"])
        self.type("search", "find-b")
        self.element("search").send_keys(Keys.ENTER)
        self.element("slot-secret")
        self.open("#/live/account/nobody")
        self.has("There is no account nobody in live")

    def test_roll(self):
        made = self.new_account("acct_42")
        old, last4 = made.secret_key.secret, made.secret_key.key.last4
        self.verdict(old)
        self.open_account("acct_42")
        self.click("roll")
        self.assertNotIn("never", self.text("dialog-last-used"))
        self.assertIn("24 hours", self.text("dialog"))
        self.picture("roll")
        self.click("confirm")
        new, = self.secrets()
        self.has("works until", "old-fate")
        self.assertRegex(self.element("#old-fate .countdown").text, "^(24:00:00|23:59:..)$")
        # Without a window system the page may not have the focus, which the clipboard is for.
        self.browser.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
        self.browser.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]})
        self.click("copy-0")
        self.see("it is copied", lambda: self.element("copy-0").text == "Copied")
        self.assertEqual(self.js("return navigator.clipboard.readText()"), new)
        self.element("copy-0").send_keys(Keys.ESCAPE)
        self.element("copy-0").send_keys(Keys.ESCAPE)  # a secret is not lost by a key
        self.picture("new-key")
        self.store()
        with self.fobd.client("verify") as c:
            self.assertEqual([(v.superseded, fobwire.verdict_name(v.verdict)) for v in (c.verify(old), c.verify(new.encode()))],
                             [(True, "VALID"), (False, "VALID")])
        self.has("sk_live_…" + new[-4:], "slot-secret")
        self.has("Old keys that still work", "slot-secret")
        self.has("…" + last4, "slot-secret")
        self.has("Key rolled", "events")
        first = self.element("#slot-secret .countdown").text
        self.see("the countdown goes on", lambda: self.element("#slot-secret .countdown").text < first)
        self.picture("account")

        self.click("to-superseded")
        self.has("acct_42")
        self.assertRegex(self.text(), "in (24:00:00|23:59:..)")
        self.picture("superseded")
        self.click("#main table a")
        self.click("roll")
        self.click("grace-now")
        self.see("the button says it", lambda: self.element("confirm").text == "Roll, and end the old key now")
        self.click("confirm")
        newest, = self.secrets()
        self.assertEqual((self.verdict(new), self.verdict(newest), self.verdict(old)), ("REVOKED", "VALID", "VALID"))
        self.store()

    def test_roll_with_less(self):
        self.new_account("less")
        self.open_account("less")
        self.click("roll")
        self.js("""const s = document.getElementById('grace-less'); s.value = '300'; s.dispatchEvent(new Event('input'))""")
        self.click("confirm")
        self.secrets()
        self.store()
        keys = self.key("less", 1), self.key("less", 2)
        self.assertEqual(keys[0].expires_ms - keys[1].created_ms, 300000)
        self.click("to-superseded")
        self.assertNotIn("less", self.text())

    def test_revoke_suspend_resume(self):
        made = self.new_account("ends")
        secret = made.secret_key.secret
        self.open_account("ends")
        self.click("suspend")
        self.click("confirm")
        self.has("Suspended")
        self.has("are refused until it is resumed")
        self.assertEqual(self.verdict(secret), "SUSPENDED")
        self.open_account("ends")
        self.has("are refused until it is resumed")
        self.click("suspend")
        self.click("confirm")
        self.see("it is resumed", lambda: self.element("suspend").text == "Suspend account")
        self.assertEqual(self.verdict(secret), "VALID")
        self.click("revoke-secret-1")
        self.has("It cannot be undone", "dialog")
        self.picture("revoke")
        self.click("confirm")
        self.has("Revoked", "slot-secret")
        self.assertEqual(self.verdict(secret), "REVOKED")
        self.click("roll")
        self.has("has been revoked. This makes a new one", "dialog")
        self.click("confirm")
        new, = self.secrets()
        self.store()
        self.assertEqual(self.verdict(new), "VALID")
        self.has("Key revoked", "events")


class Trouble(Case):
    def test_two_tabs_roll_at_once(self):
        self.new_account("tabs")
        self.open_account("tabs")
        first = self.browser.current_window_handle
        self.browser.switch_to.new_window("tab")
        self.addCleanup(self.browser.switch_to.window, first)
        self.addCleanup(self.browser.close)
        self.open_account("tabs")
        self.click("roll")
        self.browser.switch_to.window(first)
        self.click("roll")
        self.click("confirm")
        self.secrets()
        self.store()
        self.browser.switch_to.window(self.browser.window_handles[-1])
        self.click("confirm")
        self.has("Somebody else rolled this key", "dialog")
        self.assertFalse(self.js("return document.getElementById('confirm').disabled === false"))
        self.has("Generation\n2", "slot-secret")
        self.picture("two-tabs")
        self.click("cancel")
        self.click("roll")
        self.click("confirm")
        self.secrets()
        self.store()
        self.assertEqual(self.key("tabs", 3).generation, 3)

    def test_a_reply_is_lost(self):
        self.new_account("lost")
        self.open_account("lost")
        self.click("roll")
        self.js("""const real = window.fetch;
            window.fetch = async (...all) => { await real(...all); window.fetch = real; throw new TypeError("lost"); }""")
        self.click("confirm")
        self.has("It is not known whether the change was made", "dialog")
        self.click("cancel")
        self.see("focus is back", lambda: self.js("return document.activeElement.id") == "roll")
        self.click("roll")
        self.has("An earlier request for this has had no answer", "dialog")
        self.click("confirm")
        new, = self.secrets()
        self.store()
        self.assertEqual(self.verdict(new), "VALID")
        with self.fobd.client() as c:
            self.assertEqual([k.generation for k in c.keys(LIVE, "lost") if k.kind == 1], [1, 2])

    def test_fobd_is_down_and_back(self):
        self.new_account("down")
        self.open_account("down")
        self.fobd.stop()
        self.click("to-superseded")
        self.has("fobd cannot be reached", "banner")
        self.has("Nothing is shown")
        self.assertNotIn("Superseded keys still", self.text())
        self.picture("fobd-down")
        self.browser.back()
        self.fobd.start(init=False)
        self.element("slot-secret")
        self.see("the banner is gone", lambda: not self.js("return document.getElementById('banner').checkVisibility()"))

    def test_another_site_can_do_nothing(self):
        self.open()
        body = '{"request_token": "%s", "environment": "live", "account": "forged", "x": "="}' % fobwire.new_token().hex()
        attack = """<form id=f method=post enctype=text/plain action="http://%s/v1/accounts/create" target=i></form>
            <iframe name=i></iframe><iframe src="http://%s/"></iframe><script>
            const name = %r, data = name.split('=');
            document.f = document.getElementById('f');
            const input = document.createElement('input'); input.name = data[0]; input.value = data[1]; f.append(input); f.submit();
            Promise.allSettled(['no-cors', 'cors'].map(mode => fetch(f.action, {method: 'POST', mode, credentials: 'include',
                body: JSON.stringify(Object.assign(JSON.parse(name), {x: undefined}))}))).then(all => document.title = all.map(r => r.status + (r.value ? r.value.type : '')).join());
            </script>""" % (self.web.tcp, self.web.tcp, body)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(attack.encode())

            def log_message(self, *_):
                pass

        host, port = daemon.own_address().split(":")  # the same host: the browser sends the session's cookie
        server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
        self.addCleanup(server.server_close)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.shutdown)
        self.browser.get("http://%s:%s/" % (host, port))
        self.see("the attack is over", lambda: self.browser.title == "fulfilledopaque,rejected")
        with self.fobd.client() as c:
            self.assertNotIn("forged", [a.account for a in c.accounts(LIVE)])
        self.open()
        self.has("Accounts")

    def test_headers(self):
        for path, kind in (("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")):
            reply = self.web.ask("GET", path, unix=False)
            self.assertEqual((reply.status, reply.headers["content-type"]), (200, kind + "; charset=utf-8"))
            self.assertEqual((reply.headers["cache-control"], reply.headers["x-content-type-options"],
                              reply.headers["referrer-policy"]), ("no-store", "nosniff", "no-referrer"))
            rules = reply.headers["content-security-policy"]
            for rule in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self'",
                         "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
                self.assertIn(rule, rules)
            self.assertNotIn("unsafe", rules)
            self.assertEqual(self.web.ask("HEAD", path, unix=False).status, 200)
            self.assertEqual(self.web.ask("POST", path, unix=False).status, 405)
        self.assertNotRegex(self.web.ask("GET", "/", unix=False).body.decode(), r"<style|<script>|\son\w+=|style=")


class Looks(Case):
    def test_keyboard_alone(self):
        self.new_account("keyboard")
        self.open_account("keyboard")

        def press(*keys):
            self.browser.switch_to.active_element.send_keys(*keys)

        def go_to(name, key=Keys.TAB):
            for _ in range(30):
                if self.js("return document.activeElement.id") == name:
                    return
                press(key)
            raise AssertionError("the keyboard does not reach " + name)

        go_to("roll")
        press(Keys.ENTER)
        go_to("grace-day")
        press(Keys.ARROW_UP)  # round to the last one
        self.assertEqual(self.js("return document.activeElement.id"), "grace-now")
        go_to("confirm")
        press(Keys.ENTER)
        self.secrets()
        self.assertEqual(self.js("return document.activeElement.id"), "dialog-title")
        go_to("stored")
        press(Keys.ENTER)
        self.see("focus is back", lambda: self.js("return document.activeElement.id") == "roll")
        for name in ("live", "roll"):  # all that can be operated has a name
            self.assertTrue(self.browser.find_element("id", name).accessible_name)

    def test_dark_and_phone(self):
        made = self.new_account("a-long-name-of-an-account.that_is_64_characters_wide-000000000000"[:64])
        account = made.account.account
        self.verdict(made.secret_key.secret)
        with self.fobd.client() as c:
            c.roll(LIVE, account)
        emulate = self.browser.execute_cdp_cmd
        try:
            emulate("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
            self.open_account(account)
            self.assertEqual(self.js("return getComputedStyle(document.body).backgroundColor"), "rgb(18, 20, 26)")
            self.picture("dark")
            emulate("Emulation.setDeviceMetricsOverride", {"width": 360, "height": 780, "deviceScaleFactor": 2, "mobile": True})
            for where in ("#/live", "#/live/superseded", "#/live/account/" + account):
                self.open(where)
                self.has(account[:30])
                self.assertLessEqual(self.js("return document.documentElement.scrollWidth"), 360, where)
                self.picture("phone-dark" + where.replace("#/live", "").replace("/", "-")[:12])
            emulate("Emulation.setEmulatedMedia", {"features": []})
            self.click("roll")
            self.assertLessEqual(self.js("return document.getElementById('dialog').scrollWidth"), 360)
            self.picture("phone-roll")
        finally:
            emulate("Emulation.setEmulatedMedia", {"features": []})
            emulate("Emulation.clearDeviceMetricsOverride", {})

    def test_axe_finds_nothing(self):
        axe = next((p for p in AXE if os.path.exists(p)), None)
        if axe is None:
            self.skipTest("axe-core is not installed (Debian 12 has no package of it)")
        with self.fobd.client() as c:
            c.create(LIVE, "axe"), c.create(TEST, "axe")
        with open(axe) as f:
            script = f.read()
        def look(where):
            self.js(script)
            found = self.browser.execute_async_script(
                "const done = arguments[0]; axe.run().then((r) => done(r.violations.map((v) => v.id + ': ' + "
                "v.nodes.map((n) => n.html).join(' '))))")
            self.assertEqual(found, [], where)

        self.addCleanup(self.browser.execute_cdp_cmd, "Emulation.setEmulatedMedia", {"features": []})
        for scheme in ("light", "dark"):
            self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia",
                                         {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
            for where, opened in (("#/live", None), ("#/test/account/axe", None), ("#/live/account/axe", "roll"),
                                  ("#/live/superseded", None), ("#/live/account/none", None)):
                self.open(where)
                if opened:
                    self.click(opened)
                    self.element("confirm")
                look((scheme, where, opened))
            self.open_account("axe")
            self.click("roll")
            self.click("confirm")
            self.secrets()
            look((scheme, "a new key"))
            self.store()
            look((scheme, "an old key"))
            self.click("sign-out")
            self.has("You have signed out", "sign-in-why")
            look((scheme, "signed out"))

    def test_nothing_is_said_to_the_console(self):
        self.open()
        bad = [line["message"] for line in self.browser.get_log("browser") if "Content Security Policy" in line["message"]
               or "Uncaught" in line["message"]]
        self.assertEqual([b for b in bad if "frame" not in b], [])


tap.main()
