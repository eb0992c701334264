"""What the wire over Redis reads, without a Redis."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from redis.exceptions import ConnectionError as ClosedError

from corehttp.bus import redis_wire
from corehttp.bus.envelope import ENVELOPE_LIMIT
from corehttp.bus.redis_wire import BoundedParser, patiently
from corehttp.bus.transport import NO_ANSWER, WireError


def parser_of(*received: bytes) -> Any:
    """A parser of a connection that has received this, and was closed then."""
    stream = asyncio.StreamReader()
    for piece in received:
        stream.feed_data(piece)
    stream.feed_eof()
    parser: Any = BoundedParser(65536)
    parser.on_connect(SimpleNamespace(_reader=stream, encoder=None))
    return parser


def message(data: bytes) -> bytes:
    return b"*3\r\n$7\r\nmessage\r\n$4\r\nshop\r\n$%d\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize("size", [0, 1, ENVELOPE_LIMIT])
async def test_a_message_that_is_not_too_large_is_read_whole(size: int) -> None:
    parser = parser_of(message(b"x" * size))
    assert await parser.read_response(disable_decoding=True) == [b"message", b"shop", b"x" * size]


@pytest.mark.parametrize("size", [ENVELOPE_LIMIT + 1, 2 * 65536 - 3, 2 * 65536 - 2, 2 * 65536 - 1, 1_000_000])
async def test_a_message_that_is_too_large_is_empty_and_the_next_one_is_read(size: int) -> None:
    parser = parser_of(message(b"x" * size), message(b"next"))
    assert await parser.read_response(disable_decoding=True) == [b"message", b"shop", b""]
    assert await parser.read_response(disable_decoding=True) == [b"message", b"shop", b"next"]


async def test_a_connection_that_is_closed_within_such_a_message_is_an_error() -> None:
    with pytest.raises(ClosedError):
        await parser_of(message(b"x" * 1_000_000)[:-10]).read_response(disable_decoding=True)


async def test_an_answer_is_waited_for_several_times_so_that_a_blocked_loop_costs_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_wire, "LOOK", 0.0)  # each wait is over at the next turn of the loop, as after a block

    async def answer(turns: int) -> str:
        for _ in range(turns):
            await asyncio.sleep(0)
        return "answer"

    assert await patiently(answer(2)) == "answer"
    with pytest.raises(WireError, match=f"^{NO_ANSWER}$"):
        await patiently(answer(1000))


async def test_what_a_connection_raises_is_told_in_its_own_words_without_a_full_stop() -> None:
    async def fail() -> None:
        raise ClosedError("Connection closed by server.")

    with pytest.raises(WireError, match=r"^Connection closed by server$"):
        await patiently(fail())
