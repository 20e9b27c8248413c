"""Certificates for tests of TLS, made with the openssl command: CAs, and certificates that are valid, expired or not
valid yet, with their keys."""

import os
import ssl
import subprocess

_CA_CONFIG = """[ca]
default_ca = d
[d]
dir = %s
database = %s/index
new_certs_dir = %s
rand_serial = yes
default_md = sha256
unique_subject = no
copy_extensions = copy
policy = p
[p]
commonName = supplied
"""


class Certs:
    """Files in a folder: NAME.pem and NAME.key."""

    def __init__(self, place):
        self.place = place
        with open(self.path("index"), "w"), open(self.path("ca.conf"), "w") as f:
            f.write(_CA_CONFIG % (place, place, place))

    def path(self, name):
        return os.path.join(self.place, name)

    def pem(self, name):
        return self.path(name + ".pem")

    def key(self, name):
        return self.path(name + ".key")

    def openssl(self, *args):
        done = subprocess.run(["openssl", *args], cwd=self.place, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError("openssl %s: %s" % (" ".join(args), done.stderr))

    def ca(self, name):
        self.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=" + name,
                     "-keyout", self.key(name), "-out", self.pem(name))
        return self

    def pair(self, ca, name, begin="", end="", common_name="", kind="rsa:2048", alt=""):
        """Make a key and a certificate signed by ${ca}, valid for two days, or from ${begin} to ${end}: YYYYMMDDHHMMSSZ.
        ${kind}: the key's type, as for openssl's -newkey, or "ec:CURVE". ${alt}: "IP:127.0.0.1", the subject's other name."""
        key = ["ec", "-pkeyopt", "ec_paramgen_curve:" + kind[3:]] if kind.startswith("ec:") else [kind]
        self.openssl("req", "-newkey", *key, "-nodes", "-subj", "/CN=" + (common_name or name), "-keyout",
                     self.key(name), "-out", self.path(name + ".csr"),
                     *(["-addext", "subjectAltName=" + alt] if alt else []))
        self.openssl("ca", "-batch", "-notext", "-config", self.path("ca.conf"), "-cert", self.pem(ca), "-keyfile",
                     self.key(ca), "-in", self.path(name + ".csr"), "-out", self.pem(name),
                     *(["-startdate", begin, "-enddate", end] if begin else ["-days", "2"]))
        return self

    def listener(self, address, role, server="server", key="", ca="ca"):
        """A section "listen" of fobd's settings."""
        return ('listen "tls+tcp://%s" {\n\trole = "%s"\n\ttls_cert = "%s"\n\ttls_key = "%s"\n\ttls_ca = "%s"\n}\n'
                % (address, role, self.pem(server), self.key(key or server), self.pem(ca)))

    def context(self, pair="operator", ca="ca"):
        """An SSLContext for a client that has the certificate of ${pair}, or none, and checks the server against ${ca}."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.pem(ca))
        if pair:
            context.load_cert_chain(self.pem(pair), self.key(pair))
        return context
