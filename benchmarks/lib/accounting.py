"""Requests whose fate is known exactly: each one is answered, refused or lost."""

import asyncio
import time
from dataclasses import dataclass
from enum import Enum, auto

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Fate(Enum):
    """What became of one request."""

    ANSWERED = auto()  # a complete 200 response
    REFUSED = auto()  # no connection, or another status than 200: the client knows that it may try elsewhere
    LOST = auto()  # connected, then closed, reset or left without a complete response


@dataclass(frozen=True, slots=True)
class Account:
    fate: Fate
    at: float  # monotonic seconds


async def connect(port: int) -> Streams | None:
    """Open a connection; returns None if it is refused, and raises OSError for any other failure."""
    try:
        return await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return None


async def ask(streams: Streams, target: str, seconds: float) -> Account:
    """Send one request on an open connection, and return its fate within `seconds`."""
    reader, writer = streams
    try:
        writer.write(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        async with asyncio.timeout(seconds):
            status = await _read_response(reader)
        return Account(Fate.ANSWERED if status == 200 else Fate.REFUSED, time.monotonic())
    except (OSError, EOFError, ValueError, TimeoutError):
        return Account(Fate.LOST, time.monotonic())
    finally:
        writer.close()


async def _read_response(reader: asyncio.StreamReader) -> int:
    """Return the status when the head and the body of a 200 are complete; raises EOFError, OSError, or ValueError."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split()[1])
    if status == 200:
        headers = dict(line.lower().split(":", 1) for line in head[1:] if line)
        await reader.readexactly(int(headers.get("content-length", "")))
    return status
