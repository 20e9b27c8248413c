"""An ASGI application behind Fob, without a framework. uvicorn runs it: uvicorn app:app

curl -K - reads the key from standard input: printf 'user = "%s:"' sk_test_... | curl -K - http://127.0.0.1:8000/v1/whoami
"""

import json
import os

import fob
import fob.aio
import fob.asgi


async def whoami(scope, receive, send):
    if scope["type"] != "http":
        return
    key: fob.Verification = scope["fob"]
    body = json.dumps({"account": key.account, "livemode": key.livemode, "kind": str(key.kind),
                       "roll_over_before": key.expires_ms if key.superseded else None}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


address = os.environ.get("FOB_VERIFY", "ipc:///run/fob/verify.sock")
app = fob.asgi.FobMiddleware(whoami, fob.aio.Client(address, fail_fast=True), routes=[
    "GET /v1/whoami = account.read",
    "POST /v1/tokens = tokenize",
])
