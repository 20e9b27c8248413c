#!/usr/bin/python3
"""The package fob is fob.h: every struct, number, function and name in it, as a C compiler sees them. Its types hold,
and its wheel is what it is said to be."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import ctypes
import re
import shutil
import subprocess
import unittest
import zipfile

import daemon
import pb
import pyfob
import tap
from fob import _abi, _library, _take, enums

HEADER = os.path.join(pb.ROOT, "client", "fob.h")
# enum in fob.h: the class
ENUMS = {"fault": enums.Fault, "environment": enums.Environment, "kind": enums.Kind, "verdict": enums.Verdict,
         "key_state": enums.KeyState, "event_type": enums.EventType, "health_status": enums.HealthStatus,
         "connection_state": enums.ConnectionState, "import_outcome": enums.ImportOutcome,
         "operation_class": enums.OperationClass}
OPAQUE = {"options", "client"}


def header():
    with open(HEADER, encoding="utf-8") as f:
        text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    return re.sub(r"\\\n", " ", text)


def compiled(body):
    """What a C program prints: ${body} is within its main()."""
    place = daemon.folder()
    source, program = os.path.join(place, "a.c"), os.path.join(place, "a")
    with open(source, "w", encoding="utf-8") as f:
        f.write('#include <stdio.h>\n#include "%s"\nint\nmain(void)\n{\n%s\n\treturn 0;\n}\n' % (HEADER, body))
    subprocess.run(["gcc", "-std=gnu17", "-Werror", "-o", program, source], check=True)
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout.split("\n")


class Layout(unittest.TestCase):
    def test_structs_have_the_sizes_and_offsets_of_the_header(self):
        lines, want = [], []
        for name, struct in _abi.STRUCTS.items():
            lines.append('printf("%%zu\\n", sizeof(struct fob_%s));' % name)
            want.append("%d" % ctypes.sizeof(struct))
            for member, type_ in struct._fields_:
                lines.append('printf("%%s %s.%s %%zu %%zu\\n", "", offsetof(struct fob_%s, %s), '
                             'sizeof(((struct fob_%s *)0)->%s));' % (name, member, name, member, name, member))
                want.append(" %s.%s %d %d" % (name, member, getattr(struct, member).offset, ctypes.sizeof(type_)))
        self.assertEqual(want, compiled("\n".join(lines))[:-1])
        tap.count("%d structs with %d members, as the compiler lays them out" % (
            len(_abi.STRUCTS), len(want) - len(_abi.STRUCTS)))

    def test_members_are_of_the_header_and_in_its_order(self):
        found = dict(re.findall(r"^struct fob_(\w+) \{\n(.*?)^\};", header(), re.M | re.S))
        self.assertEqual(set(found), set(_abi.STRUCTS), "and %s are opaque" % OPAQUE)
        for name, body in found.items():
            members = [re.search(r"(\w+)(?:\[\w+\])*$", m.strip())[1]
                       for line in body.split(";") for m in line.split(",") if m.strip()]
            self.assertEqual(members, [f[0] for f in _abi.STRUCTS[name]._fields_], name)
            for member in members:  # a sign or a pointer, which no size shows
                declared = re.search(r"([^;\n]*)\b%s\b[^;]*;" % member, body)[1]
                if "," not in declared:
                    self.check_kind(name, member, declared)

    def check_kind(self, name, member, declared):
        type_ = dict(_abi.STRUCTS[name]._fields_)[member]
        while issubclass(type_, ctypes.Array):
            type_ = type_._type_
        pointer = issubclass(type_, (ctypes.c_char_p, ctypes.c_void_p, ctypes._Pointer))
        self.assertEqual(pointer, "*" in declared, "%s.%s" % (name, member))
        if not pointer and "int64" in declared:
            self.assertEqual(type_(-1).value < 0, "uint" not in declared, "%s.%s" % (name, member))

    def test_numbers_of_enums(self):
        found = dict(re.findall(r"^enum fob_(\w+) \{(.*?)\};", header(), re.M | re.S))
        self.assertEqual(set(found), set(ENUMS))
        lines, want = ['printf("%zu\\n", sizeof(enum fob_verdict));'], ["%d" % ctypes.sizeof(_abi.c_enum)]
        for name, body in found.items():
            prefix = "FOB_E" if name == "fault" else "FOB_%s_" % name.upper()
            names = [n[len(prefix):] for n in re.findall(r"\bFOB_\w+", body)]
            self.assertEqual(names, [m.name for m in ENUMS[name]], name)
            for member in ENUMS[name]:
                lines.append('printf("%s %%d\\n", (int)%s%s);' % (member.name, prefix, member.name))
                want.append("%s %d" % (member.name, member.value))
        self.assertEqual(want, compiled("\n".join(lines))[:-1])

    def test_constants(self):
        names = [n for n in re.findall(r"^#define FOB_(\w+) ", header(), re.M)
                 if not n.startswith("VERSION") and not n.endswith("_INIT")]
        want = ["%s %d" % (n, getattr(_abi, n)) for n in names]
        self.assertGreater(len(want), 15)
        self.assertEqual(want, compiled("\n".join('printf("%s %%llu\\n", (unsigned long long)FOB_%s);' % (n, n)
                                                  for n in names))[:-1])

    def test_a_number_that_is_not_known_is_the_enums_zero(self):
        for name, class_ in ENUMS.items():
            self.assertEqual(class_(-999 if name == "fault" else 999),
                             enums.Fault.UNKNOWN if name == "fault" else class_(0))
        self.assertRaises(ValueError, enums.Fault, 5)
        v = _abi.verification(ctypes.sizeof(_abi.verification), verdict=999)
        self.assertFalse(_take.verification(v).allows)

    def test_a_struct_of_an_older_libfob_is_read_as_far_as_it_goes(self):
        k = _abi.key(ctypes.sizeof(_abi.key), 1, 1, 1, 7, 8, 9, 10, 11, b"acct", b"wxyz")
        k.size = _abi.key.ended_ms.offset
        got = _take.key_at(ctypes.addressof(k))
        self.assertEqual((got.generation, got.created_ms, got.expires_ms), (7, 8, 9))
        self.assertEqual((got.ended_ms, got.last_used_ms, got.account), (0, 0, ""))


class Functions(unittest.TestCase):
    def declared(self):
        """{name: [one text for each parameter]}"""
        found = re.findall(r"\b(fob_\w+)\(([^()]*)\);", re.sub(r"typedef[^;]*;", "", header()))
        return {name: [] if parameters.strip() == "void" else [p.strip() for p in parameters.split(",")]
                for name, parameters in found}

    def test_every_function_is_called_or_has_a_reason_not_to_be(self):
        with open(os.path.join(pb.ROOT, "client", "libfob.map"), encoding="utf-8") as f:
            exported = set(re.findall(r"\b(fob_\w+);", f.read()))
        self.assertEqual(exported, set(self.declared()))
        self.assertEqual(exported, set(_library.PROTOTYPES) | set(_library.NOT_CALLED))
        self.assertFalse(set(_library.PROTOTYPES) & set(_library.NOT_CALLED))
        source = ""
        for name in os.listdir(os.path.join(pyfob.PACKAGE, "fob")):
            with open(os.path.join(pyfob.PACKAGE, "fob", name), encoding="utf-8") as f:
                source += f.read()
        for name in _library.PROTOTYPES:
            if not name.startswith("fob_options_set_") and name != "fob_options_add_address":
                self.assertTrue(re.search(r"\blib(_held)?\.%s\b" % name, source), name + " is declared and not used")
            else:
                self.assertIn('"%s"' % name[len("fob_options_"):], source)
        tap.count("%d functions are called, %d are not, with a reason" % (
            len(_library.PROTOTYPES), len(_library.NOT_CALLED)))

    def test_prototypes_have_the_parameters_of_the_header(self):
        sizes = {"uint32_t": 4, "uint64_t": 8, "size_t": 8, "unsigned": 4, "bool": 1, "int": 4, "enum": 4}
        for name, (_result, arguments) in _library.PROTOTYPES.items():
            parameters = self.declared()[name]
            self.assertEqual(len(parameters), len(arguments), name)
            for parameter, argument in zip(parameters, arguments):
                with self.subTest(function=name, parameter=parameter):
                    if "*" in parameter or "_cb" in parameter:
                        self.assertEqual(ctypes.sizeof(argument), 8)
                        self.assertFalse(issubclass(argument, (ctypes.c_uint64, ctypes.c_size_t)))
                    else:
                        self.assertEqual(ctypes.sizeof(argument), sizes[parameter.split()[0]])

    def test_callbacks_have_the_parameters_of_the_header(self):
        found = re.findall(r"typedef void \(\*fob_(\w+)\)\(([^()]*)\);", header())
        self.assertEqual(len(found), 16)
        for name, parameters in found:
            self.assertEqual(len(parameters.split(",")), len(getattr(_abi, name)._argtypes_), name)

    def test_names_are_libfobs(self):
        for name, class_ in ENUMS.items():
            if name == "connection_state":  # it has no names in libfob
                continue
            named = getattr(_library.lib, "fob_%s_name" % name)
            named.restype = ctypes.c_char_p
            self.assertEqual([named(int(m)).decode() for m in class_], [str(m) for m in class_])
            self.assertEqual(["%s" % m for m in class_], [f"{m}" for m in class_])


class Loading(unittest.TestCase):
    def fail_with(self, folder, text):
        done = subprocess.run([sys.executable, "-c", "import fob"], capture_output=True, text=True,
                              env=dict(pyfob.environ(), LD_LIBRARY_PATH=folder))
        self.assertEqual(done.returncode, 1)
        self.assertIn("ImportError: fob: ", done.stderr)
        self.assertIn(text, done.stderr)

    def stand_in(self, version):
        folder = daemon.folder()
        for name, text in (("a.c", "int fob_verify(void); int fob_verify(void) { return 0; }"),
                           ("a.map", version + " { global: fob_*; local: *; };")):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                f.write(text)
        subprocess.run(["gcc", "-shared", "-fPIC", "-Wl,-soname,libfob.so.0", "-Wl,--version-script=a.map",
                        "-o", "libfob.so.0", "a.c"], cwd=folder, check=True)
        return folder

    def test_a_library_with_another_abi_is_refused(self):
        self.fail_with(self.stand_in("FOB_0.1"), "has another ABI than FOB_0.2")

    def test_a_library_that_lacks_a_function_is_refused(self):
        self.fail_with(self.stand_in("FOB_0.2"), "is older than this package: no fob_")

    def test_a_missing_library_is_named(self):
        self.fail_with(self.stand_in("FOB_0.2") + "/none", "libfob.so.0")


class Wheel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = daemon.folder()
        cls.wheel = cls.build("one")

    @classmethod
    def make(cls, *args):
        subprocess.run(["make", "-s", "--no-print-directory", "-C", pb.ROOT, *args], check=True, env={
            k: v for k, v in os.environ.items() if k not in ("SOURCE_DATE_EPOCH", "MAKEFLAGS")})

    @classmethod
    def build(cls, name):
        folder = os.path.join(cls.place, name)
        cls.make("python-wheel", "PYTHON_BUILD=" + folder)
        wheels = [n for n in os.listdir(folder) if n.endswith(".whl")]
        assert len(wheels) == 1, wheels
        return os.path.join(folder, wheels[0])

    def test_it_is_pure_complete_and_of_the_version_of_the_header(self):
        version = re.search(r'#define FOB_VERSION "([^"]+)"', header())[1]
        self.assertEqual(os.path.basename(self.wheel), "fob-%s-py3-none-any.whl" % version)
        with zipfile.ZipFile(self.wheel) as z:
            names = {n for n in z.namelist() if n.startswith("fob/")}
            metadata = z.read("fob-%s.dist-info/METADATA" % version).decode()
        source = os.listdir(os.path.join(pyfob.PACKAGE, "fob"))
        self.assertEqual(names, {"fob/" + n for n in source if n != "__pycache__"})
        self.assertIn("Requires-Python: >=3.11\n", metadata)
        self.assertNotIn("Requires-Dist", metadata)

    def test_two_builds_are_the_same_bytes(self):
        with open(self.wheel, "rb") as one, open(self.build("two"), "rb") as two:
            self.assertEqual(one.read(), two.read())

    def test_what_is_installed_can_be_imported(self):
        dest = os.path.join(self.place, "dest")
        self.make("install-python", "PYTHON_BUILD=" + os.path.dirname(self.wheel), "DESTDIR=" + dest)
        path = os.path.join(dest, "usr/lib/python3/dist-packages")
        code = ("import fob, fob.aio, fob.asgi, importlib.metadata\n"
                "print(fob.version(), importlib.metadata.version('fob'), fob.__file__)")
        done = subprocess.run([sys.executable, "-B", "-c", code], check=True, capture_output=True, text=True, cwd="/",
                              env=dict(pyfob.environ(), PYTHONPATH=path))
        libfob, version, file = done.stdout.split()
        self.assertEqual(libfob, version)
        self.assertEqual(os.path.realpath(file), os.path.realpath(os.path.join(path, "fob/__init__.py")))


USER = """
from __future__ import annotations
import fob, fob.aio, fob.asgi

