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
import threading
import time
import unittest

import daemon
import fobwire
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
       "/usr/local/lib/node_modules/axe-core/axe.min.js")
SECRET = re.compile(r"[sp]k_(?:live|test)_[0-9A-Za-z]{20,}")


def start_browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--window-size=1200,960", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync", "--lang=en-GB",
                 "--user-data-dir=" + os.path.join(daemon.folder(), "u")):
        options.add_argument(flag)
    if os.getuid() == 0:  # Chromium's sandbox does not start as root
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    env = dict(os.environ, HOME=daemon.folder(), LANGUAGE="en_GB")
    return webdriver.Chrome(service=Service(DRIVER, env=env), options=options)


def setUpModule():
    if webdriver is None or not CHROMIUM or not DRIVER:
        raise unittest.SkipTest("no browser here: install chromium, chromium-driver and python3-selenium")
    os.makedirs(PICTURES, exist_ok=True)
    Page.browser = start_browser()
    unittest.addModuleCleanup(Page.browser.quit)
    Page.fobd = daemon.Daemon().start()
    unittest.addModuleCleanup(Page.fobd.stop)
    Page.web = web.Operator(Page.fobd.urls["admin"]).start()
    unittest.addModuleCleanup(Page.web.stop)


class Case(unittest.TestCase):
    """What a person does and sees. Elements are found by their ids."""
    browser = fobd = web = None

    def see(self, what, look, timeout_s=10):
        """Wait until ${look} returns something true. An element that is gone, or not there yet, means "not yet"."""
        def seen():
            try:
                return look()
            except WebDriverException:
                return None
        return daemon.wait_until(what, seen, timeout_s, every_s=0.02)

    def element(self, name):
        return self.see(name, lambda: [e for e in self.browser.find_elements("css selector", name if name[0] in ".#[" else "#" + name)
                                       if e.is_displayed()])[0]

    def text(self, name="main"):
        return self.js("return document.getElementById(arguments[0])?.innerText ?? ''", name)

    def js(self, code, *args):
        return self.browser.execute_script(code, *args)

    def click(self, name):
        def clicked():
            self.element(name).click()
            return True
        self.see("a click on " + name, clicked)

    def type(self, name, text):
        self.element(name).clear()
        self.element(name).send_keys(text)

    def has(self, text, name="main", timeout_s=10):
        try:
            self.see(text, lambda: text in self.text(name), timeout_s)
        except AssertionError:
            raise AssertionError("%r is not in #%s: %s" % (text, name, SECRET.sub("(secret)", self.text(name))))

    def picture(self, name):
        self.js("""for (const e of document.querySelectorAll('.secret'))
            e.textContent = e.textContent.slice(0, 8) + '(replaced in this picture)'""")
        self.browser.save_screenshot(os.path.join(PICTURES, name + ".png"))

    # ---- the page ----

    def open(self, where="#/live", web=None, token=None):
        """A new document, signed in."""
        w = web or self.web
        self.browser.get("about:blank")
        self.browser.get("http://%s/%s" % (w.tcp, where))
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
            return c.create_account(environment, name)

    def secrets(self):
        """Those that the dialog shows, which is then confirmed."""
        self.element("stored")
        found = [e.text for e in self.browser.find_elements("css selector", "#dialog .secret")]
        fobwire.known_secrets.update(s.encode() for s in found)
        return found

    def store(self):
        self.click("stored")
        self.see("the dialog is closed", lambda: not self.js("return document.getElementById('dialog').open"))
        self.assertNotRegex(self.js("return document.documentElement.outerHTML"), SECRET)

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
        w = web.Operator(self.fobd.urls["admin"], settings="session_idle = 1\n").start()
        self.addCleanup(w.kill)
        self.browser.delete_all_cookies()
        self.new_account("expires")
        self.open("#/live/account/expires", w)
        cookie = self.browser.get_cookies()[0]
        self.assertEqual((cookie["httpOnly"], cookie["sameSite"]), (True, "Strict"))
        known = ("Cookie", "%s=%s" % (cookie["name"], cookie["value"]))
        self.click("roll")
        self.see("the session's end", lambda: w.post("/v1/session", headers=[known], method="GET")[0].status == 401)
        self.click("confirm")
        self.has("Your session has ended", "sign-in-why")
        self.assertEqual(self.text("main"), "")
        self.type("token", w.token())
        self.click("sign-in-go")
        self.click("confirm")  # the same request, in the dialog that stayed
        self.assertEqual(len(self.secrets()), 1)
        self.assertEqual(self.key("expires", 2).state, KEY_STATE_CURRENT)
        self.see("the end of a session in which nothing is done", lambda: self.text("sign-in-why") == "Your session has ended. Sign in again.",
                 20)
        self.assertNotRegex(self.js("return document.documentElement.outerHTML"), SECRET)
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
        finally:
            self.browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {}})
        w.stop()


class Keys_(Case):
    pass


tap.main()
