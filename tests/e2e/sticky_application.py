"""Tells each client which worker serves it: the number and process id of the worker, and what it got of the request."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    who = f"{os.environ.get('COREHTTP_WORKER_ID', '1')} {os.getpid()}"
    match scope["type"]:
        case "lifespan":
            await live(receive, send)
        case "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": who})
            if scope["path"] == "/bind":
                scope["extensions"]["corehttp.sticky"]["bind"](scope["query_string"].decode())
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"]})
        case _:
            await answer(scope, receive, send, who)


async def answer(scope: Scope, receive: Receive, send: Send, who: str) -> None:
    seconds = float(scope["query_string"].partition(b"seconds=")[2].partition(b"&")[0] or 0)
    if scope["path"] == "/bind":
        scope["extensions"]["corehttp.sticky"]["bind"](scope["query_string"].decode())
    elif scope["path"] == "/block":
        time.sleep(seconds)  # noqa: ASYNC251
    elif scope["path"] == "/slow":
        await asyncio.sleep(seconds)
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
    text = f"{who} {scope['path']} {size}".encode()
    length = (b"content-length", b"%d" % len(text))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": text})


async def live(receive: Receive, send: Send) -> None:
    for step in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{step}.complete"})
