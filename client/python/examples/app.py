"""An ASGI application behind Fob, without a framework. Run it with `uvicorn app:app`, and ask it. curl reads the key
from its standard input, so that no list of processes shows it:

    printf 'user = "%s:"' sk_test_... | curl -K - http://127.0.0.1:8000/v1/whoami
"""

import json
import os

import fob.aio
from fob.asgi import FobMiddleware, Receive, Scope, Send


async def whoami(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    key: fob.Verification = scope["fob"]
    answer = {"account": key.account, "livemode": key.livemode, "kind": str(key.kind), "superseded": key.superseded}
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


client = fob.aio.Client(os.environ.get("FOB_VERIFY", "ipc:///run/fob/verify.sock"), fail_fast=True)
app = FobMiddleware(whoami, client, routes=[
    "GET /v1/whoami = account.read",
    "POST /v1/tokens = tokenize",
])
