#!/usr/bin/python3
"""/metrics, /livez and /readyz of a real fob-http before a real fobd; promtool on the metrics, on the alert rules and on
each expression of the dashboard. The dashboard, the rules and METRICS.md name only metrics that exist."""

import json
import os
import re
import shutil
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))

import daemon  # noqa: E402
import model_etcd  # noqa: E402
import nodes  # noqa: E402
import pb  # noqa: E402
import tap  # noqa: E402
import web  # noqa: E402

HTTP = os.path.abspath(os.path.join(ROOT, "client", "http"))
ACCOUNT = "acct-of-the-test"
LABELS = {"environment", "class", "code", "verdict", "outcome", "state", "version", "le"}
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")


def promtool(*args, text=None):
    """Runs it in the folder of the rules."""
    return subprocess.run(["promtool", *args], input=text, capture_output=True, text=True, cwd=HTTP, timeout=120)


def get(server, path, method="GET"):
    with web.Connection(server.metrics) as c:
        return c.ask(method, path)


def samples(text):
    """{"name{labels}": value}"""
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


def names(text):
    """Of all series that the metrics in ${text} have."""
    out = set()
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M):
        out.update({name} if kind != "histogram" else {name + s for s in ("_bucket", "_sum", "_count")})
    return out


def named_in(expression):
    return set(re.findall(r"\bfob_\w+", expression))


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.fobd = daemon.Daemon().start()
        cls.web = web.Web(cls.fobd.urls["verify"]).start()
        with cls.fobd.client() as c:
            old = c.create(pb.LIVE, ACCOUNT).secret_key.secret
            c.create(pb.TEST, ACCOUNT)
            new = c.roll(pb.LIVE, ACCOUNT, grace=600).new_key.secret
            for secret in (old, new, b"nonsense"):
                c.verify(secret)
        cls.text = get(cls.web, "/metrics").body.decode()

    @classmethod
    def tearDownClass(cls):
        cls.web.stop()
        cls.fobd.stop()

    def test_promtool_finds_nothing_to_say(self):
        done = promtool("check", "metrics", text=self.text)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        done = promtool("check", "metrics", text=self.text.replace("fob_commits_total", "fob_commits"))
        self.assertNotEqual(done.returncode, 0)

    def test_what_was_done_is_counted(self):
        got = samples(self.text)
        for series, value in (
                ("fob_up", 1), ("fob_connections", None),
                ('fob_requests_total{environment="live",class="verify",code="OK"}', 2),
                ('fob_requests_total{environment="none",class="verify",code="OK"}', 1),
                ('fob_requests_total{environment="live",class="change",code="OK"}', 2),
                ('fob_request_duration_seconds_count{class="verify"}', 3),
                ('fob_request_duration_seconds_count{class="change"}', 3),
                ('fob_verdicts_total{environment="live",verdict="VALID"}', 2),
                ('fob_verdicts_total{environment="none",verdict="MALFORMED"}', 1),
                ('fob_changes_total{environment="live",outcome="applied"}', 2),
                ('fob_commit_changes_count{environment="live"}', 2),
                ('fob_commit_changes_sum{environment="live"}', 2),
                ('fob_accounts{environment="test"}', 1),
                ('fob_superseded_keys_in_use{environment="live"}', 0)):
            self.assertIn(series, got)
            if value is not None:
                self.assertEqual(got[series], value, series)
        self.assertGreater(got['fob_request_duration_seconds_sum{class="verify"}'], 0)
        self.assertGreater(got['fob_database_used_bytes{environment="live"}'], 0)

    def test_keys_are_counted_soon(self):
        def counted():
            got = samples(get(self.web, "/metrics").body.decode())
            states = [got.get('fob_keys{environment="live",state="%s"}' % s) for s in
                      ("current", "grace", "expired", "revoked")]
            return states == [2, 1, 0, 0]

        daemon.wait_until("keys by state", counted)

    def test_no_label_names_an_account_or_a_key(self):
        for line in self.text.splitlines():
            if not line.startswith("#"):
                labels = SAMPLE.match(line)[2] or ""
                self.assertLessEqual(set(re.findall(r'(\w+)="', labels)), LABELS, line)
        self.assertNotIn(ACCOUNT, self.text)
        self.assertEqual([], daemon.secrets_in(self.text.encode()))

    def test_a_histogram_only_grows(self):
        series = {}
        for line in self.text.splitlines():
            found = re.match(r'(\w+)_bucket\{(\w+="\w+"),le="([^"]+)"\} (\d+)$', line)
            if found:
                series.setdefault((found[1], found[2]), []).append((float(found[3]), int(found[4])))
        self.assertEqual(len(series), 4 + 2)
        for (name, label), buckets in series.items():
            self.assertEqual(buckets, sorted(buckets))
            self.assertEqual([n for _, n in buckets], sorted(n for _, n in buckets))
            self.assertEqual(buckets[-1], (float("inf"), samples(self.text)["%s_count{%s}" % (name, label)]))

    def test_methods_and_paths(self):
        reply = get(self.web, "/metrics?x=y")
        self.assertEqual((reply.status, reply.headers["content-type"]),
                         (200, "text/plain; version=0.0.4; charset=utf-8"))
        self.assertEqual(get(self.web, "/metrics", "HEAD").status, 200)
        for path in ("/metrics", "/livez", "/readyz"):
            self.assertEqual(get(self.web, path, "POST").status, 405, path)
        self.assertEqual(get(self.web, "/metrics/x").status, 404)
        # The other listeners do not have them.
        self.assertNotEqual(self.web.ask(target="/metrics").status, 200)

    def test_ready_only_while_fobd_serves(self):
        fobd = daemon.Daemon().start()
        server = web.Web(fobd.urls["verify"]).start()
        daemon.wait_until("ready", lambda: get(server, "/readyz").status == 200)
        self.assertEqual(get(server, "/readyz").body, b"SERVING\n")
        # An environment whose database's file is gone has failed; fobd itself goes on.
        os.rename(os.path.join(fobd.database("test"), "data.mdb"), os.path.join(fobd.place, "kept.mdb"))
        daemon.wait_until("not ready", lambda: get(server, "/readyz").status == 503)
        self.assertEqual(get(server, "/readyz").body, b"NOT_SERVING\n")
        self.assertIn('fob_environment_serving{environment="test"} 0\n', get(server, "/metrics").body.decode())
        fobd.terminate()
        daemon.wait_until("fobd is gone", lambda: b"fob_up 0\n" in get(server, "/metrics").body)
        self.assertEqual(get(server, "/livez").status, 200)
        self.assertEqual(get(server, "/readyz").status, 503)
        self.assertEqual(promtool("check", "metrics", text=get(server, "/metrics").body.decode()).returncode, 0)
        server.stop()

    def test_ready_again_with_fobd(self):
        fobd = daemon.Daemon().start()
        server = web.Web(fobd.urls["verify"]).start()
        fobd.terminate()
        daemon.wait_until("not ready", lambda: get(server, "/readyz").status == 503)
        fobd.start(init=False)
        # Each thread of fob-http has its own connection to fobd.
        daemon.wait_until("ready again", lambda: get(server, "/readyz").status == 200)
        daemon.wait_until("and counted", lambda: b"\nfob_up 1\n" in get(server, "/metrics").body)
        server.stop()
        fobd.stop()


