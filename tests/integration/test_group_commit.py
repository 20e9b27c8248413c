#!/usr/bin/python3
"""Concurrent mutations share commits."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import unittest

import daemon
import fobwire
import pb
import tap
from pb import LIVE, TEST

N = 256


class GroupCommit(unittest.TestCase):
    def test_256_concurrent_rolls_take_far_fewer_commits(self):
        fobd = daemon.Daemon().start()
        self.addCleanup(fobd.kill)
        accounts = ["g%03d" % i for i in range(N)]
        connections = [fobd.connection() for _ in range(8)]

        def all_at_once(requests):
            """Send everything before reading anything; the replies in order."""
            part = -(-len(requests) // len(connections))
            ids = [c.send_many(requests[i * part:(i + 1) * part]) for i, c in enumerate(connections)]
            out = []
            for c, wanted in zip(connections, ids):
                got = dict(c.recv() for _ in wanted)
                out += [fobwire.response(got[i]) for i in wanted]
            return out

        for r in all_at_once([fobwire.request("fob.v1.Admin/CreateAccount",
                                              fobwire.create_request(LIVE, a)) for a in accounts]):
            self.assertEqual(r.code, pb.rpc.OK, r.message)
        with fobd.client() as c:
            before, other = c.environment_stats(LIVE), c.environment_stats(TEST)
            replies = all_at_once([fobwire.request("fob.v1.Admin/RollKey",
                                                   fobwire.roll_request(LIVE, a)) for a in accounts])
            after = c.environment_stats(LIVE)
            self.assertEqual([fobwire.code_name(r.code) for r in replies], ["OK"] * N)
            self.assertEqual(after.mutations - before.mutations, N)
            self.assertEqual(after.revision - before.revision, N)
            commits = after.commits - before.commits
            tap.comment("%d rolls in %d commits" % (N, commits))
            self.assertGreater(commits, 0)
            self.assertLess(commits, N // 4)
            self.assertEqual(c.environment_stats(TEST).commits, other.commits)
            self.assertEqual(after.queue_depth, 0)
        secrets = {bytes(pb.admin.RollKeyResponse.FromString(r.body).new_key.secret) for r in replies}
        self.assertEqual(len(secrets), N)
        for c in connections:
            c.close()
        fobd.restart()
        with fobd.client("verify") as c:
            items = c.verify_many([fobwire.verify_request(s) for s in secrets])
            self.assertEqual({fobwire.verdict_name(i.result.verdict) for i in items}, {"VALID"})
        fobd.stop()


tap.main()
