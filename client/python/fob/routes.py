"""Which operation is a method and a path? The same routes, and the same checks of a path, as fob-http has."""

from __future__ import annotations

import re
from typing import Iterable

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_OPERATION = re.compile(r"[A-Za-z0-9._:/-]{1,64}\Z")
_NOT_TAKEN = re.compile(r"[^\x21-\x7e]|[;\\#]")
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})?")
_DOTS = re.compile(r"(?:\.|%2[Ee]){1,2}\Z")
_VARIABLE = re.compile(r"\{[^{}/]+\}\Z")


class Routes:
    """A table of "METHOD /path = operation".

    A segment {name} stands for one segment that is not empty, a last segment * for all that is below. Anything else
    stands for itself, and nothing is decoded. Of several routes that match the first counts, so one that could never
    match is refused.
    """

    def __init__(self, routes: Iterable[str]) -> None:
        self._routes: list[tuple[str, re.Pattern[str], str]] = []
        for route in routes:
            self._add(route)

    def _add(self, route: str) -> None:
        words = route.split()
        if len(words) != 4 or words[2] != "=":
            raise ValueError("%r is not of the form METHOD /path = operation" % route)
        method, path, _, operation = words
        if method not in _METHODS:
            raise ValueError("%r: the method is not %s" % (route, ", ".join(_METHODS)))
        if not _OPERATION.match(operation):
            raise ValueError("%r: the operation is not 1 to 64 of A-Z a-z 0-9 . _ : / -" % route)
        why = refused(path) or ("the path holds a query" if "?" in path else None)
        if why is not None:
            raise ValueError("%r: %s" % (route, why))
        pattern = _pattern(route, path)
        if self.find(method, path) is not None:
            raise ValueError("%r: a route before it stands for all of its requests" % route)
        self._routes.append((method, pattern, operation))

    def find(self, method: str, path: str) -> str | None:
        """The operation, of a path that refused() has passed."""
        for its_method, pattern, operation in self._routes:
            if method == its_method and pattern.match(path):
                return operation
        return None


def _pattern(route: str, path: str) -> re.Pattern[str]:
    segments = path.split("/")[1:]
    parts = []
    for i, segment in enumerate(segments):
        if _VARIABLE.match(segment):
            parts.append("[^/]+")
        elif segment == "*" and i == len(segments) - 1:
            parts.append(".*")
        elif "*" in segment:
            raise ValueError("%r: * stands for all that is below, and only as the last segment" % route)
        elif "{" in segment or "}" in segment:
            raise ValueError("%r: {name} stands for a whole segment" % route)
        else:
            parts.append(re.escape(segment))
    return re.compile("".join("/" + part for part in parts) + r"\Z")


def refused(path: str) -> str | None:
    """Why a path, not decoded and without its query, is refused: two programs could read it in two ways."""
    if not path.startswith("/"):
        return "the path does not begin with /"
    if _NOT_TAKEN.search(path):
        return "the path holds a character that is not taken"
    for code in _PERCENT.finditer(path):
        if code[1] is None:
            return "the path holds a bad percent code"
        if int(code[1], 16) < 0x20 or int(code[1], 16) == 0x7f or chr(int(code[1], 16)) in "/\\;%":
            return "the path holds a percent code that is not taken: / \\ ; % or a control character"
    if "//" in path:
        return "the path holds //"
    if any(_DOTS.match(segment) for segment in path.split("/")):
        return "the path holds . or .."
    return None
