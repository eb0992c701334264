"""The application of the blocking benchmark: GET / answers at once, and other paths compute first.

/loop?MS computes on the event loop, /thread?MS in a thread, /process?MS in a process, /interpreter?MS in another
interpreter of this process, each for so many milliseconds of CPU time.
"""

import os
from collections.abc import Awaitable, Callable
from typing import Any

from anyio import to_process, to_thread

from benchmarks.lib.burning import burn


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    assert scope["type"] == "http"
    milliseconds = float(scope["query_string"] or b"0")
    match scope["path"]:
        case "/loop":
            burn(milliseconds)
        case "/thread":
            await to_thread.run_sync(burn, milliseconds)
        case "/process":
            await to_process.run_sync(burn, milliseconds)
        case "/interpreter":
            from anyio import to_interpreter  # not there in Python before 3.14, or only as an experiment

            await to_interpreter.run_sync(burn, milliseconds)
        case _:
            pass
    body = str(os.getpid()).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
