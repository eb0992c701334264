"""Small pieces of a body: when each is written, and that all are, in order."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corehttp.asgi import Receive, Scope, Send
from corehttp.protocols.http1.small_pieces import LATEST, SmallPieces
from corehttp.protocols.turn_end import TurnEnd
from tests.kit.fakes import Client, FakeTransport, MakeParser, make_context

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Watched:
    """Pieces written to a transport that keeps what it is given, at times that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.transport = FakeTransport()
        self.transport.set_protocol(asyncio.Protocol())
        self.pieces = SmallPieces(self.transport, TurnEnd(asyncio.get_running_loop()), lambda: self.now)

    def write(self, *data: bytes) -> list[bytes]:
        """All that was written once the pieces of `data` were."""
        for piece in data:
            self.pieces.write(piece, True)
        return self.transport.writes


async def test_the_first_piece_of_a_turn_is_written_at_once_and_those_behind_it_together_at_its_end() -> None:
    watched = Watched()
    assert watched.write(b"1") == [b"1"]
    assert watched.write(b"2", b"3") == [b"1"]
    await asyncio.sleep(0)
    assert watched.write(b"4", b"5") == [b"1", b"23", b"4"]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert watched.write() == [b"1", b"23", b"4", b"5"]


async def test_a_piece_that_comes_late_in_a_turn_is_written_at_once_with_what_was_held_back() -> None:
    watched = Watched()
    watched.write(b"1", b"2")
    watched.now += LATEST
    assert watched.write(b"3") == [b"1", b"23"]
    assert watched.write(b"4") == [b"1", b"23"]
    watched.now += LATEST
    assert watched.write(b"5") == [b"1", b"23", b"45"]


async def test_a_piece_that_may_not_wait_goes_out_in_one_write_with_those_before_it() -> None:
    watched = Watched()
    watched.write(b"1", b"2")
    watched.pieces.write(b"3", False)
    assert watched.transport.writes == [b"1", b"23"]
    await asyncio.sleep(0)
    watched.pieces.write(b"4", False)
    assert watched.transport.writes == [b"1", b"23", b"4"]


async def test_nothing_is_written_to_a_connection_that_was_lost_meanwhile() -> None:
    watched = Watched()
    watched.write(b"1", b"2")
    watched.transport.lose()
    await asyncio.sleep(0)
    assert watched.transport.writes == [b"1"]


steps = st.lists(st.sampled_from(["piece", "urgent", "flush", "turn", "late"]), max_size=30)


@given(steps)
async def test_whatever_comes_when_all_is_written_in_order(steps: list[str]) -> None:
    watched = Watched()
    sent = b""
    for number, step in enumerate(steps):
        data = b"%d," % number
        match step:
            case "piece" | "urgent":
                sent += data
                watched.pieces.write(data, step == "piece")
            case "flush":
                watched.pieces.flush()
            case "turn":
                await asyncio.sleep(0)
            case _:
                watched.now += LATEST
        written = b"".join(watched.transport.writes)
        assert sent.startswith(written)
        assert step not in ("urgent", "flush", "turn") or written == sent
    await asyncio.sleep(0)
    assert b"".join(watched.transport.writes) == sent
    assert all(watched.transport.writes)


@pytest.mark.parametrize("end", ["return", "raise", "large", "two"])
async def test_what_was_held_back_comes_before_all_that_follows(parser: MakeParser, end: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"40000")]})
        for piece in (b"1", b"2", b"3"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        match end:
            case "raise":
                raise ValueError
            case "large":
                await send({"type": "http.response.body", "body": b"4" * 39997})
            case "two":
                await send({"type": "http.response.body", "body": b"4" * 20000, "more_body": True})
                await send({"type": "http.response.body", "body": b"5" * 19997})
            case _:
                pass

    client = Client(make_context(app, parser))
    await client.send(GET)
    body = client.received.partition(b"\r\n\r\n")[2]
    expected = {"large": b"123" + b"4" * 39997, "two": b"123" + b"4" * 20000 + b"5" * 19997}
    assert body == expected.get(end, b"123")
    assert client.closed is (end in ("return", "raise"))


@pytest.mark.parametrize("line", [b"", b"Connection: close\r\n"], ids=["stays", "closes"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])
async def test_what_was_held_back_comes_before_an_empty_end(
    parser: MakeParser, declared: bool, version: bytes, line: bytes
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"3")] if declared else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in (b"1", b"2", b"3"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    client = Client(make_context(app, parser))
    await client.send(b"GET / HTTP/%b\r\nHost: a\r\n%b\r\n" % (version, line) * 2)
    chunked = version == b"1.1" and not declared
    stays = version == b"1.1" and not line
    bodies = [response.partition(b"\r\n\r\n")[2] for response in client.received.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert bodies == [b"1\r\n1\r\n1\r\n2\r\n1\r\n3\r\n0\r\n\r\n" if chunked else b"123"] * (2 if stays else 1)
    assert client.closed is not stays
