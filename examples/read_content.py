"""A file read anew for every `GET /read-content`, in plain ASGI; all else is 404.

Run it: python -m corehttp examples.read_content:app --workers auto
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from anyio import to_thread

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CONTENT = str(Path(__file__).with_name("content.txt"))


def read() -> bytes:
    """Read the file; without a buffer, since it is read whole."""
    with open(CONTENT, "rb", buffering=0) as file:
        return file.read()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    if scope["method"] == "GET" and scope["path"] == "/read-content":
        # A small local file is in the page cache: reading it here takes less time than asking a thread to.
        await respond(send, 200, read())
    else:
        await respond(send, 404, b"Not Found\n")


async def in_thread(scope: Scope, receive: Receive, send: Send) -> None:
    """The same with the file read in a thread, as one reads files that may be slow."""
    assert scope["type"] == "http"
    if scope["method"] == "GET" and scope["path"] == "/read-content":
        await respond(send, 200, await to_thread.run_sync(read))
    else:
        await respond(send, 404, b"Not Found\n")


async def respond(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
