"""The package fob of client/python, on the libfob.so.0 of FOB_BUILD, and what its tests share."""

import ctypes
import os
import sys

import daemon
import fobwire
import pb

PACKAGE = os.path.join(pb.ROOT, "client", "python")
LIBRARY = os.path.join(daemon.BUILD, "libfob.so.0")

if daemon.SANITIZED:
    print("1..0 # SKIP a Python without the sanitizer cannot load this libfob.so.0")
    sys.exit(0)

# The dynamic linker finds a library by its soname when it is loaded already.
_library = ctypes.CDLL(LIBRARY)
# protoc's modules, which pb has imported, are in a package of that name, too. They stay where they are.
del sys.modules["fob"]
sys.path.insert(0, PACKAGE)

import fob  # noqa: E402


def environ():
    """For a program of its own that imports fob."""
    return dict(os.environ, PYTHONPATH=PACKAGE, LD_LIBRARY_PATH=daemon.BUILD)


def remember(made):
    """The secrets of a CreatedAccount or RolledKey, as bytes, noted for the search of all output."""
    new = [made.new_key] if isinstance(made, fob.RolledKey) else [made.secret_key, made.publishable_key]
    fobwire.known_secrets.update(bytes(n.secret) for n in new)
    return [bytes(n.secret) for n in new]


def kill_often(fobd, verdicts, faults, more):
    """Kill ${fobd} and start it again, 3 times or, with TORTURE=1, 20: each time when ${more} verdicts have come since
    (${verdicts}[0] counts them), and again only when a call has ended with a fault. Returns how often."""
    kills = 20 if os.environ.get("TORTURE") else 3
    for _ in range(kills):
        seen = verdicts[0]
        daemon.wait_until("verdicts come", lambda: verdicts[0] > seen + more)
        fobd.kill()
        seen = len(faults)
        daemon.wait_until("faults come", lambda: len(faults) > seen)
        fobd.start(init=False)
    seen = verdicts[0]
    daemon.wait_until("verdicts come again", lambda: verdicts[0] > seen + more)
    return kills


def create(fobd, account, environment=fob.Environment.LIVE):
    """The secret and the publishable key of a new account."""
    with fob.Client(fobd.urls["admin"]) as admin:
        return remember(admin.create_account(account, environment))
