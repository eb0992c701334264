"""What an application behind a proxy is told: in JSON, over a WebSocket, and as FastAPI's redirects show it."""

from typing import Any

from fastapi import FastAPI, Request, WebSocket
from starlette.requests import HTTPConnection

app = FastAPI()


def told(connection: HTTPConnection) -> dict[str, Any]:
    keys = ("client", "server", "scheme", "root_path", "path")
    return {
        **{key: connection.scope[key] for key in keys},
        "headers": dict(connection.headers),
        "url": str(connection.url),
    }


@app.get("/who")
async def who(request: Request) -> dict[str, Any]:
    return told(request)


@app.get("/health")
async def health() -> str:
    return "ok"


@app.get("/items/")
async def items() -> list[str]:
    return []


@app.websocket("/who")
async def who_by_websocket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json(told(websocket))
    await websocket.close()
