#!/usr/bin/python3
"""nng's own REQ socket, from C, calls every RPC over each transport: tests/interop/nng_client.c."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import subprocess
import unittest

import certs
import daemon
import pb
import tap

CLIENT = os.path.join(daemon.BUILD, "tests", "interop", "nng_client")


class Nng(unittest.TestCase):
    def setUp(self):
        made = certs.Certs(daemon.folder()).ca("ca").pair("ca", "server").pair("ca", "operator")
        address = daemon.own_address()
        self.fobd = daemon.Daemon(settings=made.listener(address, "admin"))
        self.fobd.urls["tlsadmin"] = "tls+tcp://" + address
        self.fobd.start()
        self.addCleanup(self.fobd.kill)
        both = made.path("both.pem")
        with open(both, "w") as out:
            for name in (made.pem("operator"), made.key("operator")):
                with open(name) as f:
                    out.write(f.read())
        self.tls = [made.pem("ca"), both, "server"]

    def every_rpc(self, listener, *more):
        done = subprocess.run([CLIENT, self.fobd.urls[listener], *more], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=120 * daemon.SLOWER)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(sorted(done.stdout.splitlines()), sorted("called " + name for name in pb.METHODS))
        self.fobd.stop()

    def test_every_rpc_over_ipc(self):
        self.every_rpc("admin")

    def test_every_rpc_over_tcp(self):
        self.every_rpc("tcpadmin")

    def test_every_rpc_over_tls(self):
        self.every_rpc("tlsadmin", *self.tls)


tap.main()
