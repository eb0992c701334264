"""The ASGI extensions used by hand, by baize, which sends files by descriptor, and by Starlette, which sends paths."""

from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from baize.asgi import FileResponse

from tests.e2e import starlette_application as starlette
from tests.e2e.slow_application import note, respond

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await act(scope, receive, send)


async def act(scope: Scope, receive: Receive, send: Send) -> None:
    query = {key: values[0] for key, values in parse_qs(scope["query_string"].decode()).items()}
    match scope["path"]:
        case "/baize":
            await FileResponse(query["path"])(scope, receive, noting(send))
        case "/path":
            await start(send)
            await send({"type": "http.response.pathsend", "path": query["path"]})
        case "/pieces":
            await pieces(send, Path(query["path"]))
        case "/pipe":
            await pipe(send, Path(query["path"]), int(query["size"]))
        case "/links":
            links = [b"</style.css>; rel=preload; as=style", b"</script.js>; rel=preload; as=script"]
            await send({"type": "http.response.early_hint", "links": links})
            await respond(send, b"hinted")
        case "/trailers":
            await trailers(send)
        case _:
            await starlette.app(scope, receive, send)


def noting(send: Send) -> Send:
    async def noting_send(message: Message) -> None:
        note(message["type"])
        await send(message)

    return noting_send


async def start(send: Send, **more: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")], **more})


async def pieces(send: Send, path: Path) -> None:
    """A body of unknown length: bytes, the file from its position on, a part of it, bytes."""
    await start(send)
    await send({"type": "http.response.body", "body": b"before\n", "more_body": True})
    with path.open("rb") as file:
        file.seek(1)
        await send({"type": "http.response.zerocopysend", "file": file, "more_body": True})
        assert file.read() == b""  # its position is behind what was sent
        await send({"type": "http.response.zerocopysend", "file": file, "offset": 2, "count": 3, "more_body": True})
    await send({"type": "http.response.body", "body": b"\nafter"})


async def pipe(send: Send, path: Path, size: int) -> None:
    """A file whose bytes are long in coming."""
    await start(send)
    with path.open("rb") as file:
        await send({"type": "http.response.zerocopysend", "file": file, "offset": 0, "count": size})


async def trailers(send: Send) -> None:
    await start(send, trailers=True)
    await send({"type": "http.response.body", "body": b"body"})
    await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"42")], "more_trailers": True})
    await send({"type": "http.response.trailers", "headers": [(b"x-more", b"yes")]})
