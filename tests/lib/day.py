"""What the steps of tests/integration/test_operators_day.py say: an operator's machine, customers with their keys, and
what is measured. A step that fails ends the day: the steps after it are skipped."""

import functools
import hashlib
import json
import os
import shutil
import signal
import socket
import unittest

import certs
import daemon
import fobwire
import machine
import tap

TIMEOUT_MS = 5000  # of a customer's verify: what takes longer is lost
READY_S = 1.0      # from start to ready


def chapter(_name):
    """The chapter of service/OPERATIONS.md that has the commands of this step."""
    def of(step):
        @functools.wraps(step)
        def done(day):
            Day.ended = step.__name__  # until it is done
            step(day)
            Day.ended = None
        return done
    return of


class Day(unittest.TestCase):
    why_not = None
    on = None      # the machine that the operator works on
    ended = None   # the step that failed

    @classmethod
    def setUpClass(cls):
        if cls.why_not:
            raise unittest.SkipTest(cls.why_not)
        Day.on = machine.Machine()
        for folder in ("/safe", "/elsewhere"):
            os.mkdir(Day.on.path(folder))

    def setUp(self):
        if Day.ended:
            self.skipTest("the day ended with " + Day.ended)
        self.work_on(Day.on)

    def work_on(self, there):
        Day.on = there
        for name in ("path", "write", "types", "begins", "has_packages"):
            setattr(self, name, getattr(there, name))
        self.meanwhile = there.quietly

    def tearDown(self):
        if Day.ended:
            tap.comment("the end of fobd's log:\n" + "\n".join(self.fobd().says().splitlines()[-8:]))

    # ---- the daemon ----

    def fobd(self):
        return Day.on.services.unit("fobd")

    def logged(self, text):
        daemon.wait_until("the log says " + text, lambda: text in self.fobd().says(), 300)

    def last_ready(self):
        return [line for line in self.fobd().says().splitlines() if "msg=ready" in line][-1]

    def moves_to_another_machine(self, disk, brings):
        """The machine is lost: what is kept elsewhere goes to a new one, whose databases have a disk of ${disk}."""
        lost = Day.on
        lost.services.stop()
        self.work_on(machine.Machine())
        Day.on.small_disk("/var/lib/fob", disk)
        self.brings(lost, *brings)
        self.has_packages("next")
        return lost

    @staticmethod
    def brings(other, *paths):
        """Copy ${paths} from the machine ${other}."""
        for path in paths:
            machine.run(["cp", "-aT", other.path(path), Day.on.path(path)])

    # ---- accounts and keys ----

    @staticmethod
    def secret(environment, number, kind="sk"):
        return "%s_%s_ofTheOldSystem%020d" % (kind, environment, number)

    def accounts(self, name, environment, count):
        """The other system's file of ${count} accounts: acct_0, acct_1 and so on."""
        with open(self.path("/root/" + name), "w", encoding="utf-8") as f:
            for number in range(count):
                line = {"account": "acct_%d" % number}
                for kind, word in (("sk", "secret"), ("pk", "publishable")):
                    key = self.secret(environment, number, kind)
                    line[word + "_sha256"] = hashlib.sha256(key.encode()).hexdigest()
                    line[word + "_last4"] = key[-4:]
                f.write(json.dumps(line) + "\n")

    def customers_keys(self, name, **environments):
        """A file of the keys with which customers come."""
        self.write("/root/" + name, "".join(self.secret(environment, number) + "\n"
                                            for environment, numbers in environments.items() for number in numbers))
        os.chmod(self.path("/root/" + name), 0o600)

    @staticmethod
    def secret_in(shown):
        """The secret key that a command has shown, once."""
        secret = machine.KEY.search(shown).group()
        fobwire.known_secrets.add(secret.encode())
        return secret

    def verify(self, environment, number, *sees):
        self.verify_secret(self.secret(environment, number), *sees)

    def verify_secret(self, secret, verdict, *sees):
        self.write("/root/key", secret)
        Day.on.quietly("fob verify --secret-file key", verdict, *sees, status=0 if verdict == "VALID" else 3)

    # ---- disk and certificates ----

    def fill_the_disk(self, path):
        """Another program fills it, but for a megabyte that the database may take."""
        room = os.statvfs(self.path(path))
        with open(self.path(path + "/filler"), "wb") as f:
            os.posix_fallocate(f.fileno(), 0, room.f_bavail * room.f_frsize - (1 << 20))

    def make_room(self, path):
        os.unlink(self.path(path + "/filler"))

    def make_certificates(self, *names):
        """A CA, once, and certificates of ${names} with their keys, in /root; fobd's own in /etc/fob/tls as well."""
        place = self.path("/etc/fob/tls")
        first = not os.path.exists(place)
        if first:
            os.mkdir(place)
        made = certs.Certs(self.path("/root"))
        if first:
            made.ca("ca")
            shutil.copy(made.pem("ca"), place)
            shutil.copy(made.key("ca"), self.path("/elsewhere"))
            shutil.copy(made.pem("ca"), self.path("/elsewhere"))
        else:
            for name in ("ca.pem", "ca.key"):
                shutil.copy(self.path("/elsewhere/" + name), made.path(name))
        for name in names:
            made.pair("ca", name, common_name="fob.example.org")
        if first:
            machine.run(["chroot", Day.on.root, "sh", "-c", "cp /root/server.* /etc/fob/tls/ && chown -R fob:fob /etc/fob/tls"])

    @staticmethod
    def tls_listener(address):
        return ('listen "tls+tcp://%s" {\n\trole = "admin"\n\ttls_cert = "/etc/fob/tls/server.pem"\n'
                '\ttls_key = "/etc/fob/tls/server.key"\n\ttls_ca = "/etc/fob/tls/ca.pem"\n}\n' % address)

    def certificate_shown(self, address):
        """The serial number of the certificate that a new connection gets."""
        host, port = address.split(":")
        made = certs.Certs(self.path("/root"))
        shutil.copy(self.path("/etc/fob/tls/ca.pem"), made.pem("ca"))
        context = made.context()
        context.check_hostname = False
        with socket.create_connection((host, int(port))) as s, context.wrap_socket(s) as tls:
            return tls.getpeercert()["serialNumber"]

    # ---- what is measured ----

    def measure_upgrade(self, customers):
        unit = self.fobd()
        ready, without = unit.ready - unit.began, unit.ready - unit.asked_to_stop
        tap.count("upgrade with %d keys: %d of %d verifies lost, %.2f s from start to ready, %.2f s without service, "
                  "%.2f s the longest verify" % (machine.MILLION, customers.lost, customers.answered, ready, without,
                                                 customers.longest_s))
        self.assertEqual(customers.lost, 0)
        self.assertEqual(customers.wrong, 0)
        self.assertGreater(customers.answered, 0)
        for _ in range(3):  # other programs on the machine make a start longer: the shortest counts
            if ready >= READY_S:
                unit.restart()
                ready = min(ready, unit.ready - unit.began)
        self.assertLess(ready, READY_S)


class Customers:
    """Verifies through libfob, 500 a second, each with 5 s of time, until the block ends."""

    def __init__(self, day):
        self.day = day

    def __enter__(self):
        before = self.answered_now()
        self.process = Day.on.begins(
            "fob-load --address ipc:///run/fob/verify.sock --keys keys --rate 500 --callers 4096 --timeout %d --warmup 0 "
            "--duration 3600 --json load.json" % TIMEOUT_MS)
        daemon.wait_until("customers are served", lambda: self.answered_now() > before + 100, 30)
        return self

    def answered_now(self):
        return sum(json.loads(Day.on.quietly("fob stats --output json"))["environments"][0]["verdicts"].values())

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        shown = self.process.communicate()[0]
        with open(Day.on.path("/root/load.json"), encoding="utf-8") as f:
            report = json.load(f)
        self.lost = sum(report["faults"].values()) + report["open_loop"]["not_sent"]
        self.wrong = report["unexpected_verdicts"]
        self.answered = sum(report["verdicts"].values())
        self.longest_s = max(o["latency_us"]["max"] for o in report["operations"].values()) / 1e6
        if self.lost or self.wrong:
            tap.comment(shown)