class Clusters(unittest.TestCase):
    """A node of a cluster, whose etcd and fob-cluster are models."""

    def test_a_node_tells_of_its_cluster(self):
        etcd = model_etcd.Etcd()
        node, other = nodes.modelled(etcd), None
        server = web.Web(node.fobd.urls["verify"]).start()

        def figures():
            got = samples(get(server, "/metrics").body.decode())
            return {s.split("{")[0][len("fob_cluster_"):]: v for s, v in got.items() if s.startswith("fob_cluster_")}

        try:
            node.call(lambda c: c.create(pb.LIVE, ACCOUNT))
            got = figures()
            self.assertGreater(got.pop("fresh_seconds"), 0)
            applied = got["applied"]
            self.assertGreater(applied, 0)
            self.assertEqual(got, {"applied": applied, "head": applied, "agent_connected": 1, "nodes": 1, "closed": 0})
            other = nodes.modelled(etcd, node)
            daemon.wait_until("two nodes", lambda: figures()["nodes"] == 2)
            other.call(lambda c: c.create(pb.LIVE, ACCOUNT + "-2"))
            self.assertGreater(figures()["applied"], applied)
            self.assertEqual(promtool("check", "metrics", text=get(server, "/metrics").body.decode()).stdout, "")
            node.agent.stop()
            daemon.wait_until("stale", lambda: figures()["fresh_seconds"] == 0)
            self.assertEqual(get(server, "/readyz").status, 503)
            daemon.wait_until("no agent", lambda: figures()["agent_connected"] == 0)
        finally:
            server.stop()
            for n in (node, other):
                if n is not None:
                    n.stop()

    def test_of_no_cluster_nothing_is_said(self):
        with_none = daemon.Daemon().start()
        with with_none.client("verify") as c:
            self.assertFalse(c.environment_stats(pb.LIVE).HasField("cluster"))
        server = web.Web(with_none.urls["verify"]).start()
        self.assertNotIn(b"\nfob_cluster_", get(server, "/metrics").body)
        server.stop()
        with_none.stop()


