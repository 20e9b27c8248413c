#!/usr/bin/python3
"""The tree keeps its rooms: which file may include which header, and where a header's functions are."""

import os
import re
import sys

sys.dont_write_bytecode = True
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))

import unittest

import tap

# A room includes itself, the rooms behind it and proto.
SERVICE = ["net", "rpc", "engine", "offline", "cluster", "keys", "store", "lmdb", "process", "base"]
STRANGERS = {("engine", "offline"), ("offline", "engine")}
ANY_ROOM = {"service/main.c", "service/flags.c", "service/reload.c", "service/reload.h", "service/reopen.c", "service/reopen.h"}
DAEMONS = {"client/http", "client/cluster"}
# The rooms that a library is known to.
LIBRARIES = {"nng/": ("service/net",), "lmdb.h": ("service/lmdb",), "event2/http": ("client/http/server",),
             "curl/": ("client/cluster/etcd",)}
# Headers without a .c of their name: types alone, functions that are all inline, or the interface of several files. An
# internal.h or ..._internal.h is always one.
SHARED = {"service/rpc/handlers.h", "service/rpc/service.h", "service/rpc/tally.h", "service/base/buckets.h",
          "service/store/change.h", "service/base/bytes.h",
          "service/base/limits.h", "service/base/sanitizer.h", "service/base/types.h", "service/lmdb/page.h",
          "client/fob.h", "client/futex.h", "proto/c/program.h", "proto/c/fields.h", "proto/c/position.h",
          "proto/c/monotonic.h"}


def may_include(path, header):
    here, there = os.path.dirname(path), os.path.dirname(header)
    if there == "proto/c" or there.startswith("fob/") and ("client/" not in here or here == "client/cluster"):
        return True  # fob-cluster speaks the protocol itself: libfob has no long poll
    if here.startswith("client"):  # its own folder, libfob by its public header, and what daemons share
        return there == here or header == "client/fob.h" or there == "client/daemon" and here in DAEMONS
    if path in ANY_ROOM:
        return there.startswith("service")
    room, other = here.rpartition("/")[2], there.rpartition("/")[2]
    return (there.startswith("service/") and room in SERVICE and other in SERVICE[SERVICE.index(room):] and
            (room, other) not in STRANGERS)


def sources():
    for top in ("service", "client", "proto"):
        for folder, folders, names in os.walk(os.path.join(ROOT, top)):
            folders[:] = [f for f in folders if f != "examples"]  # of libfob's users, who see no room
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(folder, name), ROOT)


def includes(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', f.read(), re.M)


class Rooms(unittest.TestCase):
    def setUp(self):
        self.files = {path: includes(path) for path in sources()}

    def test_a_room_includes_itself_and_the_rooms_behind_it(self):
        found = [(path, header) for path, all_of in self.files.items() for how, header in all_of if how == '"']
        self.assertEqual([], ["%s includes %s" % f for f in found if not may_include(*f)])
        tap.count("%d files, %d includes between them" % (len(self.files), len(found)))

    def test_a_library_is_known_to_one_room(self):
        self.assertEqual([], ["%s includes <%s>" % (path, header) for path, all_of in self.files.items()
                              for how, header in all_of for library, rooms in LIBRARIES.items()
                              if how == "<" and header.startswith(library) and not path.startswith(rooms)])

    def test_a_header_mirrors_its_file(self):
        headers = {path for path in self.files if path.endswith(".h")}
        shared = {h for h in headers if h.endswith("internal.h")} | SHARED
        self.assertEqual([], sorted(h for h in headers - shared if h[:-1] + "c" not in self.files))
        self.assertEqual([], sorted(SHARED - headers), "no longer there")
        for path, all_of in self.files.items():
            if path.endswith(".c") and os.path.basename(path) != "main.c":  # a header that needs another one would not compile
                first, room = all_of[0][1], os.path.dirname(path)
                own = {h for h in headers if os.path.dirname(h) == room} & ({path[:-1] + "h"} & headers or headers)
                self.assertIn(first, own | {h for h in shared if os.path.dirname(h) == room}, path + " includes it first")

    def test_unit_tests_mirror_the_tree(self):
        for folder, _folders, names in os.walk(os.path.join(ROOT, "tests/unit")):
            for name in (n for n in names if n.startswith("test_")):
                source = os.path.relpath(folder, os.path.join(ROOT, "tests/unit")) + "/" + name[len("test_"):]
                source = "tests/" + source if source.startswith("load/") else source
                self.assertTrue(os.path.exists(os.path.join(ROOT, source)) or
                                os.path.exists(os.path.join(ROOT, source[:-1] + "h")), "%s tests no %s" % (name, source))


tap.main()
