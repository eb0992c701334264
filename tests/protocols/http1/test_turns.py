"""What one client sends keeps others waiting for a moment only: it is read and begun some in a turn of the loop."""

import asyncio
import sys

import pytest

from corehttp.protocols.http1.reader import READ_AT_ONCE
from corehttp.protocols.http1.turns import BEGUN_AT_ONCE
from tests.kit.apps import answer, echo, hello
from tests.kit.fakes import Client, MakeParser, make_context

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
EAGER = sys.version_info >= (3, 12)


async def test_pipelined_requests_are_begun_some_in_a_turn(parser: MakeParser) -> None:
    count = 20 * BEGUN_AT_ONCE
    client = Client(make_context(hello, parser))
    client.transport.deliver(GET * count)
    answered = 0
    turns = 0
    while len(client.transport.writes) < count:
        assert len(client.transport.writes) <= answered + BEGUN_AT_ONCE
        answered = len(client.transport.writes)
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 19
    assert client.received == answer(b"hello") * count
    await client.wait()
    assert client.transport.reading
    assert client.connection.idle
    await client.send(GET)
    assert client.received == answer(b"hello") * (count + 1)


async def test_a_connection_lost_between_two_turns_begins_no_more(parser: MakeParser) -> None:
    client = Client(make_context(hello, parser))
    client.transport.deliver(GET * 10 * BEGUN_AT_ONCE)
    written = len(client.transport.writes)
    await client.lose()
    assert len(client.transport.writes) <= max(written, 1)


@pytest.mark.parametrize("chunk", [b"1\r\nx\r\n", b"01\r\nx\r\n", b"40\r\n" + bytes(64) + b"\r\n"])
async def test_a_body_is_read_some_in_a_turn(parser: MakeParser, chunk: bytes) -> None:
    client = Client(make_context(echo, parser))
    piece = chunk * (READ_AT_ONCE // len(chunk) + 1)
    await client.send(CHUNKED)
    for _ in range(5):
        client.transport.deliver(piece)
        assert not client.transport.reading, "until the next turn of the loop"
        await client.wait()
        assert client.transport.reading
    await client.send(b"0\r\n\r\n")
    content = chunk.split(b"\r\n")[1]
    assert client.received == answer(b"/=" + content * (5 * (len(piece) // len(chunk))))
    await client.send(GET)
    assert client.take().endswith(answer(b"/="))


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nx: %b\r\n\r\n" % (b"y" * 9000),
        CHUNKED + (b"1" + b";a" * 500 + b"\r\nx\r\n") * 15 + b"0\r\n\r\n",
        CHUNKED + b"0\r\n" + b"a: b\r\n" * 100 + b"\r\n",
    ],
    ids=["heads", "extensions", "trailers"],
)
async def test_whole_requests_are_read_some_in_a_turn(parser: MakeParser, request_: bytes) -> None:
    """However many are answered at once: on uvloop the next piece would come in within the same turn."""
    count = READ_AT_ONCE // len(request_) + 1
    client = Client(make_context(hello, parser))
    client.transport.deliver(request_ * count)
    assert not client.transport.reading, "until the next turn of the loop"
    await client.wait()
    assert client.transport.reading
    assert client.received == answer(b"hello") * count


async def test_a_connection_lost_while_it_rests_is_left_alone(parser: MakeParser) -> None:
    client = Client(make_context(echo, parser))
    client.transport.deliver(CHUNKED + b"1\r\nx\r\n" * READ_AT_ONCE)
    calls = len(client.transport.calls)
    await client.lose()
    assert "resume_reading" not in client.transport.calls[calls:]


async def test_small_chunks_enter_no_function_of_ours_each(parser: MakeParser) -> None:
    client = Client(make_context(echo, parser))
    await client.send(CHUNKED + b"1\r\nx\r\n")
    entered = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal entered
        entered += event == "call"

    chunks = b"".join(b"%x\r\n%b\r\n" % (size, b"x" * size) for size in (1, 2, 9, 15, 16, 255)) * 100
    for size, longer in ((b"1", b"0000001"), (b"2", b"002")):
        chunks += (longer + b"\r\n" + b"y" * int(size) + b"\r\n") * 100
    sys.setprofile(count)
    try:
        client.transport.deliver(chunks)
    finally:
        sys.setprofile(None)
    assert entered < 100, "800 chunks"
    await client.lose()
