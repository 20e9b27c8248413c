"""Fob's packages, built in a Debian of each release, for the tests that install them. What was built from the same files is
not built again."""

import fcntl
import glob
import hashlib
import os
import re
import shutil
import subprocess

import chroot

INSTALLED = ("fobd", "fob", "fob-http", "fob-cluster", "libfob0")
# What builds and judges the packages, beside what service/debian/control names.
TOOLS = ("build-essential", "lintian", "faketime")
NO_SOURCE = {"build", "run", ".git", "__pycache__", ".mypy_cache"}


def build_depends():
    with open(os.path.join(chroot.ROOT, "service/debian/control"), encoding="utf-8") as f:
        field = re.search(r"^Build-Depends:(.*(?:\n .*)*)", f.read(), re.M)[1]
    # Of alternatives the last: it has the name that both releases know.
    names = [re.sub(r"\(.*", "", one.split("|")[-1]).strip() for one in field.split(",")]
    # What stands for these names: debhelper has all but one of them.
    return ["dh-python" if n == "dh-sequence-python3" else
            "debhelper" if n.startswith(("debhelper-compat", "dh-sequence-")) else n for n in names]


def files():
    for folder, folders, names in os.walk(chroot.ROOT):
        folders[:] = sorted(f for f in folders if f not in NO_SOURCE)
        for name in sorted(names):
            yield os.path.relpath(os.path.join(folder, name), chroot.ROOT)


def copy_tree(to):
    for path in files():
        os.makedirs(os.path.dirname(os.path.join(to, path)), exist_ok=True)
        shutil.copy(os.path.join(chroot.ROOT, path), os.path.join(to, path), follow_symlinks=False)


def tree_hash():
    total = hashlib.sha256()
    for path in (p for p in files() if not p.startswith("tests/")):  # no test is in a package
        with open(os.path.join(chroot.ROOT, path), "rb") as f:
            total.update(b"%s\0%s\0" % (path.encode(), hashlib.sha256(f.read()).digest()))
    return total.hexdigest()[:16]


def builder(folder, suite):
    """A System in ${folder} that can build packages."""
    return chroot.System(folder, chroot.base(suite, suite + "-build", (*TOOLS, *build_depends())))


def build(system, place, prefix="", env=None):
    """Copy the tree to ${place} in ${system} and build it there; returns the folder of the results. ${prefix}: shell
    commands, or a command, before."""
    copy_tree(system.path(place.lstrip("/")))
    system.sh("%s %s/service/debian/build %s/out" % (prefix, place, place), env=env)
    return system.path(place.lstrip("/"), "out")


def results(folder):
    return sorted(p for end in ("deb", "dsc", "tar.xz") for p in glob.glob(os.path.join(folder, "*." + end)))


def packages(suite, scratch):
    """The packages of this tree for ${suite}, built below ${scratch} unless there are some. Returns the folder."""
    kept = os.path.join(chroot.CACHE, "%s-%s" % (suite, tree_hash()))
    os.makedirs(chroot.CACHE, exist_ok=True)
    with open(os.path.join(chroot.CACHE, suite + ".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test waits for these
        if not os.path.exists(kept):
            for old in glob.glob(os.path.join(chroot.CACHE, suite + "-*[0-9a-f]")):
                if os.path.isdir(old):
                    shutil.rmtree(old)
            system = builder(scratch, suite)
            done = build(system, "/root/fob")
            os.mkdir(kept + ".new")
            for path in glob.glob(os.path.join(done, "*")):
                if os.path.isfile(path):
                    shutil.copy(path, kept + ".new")
            os.rename(kept + ".new", kept)
            system.remove()
    return kept


def installed(folder):
    """Those of the packages in ${folder} that are installed where fobd runs."""
    return [p for name in INSTALLED for p in glob.glob(os.path.join(folder, name + "_*.deb"))]


def repacked(paths, folder, version):
    """The packages ${paths}, with another version of the same: ${version}(old). Made in ${folder}."""
    made = []
    for path in paths:
        tree = os.path.join(folder, "repacked")
        subprocess.run(["dpkg-deb", "--raw-extract", path, tree], check=True)
        control = os.path.join(tree, "DEBIAN", "control")
        with open(control, encoding="utf-8") as f:
            text = f.read()
        with open(control, "w", encoding="utf-8") as f:
            f.write(re.sub(r"^Version: (.*)$", lambda m: "Version: " + version(m[1]), text, flags=re.M))
        made.append(os.path.join(folder, os.path.basename(path)))
        subprocess.run(["dpkg-deb", "--build", tree, made[-1]], check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(tree)
    return made
