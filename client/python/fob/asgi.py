"""ASGI middleware: HTTP Basic with the API key as the user name and an empty password, as fob-http answers it.

    app = fob.asgi.FobMiddleware(app, fob.aio.Client("ipc:///run/fob/verify.sock", fail_fast=True),
                                 routes=["POST /v1/charges = charges.create", "GET /v1/charges/{id} = charges.read"])

A request with a key that may do the operation reaches the application, with the fob.Verification at scope["fob"]:
account, environment, livemode, kind, generation, superseded, expires. Its Authorization header is left out: the key was
for Fob. Everything else is answered here: 401 with WWW-Authenticate, 403, or 503 where fobd cannot answer. Only the
verdict VALID lets a request through. No framework is needed.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Awaitable, Callable, Iterable, MutableMapping, NamedTuple, Union
from urllib.parse import quote, unquote

from fob import aio
from fob.enums import Environment, Kind
from fob.errors import FobError
from fob.results import Verification
from fob.routes import Routes, refused

__all__ = ["FobMiddleware"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
# Gives a request's operation, or None: then it is denied.
OperationOf = Callable[[Scope], Union[str, None]]

_log = logging.getLogger(__name__)
_ACCOUNT = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_DENIED = "websocket.http.response"  # the extension by which a server sends the reply to a WebSocket's handshake


class _Denial(NamedTuple):
    status: int
    code: str
    message: str


_UNAVAILABLE = _Denial(503, "UNAVAILABLE", "the key could not be checked; try again")
_NO_CREDENTIALS = _Denial(401, "NO_CREDENTIALS", "give the API key as the user name of HTTP Basic")
_UNKNOWN_ROUTE = _Denial(403, "UNKNOWN_ROUTE", "no route has this method and path")


class FobMiddleware:
    """Lets a request through to `app` when its key may do the operation.

    client: the application closes it, if at all, when it shuts down. With fail_fast=True requests are answered with 503
        at once while fobd is down.
    routes: lines "METHOD /path = operation", as in fob-http's settings (see fob.routes.Routes). A WebSocket is a GET.
        Or a function that takes the scope and returns the operation, or None to deny.
    realm: in WWW-Authenticate.

    Faults are logged at the level DEBUG, under "fob.asgi".
    """

    def __init__(self, app: App, client: aio.Client, routes: Iterable[str] | OperationOf, *,
                 realm: str = "API keys") -> None:
        if not realm.isascii() or not realm.isprintable() or '"' in realm or "\\" in realm:
            raise ValueError("realm holds a character that cannot stand in the header")
        self._app = app
        self._client = client
        self._operation_of = routes if callable(routes) else None
        self._routes = Routes(()) if callable(routes) else Routes(routes)
        self._challenge = ('Basic realm="%s"' % realm).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] not in ("http", "websocket"):
            raise RuntimeError("fob.asgi does not know connections of the type %r" % scope["type"])
        answer = await self._ask(scope)
        if isinstance(answer, Verification):
            passed = dict(scope, fob=answer)
            passed["headers"] = [h for h in scope["headers"] if h[0].lower() != b"authorization"]
            await self._app(passed, receive, send)
        elif scope["type"] == "http":
            await self._reply(answer, send, "http.response", scope["method"] == "HEAD")
        else:
            await self._refuse(answer, scope, receive, send)

    async def _ask(self, scope: Scope) -> Verification | _Denial:
        operation = self._operation(scope)
        if isinstance(operation, _Denial):
            return operation
        header = _once(scope, b"authorization")
        if not header:
            return _NO_CREDENTIALS
        traceparent = _once(scope, b"traceparent")
        try:
            v = await self._client.verify_authorization(
                header, operation=operation,
                traceparent=traceparent.decode("latin-1").replace("\0", "") if traceparent else None)
        except FobError as e:
            _log.debug("no verdict: %s", e)
            return _UNAVAILABLE
        if not v.allows:
            return _Denial(403 if v.http_status == 403 else 401, str(v.verdict), v.detail)
        if not _is_whole(v):
            _log.error("fobd said VALID, but not of what")
            return _UNAVAILABLE
        return v

    def _operation(self, scope: Scope) -> str | _Denial:
        if self._operation_of is not None:
            return self._operation_of(scope) or _UNKNOWN_ROUTE
        path, why = _path(scope)
        if why is not None:
            return _Denial(403, "PATH_REFUSED", why)
        return self._routes.find(scope.get("method", "GET"), path) or _UNKNOWN_ROUTE

    async def _reply(self, denial: _Denial, send: Send, kind: str, head_only: bool = False) -> None:
        body = ('{"error":{"code":"%s","message":"%s"}}\n' % (denial.code, _plain(denial.message))).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)),
                   (b"cache-control", b"no-store")]
        if denial.status == 401:
            headers.append((b"www-authenticate", self._challenge))
        await send({"type": kind + ".start", "status": denial.status, "headers": headers})
        await send({"type": kind + ".body", "body": b"" if head_only else body, "more_body": False})

    async def _refuse(self, denial: _Denial, scope: Scope, receive: Receive, send: Send) -> None:
        """Before the handshake was accepted. A server without the extension replies with a 403 of its own."""
        message = await receive()
        if message["type"] != "websocket.connect":
            return  # the client has gone
        if _DENIED in (scope.get("extensions") or {}):
            await self._reply(denial, send, _DENIED)
        else:
            await send({"type": "websocket.close", "code": 1013 if denial.status == 503 else 1008})


def _plain(text: str) -> str:
    """The inside of a JSON string that needs no escapes."""
    text = text.replace('"', "'").replace("\\", "/")
    return "".join(c if " " <= c < "\x7f" else "?" for c in text)


def _once(scope: Scope, name: bytes) -> bytes | None:
    """The header's value; None when it is not there, or twice."""
    values = [value for key, value in scope["headers"] if key.lower() == name]
    return bytes(values[0]) if len(values) == 1 else None


def _path(scope: Scope) -> tuple[str, str | None]:
    """The path as the client wrote it, and why it is refused."""
    decoded, raw = scope["path"], scope.get("raw_path")
    if raw is None:
        path = quote(decoded, safe="/:@!$&'()*+,=~")
    else:
        path = raw.partition(b"?")[0].decode("latin-1")
        if unquote(path) != decoded:
            return path, "the path and its decoded form differ"
    return path, refused(path)


def _is_whole(v: Verification) -> bool:
    """A VALID that lacks what the application is to know is none."""
    return (_ACCOUNT.match(v.account) is not None and v.environment is not Environment.ANY and
            v.livemode == (v.environment is Environment.LIVE) and v.kind is not Kind.ANY and v.generation > 0 and
            0 <= v.expires_ms <= 253402300799999)  # the end of the year 9999
