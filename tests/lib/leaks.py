"""What a run of all tests knows of secrets: each test adds those that it made, and keeps the logs of its daemons;
tests/run searches all that was said for them when the last one has ended, and deletes both.

FOB_TEST_LEAKS names a folder with `made`, a 0600 file of lines ("s" and a secret, or "t" and a token in hex), and
`logs`. Without it nothing is recorded. For bats files tests/lib/daemon.bash does it, and logs has also what their `fob`
commands said on standard error; for programs in C tests/lib/made.c, secrets only. (Not for fuzz targets, which look at
what they said themselves.)
"""

import array
import base64
import os
import re
import shutil
import sys

FOLDER = os.environ.get("FOB_TEST_LEAKS")
_SHOWN = re.compile(rb"k_(?:live|test)_[0-9A-Za-z]{8}|(?:live|test)_[0-9A-Za-z]{30}")
_WORD = re.compile(rb"[0-9A-Za-z+/_=-]{30,}")
_PIECE = 30  # of a secret its random part, of a token's text its beginning: the rest may have been cut off
_PAGE = os.sysconf("SC_PAGE_SIZE")
_made = None
_count = 0


def prepare(folder):
    os.mkdir(folder, 0o700)
    os.mkdir(os.path.join(folder, "logs"), 0o700)
    os.close(os.open(os.path.join(folder, "made"), os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))


def _remember(kind, data):
    global _made
    if not FOLDER:
        return
    try:
        if _made is None:
            _made = os.open(os.path.join(FOLDER, "made"), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        os.write(_made, b"%s %s\n" % (kind, data if kind == b"s" else data.hex().encode()))
    except OSError:
        pass  # a child that became another user


class Remembered(set):
    """A set of which each new member is written down as well."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def add(self, item):
        if item not in self:
            super().add(item)
            _remember(self.kind, item)

    def update(self, items):
        for item in items:
            self.add(item)


def keep_log(path):
    """A daemon's log, before its folder goes."""
    global _count
    if FOLDER and os.path.exists(path):
        _count += 1
        name = "%s.%d.%d" % (os.path.basename(sys.argv[0]) or "python", os.getpid(), _count)
        shutil.copyfile(path, os.path.join(FOLDER, "logs", name))


def pieces(secrets, tokens):
    """{text: what it is a piece of} of each form in which it might be seen."""
    found = {}
    for secret in secrets:
        found[secret[8:8 + _PIECE]] = secret
        found[base64.b64encode(secret + b":")[12:12 + _PIECE]] = secret
    for token in tokens:
        hexed = token.hex().encode()
        for form in (hexed, hexed.upper(), base64.b64encode(token), base64.urlsafe_b64encode(token)):
            found[form[:_PIECE]] = token
    return found


def words_in(data, known):
    """Which of the values of ${known}, as pieces() gives it, are in ${data}."""
    found = set()
    for run in _WORD.finditer(data):
        word = run.group()
        found.update(known[word[i:i + _PIECE]] for i in range(len(word) - _PIECE + 1) if word[i:i + _PIECE] in known)
    return found


def _read(folder):
    """(secrets, tokens) that were made until now."""
    made = {b"s": set(), b"t": set()}
    with open(os.path.join(folder, "made"), "rb") as f:
        for line in f:
            kind, _, text = line.strip().partition(b" ")
            made[kind].add(text if kind == b"s" else bytes.fromhex(text.decode()))
    return made[b"s"], made[b"t"]


def redact(folder, text):
    """${text} as a person may see it: without what was made until now."""
    known = pieces(*_read(folder))
    return _WORD.sub(lambda run: b"(redacted)" if words_in(run.group(), known) else run.group(),
                     text.encode(errors="replace")).decode()


def search(folder, outputs):
    """Returns (how many secrets and tokens are known, how many texts were searched, lines that say what was found).
    ${outputs}: {name: bytes} of what the tests said themselves."""
    secrets, tokens = _read(folder)
    known, problems, texts = pieces(secrets, tokens), [], 0
    logs = os.path.join(folder, "logs")
    for name in sorted(os.listdir(logs)):
        texts += 1
        with open(os.path.join(logs, name), "rb") as f:
            data = f.read()
        # Not everything is written down that tests make; but nothing of this form belongs into a log.
        n = len(words_in(data, known)) + len(_SHOWN.findall(data))
        if n:
            problems.append("%d secrets or tokens in the log %s" % (n, name))
    for name, data in sorted(outputs.items()):
        texts += 1
        n = len(words_in(data, known))
        if n:
            problems.append("%d secrets or tokens in what %s said" % (n, name))
    return len(secrets) + len(tokens), texts, problems


# ---- a live process ----

def _touched(pages, start, end):
    """The runs of pages from ${start} to ${end} that exist: present or swapped out. Most of a stack never does."""
    pages.seek(start // _PAGE * 8)
    entries, first = array.array("Q", pages.read((end - start) // _PAGE * 8)), None
    for i, entry in enumerate(entries):
        if entry >> 62 and first is None:
            first = i
        elif not entry >> 62 and first is not None:
            yield start + first * _PAGE, start + i * _PAGE
            first = None
    if first is not None:
        yield start + first * _PAGE, end


def memory_of(pid):
    """Each part of the memory of ${pid} that it can write, but for what it shares with files, which are searched as
    such."""
    with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb", 0) as memory, \
            open("/proc/%d/pagemap" % pid, "rb", 0) as pages:
        for line in maps:
            words = line.split()
            if not words[1].startswith("rw") or words[1][3] == "s":
                continue
            for start, end in _touched(pages, *(int(x, 16) for x in words[0].split("-"))):
                memory.seek(start)
                yield words[5] if len(words) > 5 else "anonymous", memory.read(end - start)


def secrets_in_memory(pid, secrets, tokens):
    """The number of copies, whole or bare, encoded or raw, by part of the memory."""
    known, found = pieces(secrets, tokens), {}
    for name, data in memory_of(pid):
        n = len(words_in(data, known)) + sum(data.count(token) for token in tokens)
        if n:
            found[name] = found.get(name, 0) + n
    return found
