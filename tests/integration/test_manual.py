#!/usr/bin/python3
"""The manual pages hold what there is: every exported symbol, setting, command and option, and they render without a
warning. FOB_BUILD/man has those that are made from fob.h and from the settings; the others are in the tree."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import glob
import re
import shutil
import subprocess
import unittest

import tap

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("FOB_BUILD", "build/gcc"))
MAN = os.path.join(BUILD, "man")
BY_HAND = ("client/cli/fob.1", "service/fobd.8", "client/http/fob-http.8")
# fobd takes it, warns that it has no effect any more, and does not document it.
NO_EFFECT = {"contexts"}


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def pages():
    """All pages but those that are links to another one."""
    made = [path for path in sorted(glob.glob(os.path.join(MAN, "*.[35]"))) if not read(path).startswith(".so ")]
    return made + [os.path.join(ROOT, path) for path in BY_HAND]


def run(*command):
    env = dict(os.environ, LC_ALL="C.UTF-8")
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
                          env=env, check=False)


def help_of(program, *arguments):
    done = run(os.path.join(BUILD, program), *arguments, "--help")
    return done.stdout


def limits():
    return dict(re.findall(r"^#define (LIMIT_\w+) (\d+)", read("service/base/limits.h"), re.M))


def settings_of(*sources):
    """What the parsers of ${sources} know: name to default, or None where there is none, or it is a list."""
    known = {}
    for source in sources:
        for kind, name, default in re.findall(r'CFG_(STR_LIST|STR|INT|BOOL|SEC)\("(\w+)", ([^,]+),', read(source)):
            default = limits().get(default, default)
            default = {"cfg_true": "true", "cfg_false": "false", "NULL": None}.get(default, default)
            if name == "mode":  # of which the default depends on the role
                default = None
            known[name] = None if kind in ("STR_LIST", "SEC") else default
    return known


class Manual(unittest.TestCase):
    def test_every_exported_symbol_has_a_page(self):
        symbols = re.findall(r"^\t(fob_\w+);", read("client/libfob.map"), re.M)
        self.assertGreater(len(symbols), 60)
        for symbol in symbols:
            page = read(os.path.join(MAN, symbol + ".3"))
            link = re.fullmatch(r"\.so man3/(.*)\n", page)
            if link:
                page = read(os.path.join(MAN, link.group(1)))
            self.assertRegex(page, r"(?m)^\.Nm %s(?: ,)?$" % symbol)
            self.assertRegex(page, r"(?m)^\.Fo %s$" % symbol)
            self.assertRegex(read(os.path.join(MAN, "libfob.3")), r"Xr %s 3" % symbol.replace("_async", ""))
        names = {os.path.basename(path)[:-2] for path in glob.glob(os.path.join(MAN, "*.3"))}
        self.assertEqual(names - set(symbols), {"libfob"})
        tap.count("%d symbols in %d pages" % (len(symbols), len([p for p in pages() if p.endswith(".3")])))

    def test_libfob_has_every_type_and_constant(self):
        page = read(os.path.join(MAN, "libfob.3"))
        declared = re.findall(r"^(?:enum|struct) (fob_\w+) \{|^\t?(FOB_\w+) = |^#define (FOB_\w+)",
                              read("client/fob.h"), re.M)
        names = {name for triple in declared for name in triple if name and name != "FOB_H"}
        self.assertGreater(len(names), 100)
        self.assertEqual([], sorted(name for name in names if not re.search(r"\b%s\b" % name, page)))

    def test_settings(self):
        for name, sources, conf in (
                ("fobd.conf", ["service/base/config_parse.c"], "service/fobd.conf"),
                ("fob-http.conf", ["client/http/settings.c"], "client/http/fob-http.conf"),
                ("fob-cluster.conf", ["client/cluster/settings.c"], "client/cluster/fob-cluster.conf")):
            page = read(os.path.join(MAN, name + ".5"))
            known = settings_of(*sources)
            self.assertGreater(len(known), 7)
            for setting, default in known.items():
                if setting in NO_EFFECT:
                    continue
                told = re.findall(r'^\.It Li "%s(?: = (.*)| \\\(dq.*)"$' % setting, page, re.M)
                self.assertTrue(told, "%s(5) has not: %s" % (name, setting))
                if default is not None:
                    have = told[0].replace(r"\(dq", '"')
                    self.assertEqual(have.strip('"'), default.strip('"'), "%s(5): %s" % (name, setting))
            tap.count("%s: %d settings" % (name, len(known)))

    def test_fob_1_has_every_command_with_its_options(self):
        page = read("client/cli/fob.1")
        synopsis = page[page.index(".Sh SYNOPSIS"):page.index(".Sh DESCRIPTION")]
        blocks = [" ".join(block.split()) for block in synopsis.split(".Nm\n")[1:]]
        listed = help_of("fob").split("Commands:")[1].split("\n\n")[0]
        commands = re.findall(r"^  ([a-z]+(?: [a-z]+)?)(?= |$)", listed, re.M)
        self.assertGreater(len(commands), 12)
        common = set(re.findall(r"^  (--[a-z-]+)", help_of("fob").split("\nOptions of every")[1], re.M)) | {"--version"}
        for command in commands:
            noun, _, verb = command.partition(" ")
            name = r"\.Cm %s (?:[a-z]+ \| )*%s\b" % (noun, verb) if verb else r"\.Cm %s\b" % noun
            ours = [b for b in blocks if re.search(name, b)]
            self.assertTrue(ours, "SYNOPSIS has not: " + command)
            have = {"-" + o for b in ours for o in re.findall(r"Fl (-[a-z-]+)", b)}
            text = help_of("fob", *command.split())
            takes = set(re.findall(r"^  (--[a-z-]+)", text, re.M) + re.findall(r"--[a-z-]+", text.split("\n\n")[0]))
            self.assertEqual(have - common, takes - common, command)
            listed = re.findall(r"^\.It Cm (.*)$", page, re.M)
            self.assertTrue(any(command in item.split(" , ") for item in listed), "DESCRIPTION has not: " + command)
        tap.count("%d commands" % len(commands))

    def test_pages_of_the_daemons_have_every_option(self):
        for program, page in (("fobd", "service/fobd.8"), ("fob-http", "client/http/fob-http.8")):
            options = set(re.findall(r"--[a-z][a-z-]+", help_of(program)))
            self.assertGreater(len(options), 3)
            text = read(page).replace(r"\-", "-")
            self.assertEqual([], sorted(o for o in options if not re.search(r"%s(?![a-z-])" % o, text)), page)

    @unittest.skipUnless(shutil.which("mandoc"), "no mandoc")
    def test_mandoc_has_no_warning(self):
        done = run("mandoc", "-Tlint", "-Wwarning", *pages())
        self.assertEqual(done.stdout + done.stderr, "")

    # What `man --warnings` runs.
    @unittest.skipUnless(shutil.which("groff"), "no groff")
    def test_groff_has_no_warning(self):
        done = run("groff", "-mandoc", "-Kutf8", "-Tutf8", "-P-c", "-wmac", *pages())
        self.assertEqual(done.stderr, "")
        for name in ("FOB_VERIFY(3)", "LIBFOB(3)", "FOBD.CONF(5)", "FOBD(8)"):
            self.assertIn(name, done.stdout)


tap.main()
