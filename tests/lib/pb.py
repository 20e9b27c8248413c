"""The messages as Python modules, generated from proto/ by protoc, outside the source tree.

The folder's name is a digest of the .proto files, so that an old folder is never used for new files. It is made under
another name and renamed, so that a program that starts at the same time sees no half-written files.
"""

import atexit
import glob
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def _generate(parent):
    sources = sorted(glob.glob(os.path.join(ROOT, "proto", "fob", "**", "*.proto"), recursive=True))
    digest = hashlib.sha256()
    for path in sources:
        with open(path, "rb") as f:
            digest.update(path[len(ROOT):].encode() + b"\0" + f.read() + b"\0")
    place = os.path.join(parent, digest.hexdigest()[:16])
    if os.path.isdir(place):
        return place
    os.makedirs(parent, exist_ok=True)
    work = tempfile.mkdtemp(prefix="new.", dir=parent)
    os.chmod(work, 0o755)
    try:
        subprocess.run(["protoc", "-I" + os.path.join(ROOT, "proto"), "--python_out=" + work] + sources, check=True)
        os.rename(work, place)
    except OSError:
        if not os.path.isdir(place):  # if it exists, another program was first
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return place


def _place():
    build = os.environ.get("FOB_BUILD")
    if build:
        try:
            return _generate(os.path.join(os.path.abspath(build), "pb2"))
        except OSError:
            pass  # the build folder belongs to another user, and cannot be written to
    own = tempfile.mkdtemp(prefix="pb2.")
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    return _generate(own)


sys.dont_write_bytecode = True
sys.path.insert(0, _place())

from fob.rpc.v1 import rpc_pb2  # noqa: E402
from fob.v1 import admin_pb2 as admin  # noqa: E402
from fob.v1 import cluster_pb2 as cluster  # noqa: E402
from fob.v1 import health_pb2 as health  # noqa: E402
from fob.v1 import keys_pb2 as keys  # noqa: E402
from fob.v1 import types_pb2 as types  # noqa: E402

rpc = rpc_pb2  # for those who import this

LIVE, TEST = types.LIVE, types.TEST
SECRET, PUBLISHABLE = types.SECRET, types.PUBLISHABLE


def methods():
    """Full method name -> (request class, response class), from the service descriptors."""
    from google.protobuf import message_factory, symbol_database
    get = getattr(message_factory, "GetMessageClass", None) or symbol_database.Default().GetPrototype
    found = {}
    for module in (keys, admin, health):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                found["%s/%s" % (service.full_name, method.name)] = (get(method.input_type), get(method.output_type))
    return found


METHODS = methods()
