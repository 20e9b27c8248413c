#!/usr/bin/python3
"""A full disk: new keys are refused and all else works, as at the ceiling; when there is room all works again. And a disk
that is read-only at the start, which leaves the other environment served. Needs root:
it mounts a small tmpfs in its own mount namespace. TORTURE=1: 20 times, each on a new tmpfs."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import ctypes
import resource
import subprocess
import unittest

PRIVATE = "FOB_TEST_PRIVATE_MOUNTS"
if os.geteuid() == 0 and PRIVATE not in os.environ:
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0:
        os.environ[PRIVATE] = "1"
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, os.path.abspath(__file__),
                              *sys.argv[1:]])

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import daemon  # noqa: E402
import fobwire  # noqa: E402
import pb  # noqa: E402
import tap  # noqa: E402
from pb import LIVE, TEST  # noqa: E402
from test_ceiling import fill, still_works  # noqa: E402


MS_RDONLY, MS_REMOUNT = 1, 32


def mount_tmpfs(path, size):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", path.encode(), b"tmpfs", 0, ("mode=0700,size=%d" % size).encode()) != 0:
        raise unittest.SkipTest("cannot mount a tmpfs: %s" % os.strerror(ctypes.get_errno()))


class FullDisk(unittest.TestCase):
    @unittest.skipUnless(PRIVATE in os.environ, "needs root and a mount namespace of its own")
    def test_full_disk(self):
        rounds = 20 if os.environ.get("TORTURE") else 1
        for _ in range(rounds):
            self.fill_a_disk()
        tap.count("%d full disks; nothing lost" % rounds)

    def test_a_limit_of_the_file_size(self):
        fobd = daemon.Daemon().init()
        fobd.before_exec = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1536 << 10, resource.RLIM_INFINITY))
        fobd.start(init=False)
        self.addCleanup(fobd.kill)
        made, _ = fill(self, fobd, LIVE, "limit")
        self.assertGreater(len(made), 0)
        with fobd.client("admin") as c:
            still_works(self, c, LIVE, made)
            self.assertEqual(c.verdict(c.create(TEST, "elsewhere").secret_key.secret), "VALID")
        fobd.stop()

    @unittest.skipUnless(PRIVATE in os.environ, "needs root and a mount namespace of its own")
    def test_read_only_at_the_start(self):
        """As ext4 leaves it after an error: the other environment is served."""
        fobd, place = self.on_a_small_disk()
        with fobd.client() as c:
            secret = c.create(LIVE, "a").secret_key.secret
        fobd.stop()
        self.assertEqual(ctypes.CDLL(None).mount(b"tmpfs", place.encode(), b"tmpfs", MS_RDONLY | MS_REMOUNT, None), 0)
        fobd.start(init=False)
        with fobd.client() as c:
            self.assertEqual(c.verdict(c.create(TEST, "a").secret_key.secret), "VALID")
            with self.assertRaises(fobwire.Fault) as caught:
                c.verify(secret)
            self.assertEqual(caught.exception.name, "UNAVAILABLE")
            self.assertEqual(c.check("live"), 2)
        fobd.stop()
        self.assertRegex(fobd.log(), "level=error .*this environment is not served.* environment=live .*Read-only file system")

    def on_a_small_disk(self):
        """A fobd whose live database has a file system of its own, and that file system's folder."""
        fobd = daemon.Daemon()
        small = os.path.join(fobd.place, "live")
        os.mkdir(small, 0o700)
        mount_tmpfs(small, 24 << 20)
        self.addCleanup(ctypes.CDLL(None).umount2, small.encode(), 2)
        fobd.start()
        self.addCleanup(fobd.kill)
        return fobd, small

    def fill_a_disk(self):
        fobd, small = self.on_a_small_disk()
        with fobd.client("admin") as c:
            early = [c.create(LIVE, "early-%d" % i) for i in range(20)]
        # Leave a megabyte for the database to grow into.
        room = os.statvfs(small)
        with open(os.path.join(small, "filler"), "wb") as f:
            f.write(b"x" * (room.f_bavail * room.f_frsize - (1 << 20)))
        made, refused = fill(self, fobd, LIVE, "disk")
        tap.comment("%d accounts until the disk was full: %s" % (len(made), refused.message))
        self.assertGreater(len(made), 0)
        with open(os.path.join(small, "filler2"), "wb", buffering=0) as f:
            try:
                while f.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        self.assertEqual(os.statvfs(small).f_bavail, 0)
        # Every context of both listeners reads now, most of them for the first time: what that needs on disk it must
        # have had before. (LMDB's table of readers is a mapped file; where it has holes, a write is a SIGBUS.)
        request = fobwire.request("fob.v1.Keys/VerifyKey", fobwire.verify_request(early[0].secret_key.secret))
        for listener in ("admin", "verify"):
            with fobd.connection(listener) as c:
                for _ in range(40):
                    for data in c.exchange_many([request] * 32):
                        self.assertEqual(fobwire.response(data).code, pb.rpc.OK)
        with fobd.client("admin") as c:
            for _ in range(3):
                with self.assertRaises(fobwire.Fault) as caught:
                    c.create(LIVE, "no-room")
                self.assertEqual(caught.exception.name, "RESOURCE_EXHAUSTED")
            still_works(self, c, LIVE, early + made)
            self.assertEqual(c.verdict(c.create(TEST, "elsewhere").secret_key.secret), "VALID")
            self.assertTrue(all(e.serving for e in c.stats().environments))
            # room is made: without a restart mutations work again
            os.unlink(os.path.join(small, "filler"))
            os.unlink(os.path.join(small, "filler2"))
            new = daemon.wait_until("mutations work again", lambda: c.create(LIVE, "again"), 10)
            self.assertEqual(c.verdict(new.secret_key.secret), "VALID")
            self.assertEqual(c.roll(LIVE, "again").new_key.key.generation, 2)
        fobd.kill()
        fobd.start(init=False)
        with fobd.client("admin") as c:
            kept = made[100:]
            for i in range(0, len(kept), 256):
                items = c.verify_many([fobwire.verify_request(m.secret_key.secret) for m in kept[i:i + 256]])
                self.assertEqual({fobwire.verdict_name(x.result.verdict) for x in items}, {"VALID"})
            self.assertEqual(c.verdict(new.secret_key.secret), "VALID")
            sequences = [e.sequence for e in c.events(LIVE, page_size=1000)]
            self.assertEqual(sequences, list(range(1, len(sequences) + 1)))
        fobd.stop()


tap.main()
