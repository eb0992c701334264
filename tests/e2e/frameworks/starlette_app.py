from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    yield {"started": "yes"}


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


async def echo(request: Request) -> Response:
    return JSONResponse(await request.json())


async def form(request: Request) -> Response:
    async with request.form() as form:
        upload = form["file"]
        assert isinstance(upload, UploadFile)
        return JSONResponse({"name": form["name"], "size": len(await upload.read())})


async def stream(request: Request) -> Response:
    return StreamingResponse(lines(), media_type="text/plain")


async def lines() -> AsyncIterator[str]:
    for number in range(3):
        yield f"line {number}\n"


async def file(request: Request) -> Response:
    return FileResponse(request.query_params["path"])


async def path(request: Request) -> Response:
    return JSONResponse({"rest": request.path_params["rest"]})


async def cookies(request: Request) -> Response:
    response = JSONResponse(dict(request.cookies))
    response.set_cookie("seen", "1")
    response.set_cookie("often", "2")
    return response


async def state(request: Request) -> Response:
    return JSONResponse({"started": request.state.started})


app = Starlette(
    routes=[
        Route("/hello", hello),
        Route("/echo", echo, methods=["POST"]),
        Route("/form", form, methods=["POST"]),
        Route("/stream", stream),
        Route("/file", file),
        Route("/path/{rest:path}", path),
        Route("/cookies", cookies),
        Route("/state", state),
    ],
    lifespan=lifespan,
)
