#!/usr/bin/python3
"""What a release has: `make sbom` names all that is installed and linked, twice the same; `make dist` packs the same bytes
twice. With TORTURE=1 the sources that `make dist` packed are built and installed without git, and without a network where
this user may have a namespace of his own. SPDX_SCHEMA=FILE names SPDX's schema of its documents, which no registry of packages
has (in github.com/spdx/spdx-spec, tag v2.3, schemas/spdx-schema.json): then the SBOM is held against it, too."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
import unittest

import jsonschema

import tap

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ["FOB_BUILD"]


def run(*command, cwd=ROOT, **env):
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError("%s: %s" % (" ".join(command), done.stdout[-2000:]))
    return done.stdout


def has_git():
    done = subprocess.run(["git", "rev-parse", "--verify", "HEAD"], cwd=ROOT, capture_output=True, check=False)
    return done.returncode == 0


class Sbom(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.stage = os.path.join(cls.folder, "stage")
        run("make", "-s", "--no-print-directory", "install", "B=" + BUILD, "DESTDIR=" + cls.stage, "PREFIX=/usr")
        cls.texts = [run("service/release/sbom", cls.stage, "1.2.3", SOURCE_DATE_EPOCH=str(epoch)) for epoch in (0, 0)]
        cls.doc = json.loads(cls.texts[0])

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def test_the_same_build_gives_the_same_bytes(self):
        self.assertEqual(self.texts[0], self.texts[1])
        self.assertEqual(self.doc["creationInfo"]["created"], "1970-01-01T00:00:00Z")
        self.assertEqual(self.doc["spdxVersion"], "SPDX-2.3")

    def test_every_file_is_named_with_its_checksums(self):
        have = {os.path.join(at, name) for at, _folders, names in os.walk(self.stage) for name in names}
        have = {path for path in have if not os.path.islink(path)}
        named = {os.path.join(self.stage, f["fileName"][2:]): f for f in self.doc["files"]}
        self.assertEqual(have, set(named))
        for path, f in named.items():
            with open(path, "rb") as opened:
                content = opened.read()
            for checksum in f["checksums"]:
                self.assertEqual(hashlib.new(checksum["algorithm"].lower(), content).hexdigest(), checksum["checksumValue"])
        ends = {os.path.basename(path) for path in named}
        self.assertLessEqual({"fobd", "fob", "fob-http", "libfob.a", "fob.h"}, ends)

    def test_every_library_is_named_at_the_version_installed(self):
        packages = {p["name"]: p for p in self.doc["packages"] if p["name"] != "fob"}
        installed = dict(line.split(" ") for line in run("dpkg-query", "-W", "-f", "${Package} ${Version}\\n", *packages).splitlines())
        self.assertEqual(installed, {name: p["versionInfo"] for name, p in packages.items()})
        for name, p in packages.items():
            self.assertIn("pkg:deb/debian/" + name.replace("+", "%2B"), p["externalRefs"][0]["referenceLocator"])
        libraries = " ".join(packages)
        for wanted in ("libc6", "libnng", "liblmdb0", "libprotobuf-c1", "libsodium23", "libssl3", "libconfuse", "libseccomp2",
                       "libjansson4", "zlib1g", "libevent-core"):
            self.assertIn(wanted, libraries)

    def test_what_it_refers_to_is_there(self):
        things = self.doc["packages"] + self.doc["files"]
        ids = [t["SPDXID"] for t in things] + ["SPDXRef-DOCUMENT"]
        self.assertEqual(len(ids), len(set(ids)))
        for relation in self.doc["relationships"]:
            self.assertIn(relation["spdxElementId"], ids)
            self.assertIn(relation["relatedSpdxElement"], ids)
        own = {e["licenseId"]: e["extractedText"] for e in self.doc["hasExtractedLicensingInfos"]}
        for thing in things:
            self.assertRegex(thing["SPDXID"], r"^SPDXRef-[A-Za-z0-9.-]+$")
            if thing["licenseConcluded"].startswith("LicenseRef-"):
                self.assertTrue(own[thing["licenseConcluded"]].strip())
        linked = [r for r in self.doc["relationships"] if r["relationshipType"] == "DYNAMIC_LINK"]
        fobd = next(f["SPDXID"] for f in self.doc["files"] if f["fileName"].endswith("/fobd"))
        self.assertGreater(len([r for r in linked if r["spdxElementId"] == fobd]), 5)

    @unittest.skipUnless(os.environ.get("SPDX_SCHEMA"), "SPDX_SCHEMA does not name SPDX's schema")
    def test_the_schema_takes_it(self):
        with open(os.environ["SPDX_SCHEMA"], encoding="utf-8") as f:
            schema = json.load(f)
        validator = jsonschema.validators.validator_for(schema)(schema)
        self.assertEqual([], [e.message for e in validator.iter_errors(self.doc)])
        for name, wrong in (("packages", [{"name": "fob"}]), ("files", "none"), ("libraries", [])):
            self.assertFalse(validator.is_valid({**self.doc, name: wrong}), name)


@unittest.skipUnless(has_git(), "no checkout of git")
class Dist(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def pack(self, name):
        path = os.path.join(self.folder, name)
        run("make", "-s", "--no-print-directory", "dist", "DIST=" + path)
        return path

    def test_the_same_commit_gives_the_same_bytes(self):
        one, other = self.pack("1.tar.gz"), self.pack("2.tar.gz")
        with open(one, "rb") as f, open(other, "rb") as g:
            content = f.read()
            self.assertEqual(content, g.read())
        with open(one + ".sha256", encoding="utf-8") as f:
            self.assertEqual(f.read(), "%s  1.tar.gz\n" % hashlib.sha256(content).hexdigest())
        with tarfile.open(one) as tar:
            names = tar.getnames()
        top = names[0]
        self.assertRegex(top, r"^fob-\d+\.\d+")
        for wanted in ("Makefile", "LICENSE", "service/main.c", "proto/fob/v1/keys.proto", ".clang-tidy"):
            self.assertIn("%s/%s" % (top, wanted), names)
        for unwanted in (".ci", ".gitignore", ".git", "build"):
            self.assertNotIn("%s/%s" % (top, unwanted), names)

    @unittest.skipUnless(os.environ.get("TORTURE"), "TORTURE=1 builds it")
    def test_it_builds_and_installs_without_git_and_network(self):
        with tarfile.open(self.pack("fob.tar.gz")) as tar:
            top = os.path.join(self.folder, tar.getnames()[0])
            tar.extractall(self.folder)
        alone = ["unshare", "-n"]
        if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode != 0:
            alone = []
        tap.count("built " + ("without a network" if alone else "with the network, as no namespace can be had"))
        nowhere = os.path.join(self.folder, "bin")
        os.mkdir(nowhere)
        for name in ("git", "apt-get", "sudo"):
            with open(os.path.join(nowhere, name), "w", encoding="utf-8") as f:
                f.write("#!/bin/sh\necho \"$0 was called\" >&2\nexit 1\n")
            os.chmod(os.path.join(nowhere, name), 0o755)
        path = nowhere + ":" + os.environ["PATH"]
        said = run(*alone, "make", "-s", "-j2", "deps-run", "all", cwd=top, PATH=path)
        self.assertNotIn("was called", said)
        run(*alone, "make", "-s", "install", "DESTDIR=" + self.folder + "/dest", cwd=top, PATH=path)
        version = run(self.folder + "/dest/usr/local/sbin/fobd", "--version")
        self.assertIn(top.rpartition("-")[2], version)


tap.main()