class Files(unittest.TestCase):
    """What Prometheus and Grafana read."""

    @classmethod
    def setUpClass(cls):
        Metrics.setUpClass()
        cls.text, cls.names = Metrics.text, names(Metrics.text)
        Metrics.tearDownClass()

    def test_alert_rules(self):
        done = promtool("check", "rules", "alerts.yml")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        with open(os.path.join(HTTP, "alerts.yml"), encoding="utf-8") as f:
            rules = f.read()
        with open(os.path.join(HTTP, "alerts_test.yml"), encoding="utf-8") as f:
            cases = f.read()
        named = set().union(*(named_in(e) for e in re.findall(r"expr: ((?:>-\n)?.*(?:\n {10}.*)*)", rules)))
        self.assertGreater(len(named), 8)
        self.assertEqual(set(), named - self.names)
        # Each alert has a case in which it fires.
        for alert in re.findall(r"alert: (\w+)", rules):
            self.assertTrue(re.search(r"alertname: %s\n +exp_alerts" % alert, cases), alert)

    def test_alert_rules_fire(self):
        done = promtool("test", "rules", "alerts_test.yml")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_dashboard(self):
        with open(os.path.join(HTTP, "grafana.json"), encoding="utf-8") as f:
            dashboard = json.load(f)
        variables = {v["name"] for v in dashboard["templating"]["list"]} | {"__rate_interval"}
        expressions = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
        self.assertGreater(len(expressions), 20)
        self.assertEqual(len({p["id"] for p in dashboard["panels"]}), len(dashboard["panels"]))
        rules = "groups:\n- name: dashboard\n  rules:\n"
        for i, expression in enumerate(expressions):
            self.assertLessEqual(named_in(expression), self.names, expression)
            self.assertTrue(named_in(expression), expression)
            self.assertLessEqual(set(re.findall(r"\$(\w+)", expression)), variables, expression)
            rules += "  - record: r%d\n    expr: %s\n" % (
                i, json.dumps(expression.replace("$__rate_interval", "5m").replace("$job", "fob")))
        path = os.path.join(daemon.folder(), "rules.yml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(rules)
        done = promtool("check", "rules", path)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_page_has_every_metric(self):
        with open(os.path.join(HTTP, "METRICS.md"), encoding="utf-8") as f:
            page = f.read()
        table = page[page.index("| Metric |"):]
        cells = [row.split("|")[1:3] for row in table.splitlines()[2:]]
        described = {name: set(re.findall(r"`(\w+)`", labels))
                     for metric, labels in cells for name in re.findall(r"`(\w+)`", metric)}
        self.assertEqual(set(described), set(re.findall(r"^# TYPE (\w+)", self.text, re.M)))
        for line in self.text.splitlines():
            if not line.startswith("#"):
                name, labels = SAMPLE.match(line)[1], SAMPLE.match(line)[2] or ""
                name = name if name in described else re.sub(r"_(bucket|sum|count)$", "", name)
                self.assertEqual(set(re.findall(r'(\w+)="', labels)) - {"le"}, described[name], line)


if not shutil.which("promtool"):
    print("Bail out! promtool is missing: apt-get install prometheus, and disable its service")
    sys.exit(1)
tap.main()
