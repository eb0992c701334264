"""The application of most tests, in plain ASGI: each path does one thing to its worker or to the response."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    query = {key: values[0] for key, values in parse_qs(scope["query_string"].decode()).items()}
    seconds = float(query.get("seconds", "0"))
    path = scope["path"].removeprefix(scope["root_path"])
    match path:
        case "/slow":
            if seconds > 1 or "until" in query:
                note("sleeping")
            await asyncio.sleep(seconds)
            while "until" in query and not exists(query["until"]):
                await asyncio.sleep(0.01)
            await respond(send, "slept")
        case "/stream":
            await stream(send, int(query["lines"]), seconds)
        case "/echo":
            await respond(send, (await body(receive)).decode())
        case "/who":
            await respond(send, json.dumps(who(scope)))
        case "/exit":
            os._exit(int(query["code"]))
        case "/sleep-in-loop":
            note("hanging")
            time.sleep(1000)  # noqa: ASYNC251
        case "/busy":
            note("hanging")
            while True:
                pass
        case "/sleep-in-thread":
            note("hanging")
            await asyncio.to_thread(time.sleep, 1000)
        case _:
            await respond(send, "hello")


async def witness(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells all that it got of a request, as JSON; bytes are shown as Latin-1."""
    told = {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode("latin-1"),
        "fields": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": (await body(receive)).decode("latin-1"),
    }
    await respond(send, json.dumps(told))


def factory() -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    return app


async def live(receive: Receive, send: Send) -> None:
    await receive()
    note("startup")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    note("shutdown")
    await send({"type": "lifespan.shutdown.complete"})


def exists(path: str) -> bool:
    return os.path.exists(path)


def note(event: str) -> None:
    """Append an event and the worker it happened in to a file for the test to read."""
    with open("events", "a") as file:
        file.write(f"{event} {os.environ.get('COREHTTP_WORKER_ID')}\n")


def who(scope: Scope) -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "loop": type(asyncio.get_running_loop()).__module__.partition(".")[0],
        "parsers": sorted(name.rpartition("_")[2] for name in sys.modules if ".parser_" in name),
        "path": scope["path"],
        "root_path": scope["root_path"],
        "client": scope["client"],
        "server": scope["server"],
    }


async def stream(send: Send, lines: int, seconds: float) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for number in range(lines):
        await send({"type": "http.response.body", "body": f"line {number}\n".encode(), "more_body": True})
        await asyncio.sleep(seconds)
    await send({"type": "http.response.body"})


async def body(receive: Receive) -> bytes:
    pieces = []
    more = True
    while more:
        message = await receive()
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)  # there is none in `http.disconnect`
    return b"".join(pieces)


async def respond(send: Send, text: str) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text.encode()})
