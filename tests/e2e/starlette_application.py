"""A Starlette application for what it does with files, hints and clients that leave."""

import asyncio
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from tests.e2e.slow_application import note


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


async def events(request: Request) -> Response:
    """Server-sent events, as fast as asked for: `every` so many seconds."""
    return StreamingResponse(tell(float(request.query_params["every"])), media_type="text/event-stream")


async def tell(seconds: float) -> AsyncIterator[str]:
    try:
        while True:
            yield "data: news\n\n"
            await asyncio.sleep(seconds)
    finally:
        note("events ended")


async def poll(request: Request) -> Response:
    """Wait until the client is gone."""
    note("polling")
    while not await request.is_disconnected():
        await asyncio.sleep(0.05)
    note("polled")
    return PlainTextResponse("for nobody")


async def later(request: Request) -> Response:
    return PlainTextResponse("soon", background=BackgroundTask(work, 0.5))


async def work(seconds: float) -> None:
    note("work begun")
    await asyncio.sleep(seconds)
    note("work done")


async def file(request: Request) -> Response:
    return FileResponse(request.query_params["path"])


async def hints(request: Request) -> Response:
    await request.send_early_hints("</style.css>; rel=preload; as=style", "</script.js>; rel=preload; as=script")
    return PlainTextResponse("hinted")


starlette = Starlette(
    routes=[
        Route("/", hello),
        Route("/events", events),
        Route("/poll", poll),
        Route("/later", later),
        Route("/file", file),
        Route("/hints", hints),
    ]
)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The application, with a note of each message of an extension."""

    async def noting(message: Message) -> None:
        if message["type"] not in ("http.response.start", "http.response.body"):
            note(message["type"])
        await send(message)

    await starlette(scope, receive, noting if scope["type"] == "http" else send)
