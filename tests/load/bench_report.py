"""bench's report: the machine, the tables, the plots."""

import json
import os
import platform
import re
import resource
import subprocess
import sys
import time

from bench_programs import run
from bench_rounds import MOST_CALLERS, PIPELINES
from bench_rows import HERE, ROOT, further_rows, target_rows

# What a machine with nothing else to do uses is less.
QUIET_LOAD, QUIET_SHARE = 0.5, 0.05


class Machine:
    """What the machine did when bench began, to tell at the end what other programs took of it."""

    def __init__(self):
        self.load = os.getloadavg()[0]
        self.busy_s, self.all_s = self._processors()
        self.own_s = self._own()

    @staticmethod
    def _processors():
        with open("/proc/stat", encoding="ascii") as f:
            ticks = [int(n) for n in f.readline().split()[1:9]]
        idle = ticks[3] + ticks[4]
        hertz = os.sysconf("SC_CLK_TCK")
        return (sum(ticks) - idle) / hertz, sum(ticks) / hertz

    @staticmethod
    def _own():
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(u.ru_utime + u.ru_stime for u in used)

    def others_share(self):
        """When all that bench has started has ended."""
        busy_s, all_s = self._processors()
        return max(0.0, busy_s - self.busy_s - (self._own() - self.own_s)) / max(1e-9, all_s - self.all_s)


def first_match(path, pattern, default="unknown"):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            found = re.search(pattern, f.read(), re.M)
            return found.group(1) if found else default
    except OSError:
        return default


def said(*argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT, stdin=subprocess.DEVNULL)
        return done.stdout.strip() if done.returncode == 0 else ""
    except OSError:
        return ""


def file_system(path):
    best = ("", "unknown")
    with open("/proc/mounts", encoding="utf-8", errors="replace") as f:
        for line in f:
            _device, mount, kind = line.split()[:3]
            if (path + "/").startswith(mount.rstrip("/") + "/") and len(mount) >= len(best[0]):
                best = (mount, kind)
    return best[1]


def machine_facts(b, machine, others):
    versions = [(name, said("pkg-config", "--modversion", name)) for name in ("lmdb", "libprotobuf-c", "libsodium",
                                                                             "openssl")]
    nng = said("dpkg-query", "-W", "-f", "${Version}", "libnng1")
    commit = said("git", "rev-parse", "--short", "HEAD")
    facts = [
        ("processor", first_match("/proc/cpuinfo", r"^model name\s*: (.*)$")),
        ("cores", str(len(os.sched_getaffinity(0)))),
        ("memory", "%.1f GB" % (int(first_match("/proc/meminfo", r"^MemTotal:\s*(\d+)", "0")) / 1e6)),
        ("system", "%s, Linux %s" % (first_match("/etc/os-release", r'^PRETTY_NAME="(.*)"'), platform.release())),
        ("database on", file_system(b.place)),
        ("load average at the start", "%.2f" % machine.load),
        ("processor time that other programs took", "%.0f %%" % (100 * others)),
        ("Fob", " ".join(filter(None, [said(b.tool("fobd"), "--version"), commit and "at %s" % commit]))),
        ("libraries", ", ".join("%s %s" % v for v in [("nng", nng)] + versions if v[1])),
        ("keys", format(b.keys, ",")),
        ("rounds", "%d, of %g s a measurement after %g s of warm-up" % (b.rounds_done, b.duration_s, b.warmup_s)),
        ("took", "%.0f s" % (time.monotonic() - b.started)),
    ]
    return facts + sorted(b.facts.items())


def failures(b):
    """[(series, reason)] of what was tried and failed in at least one round."""
    tried = list(b.results.items()) + list(b.samples.items())
    return sorted((s, b.reasons.get(s, "unknown")) for s, results in tried if any(r is None for r in results))


