"""The application of the tests with slow and lost clients, in plain ASGI."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PIECE = b"x" * 65536

gates: dict[str, asyncio.Event] = {}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    query = {key: values[0] for key, values in parse_qs(scope["query_string"].decode()).items()}
    try:
        await act(scope["path"], query, receive, send)
    except asyncio.CancelledError:
        note(f"cancelled {query['name']}")
        raise


async def act(path: str, query: dict[str, str], receive: Receive, send: Send) -> None:
    match path:
        case "/flood":
            await flood(send, int(query["pieces"]))
        case "/repeat":
            await respond(send, query["text"].encode() * int(query["times"]))
        case "/wait":
            note(f"waiting {query['name']}")
            await gate(query["name"]).wait()
            await respond(send, b"waited")
        case "/swallow":
            await gate(query["name"]).wait()
            await respond(send, b"%d" % await size_of_body(receive, query["name"]))
        case "/open":
            gate(query["name"]).set()
            await respond(send, b"opened")
        case "/listen":
            await listen(query, receive, send)
        case "/drip":
            await drip(query, send)
        case _:
            await respond(send, b"hello")


def note(event: str) -> None:
    """Say on standard error what happens, and when: in seconds that all processes share."""
    sys.stderr.write(f"note: {event} at {time.monotonic():.3f}\n")


def gate(name: str) -> asyncio.Event:
    """What a request may wait for and another one opens."""
    return gates.setdefault(name, asyncio.Event())


async def flood(send: Send, pieces: int) -> None:
    await start(send)
    for _ in range(pieces):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    await send({"type": "http.response.body"})


async def size_of_body(receive: Receive, name: str) -> int:
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            note(f"disconnected {name}")
            return size
        size += len(message["body"])
        if not message["more_body"]:
            return size


async def listen(query: dict[str, str], receive: Receive, send: Send) -> None:
    """Wait in receive() until the client is gone, before the response or in the middle of it; then try to send."""
    name = query["name"]
    if "begin" in query:
        await start(send, int(query["length"]) if "length" in query else None)
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    note(f"listening {name}")
    while (await receive())["type"] != "http.disconnect":
        pass
    note(f"disconnected {name}")
    try:
        if "begin" not in query:
            await start(send)
        await send({"type": "http.response.body", "body": b"too late", "more_body": True})
    except OSError:
        note(f"cannot send {name}")


async def drip(query: dict[str, str], send: Send) -> None:
    """A body of 8 bytes in two pieces; it is slow to begin, or between them."""
    await asyncio.sleep(float(query.get("before", "0")))
    await start(send, int(query["length"]) if "length" in query else None)
    await send({"type": "http.response.body", "body": b"one\n", "more_body": True})
    await asyncio.sleep(float(query.get("between", "0")))
    await send({"type": "http.response.body", "body": b"two\n", "more_body": True})
    await send({"type": "http.response.body"})


async def start(send: Send, length: int | None = None) -> None:
    headers = [(b"content-type", b"text/plain")]
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def respond(send: Send, body: bytes) -> None:
    await start(send, len(body))
    await send({"type": "http.response.body", "body": body})
