"""The application of the spreading benchmark: each answer is the process id of its worker.

GET / answers at once, /cpu?MS after so many milliseconds of CPU time, and /block?SECONDS blocks the event loop before.
"""

import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.lib.burning import burn


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    assert scope["type"] == "http"
    if scope["path"] == "/cpu":
        burn(float(scope["query_string"]))
    elif scope["path"] == "/block":
        time.sleep(float(scope["query_string"]))  # noqa: ASYNC251
    body = str(os.getpid()).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
