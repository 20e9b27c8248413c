#!/usr/bin/python3
"""fob.aio.Client against a real fobd: thousands of calls at once, cancellation, kills, and nothing kept afterwards."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import asyncio
import gc
import hashlib
import random
import threading
import unittest
import warnings
import weakref

import daemon
import pyfob
import tap
import fob
import fob.aio
from fob import Environment, Kind, Verdict
from fob.aio import _calls

LIVE = Environment.LIVE
warnings.simplefilter("error", ResourceWarning)


class WithFobd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.fobd = daemon.Daemon(events_kept=10000).start()
        cls.addClassCleanup(cls.fobd.stop)
        cls.secret, cls.publishable = pyfob.create(cls.fobd, "acct_1")

    def client(self, **options):
        return fob.aio.Client(self.fobd.urls["verify"], **options)

    def tearDown(self):
        self.assertEqual(len(_calls), 0, "every call has had its callback")


def silent():
    """The address of a server that takes connections and never says a word."""
    import socket
    path = os.path.join(daemon.folder(), "s")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    return listener, "ipc://" + path


class Calls(WithFobd):
    def test_two_thousand_verifies_at_once(self):
        secrets = [pyfob.create(self.fobd, "many_%d" % i)[0] for i in range(20)]

        async def one(client, i):
            how = i % 4
            if how == 0:
                v = await client.verify(secrets[i % 20])
            elif how == 1:
                v = await client.verify(bytearray(secrets[i % 20]), operation="charges.create", timeout=30)
            elif how == 2:
                v = await client.verify(self.publishable.decode(), operation="charges.create")
            else:
                v = await client.verify(b"sk_live_nonsense")
            want = (Verdict.VALID, "many_%d" % (i % 20)) if how < 2 else (
                (Verdict.FORBIDDEN, "acct_1") if how == 2 else (Verdict.MALFORMED, ""))
            return (v.verdict, v.account) == want

        async def main():
            async with self.client(timeout=30) as client:
                return await asyncio.gather(*[one(client, i) for i in range(2000)])
        threads = threading.active_count()
        self.assertEqual(asyncio.run(main()), [True] * 2000)
        self.assertEqual(threading.active_count(), threads)

    def test_no_thread_is_started(self):
        async def main():
            before = len(os.listdir("/proc/self/task"))
            async with self.client() as client:
                await asyncio.gather(*[client.verify(self.secret) for _ in range(100)])
                self.assertEqual(len(os.listdir("/proc/self/task")), before)
        asyncio.run(main())

    def test_every_call(self):
        async def main():
            async with fob.aio.Client(self.fobd.urls["admin"]) as admin:
                made = await admin.create_account("acct_2", LIVE)
                secret, _ = pyfob.remember(made)
                rolled = await admin.roll_key("acct_2", LIVE, grace_s=0, expected_generation=1)
                pyfob.remember(rolled)
                self.assertEqual((rolled.new_key.key.generation, rolled.old_key.generation), (2, 1))
                self.assertIn((await admin.verify(secret)).verdict, (Verdict.EXPIRED, Verdict.REVOKED))
                ended = await admin.revoke_key("acct_2", LIVE, Kind.SECRET, 2)
                self.assertEqual(ended.state, fob.KeyState.REVOKED)
                self.assertTrue((await admin.suspend_account("acct_2", LIVE)).suspended)
                self.assertFalse((await admin.resume_account("acct_2", LIVE)).suspended)
                accounts = [fob.ImportAccount("imported_%02d" % i, secret_sha256=hashlib.sha256(b"%d" % i).digest(),
                                              secret_last4="last") for i in range(25)]
                self.assertEqual(set(await admin.import_accounts(LIVE, accounts)), {fob.ImportOutcome.IMPORTED})
                names = [a.account async for a in admin.list_accounts(LIVE, page_size=10)]
                self.assertEqual([n for n in names if n.startswith("imported")], [a.account for a in accounts])
                keys = [k.generation async for k in admin.list_keys("acct_2", LIVE) if k.kind is Kind.SECRET]
                self.assertEqual(sorted(keys), [1, 2])
                events = admin.list_events(LIVE, page_size=7)
                seen = [e.sequence async for e in events]
                self.assertEqual(seen, sorted(seen))
                self.assertEqual([e async for e in admin.list_events(LIVE, after=events.cursor)], [])
                self.assertEqual(await admin.health("live"), fob.HealthStatus.SERVING)
                self.assertEqual((await admin.stats()).version, fob.version())
                answers = await admin.verify_batch([self.secret, b"nonsense"], operation="charges.create")
                self.assertEqual([a.allows for a in answers], [True, False])
                self.assertEqual((await admin.verify_authorization(None)).verdict, Verdict.MALFORMED)
                with self.assertRaises(fob.NotFoundError):
                    await admin.roll_key("nobody", LIVE)
                with self.assertRaises(fob.InvalidArgumentError):
                    await admin.create_account("no slash/", LIVE)
        asyncio.run(main())

    def test_more_than_the_queue_takes_is_a_fault_at_once(self):
        async def main():
            listener, address = silent()
            with listener:
                async with fob.aio.Client(address, queue=10, timeout=30) as client:
                    tasks = [asyncio.create_task(client.verify(self.secret)) for _ in range(100)]
                    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    self.assertEqual({type(t.exception()) for t in done}, {fob.ResourceExhaustedError})
                    self.assertTrue(pending)
                got = await asyncio.gather(*pending, return_exceptions=True)
                self.assertEqual({type(e) for e in got}, {fob.CallCancelledError}, "closing has ended them")
        asyncio.run(main())


class Ends(WithFobd):
    def test_a_cancelled_task_cancels_its_call(self):
        async def main():
            listener, address = silent()
            with listener:
                async with fob.aio.Client(address, timeout=30) as client:
                    tasks = [asyncio.create_task(client.verify(self.secret)) for _ in range(50)]
                    await asyncio.sleep(0)
                    self.assertEqual(len(_calls), 50)
                    for t in tasks[:30]:
                        t.cancel()
                    got = await asyncio.gather(*tasks[:30], return_exceptions=True)
                    self.assertEqual({type(e) for e in got}, {asyncio.CancelledError})
                    while len(_calls) > 20:
                        await asyncio.sleep(0.001)
                    with self.assertRaises(asyncio.TimeoutError):
                        await asyncio.wait_for(client.verify(self.secret), 0.01)
                    while len(_calls) > 20:
                        await asyncio.sleep(0.001)
                self.assertEqual(len(_calls), 0)
                got = await asyncio.gather(*tasks[30:], return_exceptions=True)
                self.assertEqual({type(e) for e in got}, {fob.CallCancelledError})
        asyncio.run(asyncio.wait_for(main(), 60))

    def test_random_cancellation_under_load(self):
        rng = random.Random(tap.seed())

        async def main():
            async with self.client(timeout=30) as client:
                tasks = [asyncio.create_task(client.verify(self.secret)) for _ in range(1000)]
                await asyncio.sleep(0)
                for t in rng.sample(tasks, 300):
                    t.cancel()
                while not all(t.done() for t in tasks):
                    rng.choice(tasks).cancel()
                    await asyncio.sleep(0)
                got = [t.result() for t in tasks if not t.cancelled()]
                self.assertTrue(all(v.allows and v.account == "acct_1" for v in got))
                self.assertTrue((await client.verify(self.secret)).allows)
                return len(got)
        tap.comment("%d of 1000 were not cancelled" % asyncio.run(main()))

    def test_a_deadline_ends_a_call(self):
        async def main():
            listener, address = silent()
            with listener:
                async with fob.aio.Client(address) as client:
                    with self.assertRaises(fob.FobError) as e:
                        await client.verify(self.secret, timeout=0.05)
                    self.assertIn(e.exception.fault, (fob.Fault.DEADLINE_EXCEEDED, fob.Fault.UNAVAILABLE))
        asyncio.run(main())

    def test_a_closed_client_and_another_loop_are_refused(self):
        async def use(client):
            return (await client.verify(self.secret)).allows

        async def main():
            async with self.client() as client:
                self.assertTrue(await use(client))
            await client.aclose()
            with self.assertRaises(fob.FailedPreconditionError):
                await use(client)
            return self.client()
        client = asyncio.run(main())
        loop = asyncio.new_event_loop()
        self.assertTrue(loop.run_until_complete(use(client)))
        with self.assertRaises(RuntimeError):
            asyncio.run(use(client))
        loop.run_until_complete(client.aclose())
        loop.close()

    def test_a_child_does_not_touch_its_parents(self):
        async def main():
            async with self.client() as client:
                self.assertTrue((await client.verify(self.secret)).allows)
                pid = os.fork()
                if pid == 0:
                    status = 1
                    try:
                        await client.verify(self.secret)
                    except fob.FailedPreconditionError:
                        await client.aclose()
                        status = 0
                    finally:
                        os._exit(status)
                self.assertEqual(os.waitpid(pid, 0)[1], 0)
                self.assertTrue((await client.verify(self.secret)).allows)
        asyncio.run(main())

    def test_on_connection_is_called_by_the_loop(self):
        seen = []

        async def main():
            first = asyncio.Event()

            def told(address, state, reason):
                seen.append((address, state, reason, threading.current_thread(), asyncio.get_running_loop()))
                first.set()
            async with self.client(on_connection=told):
                await first.wait()
                return asyncio.get_running_loop()
        loop = asyncio.run(main())
        self.assertEqual(seen, [(self.fobd.urls["verify"], fob.ConnectionState.MADE, None, threading.main_thread(),
                                 loop)])

    def test_nothing_is_kept(self):
        """After many calls, cancelled, denied and failed ones among them, there are no more objects than before."""
        async def work(client, n):
            tasks = [asyncio.create_task(c) for _ in range(n) for c in (
                client.verify(self.secret.decode(), operation="a"), client.verify(bytearray(b"nonsense")),
                client.verify_batch([self.secret] * 3), client.stats(), client.health())]
            await asyncio.sleep(0)
            for t in tasks[::3]:
                t.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            while _calls:
                await asyncio.sleep(0.001)

        async def main():
            async with self.client(timeout=30) as client:
                await work(client, 100)
                counts = []
                for _ in range(2):
                    await work(client, 100)
                    gc.collect()
                    counts.append((len(gc.get_objects()), sys.getrefcount(self.secret)))
                kept = weakref.ref(client)
            del client
            return counts, kept
        (one, two), client = asyncio.run(main())
        self.assertLess(two[0] - one[0], 20)
        self.assertEqual(two[1], one[1])
        gc.collect()
        self.assertIsNone(client())

    def test_clients_that_are_dropped_are_freed(self):
        async def drop():
            client = self.client()
            self.assertTrue((await client.verify(self.secret)).allows)
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                del client
            self.assertEqual([w.category for w in seen], [ResourceWarning])
            await asyncio.sleep(0)  # the loop frees it
        asyncio.run(drop())
        before = len(os.listdir("/proc/self/fd"))

        async def main():
            before = len(os.listdir("/proc/self/fd"))
            for _ in range(20):
                await drop()
            self.assertEqual(len(os.listdir("/proc/self/fd")), before)
            return self.client()

        async def leave(client):
            await client.health()
        client = asyncio.run(main())
        asyncio.run(leave(client))
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            del client  # its loop is closed
        self.assertEqual([w.category for w in seen], [ResourceWarning])
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class Kills(unittest.TestCase):
    def test_kill_9_mid_load_every_call_ends_and_the_client_recovers(self):
        fobd = daemon.Daemon().start()
        secret, _ = pyfob.create(fobd, "acct_k")
        verdicts, faults, strange = [0], [], []
        over = []

        async def load(client):
            while not over:
                try:
                    v = await client.verify(secret, timeout=3)
                    verdicts[0] += 1
                    if not v.allows:
                        strange.append(v)
                except fob.FobError as e:
                    faults.append(e.fault)
                    await asyncio.sleep(0.005)

        async def main():
            async with fob.aio.Client(fobd.urls["verify"], fail_fast=True) as client:
                await asyncio.gather(*[load(client) for _ in range(500)])

        # The loop has a thread of its own: a fobd ends with the thread that has started it.
        thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
        thread.start()
        kills = pyfob.kill_often(fobd, verdicts, faults, more=2000)
        over.append(True)
        thread.join(10)
        self.assertFalse(thread.is_alive(), "a call hangs")
        fobd.stop()
        self.assertEqual(strange, [])
        self.assertEqual(len(_calls), 0)
        self.assertLessEqual(set(faults), {fob.Fault.UNAVAILABLE, fob.Fault.DEADLINE_EXCEEDED})
        tap.count("%d kills of fobd under 500 tasks: %d verdicts, %d faults, none wrong" % (
            kills, verdicts[0], len(faults)))


tap.main()
