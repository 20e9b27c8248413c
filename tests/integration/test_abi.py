#!/usr/bin/python3
"""A program that was built for the last release works with this libfob: the library is compared with client/abi, which
`make abi` writes at a release. Functions may be added, constants too, and members at the end of structs that start with
their size, and nothing else. abidiff compares; that the members that a struct had stay is looked at here, as abidiff's
suppressions leave that out. The rules are tried on small libraries, too."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import platform
import re
import shutil
import subprocess
import tempfile
import unittest
from xml.etree import ElementTree

import tap

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# As tests/run gives it to make: what make knows of a file goes by its name.
BUILD = os.path.relpath(os.path.join(ROOT, os.environ.get("FOB_BUILD", "build/gcc")), ROOT)
ABI = "client/abi/libfob.abi"

# A library in small, and what a later version of it may look like.
BEFORE = """
enum fob_kind { FOB_KIND_ANY = 0, FOB_KIND_SECRET = 1 };
struct fob_request { unsigned long size; const char *account; int kind; int more; };
struct fob_page { unsigned long size; const struct fob_request *const *items; };
struct fob_error { int fault; char message[240]; };
struct fob_cursor { unsigned char len, bytes[126]; };
int fob_call(const struct fob_request *r, enum fob_kind k, struct fob_page **p,
    struct fob_cursor *c, struct fob_error *e);
