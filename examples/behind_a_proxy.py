"""An application behind a load balancer, in plain ASGI: a health route, events, a WebSocket and an echo.

Run it: python -m corehttp examples.behind_a_proxy:app --workers auto --shutdown-delay 2
`examples/nginx.conf`, `examples/haproxy.cfg` and `examples/Caddyfile` are what goes in front of it (docs/proxies.md).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BEAT = 0.2  # seconds between two events


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    match scope["type"], scope.get("path"):
        case "http", "/health":
            await health(scope, send)
        case "http", "/events":
            await events(scope, send)
        case "http", "/slow":
            await asyncio.sleep(0.3)
            await respond(send, 200, b"slept\n")
        case "http", "/echo":
            await respond(send, 200, await body(receive))
        case "http", _:
            await respond(send, 200, b"Hello, world!\n")
        case "websocket", _:
            await echo(receive, send)
        case _:
            raise NotImplementedError(scope["type"])


async def health(scope: Scope, send: Send) -> None:
    """200 while this worker serves; 503 from the moment on at which it is told to end, so that balancers look away."""
    leaving: asyncio.Event = scope["extensions"]["corehttp.shutdown"]["event"]
    if leaving.is_set():
        await respond(send, 503, b"leaving\n")
    else:
        await respond(send, 200, b"ok\n")


async def events(scope: Scope, send: Send) -> None:
    """Server-sent events. nginx collects a response before it passes it on, unless this field tells it not to."""
    leaving: asyncio.Event = scope["extensions"]["corehttp.shutdown"]["event"]
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    number = 0
    while not leaving.is_set():
        await send({"type": "http.response.body", "body": f"data: {number}\n\n".encode(), "more_body": True})
        number += 1
        await asyncio.sleep(BEAT)
    await send({"type": "http.response.body"})


async def echo(receive: Receive, send: Send) -> None:
    """A WebSocket that says again what it hears."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})


async def body(receive: Receive) -> bytes:
    pieces = []
    more = True
    while more:
        message = await receive()
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(pieces)


async def respond(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
