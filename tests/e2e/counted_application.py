"""Answers with the status that the path says; `/500` is an exception."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]


async def app(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    if scope["type"] != "http":
        return
    if scope["path"] == "/500":
        raise RuntimeError("as asked")
    if scope["path"] == "/slow":
        await asyncio.sleep(1000)
    fields = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": int(scope["path"][1:]), "headers": fields})
    await send({"type": "http.response.body", "body": b""})
