#!/usr/bin/python3
"""`make bench-cluster`: what a change costs in a cluster of three nodes and three etcd members with TLS on this machine,
beside the same append to etcd alone, in one run. Run it on a quiet machine; figures are medians."""

import os
import re
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import agent
import daemon
import etcd
import fobwire
import nodes
import pb

ROLLS = int(os.environ.get("BENCH_ROLLS") or 300)
IN_FLIGHT, SECONDS = 256, 5
EACH = 8  # in flight on each node, where all have clients
ACCOUNTS = 256


def timed(call, n):
    """(median, 99th percentile) of ${n} calls, in ms."""
    took = []
    for _ in range(n):
        begun = time.perf_counter()
        call()
        took.append((time.perf_counter() - begun) * 1000)
    took.sort()
    return took[n // 2], took[n * 99 // 100]


def etcd_alone(e):
    """An append of 600 bytes by fob-cluster: a compare, two puts."""
    fobd = agent.Fobd()
    a = agent.Agent(fobd, e, environment="test").start()
    value = b"x" * 600
    fobd.make(success=[agent.put("head", b"0")])
    count = [0]

    def append():
        count[0] += 1
        result = fobd.make(compares=[agent.compare("head", value=b"%d" % (count[0] - 1))],
                           success=[agent.put("log/%016x" % count[0], value), agent.put("head", b"%d" % count[0])])
        if not result.succeeded:
            raise AssertionError("the append was refused")

    figures = timed(append, ROLLS)
    a.stop()
    fobd.close()
    return figures


def many(of, names, in_flight):
    """Rolls a second with ${in_flight} under way, on a connection to each of the nodes ${of}."""
    done, ending = [0] * len(of), time.monotonic() + SECONDS

    def run(i):
        with of[i].fobd.connection(timeout_s=60) as c:
            mine = names[i::len(of)]
            window = {}
            for name in mine[:in_flight // len(of)]:
                window[c.send(roll(name))] = name
            while window:
                ident, reply = c.recv()
                r = fobwire.response(reply)
                if r.code != pb.rpc.OK:
                    raise AssertionError(r.message)
                name = window.pop(ident)
                done[i] += 1
                if time.monotonic() < ending:
                    window[c.send(roll(name))] = name

    begun = time.monotonic()
    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(of))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return sum(done) / (time.monotonic() - begun)


def roll(name):
    return fobwire.request("fob.v1.Admin/RollKey", fobwire.roll_request(pb.LIVE, name, None, grace=0))


def measure(cluster, names):
    with cluster[0].fobd.client(timeout_s=60) as c:
        one = timed(lambda: c.roll(pb.LIVE, names[0], grace=0), ROLLS)
    return one, many(cluster[:1] * 4, names, IN_FLIGHT)


def no_peers(node):
    """Take its peer listener away, so that no node can ask it to make a change."""
    node.fobd.write_config(re.sub(r'listen "[^"]*" \{\n\trole = "peer".*?\}\n', "", node.fobd.config_text, flags=re.S))
    node.fobd.restart()
    node.wait_fresh()


def all_at_once(cluster, names):
    """Changes through all nodes, which ask one of them; and the same where each proposes for itself."""
    asked = many(cluster, names, EACH * len(cluster))
    for n in cluster:
        no_peers(n)
    alone = many(cluster, names, EACH * len(cluster))
    print("RollKey through all %d nodes, %d in flight on each: %.0f a second; where each proposes for itself %.0f, %.2f of it"
          % (len(cluster), EACH, asked, alone, alone / asked), flush=True)


def main():
    e = etcd.Etcd(3).start()
    print("etcd alone, append of 600 bytes by fob-cluster: p50 %.1f ms, p99 %.1f ms" % etcd_alone(e), flush=True)
    cluster = [nodes.Node(lambda n: agent.Agent(n, e).start(), staleness_ms=10000)]
    names = ["acct_%d" % i for i in range(ACCOUNTS)]
    with cluster[0].fobd.client(timeout_s=60) as c:
        for name in names:
            c.create(pb.LIVE, name)
    for n in (1, 3):
        while len(cluster) < n:
            cluster.append(nodes.Node(lambda x: agent.Agent(x, e).start(), cluster[0], staleness_ms=10000))
        one, rate = measure(cluster, names)
        print("RollKey, acknowledged by %d node%s: p50 %.1f ms, p99 %.1f ms; with %d in flight %.0f a second" % (
            n, "" if n == 1 else "s", *one, IN_FLIGHT, rate), flush=True)
    all_at_once(cluster, names)
    for n in cluster:
        n.stop()
    e.end()


main()
