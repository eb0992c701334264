"""What `contracts.ResponseStream` promises, over each implementation: HTTP/1.1, and a stream among several."""

import asyncio
import os
from collections.abc import Callable

import pytest

from corehttp.asgi import Message
from corehttp.errors import AppError, ClientDisconnectedError
from corehttp.protocols.disk import PIECE
from corehttp.protocols.fairness import FIRST, MESSAGE, STRETCH
from corehttp.protocols.tally import Tally
from tests.kit.connections import Opened
from tests.kit.sides import HTTP1Side, MultiplexedSide, Side, running, turn

START: Message = {"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]}
TRAILING: Message = {**START, "trailers": True}
HINT: Message = {"type": "http.response.early_hint", "links": [b"</a.css>"]}
SIZED = [(b"content-length", b"6")]
HIGH = 65536  # bytes of a request's body, after which no stream reads more until the application takes them


def body(content: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


@pytest.fixture(params=[HTTP1Side, MultiplexedSide], ids=["HTTP/1.1", "multiplexed"])
async def side(request: pytest.FixtureRequest) -> Side:
    make: Callable[[], Side] = request.param
    return make()


# The head and the body.


async def test_a_whole_response_is_one_call(side: Side) -> None:
    stream = await side.request()
    stream.respond(201, [(b"x", b"y")], b"abc", False)
    received = side.received()
    assert (received.status, received.body, received.whole, received.cut) == (201, b"abc", True, False)
    assert (b"x", b"y") in received.fields


async def test_a_response_carries_the_servers_fields_but_those_that_the_application_has_set(side: Side) -> None:
    stream = await side.request()
    stream.respond(200, [(b"Server", b"own"), (b"Connection", b"keep-alive")], b"abc", False)
    fields = side.received().fields
    assert sorted(name for name, _ in fields if name in (b"date", b"server", b"connection")) == [b"date", b"server"]
    assert dict(fields)[b"server"] == b"own"
    assert dict(fields)[b"date"] == b"Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize("status", [99, 1000, 101])
async def test_a_status_that_is_none_of_a_response_sends_nothing(side: Side, status: int) -> None:
    stream = await side.request()
    with pytest.raises(AppError, match="status"):
        stream.respond(status, [], b"", False)
    assert side.received().status == 0


async def test_pieces_come_in_the_order_of_the_calls_and_may_be_empty(side: Side) -> None:
    stream = await side.request()
    stream.respond(200, [], b"", True)
    for piece in (b"a", b"", b"bc"):
        stream.write_body(piece, True)
    assert not side.received().whole
    stream.write_body(b"", False)
    received = side.received()
    assert (received.body, received.whole) == (b"abc", True)


@pytest.mark.parametrize(
    "headers", [[(b"a b", b"c")], [(b"a", b"b\r\nc: d")], [(b"content-length", b"7")]], ids=["name", "value", "length"]
)
async def test_what_cannot_be_responded_sends_nothing_and_another_response_may_follow(
    side: Side, headers: list[tuple[bytes, bytes]]
) -> None:
    stream = await side.request()
    with pytest.raises(AppError):
        stream.respond(200, headers, b"abcdef", False)
    assert side.received().status == 0
    stream.respond(500, [], b"fault", False)
    received = side.received()
    assert (received.status, received.body, received.whole) == (500, b"fault", True)


@pytest.mark.parametrize(("piece", "more"), [(b"defg", True), (b"de", False)], ids=["longer", "shorter"])
async def test_a_body_keeps_to_its_declared_length_or_nothing_of_the_piece_is_sent(
    side: Side, piece: bytes, more: bool
) -> None:
    stream = await side.request()
    stream.respond(200, SIZED, b"abc", True)
    with pytest.raises(AppError):
        stream.write_body(piece, more)
    assert side.received().body == b"abc"
    stream.write_body(b"def", False)
    received = side.received()
    assert (received.body, received.whole) == (b"abcdef", True)


async def test_a_response_is_endless_unless_it_has_declared_its_length(side: Side) -> None:
    stream = await side.request()
    stream.respond(200, SIZED, b"abc", True)
    assert not stream.endless


async def test_a_response_without_a_declared_length_is_endless(side: Side) -> None:
    stream = await side.request()
    stream.respond(200, [], b"abc", True)
    assert stream.endless


# Congestion.


async def test_a_stream_is_congested_while_its_client_takes_nothing(side: Side) -> None:
    stream = await side.request()
    stream.respond(200, [], b"abc", True)
    assert not stream.congested
    await asyncio.wait_for(stream.writable(), 10)
    side.take_nothing()
    stream.write_body(b"def", True)
    assert stream.congested
    waiting = [asyncio.ensure_future(stream.writable()) for _ in range(3)]
    await turn()
    waiting[0].cancel()
    await turn()
    assert [waiter.done() for waiter in waiting] == [True, False, False]
    await side.take()
    await asyncio.gather(*waiting[1:])
    assert not stream.congested
    assert side.received().body == b"abcdef"


async def test_send_returns_when_the_client_has_taken_enough(side: Side) -> None:
    await side.request()
    await side.app.send(START)
    side.take_nothing()
    sending = asyncio.ensure_future(side.app.send(body(b"abc", more=True)))
    await turn()
    assert not sending.done()
    await side.take()
    await sending


async def test_nobody_waits_for_a_client_that_has_left(side: Side) -> None:
    stream = await side.request()
    side.take_nothing()
    stream.respond(200, [], b"abc", True)
    waiting = asyncio.ensure_future(stream.writable())
    await turn()
    assert not waiting.done()
    await side.leave()
    await waiting


# Turns.


async def test_an_allowance_is_positive_again_after_a_turn_and_after_a_wait_that_was_cancelled(side: Side) -> None:
    allowance = (await side.request()).allowance()
    assert allowance.left == FIRST
    allowance.left = -1
    await allowance.renew()
    assert allowance.left == STRETCH
    allowance.left = -1
    waiting = asyncio.ensure_future(allowance.renew())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert allowance.left > 0


async def test_a_response_lets_others_have_a_turn_when_its_allowance_is_spent(side: Side) -> None:
    await side.request()
    await side.app.send(START)
    piece = bytes(FIRST // 2 - MESSAGE)
    for _ in range(2):  # the whole allowance, and no more
        sending = asyncio.ensure_future(side.app.send(body(piece, more=True)))
        await asyncio.sleep(0)
        assert sending.done()
    sending = asyncio.ensure_future(side.app.send(body(b"x", more=True)))
    await asyncio.sleep(0)
    assert not sending.done()
    await sending


async def test_an_allowance_may_be_asked_for_after_the_end(side: Side) -> None:
    stream = await side.request()
    stream.respond(200, [], b"", False)
    assert stream.allowance().left > 0


# Files.


@pytest.mark.parametrize(("offset", "count"), [(0, 3 * PIECE), (1, PIECE), (PIECE - 1, PIECE + 2), (5, 0)])
async def test_a_part_of_a_file_is_sent_behind_what_was_written(
    side: Side, opened: Opened, offset: int, count: int
) -> None:
    source = opened(3 * PIECE)
    stream = await side.request()
    stream.respond(200, [], b"before", True)
    await stream.send_file(source.descriptor, offset, count, True)
    stream.write_body(b"after", False)
    received = side.received()
    assert received.body == b"before" + source.data[offset : offset + count] + b"after"
    assert received.whole


async def test_a_file_may_be_the_last_piece(side: Side, opened: Opened) -> None:
    source = opened(2 * PIECE + 1)
    stream = await side.request()
    stream.respond(200, [(b"content-length", b"%d" % len(source.data))], b"", True)
    await stream.send_file(source.descriptor, 0, len(source.data), False)
    received = side.received()
    assert (received.body, received.whole) == (source.data, True)


async def test_a_pipe_is_sent_from_where_it_is(side: Side) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"abcdef")
    stream = await side.request()
    stream.respond(200, [], b"", True)
    await stream.send_file(reading, 0, 6, False)
    assert side.received().body == b"abcdef"
    os.close(reading)
    os.close(writing)


async def test_a_file_that_is_longer_than_what_was_declared_is_not_begun(side: Side, opened: Opened) -> None:
    source = opened(7)
    stream = await side.request()
    stream.respond(200, SIZED, b"", True)
    with pytest.raises(AppError):
        await stream.send_file(source.descriptor, 0, 7, True)
    assert side.received().body == b""
    stream.write_body(b"abcdef", False)
    assert side.received().whole


async def test_a_file_that_ends_early_cuts_the_response_and_tells_the_exchange(side: Side, opened: Opened) -> None:
    source = opened(PIECE)
    stream = await side.request()
    exchange = running(side.context)
    stream.respond(200, [], b"", True)
    with pytest.raises(AppError, match="the file ended 1 bytes before"):
        await stream.send_file(source.descriptor, 0, PIECE + 1, True)
    assert side.received().cut
    assert exchange.unawaited
    with pytest.raises(ClientDisconnectedError):
        await side.app.send(START)


async def test_a_file_that_is_cancelled_after_a_part_cuts_the_response(side: Side, opened: Opened) -> None:
    source = opened(3 * PIECE)
    stream = await side.request()
    exchange = running(side.context)
    stream.respond(200, [], b"", True)
    side.take_nothing()
    sending = asyncio.ensure_future(stream.send_file(source.descriptor, 0, 3 * PIECE, False))
    while not stream.congested:
        await asyncio.sleep(0)
    await turn()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert sending.cancelled()
    assert side.received().cut
    assert exchange.unawaited


async def test_a_client_that_leaves_ends_a_file(side: Side, opened: Opened) -> None:
    source = opened(3 * PIECE)
    stream = await side.request()
    stream.respond(200, [], b"", True)
    side.take_nothing()
    sending = asyncio.ensure_future(stream.send_file(source.descriptor, 0, 3 * PIECE, False))
    while not stream.congested:
        await asyncio.sleep(0)
    await side.leave()
    with pytest.raises(ClientDisconnectedError):
        await sending


# What few responses have.


async def test_trailers_end_a_response(side: Side) -> None:
    stream = await side.request(takes_trailers=True)
    stream.respond(200, [], b"abc", True)
    with pytest.raises(AppError):
        stream.write_trailers([(b"content-length", b"3")])
    assert not side.received().whole
    stream.write_trailers([(b"sum", b"1")])
    received = side.received()
    assert (received.body, received.trailers, received.whole) == (b"abc", [(b"sum", b"1")], True)


async def test_the_exchange_announces_trailers_as_more_to_come(side: Side) -> None:
    await side.request(takes_trailers=True)
    await side.app.send(TRAILING)
    await side.app.send(body(b"abc"))
    assert not side.received().whole
    await side.app.send({"type": "http.response.trailers", "headers": [(b"sum", b"1")]})
    received = side.received()
    assert (received.body, received.trailers, received.whole) == (b"abc", [(b"sum", b"1")], True)


async def test_a_client_that_waits_is_told_to_go_on_once(side: Side) -> None:
    await side.request(length=3, expects_continue=True)
    assert side.received().continues == 0
    waiting = asyncio.ensure_future(side.app.receive())
    await turn()
    assert side.received().continues == 1
    await side.feed(b"abc", end=True)
    assert (await waiting)["body"] == b"abc"
    assert side.received().continues == 1


async def test_early_hints_come_ahead_of_a_response_and_not_after_it_has_begun(side: Side) -> None:
    await side.request()
    await side.app.send(HINT)
    await side.app.send(START)
    await side.app.send(HINT)
    assert side.received().hints == [b"</a.css>"] * 2
    await side.app.send(body(b"abc", more=True))
    await side.app.send(HINT)
    await side.app.send(body(b""))
    received = side.received()
    assert (received.hints, received.body, received.whole) == ([b"</a.css>"] * 2, b"abc", True)


async def test_wrong_early_hints_are_the_applications_fault(side: Side) -> None:
    stream = await side.request()
    with pytest.raises(AppError):
        stream.send_early_hints([b"a\r\nb: c"])
    assert side.received().hints == []


async def test_where_the_operator_wants_none_early_hints_are_not_sent(side: Side) -> None:
    side.context.early_hints = False
    stream = await side.request()
    stream.send_early_hints([b"</a.css>"])
    assert side.received().hints == []


# The request's body.


@pytest.mark.parametrize("length", [3 * HIGH, -1], ids=["declared", "undeclared"])
async def test_no_more_of_a_body_is_read_than_the_application_takes(side: Side, length: int) -> None:
    await side.request(length=length)
    await side.feed(bytes(HIGH - 1))
    assert side.may_send()
    await side.feed(b"x")
    await side.feed(b"x" if side.may_send() else b"")
    assert not side.may_send()
    message = await side.app.receive()
    assert len(message["body"]) >= HIGH
    assert message["more_body"]
    await turn()
    assert side.may_send()


async def test_what_an_application_leaves_is_given_up_when_it_has_ended(side: Side) -> None:
    await side.request(length=2 * HIGH)
    exchange = running(side.context)
    while side.may_send():
        await side.feed(bytes(HIGH // 2))
    side.app.finish.set()
    await turn()
    assert exchange.ended
    assert exchange.buffered == 0
    assert not exchange.feed(b"x")


# The end.


async def test_what_is_aborted_is_not_whole(side: Side) -> None:
    stream = await side.request()
    stream.respond(200, [], b"abc", True)
    stream.abort()
    received = side.received()
    assert (received.body, received.whole, received.cut) == (b"abc", False, True)


async def test_an_application_that_ends_within_its_response_has_it_cut(side: Side) -> None:
    await side.request()
    await side.app.send(START)
    await side.app.send(body(b"abc", more=True))
    side.app.finish.set()
    await turn()
    received = side.received()
    assert (received.body, received.whole, received.cut) == (b"abc", False, True)


async def test_a_response_that_was_written_and_not_taken_is_kept_though_the_application_has_returned(
    side: Side,
) -> None:
    """As a drain does it: what is not idle is waited for, and what is idle is closed."""
    await side.request()
    await side.app.send(START)
    side.take_nothing()
    await side.app.send(body(b"abc"))
    side.app.finish.set()
    await turn()
    assert not side.context.running
    if side.connection.idle:
        side.connection.close()
    else:
        assert len(side.connection.unanswered) == 1
        await side.take()
    received = side.received()
    assert (received.body, received.whole) == (b"abc", True)
    assert side.context.answered == 1


async def test_a_client_that_leaves_is_told_of_by_receive_and_send(side: Side) -> None:
    await side.request()
    await side.app.receive()
    waiting = asyncio.ensure_future(side.app.receive())
    await turn()
    await side.leave()
    assert await waiting == {"type": "http.disconnect"}
    with pytest.raises(ClientDisconnectedError):
        await side.app.send(START)
    side.app.finish.set()
    await turn()
    assert side.context.answered == 0
    assert side.received().status == 0


async def test_a_request_is_answered_once_its_own_time_is_over(side: Side) -> None:
    side.context.request_timeout = 10.0
    await side.request()
    exchange = running(side.context)
    assert exchange.due == side.connection.deadline == side.context.clock.now + 10
    side.context.clock.update(side.context.clock.now + 11, 0)
    side.connection.expire()
    await turn()
    assert side.received().status == 504
    assert exchange.ended
    assert side.received().whole


# What is counted.


async def test_a_whole_response_is_counted_once_and_a_request_without_one_by_its_reason(side: Side) -> None:
    tally = Tally()
    side.context.count_in(tally)
    stream = await side.request()
    stream.respond(200, SIZED, b"abc", True)
    assert tally.counters(1).requests == {}
    stream.write_body(b"def", False)
    counters = tally.counters(1)
    assert counters.requests == {("GET", 200): 1}
    assert counters.duration.count == 1
    assert not any(counters.aborted.values())


async def test_a_client_that_leaves_is_counted_as_that(side: Side) -> None:
    tally = Tally()
    side.context.count_in(tally)
    stream = await side.request()
    stream.respond(200, SIZED, b"abc", True)
    await side.leave()
    counters = tally.counters(1)
    assert counters.requests == {}
    assert {reason: count for reason, count in counters.aborted.items() if count} == {"client": 1}
