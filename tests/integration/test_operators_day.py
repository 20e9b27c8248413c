#!/usr/bin/python3
"""A day in an operator's life, on bare Debian systems, with the packages of this tree. Each step types the commands that
its chapter of service/OPERATIONS.md has; test_pages.py holds the page to that. TORTURE=1 only.

Printed at the end: verifies lost, the time from start to ready with a million keys, the seconds without service."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import machine
import tap
from day import Customers, Day, chapter

WHY_NOT = machine.enter()


class OperatorsDay(Day):
    why_not = WHY_NOT

    @chapter("Install")
    def test_01_install(self):
        self.has_packages("now")
        self.types("apt-get install ./fobd_*.deb ./fob_*.deb", "there is no database yet", "fobd --init")
        self.assertFalse(self.fobd().active(), "no package makes a database, so none can start fobd")
        self.meanwhile("systemctl start fobd", "`fobd --init` makes one", status=1)

    @chapter("Configure")
    def test_02_configure(self):
        self.make_certificates("server", "operator")
        self.write("/etc/fob/fobd.conf", self.tls_listener("127.0.0.1:7401"), "a")
        self.types("runuser -u fob -- fobd --check-config")

    @chapter("Start")
    def test_03_start(self):
        self.types("runuser -u fob -- fobd --init")
        self.types("cp -p /etc/fob/*.pepper /safe/")
        self.types("systemctl start fobd")
        self.types("fob health", "all", "SERVING")

    @chapter("Move here from another system")
    def test_04_import_10000_accounts(self):
        self.accounts("accounts.ndjson", "live", 10_000)
        self.types("fob account import --environment live --dry-run accounts.ndjson", "10000")
        self.types("fob account import --environment live accounts.ndjson", "10000")
        self.verify("live", 42, "VALID", "acct_42")
        self.verify("live", 10_000, "MALFORMED")

    @chapter("Move here from another system")
    def test_05_import_a_million_keys_into_test(self):
        self.accounts("test-accounts.ndjson", "test", machine.MILLION // 2)
        self.types("fob account import --environment test --timeout 60s test-accounts.ndjson", str(machine.MILLION // 2))

    @chapter("Load and monitor")
    def test_06_load(self):
        self.customers_keys("keys", live=range(1000, 10_000), test=range(1000, 10_000))
        self.types("fob-load --address ipc:///run/fob/verify.sock --keys keys --rate 200 --duration 10", "VALID")
        self.types("fob stats", "VALID")

    @chapter("Roll a key")
    def test_07_roll(self):
        new = self.types("fob key roll acct_42 --environment live", "sk_live_")
        self.verify("live", 42, "VALID", "superseded")
        self.verify_secret(self.secret_in(new), "VALID", "acct_42")
        self.types("fob key list acct_42 --environment live", "grace", "current")

    @chapter("End a leaked key")
    def test_08_leaked(self):
        new = self.types("fob key roll acct_43 --environment live --grace 0 --yes", "sk_live_")
        self.verify("live", 43, "REVOKED")
        self.verify_secret(self.secret_in(new), "VALID", "acct_43")
        self.types("fob key revoke acct_44 --environment live --kind secret --generation 1 --yes")
        self.verify("live", 44, "REVOKED")
        self.write("/root/leaked.txt", self.secret("live", 45))
        self.types("fob key revoke --secret-file leaked.txt --yes", "acct_45")
        self.verify("live", 45, "REVOKED")

    @chapter("Back up")
    def test_09_back_up(self):
        self.begins("fob events --follow --output json >> /elsewhere/events.json")
        self.types("install -d -o fob -g fob -m 0700 /backup")
        self.types("runuser -u fob -- fob backup live /backup/live-2026-01-31")
        self.types("runuser -u fob -- fob check live /backup/live-2026-01-31")
        self.types("runuser -u fob -- fob backup test /backup/test-2026-01-31")
        # After the backup another key leaks, and an account is made.
        self.meanwhile("fob key roll acct_46 --environment live --grace 0 --yes")
        self.meanwhile("fob account create acct_new", "sk_live_", "sk_test_")

    @chapter("Upgrade")
    def test_10_upgrade_under_load(self):
        self.has_packages("next")
        with Customers(self) as customers:
            self.types("apt-get install ./fobd_*.deb ./fob_*.deb")
            self.assertIn("version=" + machine.version("next"), self.last_ready(), "the package started the new fobd")
            self.types("fob health", "all", "SERVING")
        self.measure_upgrade(customers)

    @chapter("Rotate a pepper")
    def test_11_rotate_a_pepper(self):
        with Customers(self) as customers:
            self.types("runuser -u fob -- fob pepper rotate live")
            self.types("cp -p /etc/fob/*.pepper /safe/")
            self.types("systemctl reload fobd")
            self.logged("pepper rotated")
        self.assertEqual(customers.lost, 0)

    @chapter("Restore")
    def test_12_restore_on_another_machine(self):
        lost = self.moves_to_another_machine(disk="1500m", brings=("/safe", "/backup", "/elsewhere"))
        self.types("apt-get install ./fobd_*.deb ./fob_*.deb")
        self.brings(lost, "/etc/fob/fobd.conf", "/etc/fob/tls", "/root/operator.pem", "/root/operator.key")
        self.types("install -o fob -g fob -m 0600 /safe/*.pepper /etc/fob/")
        self.types("cp -a /backup/live-2026-01-31 /var/lib/fob/live")
        self.types("cp -a /backup/test-2026-01-31 /var/lib/fob/test")
        self.types("chown -R fob:fob /var/lib/fob")
        self.types("systemctl start fobd", "this is a backup", status=1)
        self.types("runuser -u fob -- fob restore live --events /elsewhere/events.json", "acct_46", "acct_new")
        self.types("runuser -u fob -- fob restore test --events /elsewhere/events.json", "acct_new")
        self.types("runuser -u fob -- fob check live")
        self.types("systemctl start fobd")
        self.verify("live", 46, "REVOKED")
        self.verify("live", 47, "VALID", "acct_47")

    @chapter("A full disk")
    def test_13_disk_full(self):
        self.fill_the_disk("/var/lib/fob")
        self.accounts("accounts.ndjson", "live", 40_000)
        self.types("fob account import --environment live accounts.ndjson", "RESOURCE_EXHAUSTED", status=2)
        self.types("df -h /var/lib/fob", "100%")
        self.verify("live", 47, "VALID", "acct_47")
        self.types("fob key revoke acct_47 --environment live --kind secret --generation 1 --yes")
        self.make_room("/var/lib/fob")
        self.types("fob account import --environment live accounts.ndjson", "30000")

    @chapter("Renew a certificate")
    def test_14_certificate_renewed(self):
        before = self.certificate_shown("127.0.0.1:7401")
        self.make_certificates("server")
        self.types("install -o fob -g fob -m 0600 server.pem server.key /etc/fob/tls/")
        self.types("systemctl reload fobd")
        self.logged("settings reloaded")
        self.assertNotEqual(self.certificate_shown("127.0.0.1:7401"), before)
        self.types("fob health --address tls+tcp://127.0.0.1:7401 --tls-ca /etc/fob/tls/ca.pem --tls-cert operator.pem "
                   "--tls-key operator.key --tls-server-name fob.example.org", "SERVING")

    @chapter("Remove")
    def test_15_uninstall(self):
        self.types("apt-get remove fobd fob")
        self.assertFalse(self.fobd().active(), "the package stops fobd")
        self.assertTrue(os.path.exists(self.path("/etc/fob/fobd.conf")))
        self.types("apt-get purge fobd fob", "/var/lib/fob is kept", "/etc/fob is kept")
        self.assertFalse(os.path.exists(self.path("/etc/fob/fobd.conf")))
        self.assertTrue(os.path.exists(self.path("/var/lib/fob/live/data.mdb")))


tap.main()
