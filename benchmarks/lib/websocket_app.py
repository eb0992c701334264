"""The application of the WebSocket benchmark: it echoes, and sends a feed to all that are there.

A WebSocket gets back what it sends. GET /feed?COUNT,SIZE,GAP sends COUNT texts of SIZE characters to each of them, one
every GAP seconds, and answers when all have been sent or have failed: how many WebSockets there were, and how many of
them `send` refused. Any other GET is answered with a line of text.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]

BODY = b"echo"

_members: set[Send] = set()


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    match scope["type"]:
        case "lifespan":
            await _live(receive, send)
        case "websocket":
            await _echo(receive, send)
        case _:
            body = BODY if scope["path"] != "/feed" else await _feed(*scope["query_string"].decode().split(","))
            headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})


async def _live(receive: Receive, send: Send) -> None:
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})


async def _echo(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    _members.add(send)
    try:
        while (message := await receive())["type"] == "websocket.receive":
            text = message.get("text")
            content = {"bytes": message["bytes"]} if text is None else {"text": text}
            await send({"type": "websocket.send", **content})
    finally:
        _members.discard(send)


async def _feed(count: str, size: str, gap: str) -> bytes:
    text = "x" * int(size)
    sendings = [_send_all(send, text, int(count), float(gap)) for send in _members]
    sent = await asyncio.gather(*sendings)
    return json.dumps({"members": len(sent), "failed": sent.count(False)}).encode()


async def _send_all(send: Send, text: str, count: int, gap: float) -> bool:
    try:
        for _ in range(count):
            await send({"type": "websocket.send", "text": text})
            await asyncio.sleep(gap)
    except OSError:
        return False
    return True
