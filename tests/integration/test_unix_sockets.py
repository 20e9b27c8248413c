#!/usr/bin/python3
"""Access to a unix socket: its folder, owner and mode, the users that a listener allows, and the audit log's lines."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import re
import stat
import unittest

import daemon
import fobwire
import pb
import tap
from pb import LIVE, SECRET

ME, OTHER = os.geteuid(), os.geteuid() + 1


class Sockets(unittest.TestCase):
    def make(self, **kw):
        fobd = daemon.Daemon(**kw)
        self.addCleanup(fobd.kill)
        return fobd

    def test_owner_and_mode(self):
        fobd = self.make().start()
        for name, mode in (("verify", 0o660), ("admin", 0o600)):
            status = os.lstat(fobd.urls[name][6:])
            self.assertTrue(stat.S_ISSOCK(status.st_mode))
            self.assertEqual((status.st_uid, status.st_mode & 0o7777), (ME, mode))

    def test_a_folder_where_everybody_may_write_is_refused(self):
        fobd = self.make().init()
        os.chmod(fobd.place, 0o777)
        done = fobd.run()
        self.assertEqual(done.returncode, 1)
        self.assertIn("every user may write in its folder, and put another socket in its place: chmod o-w " + fobd.place,
                      done.stderr)
        os.chmod(fobd.place, 0o1777)  # as /tmp: each may remove his own only
        fobd.start(init=False)

    def test_a_folder_that_is_not_there_is_made(self):
        fobd = self.make()
        new = os.path.join(fobd.place, "new")
        fobd.write_config(fobd.config_text.replace(fobd.urls["verify"], "ipc://" + new + "/v"))
        fobd.urls["verify"] = "ipc://" + new + "/v"
        fobd.start()
        self.assertEqual(stat.S_IMODE(os.stat(new).st_mode), 0o750)
        self.assertTrue(stat.S_ISSOCK(os.lstat(new + "/v").st_mode))
        fobd.restart()  # it is there now, and allowed by Landlock

    def test_a_folder_whose_own_folder_is_not_there(self):
        fobd = self.make()
        gone = os.path.join(fobd.place, "gone/deep")
        fobd.write_config(fobd.config_text.replace(fobd.urls["verify"], "ipc://" + gone + "/v"))
        fobd.init()
        done = fobd.run()
        self.assertEqual(done.returncode, 1)
        self.assertIn("ipc://%s/v: cannot make the socket's folder: No such file or directory" % gone, done.stderr)

    @unittest.skipUnless(ME == 0, "only root may give a folder away")
    def test_a_folder_of_another_user_is_told(self):
        fobd = self.make().init()
        os.chown(fobd.place, 65534, -1)
        fobd.start(init=False)
        self.assertRegex(fobd.log(), r"level=warn msg=\"a socket's folder belongs to another user.* uid=65534")


class Peers(unittest.TestCase):
    def start(self, users, role="admin"):
        setting = '\tallow_users = "%s"\n' % " ".join(map(str, users))
        fobd = daemon.Daemon()
        self.addCleanup(fobd.kill)
        fobd.write_config(re.sub(r'(listen "%s" \{\n)' % re.escape(fobd.urls[role]), r"\1" + setting, fobd.config_text))
        return fobd.start(listener="verify" if role == "admin" else "admin")

    def test_every_change_names_its_peer(self):
        fobd = daemon.Daemon().start()
        self.addCleanup(fobd.kill)
        who = r" uid=%d pid=%d( |$)" % (ME, os.getpid())
        with fobd.client("admin") as c:
            c.create(LIVE, "audited")
            c.roll(LIVE, "audited")
            c.revoke(LIVE, "audited", SECRET, 1)
            c.suspend(LIVE, "audited")
            c.resume(LIVE, "audited")
            c.call("fob.v1.Admin/ImportAccounts", pb.admin.ImportAccountsRequest(
                request_token=fobwire.new_token(), environment=LIVE,
                items=[pb.admin.ImportItem(account="moved", secret_sha256=b"x" * 32, secret_last4="abcd")]))
        for what in ("account created", "key rolled", "key revoked", "account suspended", "account resumed",
                     "accounts imported"):
            line = re.search(r'.*msg="%s".*' % what, fobd.log())
            self.assertIsNotNone(line, what)
            self.assertRegex(line.group(), who)
        fobd.restart()
        with fobd.client("admin") as c:
            events = c.events(LIVE)
        self.assertEqual(len(events), 6)
        for event in events:
            self.assertEqual(event.origin, pb.admin.Origin(uid=ME, pid=os.getpid()))

    def test_over_tcp_nobody_is_named(self):
        fobd = daemon.Daemon().start()
        self.addCleanup(fobd.kill)
        with fobd.client("tcpadmin") as c:
            c.create(LIVE, "far")
        line = re.search(r'.*msg="account created".*', fobd.log()).group()
        self.assertNotRegex(line, r" (uid|pid)=")
        with fobd.client("admin") as c:
            (event,) = c.events(LIVE)
        self.assertRegex(event.origin.address, r"^127\.[0-9.]+:[0-9]+$")
        self.assertEqual((event.origin.uid, event.origin.pid, event.origin.certificate), (0, 0, ""))

    def test_an_allowed_user_is_served(self):
        fobd = self.start([OTHER, ME])
        with fobd.client("admin") as c:
            c.create(LIVE, "mine")

    def test_another_user_is_refused_everything(self):
        fobd = self.start([OTHER])
        with fobd.client("admin") as c:
            for method in pb.METHODS:
                answer = c.response(method)
                self.assertEqual(answer.code, pb.rpc.PERMISSION_DENIED, method)
                self.assertEqual(answer.message,
                                 "the user with number %d is not one of this listener's allow_users" % ME)
            self.assertEqual(c.raw(b"\xff").code, pb.rpc.PERMISSION_DENIED)
        self.assertRegex(fobd.log(), r"level=warn msg=\"refused: not one of the listener's allow_users\" url=\S+ "
                                     r"uid=%d pid=%d" % (ME, os.getpid()))
        with fobd.client("verify") as c:  # the other listener has no such list
            c.check()

    def test_a_verify_listener_may_have_a_list_too(self):
        fobd = self.start([OTHER], role="verify")
        with fobd.client("verify") as c:
            self.assertEqual(c.response("fob.v1.Health/Check").code, pb.rpc.PERMISSION_DENIED)

    @unittest.skipUnless(ME == 0, "only root may become another user")
    def test_by_name_and_by_the_connection_not_the_message(self):
        """A connection counts as the user's who opened it, also after it was passed to another user's process."""
        fobd = daemon.Daemon()
        self.addCleanup(fobd.kill)
        fobd.write_config(re.sub(r'(listen "%s" \{\n)' % re.escape(fobd.urls["verify"]),
                                 r'\1\tmode = 0666\n\tallow_users = "nobody"\n', fobd.config_text))
        fobd.start(listener="admin")
        os.chmod(fobd.place, 0o711)
        with fobd.client("verify") as c:
            self.assertEqual(c.response("fob.v1.Health/Check").code, pb.rpc.PERMISSION_DENIED)
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    os.setgroups([])
                    os.setgid(65534)
                    os.setuid(65534)
                    denied = c.response("fob.v1.Health/Check").code
                    with fobd.client("verify") as own:
                        code = 0 if (denied, own.response("fob.v1.Health/Check").code) == (
                            pb.rpc.PERMISSION_DENIED, pb.rpc.OK) else 2
                finally:
                    os._exit(code)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)


tap.main()
