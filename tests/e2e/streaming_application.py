"""Responses that go on until somebody ends them, beside ordinary ones that only take their time."""

import asyncio
from contextlib import suppress
from urllib.parse import parse_qs

from tests.e2e.application import Message, Receive, Scope, Send, live, note, respond

EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8")]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    query = {key: values[0] for key, values in parse_qs(scope["query_string"].decode()).items()}
    seconds = float(query.get("seconds", "0"))
    match scope["path"]:
        case "/events":
            await events(send)
        case "/events-with-farewell":
            await events_with_farewell(receive, send)
        case "/numbers":
            await numbers(receive, send)
        case "/poll":
            await poll(receive, send)
        case "/watched":
            await watched(receive, send, seconds)
        case "/told":
            await scope["extensions"]["corehttp.shutdown"]["event"].wait()
            await respond(send, "told")
        case "/background":
            await respond(send, "answered")
            await asyncio.sleep(seconds)
            note("background done")
        case _:
            await asyncio.sleep(seconds)
            await respond(send, "slept")


async def start(send: Send, fields: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": fields})


async def piece(send: Send, text: str, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": more})


async def events(send: Send) -> None:
    """It only ever sends."""
    await start(send, EVENTS)
    while True:
        await piece(send, "data: tick\n\n")
        await asyncio.sleep(0.05)


async def events_with_farewell(receive: Receive, send: Send) -> None:
    """It says good-bye on a path of its own, as soon as it knows."""
    await start(send, EVENTS)
    await piece(send, "data: tick\n\n")
    await disconnected(receive)


async def numbers(receive: Receive, send: Send) -> None:
    """A stream that is no stream of events; it stops when it is told."""
    await start(send, [(b"content-type", b"text/plain")])
    await piece(send, "1\n")
    await disconnected(receive)
    await piece(send, "the end\n", more=False)


async def poll(receive: Receive, send: Send) -> None:
    """Waits for news that never come."""
    await disconnected(receive)


async def watched(receive: Receive, send: Send, seconds: float) -> None:
    """An ordinary request whose framework cancels it when its client is gone."""

    async def work() -> None:
        await asyncio.sleep(seconds)
        await respond(send, "worked")

    working = asyncio.create_task(work())
    watching = asyncio.create_task(disconnected(receive))
    await asyncio.wait([working, watching], return_when=asyncio.FIRST_COMPLETED)
    for task in (working, watching):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def disconnected(receive: Receive) -> Message:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return message
