"""The body of the request that is read: where it ends in what comes in, and what of it is thrown away."""

import pytest

from corehttp.errors import PeerError
from corehttp.protocols.http1.incoming_body import DISCARD_LIMIT, IncomingBody
from corehttp.protocols.http1.semantics import Intent
from corehttp.protocols.limits import Limits
from tests.kit.fakes import every_cut
from tests.protocols.test_exchange import DISCONNECT, END, START, Talk

CHUNKED = b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nx: y\r\n\r\n"
REST = b"GET / HTTP/1.1\r\n"  # of what follows the body


def body_of(length: int, *, persistent: bool = True) -> IncomingBody:
    """The body of a request that declares `length` bytes; -1 if it is chunked."""
    intent = Intent(persistent=persistent, plain=False, length=length)
    return IncomingBody(Talk(length=length).exchange, intent, Limits())


@pytest.mark.parametrize(("raw", "length"), [(b"hello world", 11), (CHUNKED, -1)], ids=["sized", "chunked"])
async def test_a_body_ends_at_its_last_byte_however_it_is_cut(raw: bytes, length: int) -> None:
    for pieces in every_cut(raw + REST):
        body = body_of(length)
        content = rest = b""
        for piece in pieces:
            if body.whole:
                rest += piece
                continue
            part, end = body.cut(piece, 0)
            content += part
            rest += piece[end:]
        assert (content, rest, body.whole) == (b"hello world", REST, True)


async def test_a_body_is_cut_from_where_the_head_ends() -> None:
    body = body_of(4)
    assert body.cut(b"headabcdnext", 4) == (b"abcd", 8)
    assert body.whole


async def test_what_has_not_come_in_is_counted_down_unless_the_body_is_chunked() -> None:
    body = body_of(4)
    assert (body.unread, body.chunked) == (4, False)
    body.cut(b"abc", 0)
    assert (body.unread, body.whole) == (1, False)
    chunked = body_of(-1)
    chunked.cut(CHUNKED[:6], 0)
    assert (chunked.unread, chunked.chunked, chunked.whole) == (-1, True, False)


async def test_what_comes_after_the_response_is_not_kept_but_counted() -> None:
    talk = Talk(length=4)
    body = IncomingBody(talk.exchange, Intent(persistent=True, plain=False, length=4), Limits())
    await talk.exchange.send(START)
    await talk.exchange.send(END)
    piece, end = body.cut(b"ab", 0)
    assert (piece, end) == (b"ab", 2)
    assert not talk.exchange.feed(piece)
    assert body.unread == 2
    assert await talk.exchange.receive() == DISCONNECT


async def test_wrong_chunks_are_refused() -> None:
    with pytest.raises(PeerError) as refused:
        body_of(-1).cut(b"x\r\n", 0)
    assert refused.value.status == 400


async def test_more_than_the_limit_is_not_thrown_away_to_keep_a_connection() -> None:
    body = body_of(-1)
    assert not body.discard(DISCARD_LIMIT)
    assert body.discard(1)


async def test_what_came_before_the_response_does_not_count_as_thrown_away_after_it() -> None:
    body = body_of(-1)
    assert body.discard(DISCARD_LIMIT + 1)
    body.discard_from_now()
    assert not body.discard(DISCARD_LIMIT)


@pytest.mark.parametrize("persistent", [True, False])
async def test_another_request_follows_if_its_head_says_so_and_the_response_does_not_end_the_connection(
    persistent: bool,
) -> None:
    body = body_of(4, persistent=persistent)
    assert body.persistent is persistent
    body.end_connection()
    assert not body.persistent
