"""The application of `benchmarks.pieces`: reads bodies, echoes WebSockets, and tells what that took.

GET /figures answers the user CPU of the process in seconds, and the most CPU time that its event loop took for one turn
since they were asked for last: for so long, on a machine with nothing else to do, nobody else was served.
"""

import asyncio
import json
import resource
import time
from collections.abc import Awaitable, Callable
from typing import Any

_LOOK_EVERY = 0.0005  # seconds between two looks at the clock

_longest = 0.0
_watch: list[asyncio.Task[None]] = []


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    global _longest
    if scope["type"] == "websocket":
        await echo(receive, send)
        return
    assert scope["type"] == "http"
    if not _watch:
        _watch.append(asyncio.ensure_future(watch()))
    body = b"hello"
    if scope["path"] == "/figures":
        user = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        body = json.dumps({"user": user, "longest": _longest}).encode()
        _longest = 0.0
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def echo(
    receive: Callable[[], Awaitable[dict[str, Any]]], send: Callable[[dict[str, Any]], Awaitable[None]]
) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        if len(message.get("text") or message.get("bytes") or b"") < 100:
            await send({"type": "websocket.send", "text": "a"})


async def watch() -> None:
    """Measure what the thread of the loop does between two turns."""
    global _longest
    while True:
        before = time.thread_time()
        await asyncio.sleep(_LOOK_EVERY)
        _longest = max(_longest, time.thread_time() - before)
