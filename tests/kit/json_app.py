"""The application of tests and benchmarks that are asked over HTTP what their workers have done."""

import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from corehttp.asgi import ASGIApp, Receive, Scope, Send

# What runs beside the requests, from the start-up of the lifespan to its shutdown.
Background = Callable[[], AbstractAsyncContextManager[object]]


def json_app(background: Background, answer: Callable[[str], Awaitable[object]]) -> ASGIApp:
    """Return an application that answers a request with what `answer` returns for its path: bytes, or a JSON value."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            async with background():
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        found = await answer(scope["path"])
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    return app
