from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

from fastapi import FastAPI, Form, Request, UploadFile, WebSocket, WebSocketDisconnect, WebSocketException
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    yield {"started": "yes"}


app = FastAPI(lifespan=lifespan)


@app.get("/hello")
def hello() -> PlainTextResponse:
    return PlainTextResponse("hello")


@app.post("/echo")
async def echo(body: dict[str, Any]) -> dict[str, Any]:
    return body


@app.post("/form")
async def form(name: Annotated[str, Form()], file: UploadFile) -> dict[str, Any]:
    return {"name": name, "size": len(await file.read())}


@app.get("/stream")
async def stream() -> StreamingResponse:
    return StreamingResponse(lines(), media_type="text/plain")


async def lines() -> AsyncIterator[str]:
    for number in range(3):
        yield f"line {number}\n"


@app.get("/file")
async def file(path: str) -> FileResponse:
    return FileResponse(path)


@app.get("/path/{rest:path}")
async def path(rest: str) -> dict[str, str]:
    return {"rest": rest}


@app.get("/cookies")
async def cookies(request: Request) -> JSONResponse:
    response = JSONResponse(dict(request.cookies))
    response.set_cookie("seen", "1")
    response.set_cookie("often", "2")
    return response


@app.get("/state")
async def state(request: Request) -> dict[str, str]:
    return {"started": request.state.started}


@app.websocket("/chat/{room}")
async def chat(websocket: WebSocket, room: str) -> None:
    if room == "closed":
        raise WebSocketException(1008)
    await websocket.accept(subprotocol="chat")
    await websocket.send_text(f"welcome to {room}")
    with suppress(WebSocketDisconnect):
        while (text := await websocket.receive_text()) != "bye":
            await websocket.send_text(text)
        await websocket.close(3000, "bye")
