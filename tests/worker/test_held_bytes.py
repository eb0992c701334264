"""Bytes that another process has read come before those that are still in the socket."""

import asyncio
import functools
import socket
from collections.abc import Callable
from typing import cast

import pytest
import uvloop

from corehttp.worker.held_bytes import HeldBytes


class Reader(asyncio.Protocol):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.received = b""
        self.whole = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.received.endswith(b"."):
            self.whole.set_result(None)


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_held_bytes_come_first(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.sendall(b"in the socket.")
            reader = Reader()
            loop = asyncio.get_running_loop()
            transport, _ = await loop.connect_accepted_socket(lambda: HeldBytes(reader, b"held, "), ours)
            await asyncio.wait_for(reader.whole, 10)
            assert reader.received == b"held, in the socket."
            assert transport.get_protocol() is reader
            transport.close()

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(main())


class Pausing(asyncio.Protocol):
    """Pauses reading with the first bytes, and goes on in the next turn of the loop if it is to."""

    def __init__(self, *, resumes: bool) -> None:
        self.resumes = resumes
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self.received:
            self.transport.pause_reading()
            if self.resumes:
                asyncio.get_running_loop().call_soon(self.transport.resume_reading)
        self.received += data


def _same(reader: Reader) -> Reader:
    return reader


async def read_others() -> None:
    """Return when other connections that became readable just now were read."""
    loop = asyncio.get_running_loop()
    for _ in range(5):
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.sendall(b".")
            reader = Reader()
            transport, _ = await loop.connect_accepted_socket(functools.partial(_same, reader), ours)
            await asyncio.wait_for(reader.whole, 10)
            transport.close()


@pytest.mark.parametrize("resumes", [False, True])
@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_reading_that_is_paused_because_of_held_bytes_stays_paused_until_it_is_resumed(
    make_loop: Callable[[], asyncio.AbstractEventLoop], resumes: bool
) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.sendall(b"in the socket, ")
            reader = Pausing(resumes=resumes)
            loop = asyncio.get_running_loop()
            transport, _ = await loop.connect_accepted_socket(lambda: HeldBytes(reader, b"held, "), ours)
            await read_others()
            theirs.sendall(b"and later.")
            await read_others()
            assert reader.received.startswith(b"held, ")
            assert reader.received.endswith(b"and later.") is resumes
            transport.close()

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(main())


class Leaving(asyncio.Protocol):
    """Keeps what happens to it."""

    def __init__(self) -> None:
        self.events: list[str | bytes] = []
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.events.append(data)

    def eof_received(self) -> None:
        self.events.append("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost")
        self.lost.set_result(None)


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_held_bytes_come_also_before_the_end_of_a_client_that_has_left(
    make_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        theirs.close()
        reader = Leaving()
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: HeldBytes(reader, b"held"), ours)
        await asyncio.wait_for(reader.lost, 10)
        assert reader.events == ["made", b"held", "eof", "lost"]

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(main())