void fob_free(struct fob_page *p);
int fob_call(const struct fob_request *r, enum fob_kind k, struct fob_page **p,
    struct fob_cursor *c, struct fob_error *e)
{ return r == 0 || p == 0 || c == 0 || e == 0 || k == 0; }
void fob_free(struct fob_page *p) { (void)p; }
"""
PERMITTED = {
    "two members at the end": ("int more; };", "int more; const char *newer; int newest; int pad; };"),
    "a member at the end of a result": ("*const *items; };", "*const *items; unsigned long n; };"),
    "a function": ("{ (void)p; }", "{ (void)p; }\nvoid fob_new(void);\nvoid fob_new(void) {}"),
    "a constant": ("FOB_KIND_SECRET = 1", "FOB_KIND_SECRET = 1, FOB_KIND_NEW = 2"),
}
REFUSED = {
    "a function is gone": ("void fob_free", "static inline void fob_free"),
    "a parameter more": ("struct fob_error *e)", "struct fob_error *e, int more)"),
    "a result of another type": ("int fob_call", "long fob_call"),
    "a member in the middle": ("int kind;", "int newer; int other; int kind;"),
    "a member in place of two": ("int kind; int more;", "long kind;"),
    "a member is gone": (" int more;", ""),
    "the last member is gone, and there is a new one": ("int more; };", "const char *newer; };"),
    "a member is of another size, and there is a new one": ("int more; };", "long more; const char *newer; };"),
    "a member is of another type, and there is a new one": (
        "const char *account; int kind; int more; };", "unsigned long account; int kind; int more; long newer; };"),
    "two members have changed places, and there is a new one": (
        "const char *account; int kind; int more; };", "int kind; int more; const char *account; long newer; };"),
    "a struct of fixed size has grown": ("char message[240]; };", "char message[240]; int newer; };"),
    "another struct of fixed size has grown": ("bytes[126]; };", "bytes[126]; int newer; };"),
    "two members of one type have changed places": ("int kind; int more;", "int more; int kind;"),
    "a constant has another number": ("FOB_KIND_SECRET = 1", "FOB_KIND_SECRET = 2"),
}


def run(*command):
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def type_name(types, type_id):
    """A type in words, so that those of two dumps can be compared. Structs and enums are told by their names."""
    element = types[type_id]
    inner = type_name(types, element.get("type-id")) if element.get("type-id") and element.tag != "typedef-decl" else ""
    if element.tag == "array-type-def":
        return inner + "".join("[%s]" % part.get("length") for part in element.findall("subrange"))
    if element.tag == "qualified-type-def":
        return inner + " const" * (element.get("const") == "yes")
    if element.tag == "pointer-type-def":
        return inner + " *"
    return element.get("name") or element.tag


def structs(dump):
    """Each struct of ${dump} as a list of its members: offset, name and type."""
    root = ElementTree.parse(os.path.join(ROOT, dump)).getroot()
    types = {element.get("id"): element for element in root.iter() if element.get("id")}
    found = {}
    for struct in root.iter("class-decl"):
        members = [(int(member.get("layout-offset-in-bits")), member.find("var-decl").get("name"),
                    type_name(types, member.find("var-decl").get("type-id")))
                   for member in struct.findall("data-member")]
        if members:
            found[struct.get("name")] = members
    return found


def compare(before, after):
    """Two dumps of abidw. Returns what is told of, or "" if nothing is."""
    done = run("abidiff", "--no-added-syms", "--suppressions", "client/abi/libfob.suppr", before, after)
    told = "" if done.returncode == 0 else done.stdout or "abidiff: exit status %d" % done.returncode
    # abidiff says nothing of a suppressed struct, nor when members of one type change places.
    later = structs(after)
    for name, members in structs(before).items():
        if later.get(name, [])[:len(members)] != members:
            told += "struct %s has other members than it had: %s, not %s\n" % (name, later.get(name), members)
    return told


@unittest.skipUnless(shutil.which("abidiff"), "no abidiff")
class Abi(unittest.TestCase):
    maxDiff = None

    def dump(self, name, source):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, name)
        with open(path + ".c", "w", encoding="utf-8") as f:
            f.write(source)
        done = run("gcc", "-shared", "-fPIC", "-g", "-O0", "-o", path + ".so", path + ".c")
        self.assertEqual(done.stdout, "", source)
        done = run("abidw", "--out-file", path + ".abi", path + ".so")
        self.assertEqual(done.stdout, "", source)
        return path + ".abi"

    def test_libfob_fits_programs_of_the_last_release(self):
        if platform.machine() != "x86_64":
            self.skipTest("client/abi is of x86_64")
        done = run("make", "-s", "--no-print-directory", "B=" + BUILD, BUILD + "/abi/libfob.abi")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertEqual(compare(ABI, BUILD + "/abi/libfob.abi"), "")
        with open(os.path.join(ROOT, "client", "libfob.map"), encoding="utf-8") as f:
            symbols = set(re.findall(r"^\t(fob_\w+);", f.read(), re.M))
        have = set(re.findall(r" T (fob_\w+)@@", run("nm", "-D", "--defined-only", BUILD + "/abi/libfob.so.0").stdout))
        self.assertEqual(have, symbols, "Makefile's ABI_OBJ has another file to name")
        self.assertGreater(len(structs(ABI)), 20)
        tap.count("%d symbols, %d structs" % (len(symbols), len(structs(ABI))))

    def test_what_may_change_and_what_not(self):
        before = self.dump("before", BEFORE)
        self.assertEqual(compare(before, before), "")
        after = BEFORE
        for what, (old, new) in PERMITTED.items():
            self.assertIn(old, after, what)
            after = after.replace(old, new)
        self.assertEqual(compare(before, self.dump("after", after)), "")
        for what, (old, new) in REFUSED.items():
            with self.subTest(what):
                self.assertIn(old, BEFORE)
                self.assertNotEqual(compare(before, self.dump("after", BEFORE.replace(old, new))), "")
        tap.count("%d changes permitted, %d refused" % (len(PERMITTED), len(REFUSED)))

    def test_structs_of_fixed_size(self):
        with open(os.path.join(ROOT, "client", "fob.h"), encoding="utf-8") as f:
            first = dict(re.findall(r"^struct (fob_\w+) \{\n\t(.*?);", f.read(), re.M))
        with open(os.path.join(ROOT, "client", "abi", "libfob.suppr"), encoding="utf-8") as f:
            fixed = re.search(r"name_not_regexp = \^fob_\((.*)\)\$", f.read()).group(1).split("|")
        self.assertGreater(len(first), 20)
        self.assertEqual({name for name, member in first.items() if member != "size_t size"},
                         {"fob_" + name for name in fixed})


tap.main()
