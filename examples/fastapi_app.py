"""A FastAPI application: JSON, a path parameter, a slow answer, a stream and an echo.

Run it: python -m corehttp examples.fastapi_app:app
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import FastAPI, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

app = FastAPI(title="corehttp example")


class Note(BaseModel):
    text: str
    tags: list[str] = []


@app.get("/")
async def hello() -> dict[str, str]:
    return {"message": "Hello, world!"}


@app.get("/items/{item_id}")
async def item(item_id: int) -> dict[str, int]:
    return {"id": item_id}


@app.get("/slow")
async def slow(seconds: Annotated[float, Query(ge=0, le=10)] = 1.0) -> dict[str, float]:
    await asyncio.sleep(seconds)
    return {"slept": seconds}


@app.get("/stream")
async def stream(lines: Annotated[int, Query(ge=1, le=1000)] = 10) -> StreamingResponse:
    return StreamingResponse(count(lines), media_type="text/plain")


async def count(lines: int) -> AsyncIterator[str]:
    for number in range(lines):
        yield f"line {number}\n"
        await asyncio.sleep(0.01)


@app.post("/echo")
async def echo(note: Note) -> Note:
    return note
