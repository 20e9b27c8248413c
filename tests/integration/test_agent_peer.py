#!/usr/bin/python3
"""What fob-cluster carries to other nodes and back. This test plays its fobd and the other nodes. There is no etcd."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import re
import shutil
import socket
import unittest

import agent
import certs
import daemon
import fobwire
import pb
import tap
from pb import cluster
from peer_node import Node

CURVE = "ec:prime256v1"
LARGE = 130 << 10


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = daemon.own_address().rsplit(":", 1)[0]
        cls.certs = made = certs.Certs(daemon.folder()).ca("ca").ca("other")
        made.pair("ca", "node", kind=CURVE, alt="IP:%s,DNS:localhost" % cls.host)
        made.pair("ca", "elsewhere", kind=CURVE, alt="IP:192.0.2.1,DNS:elsewhere.example")
        for name in ("agent", "second"):
            made.pair("ca", name, kind=CURVE)

    def begin(self, again_ms=1000, more="", **settings):
        self.fobd = agent.Fobd(again_ms=again_ms)
        self.addCleanup(self.fobd.close)
        self.agent = agent.Agent(self.fobd, agent.NoEtcd(self.certs), more=more, **settings).start()
        self.addCleanup(self.agent.stop)

    def node(self, made=True, **fields):
        node = Node(self.certs if made is True else made, **fields)
        self.addCleanup(node.close)
        return node

    def answered(self, node, sealed=b"question"):
        """Ask ${node}, answer there, and take the answer; returns what the node saw."""
        ident, = self.fobd.ask_many(node.address, [sealed])
        asked, = node.take()
        asked.answer(b"the answer to " + sealed)
        self.assertEqual((b"the answer to " + sealed, b""), self.parts(ident))
        return asked

    def parts(self, ident):
        answer = self.fobd.answer(ident)
        return answer.sealed, answer.why

    def refused(self, address, why, **fields):
        answer = self.fobd.ask(address, b"x", **fields)
        self.assertEqual(b"", answer.sealed)
        self.assertRegex(answer.why.decode(), why)
        return answer.why


class Asks(Case):
    def test_answered_in_another_order(self):
        """Over TLS and over TCP: the envelope, the bytes, the time limit; one connection to each address."""
        self.begin(environment="test")
        for node in (self.node(), self.node(None)):
            ids = self.fobd.ask_many(node.address, [b"a", b"b" * 60000, bytes(range(256))], timeout_ms=7000)
            asked = node.take(3)
            self.assertEqual([b"a", b"b" * 60000, bytes(range(256))], [a.sealed for a in asked])
            for a in asked:
                self.assertEqual(("fob.v1.Peer/Ask", 7000, pb.TEST),
                                 (a.request.method, a.request.timeout_ms, a.body.environment))
            for a, sealed in ((asked[2], b"3"), (asked[0], b"1"), (asked[1], b"2" * LARGE)):
                a.answer(sealed)
            self.assertEqual([(b"1", b""), (b"2" * LARGE, b""), (b"3", b"")], [self.parts(i) for i in ids])
            self.answered(node)
            self.assertEqual(1, len(node.connections))
            self.assertIn(node.connections[0].name, ("agent", None))

    def test_a_fault_of_the_other_node(self):
        """Its code and message become the reason; what is no answer, or is too large for an Exchange, has one, too."""
        self.begin()
        node = self.node()
        for reply, why in ((dict(code=pb.rpc.UNAVAILABLE, message="not\nserving"), "^it answers with code 14: not.serving$"),
                           (dict(body=b"\xff"), "not one of Ask"), (dict(), "not one of Ask"),
                           (dict(body=cluster.AskResponse(sealed=bytes(210 << 10)).SerializeToString()), "too large"),
                           (dict(code=pb.rpc.INTERNAL, message="y" * 5000), "^it answers with code 13: y{150,}$")):
            ident, = self.fobd.ask_many(node.address, [b"x"])
            node.take()[0].reply(**reply)
            sealed, text = self.parts(ident)
            self.assertEqual((b"", True), (sealed, len(text) <= 200))
            self.assertRegex(text.decode(), why)
        self.answered(node)
        self.assertEqual(1, len(node.connections))

    def test_large_answers(self):
        """Many of 130 KiB: each comes, and no Exchange is larger than it may be."""
        self.begin()
        node = self.node()
        ids = self.fobd.ask_many(node.address, [b"%d" % i for i in range(40)])
        for asked in node.take(40):
            asked.answer(asked.sealed.ljust(LARGE, b"."))
        for i, ident in enumerate(ids):
            self.assertEqual((b"%d" % i).ljust(LARGE, b"."), self.fobd.answer(ident).sealed)
        self.assertLess(max(self.fobd.sizes), 201 << 10)

    def test_results_overtake_large_answers(self):
        """While fobd takes no more answers, it can still give transactions, and gets their results."""
        self.begin(again_ms=100)
        node = self.node()
        self.fobd.hold_answers = True
        self.fobd.ask_many(node.address, [b"x"] * 10)
        for asked in node.take(10):
            asked.answer(bytes(LARGE))
        self.fobd.wait("the first answers", lambda: len(self.fobd.answers) >= 2)
        for _ in range(3):
            self.assertEqual(cluster.Result.NOT_SENT, self.fobd.make(success=[agent.get("x")]).outcome)
        self.assertLessEqual(len(self.fobd.answers), 3)

    def test_no_answer_in_time(self):
        """An ask has its own time limit; a late reply is dropped, and the connection goes on."""
        self.begin()
        node = self.node()
        patient, = self.fobd.ask_many(node.address, [b"patient"])
        self.refused(node.address, "no answer in time", timeout_ms=200)
        first, late = node.take(2)
        late.answer(b"too late")
        first.answer(b"in time")
        self.assertEqual((b"in time", b""), self.parts(patient))
        self.answered(node)
        self.assertEqual(1, len(node.connections))

    def test_many(self):
        """64 are under way, one more is refused at once; those of 9 addresses, too. An idle connection makes room."""
        self.begin()
        nodes = [self.node(None) for _ in range(9)]
        ids = self.fobd.ask_many(nodes[0].address, [b"x"] * 65)
        self.assertEqual(b"", self.fobd.answer(ids[64]).sealed)
        self.assertIn(b"asks are under way", self.fobd.answer(ids[64]).why)
        for asked in nodes[0].take(64):
            asked.answer(b"y")
        self.assertEqual({b"y"}, {self.fobd.answer(i).sealed for i in ids[:64]})
        # The first one is idle: its connection is closed for the last one's.
        ids = [self.fobd.ask_many(node.address, [b"x"])[0] for node in nodes[1:]]
        asked = [node.take()[0] for node in nodes[1:]]
        nodes[0].wait("it is closed", lambda: nodes[0].ends)
        self.refused(nodes[0].address, "8 other addresses")
        for a in asked:
            a.answer(b"y")
        self.assertEqual({b"y"}, {self.fobd.answer(i).sealed for i in ids})
        self.answered(nodes[0])

    def test_addresses(self):
        self.begin()
        for address in ("", "x", "ipc:///run/x", "tcp://host", "tcp://host:0", "http://host:1", "tls+tcp://[::1", "tcp://a b:1",
                        "tcp://a\0:1", "tcp://" + "a" * 400 + ":1"):
            with self.subTest(address=address):
                self.refused(address, "no address that can be connected to")


class Trouble(Case):
    def test_it_closes_in_the_middle(self):
        """Of a reply: the reply before it counts, all other asks end, and the next one makes a new connection."""
        self.begin()
        node = self.node()
        ids = self.fobd.ask_many(node.address, [b"1", b"2", b"3"])
        asked = node.take(3)
        asked[1].answer(b"whole")
        asked[0].connection.send(fobwire.frame("tcp:", asked[0].ident + bytes(5000))[:3000])
        asked[0].connection.close()
        self.assertEqual((b"whole", b""), self.parts(ids[1]))
        for ident in (ids[0], ids[2]):
            sealed, why = self.parts(ident)
            self.assertEqual(b"", sealed)
            self.assertRegex(why.decode(), "closed|reset")
        self.answered(node)
        self.assertEqual(2, len(node.connections))

    def test_certificates(self):
        """A CA that did not sign the node's, another name, a node that does not know our CA; and no certificate."""
        for what, settings, node in (
                ("the server's certificate: .*(issuer|self-signed)", dict(more='peer_ca = "%s"\n' % self.certs.pem("other")), {}),
                ("the server's certificate: .*mismatch", {}, dict(pair="elsewhere")),
                ("does not know the CA|does not accept|may not accept", {}, dict(ca="other")),
                ("requires a certificate|may not accept", dict(user=None), {})):
            with self.subTest(what=what):
                self.begin(**settings)
                self.refused(self.node(**node).address, what)
                self.answered(self.node(None))

    def test_certificates_of_its_own(self):
        """peer_ca, peer_cert and peer_key in the place of etcd's."""
        c = self.certs
        self.begin(ca="other", more='peer_ca = "%s"\npeer_cert = "%s"\npeer_key = "%s"\n' % (
            c.pem("ca"), c.pem("second"), c.key("second")))
        self.assertEqual("second", self.answered(self.node()).connection.name)

    def test_certificates_that_cannot_be_used(self):
        """The file is named, and tried again with the next ask."""
        path = os.path.join(daemon.folder(), "pem")
        shutil.copy(self.certs.pem("ca"), path)
        self.begin(more='peer_ca = "%s"\n' % path)
        with open(path, "w") as f:
            f.write("nothing\n")
        node = self.node()
        self.refused(node.address, re.escape(path) + ": it holds no CA")
        shutil.copy(self.certs.pem("ca"), path)
        self.answered(node)

    def test_what_listens_is_no_node(self):
        """Nothing listens; it does not speak TLS, or SP; it says nothing at all."""
        self.begin()
        self.refused("tls+tcp://" + daemon.own_address(), "refused")
        plain, web = self.node(None), self.node(None, greeting=b"HTTP/1.1 400 Bad Request\r\n")
        self.refused("tls+tcp://" + plain.where, "TLS")
        self.refused(web.address, "does not speak Fob's protocol")
        self.refused(self.node(greeting=b"HTTP/1.1 400 Bad Request\r\n").address, "does not speak Fob's protocol")
        silent = self.node(None, greeting=b"")
        self.refused(silent.address, "no answer in time", timeout_ms=100)
        self.refused(silent.address, "no answer to connecting")

    def test_names(self):
        """One that is resolved, one that is not (RFC 6761), while asks of others go on."""
        self.begin()
        node = self.node(where="127.0.0.1:0")
        ids = self.fobd.ask_many("tls+tcp://nowhere.invalid:1", [b"x", b"y"])
        self.answered(self.node())
        for ident in ids:
            sealed, why = self.parts(ident)
            self.assertEqual(b"", sealed)
            self.assertRegex(why.decode(), "unknown|name server|no answer in time")
        try:
            socket.getaddrinfo("localhost", 1)
        except OSError:
            return tap.comment("this system has no name, not even localhost")
        node.address = "tls+tcp://localhost:" + node.where.rsplit(":", 1)[1]
        self.answered(node)


