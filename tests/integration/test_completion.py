#!/usr/bin/python3
"""Completion of the command line: what `fob __complete` offers, against the help of each command, and what real shells
make of it. bash and zsh run at a terminal and are typed to; fish tells what it would offer. A shell that is not
installed is skipped."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import tap

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("FOB_BUILD", "build/gcc"))
CLI = os.path.join(ROOT, "client", "cli")
LIMIT_S = 60  # far more than a completion takes on a busy machine

# What is typed, and the one thing that it can become.
BECOMES = [
    ("fob pep", "fob pepper "),
    ("fob key ro", "fob key roll "),
    ("fob --timeout 5s key ro", "fob --timeout 5s key roll "),
    ("fob verify --ba", "fob verify --basic "),
    ("fob key roll acct_1 --gra", "fob key roll acct_1 --grace "),
    ("fob key roll acct_1 --environment l", "fob key roll acct_1 --environment live "),
    ("fob key revoke a --kind=s", "fob key revoke a --kind=secret "),
    ("fob pepper rotate l", "fob pepper rotate live "),
    ("fob help ke", "fob help key "),
    ("fob health fob.v1.K", "fob health fob.v1.Keys "),
    ("fob --address tl", "fob --address tls+tcp://"),
    ("fob --address=ip", "fob --address=ipc://"),
    ("fob verify --secret-file fou", "fob verify --secret-file found.txt "),
    ("fob verify --secret-file=fou", "fob verify --secret-file=found.txt "),
    ("fob backup live fou", "fob backup live found.txt "),
]

# Words, the last of which is to be completed, and what is offered: a list, or what those words are offered, too.
OFFERED = [
    (("key", "list", "acct_1", ""), []),
    (("key", "list", ""), []),
    (("pepper", "rotate", ""), ["live", "test"]),
    (("pepper", "rotate", "live", ""), []),
    (("check", ""), ["live", "test"]),
    (("check", "live", ""), [":files"]),
    (("backup", "live", "f"), [":files"]),
    (("account", "import", ""), [":files"]),
    (("verify", "--secret-file", ""), [":files"]),
    (("verify", "--basic", ""), []),
    (("--kind=",), ["--kind=secret", "--kind=publishable"]),
    (("--nonsense", ""), ("",)),
    (("--nonsense=",), []),
    (("--yes=",), []),
    (("--grace", ""), []),
    (("--", "--"), []),
    (("--environment", "x", "--", "key", "li"), ["list"]),
    (("nonsense", ""), []),
    (("key", "nonsense", ""), []),
    (("help", "verify", ""), []),
    (("help", "he"), ["health"]),
    (("he",), ["health", "help"]),
    (("-",), ("--",)),
    (("a", "b", "c", "d", "e", ""), []),
]


def environment(folder):
    return {"PATH": BUILD + ":/usr/bin:/bin", "HOME": folder, "TERM": "dumb", "LC_ALL": "C.UTF-8", "TMPDIR": folder,
            "XDG_CONFIG_HOME": folder, "XDG_DATA_HOME": folder, "XDG_CACHE_HOME": folder}


def offered(*words):
    """What `fob __complete` says to these words: a list of (word, what it is)."""
    done = subprocess.run([os.path.join(BUILD, "fob"), "__complete"], input="".join(w + "\n" for w in words), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
    assert done.stderr == "", done.stderr
    return [tuple(line.split("\t")) for line in done.stdout.splitlines()]


def names(*words):
    return [word for word, *_ in offered(*words)]


def help_of(*command):
    return subprocess.run([os.path.join(BUILD, "fob"), *command, "--help"], text=True, stdout=subprocess.PIPE,
                          check=True).stdout


def commands():
    listed = help_of().split("Commands:")[1].split("\n\n")[0]
    return re.findall(r"^  ([a-z]+(?: [a-z]+)?)(?= |$)", listed, re.M)


class Terminal:
    """A shell at a terminal of its own."""

    def __init__(self, folder, *command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve(command[0], command, environment(folder))
        self.text = ""

    def until(self, *wanted):
        """Read until all of ${wanted} was written; what was read is then forgotten."""
        end = time.monotonic() + LIMIT_S
        while not all(w in self.text for w in wanted):
            if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError("no %r in %r" % (wanted, self.text))
            try:
                self.text += os.read(self.fd, 65536).decode()
            except OSError:
                raise AssertionError("the shell has ended, after %r" % self.text) from None
        self.text = self.text.split(wanted[-1], 1)[1]

    def type(self, text):
        os.write(self.fd, text.encode())

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


class Completion(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        open(os.path.join(self.folder, "found.txt"), "w", encoding="utf-8").close()

    def test_every_command_and_option_is_offered(self):
        common = re.findall(r"^  (--[a-z-]+)", help_of().split("\nOptions of every")[1], re.M) + ["--version"]
        self.assertGreater(len(commands()), 12)
        for command in commands():
            words = command.split()
            self.assertIn(words[-1], names(*words[:-1], ""))
            text = help_of(*words)
            own = set(re.findall(r"--[a-z][a-z-]+", text.split("\n\n")[0]) + re.findall(r"^  (--[a-z-]+)", text, re.M))
            have = names(*words, "--")
            self.assertEqual(len(have), len(set(have)), command)
            self.assertLessEqual(own, set(have), command)
            if "Options of every" in text:
                self.assertLessEqual(set(common), set(have), command)
                self.assertLessEqual(set(have) - set(common), set(re.findall(r"--[a-z][a-z-]+", text)), command)
        tap.count("%d commands" % len(commands()))

    def test_values_and_arguments(self):
        for words, have in OFFERED:
            have = names(*have) if isinstance(have, tuple) else have
            self.assertEqual(names(*words), have, words)
        self.assertEqual(names(), [])
        self.assertIn(("key", "list, roll, revoke"), offered(""))

    def test_no_word_comes_back(self):
        for words in (("sk_live_abc", ""), ("key", "roll", "sk_live_abc"), ("--sk_live_abc=",), ("--sk_live_abc",),
                      ("sk_live_abc" + "x" * 20000, "")):
            self.assertNotIn("sk_live", str(offered(*words)))

    def types(self, terminal):
        terminal.type("echo re''ady\r")
        terminal.until("ready")
        for typed, becomes in BECOMES:
            terminal.type("\x15" + typed + "\t")
            terminal.until(typed)
            terminal.type("END\x01echo '\x05' #\r")
            terminal.until("\n" + becomes + "END")

    def lists(self, terminal):
        terminal.type("\x15fob key \t\t")
        terminal.until("list", "revoke", "roll")

    @unittest.skipUnless(os.path.exists("/bin/bash"), "no bash")
    def test_bash(self):
        terminal = Terminal(self.folder, "/bin/bash", "--noprofile", "--norc", "-i")
        self.addCleanup(terminal.close)
        terminal.type("source '%s/fob.bash'\r" % CLI)
        self.types(terminal)
        self.lists(terminal)

    @unittest.skipUnless(shutil.which("zsh"), "no zsh")
    def test_zsh(self):
        shutil.copy(os.path.join(CLI, "fob.zsh"), os.path.join(self.folder, "_fob"))
        terminal = Terminal(self.folder, shutil.which("zsh"), "-f", "-i")
        self.addCleanup(terminal.close)
        terminal.type("bindkey -e; fpath=('%s' $fpath); autoload -Uz compinit; compinit -u -D\r" % self.folder)
        self.types(terminal)
        self.lists(terminal)

    @unittest.skipUnless(shutil.which("fish"), "no fish")
    def test_fish(self):
        script = "source '%s/fob.fish'\n" % CLI
        for typed, _ in BECOMES:
            script += "complete -C '%s'\necho END\n" % typed
        script += "complete -C 'fob key '\n"
        done = subprocess.run([shutil.which("fish"), "--no-config", "-c", script], cwd=self.folder, text=True,
                              check=True, env=environment(self.folder), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.stderr, "")
        *answers, last = done.stdout.split("END\n")
        for (typed, becomes), answer in zip(BECOMES, answers):
            self.assertEqual([line.split("\t")[0] for line in answer.splitlines()], [becomes.split()[-1]], typed)
        self.assertEqual([line.split("\t")[0] for line in last.splitlines()], ["list", "roll", "revoke"])


tap.main()
