"""The application of the slow clients: it greets, floods, swallows, waits, and counts what is left of connections.

GET /census answers JSON: the objects of corehttp's per connection and request that are alive, and asyncio's tasks.
"""

import asyncio
import gc
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY = b"hello"
COUNTED = ("HTTP1Connection", "Exchange", "TCPTransport", "Task")

_PIECE = bytes(65536)
_PIECES = 1600  # 100 MB


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    match scope["path"]:
        case "/flood":
            await _start(send, [])
            for _ in range(_PIECES):
                await send({"type": "http.response.body", "body": _PIECE, "more_body": True})
            await send({"type": "http.response.body"})
        case "/swallow":
            while (await receive()).get("more_body"):
                pass
            await _respond(send, BODY)
        case "/wait":
            while (await receive())["type"] != "http.disconnect":
                pass
        case "/sleep":
            await asyncio.sleep(0.05)
            await _respond(send, BODY)
        case "/census":
            await _respond(send, json.dumps(_census()).encode())
        case _:
            await _respond(send, BODY)


def _census() -> dict[str, int]:
    gc.collect()
    alive = Counter(type(each).__name__ for each in gc.get_objects())
    return {name: alive[name] for name in COUNTED} | {"tasks": len(asyncio.all_tasks())}


async def _respond(send: Send, body: bytes) -> None:
    await _start(send, [(b"content-length", b"%d" % len(body))])
    await send({"type": "http.response.body", "body": body})


async def _start(send: Send, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": headers})