class Lives(Case):
    def test_reload(self):
        """SIGHUP: new asks go over a new connection with the files as they are then; those under way get their answers."""
        place = certs.Certs(daemon.folder())
        paths = place.pem("own"), place.key("own")

        def become(name):
            shutil.copy(self.certs.pem(name), paths[0])
            shutil.copy(self.certs.key(name), paths[1])

        become("agent")
        self.begin(more='peer_cert = "%s"\npeer_key = "%s"\n' % paths)
        node = self.node()
        self.answered(node)
        become("second")
        under_way, = self.fobd.ask_many(node.address, [b"x"])
        asked, = node.take()
        self.assertEqual("agent", asked.connection.name)
        self.agent.hup("settings reloaded")
        self.assertEqual("second", self.answered(node).connection.name)
        asked.answer(b"y")
        self.assertEqual((b"y", b""), self.parts(under_way))
        node.wait("the old connection is closed", lambda: [c for c, _ in node.ends] == [asked.connection])
        self.assertEqual("second", self.answered(node).connection.name)

    def test_a_new_session(self):
        """Asks of a fobd that has ended are not answered to the next one."""
        self.begin()
        node = self.node()
        self.fobd.ask_many(node.address, [b"old"] * 64)
        asked = node.take(64)
        self.fobd.close()
        asked[0].answer(b"to nobody")
        path, old = self.fobd.path, self.fobd.next_id
        self.fobd = agent.Fobd(path)
        self.addCleanup(self.fobd.close)
        self.fobd.next_id = old
        self.fobd.wait("came again", lambda: self.fobd.bells > 0)
        asked[1].answer(b"to nobody")
        ids = self.fobd.ask_many(node.address, [b"new"] * 64)  # there is room for them
        for a in node.take(64):
            a.answer(b"y")
        self.assertEqual({b"y"}, {self.fobd.answer(i).sealed for i in ids})
        self.assertEqual(set(ids), set(self.fobd.answers))

    def test_it_rests(self):
        """With idle connections, and with asks under way, it does nothing until something comes."""
        self.begin(again_ms=300)
        nodes = self.node(), self.node(None)
        for node in nodes:
            self.answered(node)
        self.fobd.ask_many(nodes[0].address, [b"x"])
        asked, = nodes[0].take()
        before, requests = self.switches(), self.fobd.requests
        self.fobd.wait("three turns", lambda: self.fobd.requests >= requests + 3)
        self.assertLess(self.switches() - before, 100)
        asked.answer(b"y")

    def switches(self):
        with open("/proc/%d/status" % self.agent.process.pid) as f:
            return sum(int(n) for n in re.findall(r"ctxt_switches:\s+(\d+)", f.read()))


tap.main()
