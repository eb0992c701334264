"""A connection moves to the worker that is to serve its next request, with the bytes of that, and nothing is lost."""

import asyncio

import pytest

from corehttp.ipc.parcel import HELD_LIMIT
from corehttp.protocols.http1.sticky_reader import LOOK_AGAIN, MOST_LOOKS
from corehttp.protocols.outlet import HIGH_WATER
from corehttp.protocols.websocket.upgrade import recognizer
from corehttp.protocols.websocket.writer import Settings
from tests.kit.apps import Held, answer, echo, hello
from tests.kit.fakes import MakeParser, every_cut
from tests.kit.two_workers import TwoWorkers
from tests.kit.websocket_client import TEXT, handshake, masked, switching, unmasked
from tests.kit.websocket_client import echo as websocket_echo

HERE = b"GET /a?0 HTTP/1.1\r\nHost: a\r\n\r\n"
THERE = b"GET /b?1 HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /c?1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde"
CHUNKED = b"POST /d?1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"


async def test_a_request_of_this_worker_is_served_here(parser: MakeParser) -> None:
    client = TwoWorkers(hello, parser)
    await client.send(HERE, HERE)
    assert client.received == answer(b"hello") * 2
    assert client.moves == 0


@pytest.mark.parametrize("raw", [THERE, POST, CHUNKED], ids=["GET", "POST", "chunked"])
async def test_a_request_of_another_worker_moves_and_is_served_there_in_every_cut(
    parser: MakeParser, raw: bytes
) -> None:
    whole = TwoWorkers(echo, parser)
    await whole.send(raw)
    for pieces in every_cut(raw):
        client = TwoWorkers(echo, parser)
        await client.send(*pieces)
        assert (client.received, client.at, client.moves) == (whole.received, 1, 1)


async def test_pipelined_requests_are_answered_in_order_by_their_workers(parser: MakeParser) -> None:
    raw = HERE + THERE + THERE + POST + HERE + CHUNKED + HERE
    for pieces in ([raw], [raw[at : at + 1] for at in range(len(raw))]):
        client = TwoWorkers(echo, parser)
        await client.send(*pieces)
        paths = (b"/a=", b"/b=", b"/b=", b"/c=abcde", b"/a=", b"/d=abc", b"/a=")
        assert client.received == b"".join(map(answer, paths))
        assert client.moves == 4
        assert [context.begun for context in client.contexts] == [3, 4]


async def test_a_request_waits_for_the_response_before_it(parser: MakeParser) -> None:
    held = Held()
    client = TwoWorkers(held, parser)
    await client.send(b"GET /slow?0 HTTP/1.1\r\nHost: a\r\n\r\n", THERE)
    assert (client.moves, client.received) == (0, b"")
    held.release.set()
    await client.wait()
    assert client.moves == 1
    assert client.received == answer(b"/slow") + answer(b"/b")


async def test_it_waits_until_the_client_has_taken_the_response_before_it(parser: MakeParser) -> None:
    client = TwoWorkers(hello, parser)
    await client.send(HERE)
    client.transport.buffered = 100
    await client.send(THERE)
    assert client.moves == 0
    assert client.transport.high_water == 0, "the transport says when it has sent everything"
    client.connection.pause_writing()
    client.transport.buffered = 0
    client.connection.resume_writing()
    await client.wait()
    assert (client.received, client.moves) == (answer(b"hello") * 2, 1)


async def test_one_that_has_moved_is_not_asked_for_again(parser: MakeParser) -> None:
    client = TwoWorkers(hello, parser)
    client.affinities[1].slot = 5  # the other worker takes another one for its owner
    await client.send(THERE)
    assert (client.at, client.moves, client.affinities[1].asked) == (1, 1, 0)
    assert client.received == answer(b"hello")


async def test_one_too_large_to_be_passed_on_is_served_here(parser: MakeParser) -> None:
    client = TwoWorkers(echo, parser)
    body = b"x" * HELD_LIMIT
    await client.send(b"POST /?1 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    assert client.received == answer(b"/=" + body)
    assert client.moves == 0


async def test_one_that_the_other_worker_does_not_take_is_offered_again(parser: MakeParser) -> None:
    client = TwoWorkers(hello, parser)
    client.affinities[0].takes = False
    await client.send(THERE)
    assert client.received == b""
    client.affinities[0].takes = True
    while not client.moves:
        await asyncio.sleep(LOOK_AGAIN)
        await client.wait()
    assert client.received == answer(b"hello")


async def test_one_that_nobody_takes_is_served_here_in_the_end(
    parser: MakeParser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corehttp.protocols.http1.sticky_reader.LOOK_AGAIN", 0)
    client = TwoWorkers(hello, parser)
    client.affinities[0].takes = False
    await client.send(THERE)
    while not client.received:
        await client.wait()
    assert client.received == answer(b"hello")
    assert client.affinities[0].offered == MOST_LOOKS
    assert client.transport.high_water == HIGH_WATER


async def test_a_client_that_leaves_while_its_request_is_offered_is_forgotten(
    parser: MakeParser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corehttp.protocols.http1.sticky_reader.LOOK_AGAIN", 0)
    client = TwoWorkers(hello, parser)
    client.affinities[0].takes = False
    faults: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
    client.transport.deliver(THERE)
    assert client.affinities[0].offered == 1
    await client.lose()  # which runs the event loop until it would have been offered again
    assert not faults
    assert client.affinities[0].offered == 1
    assert client.context.begun == 0
    assert not client.context.connections


async def test_an_early_answer_lets_the_rest_of_its_body_go_before_the_next_request_moves(parser: MakeParser) -> None:
    client = TwoWorkers(hello, parser)
    await client.send(b"POST /?0 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab", b"cd" + THERE)
    assert client.received == answer(b"hello") * 2
    assert client.moves == 1


async def test_a_wrong_request_is_refused_by_the_worker_that_reads_it(parser: MakeParser) -> None:
    client = TwoWorkers(hello, parser)
    await client.send(b"GET /?1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + THERE)
    assert client.received.startswith(b"HTTP/1.1 400 ")
    assert (client.closed, client.moves) == (True, 0)


async def test_a_request_that_expects_100_moves_before_it_is_told_to_go_on(parser: MakeParser) -> None:
    client = TwoWorkers(echo, parser)
    head, _, body = POST.partition(b"\r\n\r\n")
    await client.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
    assert client.moves == 1
    assert client.received == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(body)
    assert client.received.endswith(answer(b"/c=abcde"))


async def test_a_handshake_of_a_websocket_moves_with_what_came_behind_it(parser: MakeParser) -> None:
    raw = handshake(target=b"/ws?1") + masked(TEXT, b"hello")
    client = TwoWorkers(websocket_echo, parser)
    for context in client.contexts:
        context.recognize_upgrade = recognizer(context, Settings(), "off")
    await client.send(raw)
    assert client.moves == 1
    assert client.received == switching() + unmasked(TEXT, b"hello")
    assert [len(context.websockets) for context in client.contexts] == [0, 1]
    client.transport.lose()
    await client.wait()


async def test_half_an_empty_line_before_a_request_does_not_move_with_it(parser: MakeParser) -> None:
    client = TwoWorkers(hello, parser)
    await client.send(b"\r", b"\n" + THERE)
    assert (client.received, client.moves) == (answer(b"hello"), 1)
