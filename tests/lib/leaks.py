"""Search the output of a whole test run for secrets. Each test records the secrets and tokens that it makes, and keeps
the logs of its daemons. When the last test has ended tests/run searches all output and logs for them, and deletes both.

FOB_TEST_LEAKS names a folder with `made`, a 0600 file of lines ("s" and a secret, or "t" and a token in hex), and
`logs`. Without it nothing is recorded. bats files record through tests/lib/daemon.bash, which also keeps what their
`fob` commands wrote to standard error; programs in C through tests/lib/made.c, secrets only. Fuzz targets record
nothing: they check their own output.
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
_PIECE = 30  # what is searched: a secret's random part, the beginning of a token's text. The rest may be cut off
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
        pass  # this process became another user


class Remembered(set):
    """A set that also records each new member in the file `made`."""

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


_known = Remembered(b"s")


def keys_in(said):
    """The keys that ${said} shows, which a command has printed as bytes. They are recorded."""
    keys = re.findall(rb"[sp]k_(?:live|test)_[0-9A-Za-z]{36}", said)
    _known.update(keys)
    return keys


def keep_log(path):
    """Copy a daemon's log before its folder is removed."""
    global _count
    if FOLDER and os.path.exists(path):
        _count += 1
        name = "%s.%d.%d" % (os.path.basename(sys.argv[0]) or "python", os.getpid(), _count)
        shutil.copyfile(path, os.path.join(FOLDER, "logs", name))


def pieces(secrets, tokens):
    """{text: the secret or token that it is a piece of}, for each form in which that may appear in a text."""
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
    """The (secrets, tokens) that were recorded until now."""
    made = {b"s": set(), b"t": set()}
    with open(os.path.join(folder, "made"), "rb") as f:
        for line in f:
            kind, _, text = line.strip().partition(b" ")
            made[kind].add(text if kind == b"s" else bytes.fromhex(text.decode()))
    return made[b"s"], made[b"t"]


def redact(folder, text):
    """${text} without the secrets and tokens that were recorded until now."""
    known = pieces(*_read(folder))
    return _WORD.sub(lambda run: b"(redacted)" if words_in(run.group(), known) else run.group(),
                     text.encode(errors="replace")).decode()


def search(folder, outputs):
    """Search all logs, and the tests' own output, ${outputs}: {name: bytes}. Returns (how many secrets and tokens are
    known, how many texts were searched, one line for each text with a leak)."""
    secrets, tokens = _read(folder)
    known, problems, texts = pieces(secrets, tokens), [], 0
    logs = os.path.join(folder, "logs")
    for name in sorted(os.listdir(logs)):
        texts += 1
        with open(os.path.join(logs, name), "rb") as f:
            data = f.read()
        # Tests do not record every secret, but no log may hold anything of a secret's form.
        n = len(words_in(data, known)) + len(_SHOWN.findall(data))
        if n:
            problems.append("%d secrets or tokens in the log %s" % (n, name))
    for name, data in sorted(outputs.items()):
        texts += 1
        n = len(words_in(data, known))
        if n:
            problems.append("%d secrets or tokens in the output of %s" % (n, name))
    return len(secrets) + len(tokens), texts, problems


# ---- a live process ----

def _touched(pages, start, end):
    """The runs of pages from ${start} to ${end} that exist, in memory or swapped out. Most pages of a stack never do."""
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
    """(name, bytes) of each writable part of the memory of ${pid}, but for shared mappings: their files are searched."""
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
    """{part of the memory: how many copies of secrets and tokens it has}, in any form that pieces() knows, or raw."""
    known, found = pieces(secrets, tokens), {}
    for name, data in memory_of(pid):
        n = len(words_in(data, known)) + sum(data.count(token) for token in tokens)
        if n:
            found[name] = found.get(name, 0) + n
    return found
