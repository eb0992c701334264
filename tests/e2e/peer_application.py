"""Tells each client in JSON who it is taken for, and which worker serves it; over HTTP, and over a WebSocket."""

import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

Send = Callable[[dict[str, Any]], Awaitable[None]]


async def app(scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: Send) -> None:
    if scope["type"] == "lifespan":
        return
    names = [name.decode() for name, _ in scope["headers"]]
    told = {**{key: scope[key] for key in ("client", "server", "scheme")}, "pid": os.getpid(), "fields": names}
    body = json.dumps(told).encode()
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": body.decode()})
        return
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
