from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

from litestar import Litestar, MediaType, Request, WebSocket, get, post, websocket
from litestar.datastructures import Cookie, UploadFile
from litestar.enums import RequestEncodingType
from litestar.exceptions import NotAuthorizedException, WebSocketDisconnect
from litestar.params import Body
from litestar.response import File, Response, Stream


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    app.state.started = "yes"
    yield


@get("/hello", media_type=MediaType.TEXT)
async def hello() -> str:
    return "hello"


@post("/echo", status_code=200)
async def echo(data: dict[str, Any]) -> dict[str, Any]:
    return data


@post("/form", status_code=200)
async def form(data: Annotated[dict[str, Any], Body(media_type=RequestEncodingType.MULTI_PART)]) -> dict[str, Any]:
    upload = data["file"]
    assert isinstance(upload, UploadFile)
    return {"name": data["name"], "size": len(await upload.read())}


@get("/stream", media_type=MediaType.TEXT)
async def stream() -> Stream:
    return Stream(lines())


async def lines() -> AsyncIterator[str]:
    for number in range(3):
        yield f"line {number}\n"


@get("/file")
async def file(path: str) -> File:
    return File(path)


@get("/path/{rest:path}")
async def path(rest: str) -> dict[str, str]:
    return {"rest": rest.removeprefix("/")}


@get("/cookies")
async def cookies(request: Request[Any, Any, Any]) -> Response[dict[str, str]]:
    return Response(dict(request.cookies), cookies=[Cookie("seen", value="1"), Cookie("often", value="2")])


@get("/state")
async def state(request: Request[Any, Any, Any]) -> dict[str, str]:
    return {"started": request.app.state.started}


@websocket("/chat/{room:str}")
async def chat(socket: WebSocket[Any, Any, Any], room: str) -> None:
    if room == "closed":
        raise NotAuthorizedException
    await socket.accept(subprotocols="chat")
    await socket.send_text(f"welcome to {room}")
    with suppress(WebSocketDisconnect):
        while (text := await socket.receive_text()) != "bye":
            await socket.send_text(text)
        await socket.close(3000, "bye")


app = Litestar([hello, echo, form, stream, file, path, cookies, state, chat], lifespan=[lifespan], openapi_config=None)
