"""A Starlette application whose lifespan puts something into the state that every request sees.

Run it: python -m corehttp examples.starlette_app:app
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import TypedDict

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


class State(TypedDict):
    started: float


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[State]:
    yield {"started": monotonic()}


async def hello(request: Request) -> Response:
    return JSONResponse({"message": "Hello, world!"})


async def uptime(request: Request) -> Response:
    return JSONResponse({"seconds": monotonic() - request.state.started})


async def item(request: Request) -> Response:
    return JSONResponse({"id": request.path_params["item_id"]})


async def slow(request: Request) -> Response:
    try:
        seconds = float(request.query_params.get("seconds", "1"))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 10:
        raise HTTPException(400, "seconds must be a number from 0 to 10")
    await asyncio.sleep(seconds)
    return JSONResponse({"slept": seconds})


async def stream(request: Request) -> Response:
    return StreamingResponse(count(10), media_type="text/plain")


async def count(lines: int) -> AsyncIterator[str]:
    for number in range(lines):
        yield f"line {number}\n"
        await asyncio.sleep(0.01)


async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type=request.headers.get("content-type"))


app = Starlette(
    routes=[
        Route("/", hello),
        Route("/uptime", uptime),
        Route("/items/{item_id:int}", item),
        Route("/slow", slow),
        Route("/stream", stream),
        Route("/echo", echo, methods=["POST"]),
    ],
    lifespan=lifespan,
)
