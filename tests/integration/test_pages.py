#!/usr/bin/python3
"""What the pages say is there: links lead somewhere, the code that README shows is the code of the examples, and the lines
that OPERATIONS names are lines that the programs print. Pages keep to their length and width."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import ast
import glob
import re
import unittest

import tap

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGES = ("README.md", ".github/SECURITY.md", "client/http/README.md", "client/http/JSON.md", "client/http/METRICS.md",
         "client/http/OPERATOR.md",
         "client/http/examples/README.md", "client/python/README.md", "proto/PROTOCOL.md", "service/DESIGN.md", "service/NOTES.md",
         "service/OPERATIONS.md", "service/cluster/README.md", "tests/README.md", "tests/fuzz/README.md", "tests/load/README.md")
LINES = {"README.md": 130, "service/DESIGN.md": 300}
COLUMNS = 100


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def prose(path):
    return re.sub(r"^```.*?^```$", "", read(path), flags=re.M | re.S)


def anchors(path):
    return {re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).strip().replace(" ", "-")
            for heading in re.findall(r"^#+ (.*)$", prose(path), re.M)}


def sources():
    """All C sources of both programs, with strings that stand in several pieces joined."""
    text = "".join(read(os.path.relpath(path, ROOT)) for folder in ("service", "client") for path in
                   glob.glob(os.path.join(ROOT, folder, "**", "*.c"), recursive=True))
    return re.sub(r'"\s*(?:PRI[a-z]\d+)?\s*"', "", text)


class Pages(unittest.TestCase):
    def test_links_lead_somewhere(self):
        for page in PAGES:
            for link in re.findall(r"\[[^\]]*\]\(([^)]+)\)", prose(page)):
                path, _, anchor = link.partition("#")
                target = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
                if link.startswith("https://"):
                    continue
                self.assertTrue(os.path.exists(os.path.join(ROOT, target)), "%s: %s" % (page, link))
                if anchor:
                    self.assertIn(anchor, anchors(target), "%s: %s" % (page, link))

    def test_length_and_width(self):
        for page, most in LINES.items():
            self.assertLessEqual(len(read(page).splitlines()), most, page)
        for page in PAGES:
            for line in prose(page).splitlines():
                if not line.startswith(("|", "    ")):  # tables, commands
                    self.assertLessEqual(len(line), COLUMNS, "%s: %s" % (page, line))

    def test_design_names_every_file(self):
        text = read("service/DESIGN.md")
        rooms = dict(re.findall(r"^\| `([\w/]+)/` \| (.*) \|$", text[text.index("## Structure"):], re.M))
        for path in glob.glob(os.path.join(ROOT, "service/**/*.c"), recursive=True) + glob.glob(
                os.path.join(ROOT, "proto/c/*.c")) + glob.glob(os.path.join(ROOT, "client/*.c")):
            folder, name = os.path.split(os.path.relpath(path, ROOT))
            self.assertIn("`%s`" % name[:-2], rooms.get(folder, ""), folder)

    def test_readme_shows_the_examples(self):
        blocks = re.findall(r"^```c\n(.*?)^```$", read("README.md"), re.M | re.S)
        self.assertEqual(len(blocks), 2)
        for block, example in zip(blocks, ("verify.c", "nng_req.c")):
            have = " ".join(read("client/examples/" + example).split())
            for piece in block.split("...\n"):
                self.assertTrue(" ".join(piece.split()) in have, "%s has not: %s" % (example, piece))

    def test_operations_is_the_operators_day(self):
        """Each command that a step of the day types stands in the page's chapter of that step; chapters in the same order."""
        page = re.findall(r"^## (.*)\n((?:(?!## ).*\n?)*)", read("service/OPERATIONS.md"), re.M)
        lines = {chapter: [re.sub(r"\s+# .*", "", line).strip() for line in text.splitlines() if line.startswith("    ")]
                 for chapter, text in page}
        order, typed, days = [chapter for chapter, _ in page], 0, []
        for step in ast.walk(ast.parse(read("tests/integration/test_operators_day.py"))):
            if not isinstance(step, ast.FunctionDef):
                continue
            chapter = step.decorator_list[0].args[0].value
            self.assertIn(chapter, lines)
            days.append(order.index(chapter))
            for call in ast.walk(step):
                if isinstance(call, ast.Call) and getattr(call.func, "attr", "") in ("types", "begins"):
                    self.assertIn(call.args[0].value, lines[chapter], chapter)
                    typed += 1
        self.assertEqual(days, sorted(days))
        self.assertGreater(typed, 30)

    def test_operations_quotes_what_is_printed(self):
        text = read("service/OPERATIONS.md")
        text = text[text.index("## Troubleshoot"):text.index("## Limits")]
        cells = re.findall(r"^\| (.*?) \|", text, re.M) + re.findall(r"log\s(?:says|line)\s(`[^`]+`)", text)
        quoted = [piece for cell in cells for quote in re.findall(r"`([^`]+)`", cell)
                  for piece in re.split(r"\.\.\.", quote) if len(piece.strip()) > 7]
        self.assertGreater(len(quoted), 15)
        have = sources()
        for piece in quoted:
            # What differs each time is a conversion in the source.
            words = re.escape(piece.strip()).replace("live", r"(?:live|%s)").replace("test", r"(?:test|%s)")
            self.assertTrue(re.search(words, have), "no program prints: " + piece)


tap.main()
