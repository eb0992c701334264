"""The application of the drain test: GET /?SECONDS sleeps, then answers.

Each request that has begun to sleep adds one byte to the file named by STARTED_FILE: its size is their number,
whichever worker they are in.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

STARTED_FILE = "COREHTTP_BENCH_STARTED_FILE"

BODY = b"slept"
HEADERS = [(b"content-type", b"text/plain"), (b"content-length", str(len(BODY)).encode())]

_started = os.open(os.environ.get(STARTED_FILE, os.devnull), os.O_WRONLY | os.O_APPEND)


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    assert scope["type"] == "http"
    if scope["query_string"]:
        os.write(_started, b".")
        await asyncio.sleep(float(scope["query_string"]))
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
