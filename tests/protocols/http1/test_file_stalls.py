"""Who is slow while a file goes out: the client, which is cut in the end, or the file, for which it has to wait."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from corehttp.asgi import Receive, Scope, Send
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.limits import Limits
from tests.kit.connections import WAIT
from tests.kit.fakes import LINES, Client, MakeParser, make_context, pass_time

STALL = 30  # seconds
LONG = 300  # seconds
SIZE = 1000
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n" % SIZE + LINES + b"\r\n"


class SlowFile:
    """A pipe stands for a file on a slow disk: its bytes come when the test writes them. Sent as the whole body."""

    def __init__(self) -> None:
        self.file, self._end = os.pipe()

    def close(self) -> None:
        os.close(self.file)
        os.close(self._end)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"%d" % SIZE)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.zerocopysend", "file": self.file, "offset": 0, "count": SIZE})

    async def give(self, client: Client, size: int) -> None:
        """Let so many bytes come, and go out."""
        expected = len(client.received) + size
        os.write(self._end, bytes(size))
        async with asyncio.timeout(WAIT):
            while len(client.received) < expected:
                await client.wait()


@pytest.fixture
def slow_file() -> Iterator[SlowFile]:
    file = SlowFile()
    yield file
    file.close()


async def asking(parser: MakeParser, file: SlowFile) -> tuple[Client, WorkerContext]:
    context = make_context(file, parser, limits=Limits(write_stall=STALL))
    client = Client(context)
    await client.send(GET)
    assert client.received == HEAD
    return client, context


async def test_a_client_that_waits_for_a_slow_file_is_not_cut(parser: MakeParser, slow_file: SlowFile) -> None:
    client, context = await asking(parser, slow_file)
    await pass_time(context, LONG)
    assert not client.closed
    for _ in range(10):
        await slow_file.give(client, 1)
        await pass_time(context, STALL - 1)
        assert not client.closed
    await slow_file.give(client, SIZE - 10)
    await client.wait()
    assert client.received == HEAD + bytes(SIZE)
    assert not client.closed


async def test_a_client_that_takes_what_a_slow_file_gives_is_not_cut_though_something_is_always_on_its_way(
    parser: MakeParser, slow_file: SlowFile
) -> None:
    client, context = await asking(parser, slow_file)
    client.transport.buffered = 1
    for _ in range(LONG):
        await slow_file.give(client, 1)
        await pass_time(context, 1)
    assert not client.closed


async def test_a_client_that_leaves_a_byte_of_a_file_waiting_is_cut(parser: MakeParser, slow_file: SlowFile) -> None:
    client, context = await asking(parser, slow_file)
    await pass_time(context, LONG)
    client.transport.buffered = 1
    await slow_file.give(client, 1)
    await pass_time(context, STALL - 1)
    assert not client.closed
    await pass_time(context, 2)
    assert client.transport.calls == ["abort"]
    await client.lose()


async def test_a_client_that_takes_only_what_was_written_before_a_file_is_cut(
    parser: MakeParser, slow_file: SlowFile
) -> None:
    client, context = await asking(parser, slow_file)
    client.connection.pause_writing()
    client.connection.resume_writing()
    client.transport.buffered = 1
    await pass_time(context, STALL)
    assert client.transport.calls == ["abort"]
    await client.lose()


async def test_to_be_told_to_pause_gives_a_client_no_more_time(parser: MakeParser, slow_file: SlowFile) -> None:
    client, context = await asking(parser, slow_file)
    client.transport.buffered = 1
    await pass_time(context, STALL - 1)
    client.connection.pause_writing()
    await pass_time(context, 1)
    assert client.transport.calls == ["abort"]
    await client.lose()