def remarks(b, machine, others):
    found = []
    if machine.load > QUIET_LOAD or others > QUIET_SHARE:
        found.append("**The machine was not quiet** (load average %.2f at the start; other programs took %.0f %% of the "
                     "processor time): the rates are low, and the ratios rough." % (machine.load, 100 * others))
    if file_system(b.place) in ("tmpfs", "ramfs"):
        found.append("The database was in memory, where a durable commit costs nothing: rows with commits mean "
                     "nothing. Set TMPDIR to a folder on a disk.")
    if b.keys < 2 * (b.args.keys // 2):
        found.append("Only %s of %s keys could be made in time." % (format(b.keys, ","), format(b.args.keys, ",")))
    if b.rounds_done < 5:
        found.append("Fewer than five rounds: the medians are rough.")
    found += ["**A measurement failed**: %s: %s" % item for item in failures(b)]
    return found


def summary(rows):
    """One line: how many targets are met, and which are not."""
    with_target = [r for r in rows if r.must is not None]
    count = {v: sum(r.verdict() == v for r in with_target) for v in ("met, stretch", "met, must", "**missed**",
                                                                    "not measured")}
    return "Of %d targets %d are met (%d with the stretch), %d are missed, %d were not measured." % (
        len(with_target), count["met, stretch"] + count["met, must"], count["met, stretch"], count["**missed**"],
        count["not measured"])


def raw_table(b):
    lines = ["| measurement | per second (min..max) | p50 | p99 | max |", "|---|---|---|---|---|"]
    for series in b.results:
        median = b.median_run(series)
        if median is None:
            continue
        rates = [r["throughput"] for r in b.results[series] if r]
        latency = ["%.1f µs" % median["latency_us"][q] if q in median["latency_us"] else ""
                   for q in ("p50", "p99", "max")]
        throughput = [format(v, ",.0f") for v in (median["throughput"], min(rates), max(rates))]
        lines.append("| %s | %s (%s..%s) | %s |" % (series, *throughput, " | ".join(latency)))
    return lines


# ---- plots ----

VERSUS = [series + n for n in (" 1", " 16", " 64") for series in ("fob %s", "echo %s")]
PLOTS = (
    ("throughput", "throughput", "Answers a second",
     [s % n for n in (1, 16, 64) for s in ("fob ipc %d", "fobd ipc %d", "echo ipc %d")] +
     ["fob ipc %d" % MOST_CALLERS, "async ipc %d" % MOST_CALLERS, "async tcp %d" % MOST_CALLERS] +
     ["%s ipc %d x %d" % (s, *p) for p in PIPELINES for s in ("sp-fobd", "sp-echo")] +
     ["grpc", "redis", "batches", "lookup"]),
    ("latency-ipc", "latency", "Latency over ipc", [series % "ipc" for series in VERSUS]),
    ("latency-tcp", "latency", "Latency over tcp", [series % "tcp" for series in VERSUS]),
    ("latency-rolls", "latency", "Verifies while rolls run flat out, and without",
     ["paced rolls", "paced quiet", "closed rolls", "closed quiet"]),
)


def draw(b):
    drawn = []
    for name, kind, title, wanted in PLOTS:
        paths = []
        for series in wanted:
            result = b.median_run(series)
            if result is None:
                continue
            if "path" not in result:
                result["path"] = os.path.join(b.runs, series + ".json")
                with open(result["path"], "w", encoding="utf-8") as f:
                    json.dump(result, f)
            paths.append(result["path"])
        if paths:
            run([sys.executable, os.path.join(HERE, "plot"), kind, "--title", title, os.path.join(b.out, name + ".svg")]
                + (["--pairs"] if kind == "latency" else []) + paths, b.place)
            drawn.append("![%s](%s.svg)" % (title, name))
    return drawn


# ---- the page ----

EXPLANATION = """\
A ratio is of two measurements made in the same round. Shown is the median of the rounds, and in brackets the least and
the greatest. Client and server share the machine, so each rate is that of both together. The number in a name is how
many calls are in flight.

| name | what is measured |
|---|---|
| `fob` | VerifyKey by libfob, a synchronous call in each of so many threads |
| `async` | VerifyKey by libfob, so many asynchronous calls in flight |
| `echo`, `echo1` | nng REQ client and nng REP server, messages of the same size; a socket for each call, or one for all |
| `fobd`, `fobd1` | the same nng client, which sends VerifyKey to fobd |
| `sp-echo`, `sp-fobd` | a client on plain blocking sockets, connections × calls in flight, to an SP echo over nng's byte streams, and to fobd |
| `batches` | VerifyKeys by libfob, four calls of 64 keys in flight |
| `lookup` | one keyed hash and one LMDB read, in a loop on one core |

An open loop's latency counts from when a call should have begun. tests/load/README.md has the rest.
"""


def write_report(b, machine):
    others = machine.others_share()
    targets, further = target_rows(b), further_rows(b)
    head = ["| measure | must | stretch | measured: median (min..max) | target |", "|---|---|---|---|---|"]
    lines = ["# Fob: measurements", "", summary(targets), ""]
    lines += ["> " + r + "\n>" for r in remarks(b, machine, others)]
    lines += ["", "## Targets", ""] + head + [r.line() for r in targets]
    lines += ["", EXPLANATION, "## Where to look when one is missed", ""] + head + [r.line() for r in further]
    lines += ["", "## Plots", ""] + [l + "\n" for l in draw(b)]
    lines += ["## All measurements", ""] + raw_table(b)
    lines += ["", "## Machine", "", "| | |", "|---|---|"] + ["| %s | %s |" % f for f in machine_facts(b, machine, others)]
    path = os.path.join(b.out, "report.md")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(lines + [""]))
    return path