def sync(client: fob.Client, key: str | bytes | bytearray) -> str:
    v: fob.Verification = client.verify(key, operation="charges.create")
    for k in client.list_keys("acct_1", fob.Environment.LIVE):
        print(k.last4, k.expires)
    return v.account if v.allows else str(v.verdict)

async def asynchronous(client: fob.aio.Client) -> list[fob.Event]:
    answers = await client.verify_batch(["a", fob.VerifyRequest(authorization="Basic x")])
    print([a.allows for a in answers], [a.result().account for a in answers])
    return [e async for e in client.list_events(fob.Environment.LIVE)]

async def app(scope: fob.asgi.Scope, receive: fob.asgi.Receive, send: fob.asgi.Send) -> None: ...
wrapped: fob.asgi.App = fob.asgi.FobMiddleware(app, fob.aio.Client("ipc:///a"), ["GET /a = a"])
by_function = fob.asgi.FobMiddleware(app, fob.aio.Client("ipc:///a"), lambda s: "a" if s["path"] == "/a" else None)
"""
WRONG = """
import fob
def f(client: fob.Client) -> None:
    client.verify(7)
    client.verify("a", environment="live")
    fob.Verdict.YES
    client.verify_batch(["a"])[0].account
"""


@unittest.skipUnless(shutil.which("mypy"), "mypy is not installed")
class Types(unittest.TestCase):
    def test_package_users_and_examples_are_strictly_typed_and_wrong_uses_are_found(self):
        place = daemon.folder()
        files = [os.path.join(place, "user.py"), os.path.join(place, "wrong.py")]
        for path, text in zip(files, (USER, WRONG)):
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        done = subprocess.run(["mypy", "--strict", "--no-error-summary", "--cache-dir", place, "fob",
                               "examples/verify.py", "examples/app.py", *files],
                              capture_output=True, text=True, cwd=pyfob.PACKAGE)
        self.assertEqual(done.stderr, "")
        self.assertEqual([line.rpartition("/")[2].partition(": error")[0] for line in done.stdout.splitlines()
                          if ": note: " not in line], ["wrong.py:%d" % n for n in (4, 5, 6, 7)], done.stdout)


tap.main()
