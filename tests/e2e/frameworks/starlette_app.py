from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket


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


async def chat(websocket: WebSocket) -> None:
    room = websocket.path_params["room"]
    if room == "closed":
        await websocket.close()
        return
    if room == "full":
        await websocket.send_denial_response(JSONResponse({"full": True}, 429))
        return
    await websocket.accept(subprotocol="chat")
    await websocket.send_text(f"welcome to {room}")
    while (message := await websocket.receive())["type"] == "websocket.receive":
        if message.get("text") == "bye":
            await websocket.close(3000, "bye")
        elif message.get("bytes") is not None:
            await websocket.send_bytes(message["bytes"])
        else:
            await websocket.send_text(message["text"])


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
        WebSocketRoute("/chat/{room}", chat),
    ],
    lifespan=lifespan,
)
