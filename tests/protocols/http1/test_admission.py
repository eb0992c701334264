"""A limit to what runs at once, as the clients of several connections see it."""

import asyncio
import logging

import pytest

from corehttp.asgi import Receive, Scope, Send
from corehttp.protocols.admission import Admission
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.limits import Limits
from corehttp.protocols.observers import AccessRecord
from tests.kit.apps import answer, read_body, respond
from tests.kit.fakes import LINES, Client, FakeTimers, MakeParser, make_context, pass_time
from tests.kit.garbage import leaves_nothing

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def busy(*, connection: bytes = b"", body: bytes = b"the server is busy\n") -> bytes:
    """What a client gets that is turned away; `connection` is that field's line."""
    head = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 19\r\n"
    return head + b"retry-after: 2\r\n" + LINES + connection + b"\r\n" + body


def get(path: bytes, method: bytes = b"GET") -> bytes:
    return b"%b %b HTTP/1.1\r\nHost: a\r\n\r\n" % (method, path)


def post(path: bytes, length: int, *fields: bytes) -> bytes:
    lines = [b"POST %b HTTP/1.1" % path, b"Host: a", b"Content-Length: %d" % length, *fields, b"", b""]
    return b"\r\n".join(lines)


class Gate:
    """Answers with the path and the body, each request once it is let through; `/at-once` does not wait."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._open: dict[str, asyncio.Event] = {}

    def let(self, *paths: str) -> None:
        for path in paths:
            self._event(path).set()

    def _event(self, path: str) -> asyncio.Event:
        return self._open.setdefault(path, asyncio.Event())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        self.begun.append(path)
        if path != "/at-once":
            await self._event(path).wait()
        await respond(send, path.encode() + await read_body(receive))
        if path.startswith("/after"):
            await self._event(path + "/after").wait()


class Served:
    """A worker's context with a limit, and its clients."""

    def __init__(
        self,
        parser: MakeParser,
        *,
        limit: int = 1,
        queue: int = 0,
        exempt: tuple[str, ...] = (),
        records: list[AccessRecord] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.app = Gate()
        self.context: WorkerContext = make_context(self.app, parser, records=records, limits=limits or Limits())
        self.timers = FakeTimers()
        self.context.admission = Admission(
            self.context.running, self.timers, limit=limit, queue=queue, queue_timeout=2, exempt=exempt
        )
        self.clients: list[Client] = []

    async def send(self, *pieces: bytes) -> Client:
        """What a new client sends."""
        client = Client(self.context)
        self.clients.append(client)
        await client.send(*pieces)
        return client

    async def let(self, *paths: str) -> None:
        self.app.let(*paths)
        for client in self.clients:
            await client.wait()

    async def pass_time(self, seconds: float) -> None:
        self.timers.pass_time(seconds)
        for client in self.clients:
            await client.wait()


async def test_a_request_beyond_the_limit_is_turned_away_and_its_connection_goes_on(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    records: list[AccessRecord] = []
    served = Served(parser, records=records)
    first = await served.send(get(b"/1"))
    second = await served.send(get(b"/2"))
    assert second.take() == busy()
    assert not second.closed
    assert served.app.begun == ["/1"]
    assert [record[2:6] for record in records] == [("/2", "1.1", 503, 19)]
    await served.let("/1", "/2")
    assert first.received == answer(b"/1")
    await second.send(get(b"/2"))
    assert second.received == answer(b"/2")
    assert len(error_log) == 1


async def test_requests_that_never_wait_need_no_place(parser: MakeParser) -> None:
    served = Served(parser, limit=1, queue=100)
    clients = [await served.send(get(b"/at-once") * 3) for _ in range(5)]
    assert [client.received for client in clients] == [answer(b"/at-once") * 3] * 5


async def test_waiting_requests_run_in_the_order_they_came(parser: MakeParser) -> None:
    served = Served(parser, queue=9)
    clients = [await served.send(get(b"/%d" % number)) for number in range(5)]
    assert served.app.begun == ["/0"]
    for number, client in enumerate(clients):
        assert client.received == b""
        await served.let(f"/{number}")
        assert client.received == answer(b"/%d" % number)
        assert served.app.begun == [f"/{begun}" for begun in range(min(number + 2, 5))]
    assert not served.context.running


async def test_a_request_that_waits_too_long_is_turned_away_and_its_connection_goes_on(parser: MakeParser) -> None:
    served = Served(parser, queue=9)
    await served.send(get(b"/1"))
    second = await served.send(get(b"/2"))
    await served.pass_time(1.9)
    assert second.received == b""
    await served.pass_time(0.1)
    assert second.take() == busy()
    await second.send(get(b"/2"))
    assert second.received == b""
    await served.let("/1", "/2")
    assert second.received == answer(b"/2")
    assert served.app.begun == ["/1", "/2"]


async def test_an_exempt_path_is_served_at_once(parser: MakeParser) -> None:
    served = Served(parser, exempt=("/health",))
    await served.send(get(b"/1"))
    assert (await served.send(get(b"/2"))).received == busy()
    client = await served.send(get(b"/health") + get(b"/2"))
    await served.let("/health")
    assert client.received == answer(b"/health") + busy()


async def test_an_answer_to_head_has_no_body_even_if_it_is_503(parser: MakeParser) -> None:
    served = Served(parser)
    await served.send(get(b"/1"))
    client = await served.send(get(b"/2", b"HEAD"))
    assert client.received == busy(body=b"")
    assert not client.closed


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_a_client_that_asked_for_the_end_gets_it_with_503(parser: MakeParser, version: bytes) -> None:
    served = Served(parser)
    await served.send(get(b"/1"))
    client = await served.send(b"GET /2 HTTP/%b\r\nHost: a\r\nConnection: close\r\n\r\n" % version)
    assert client.received == busy(connection=b"connection: close\r\n")
    assert client.closed


# Bodies.


@pytest.mark.parametrize("pieces", [[b"abc"], [b"", b"abc"], [b"a", b"b", b"c"]])
async def test_the_body_of_a_request_that_was_turned_away_is_thrown_away(
    parser: MakeParser, pieces: list[bytes]
) -> None:
    served = Served(parser)
    await served.send(get(b"/1"))
    client = await served.send(post(b"/2", 3) + pieces[0], *pieces[1:])
    assert client.take() == busy()
    await served.let("/1", "/2")
    await client.send(get(b"/2"))
    assert client.received == answer(b"/2")


async def test_a_body_too_large_to_throw_away_ends_the_connection_after_503(parser: MakeParser) -> None:
    served = Served(parser)
    await served.send(get(b"/1"))
    client = await served.send(post(b"/2", 10**9))
    assert client.received == busy()
    assert client.transport.calls == ["write_eof"]


async def test_a_client_that_waits_for_100_is_turned_away_without_it(parser: MakeParser) -> None:
    served = Served(parser)
    await served.send(get(b"/1"))
    client = await served.send(post(b"/2", 3, b"Expect: 100-continue"))
    assert client.received == busy(connection=b"connection: close\r\n")
    assert client.closed


async def test_a_client_that_waits_for_100_gets_it_when_its_turn_comes(parser: MakeParser) -> None:
    served = Served(parser, queue=9)
    await served.send(get(b"/1"))
    client = await served.send(post(b"/2", 3, b"Expect: 100-continue"))
    assert client.received == b""
    await served.let("/1", "/2")
    assert client.take() == CONTINUE
    await client.send(b"abc")
    assert client.received == answer(b"/2abc")


async def test_a_body_that_comes_while_its_request_waits_is_kept_for_it_within_bounds(parser: MakeParser) -> None:
    served = Served(parser, queue=9)
    await served.send(get(b"/1"))
    client = await served.send(post(b"/2", 300_000), *[bytes(60_000)] * 5)
    assert not client.transport.reading
    await served.let("/1", "/2")
    for _ in range(5):
        await client.wait()
    assert client.received == answer(b"/2" + bytes(300_000))


async def test_a_bad_body_of_a_request_that_waits_is_refused_and_its_place_is_free(parser: MakeParser) -> None:
    served = Served(parser, queue=1)
    await served.send(get(b"/1"))
    client = await served.send(b"POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"xyz\r\n")
    assert client.received.startswith(b"HTTP/1.1 400 ")
    third = await served.send(get(b"/3"))
    assert third.received == b""  # it waits
    await served.pass_time(2)
    assert third.received == busy()
    assert client.received.count(b"HTTP/1.1") == 1
    await served.let("/1")
    assert served.app.begun == ["/1"]


async def test_a_stalled_body_of_a_request_that_waits_is_refused_and_its_place_is_free(parser: MakeParser) -> None:
    served = Served(parser, queue=1, limits=Limits(request_body_stall=1))
    await served.send(get(b"/1"))
    client = await served.send(post(b"/2", 5), b"a")
    await pass_time(served.context, 1)
    assert client.received.startswith(b"HTTP/1.1 408 ")
    assert (await served.send(get(b"/3"))).received == b""
    await served.pass_time(2)
    assert client.received.count(b"HTTP/1.1") == 1


# Several requests on one connection.


async def test_requests_behind_one_that_was_turned_away_have_their_own_turns(parser: MakeParser) -> None:
    served = Served(parser)
    await served.send(get(b"/1"))
    client = await served.send(get(b"/2") + get(b"/3"), get(b"/4"))
    assert client.take() == busy() * 3
    await served.let("/1", "/2", "/3", "/4")
    await client.send(get(b"/2") + get(b"/3"), get(b"/4"))
    assert client.received == answer(b"/2") + answer(b"/3") + answer(b"/4")


async def test_requests_behind_one_that_waits_wait_behind_it(parser: MakeParser) -> None:
    served = Served(parser, queue=2)
    await served.send(get(b"/1"))
    client = await served.send(get(b"/2") + get(b"/3"), get(b"/4"))
    other = await served.send(get(b"/5"))
    assert (client.received, other.received) == (b"", b"")
    await served.let("/1", "/2")
    assert client.take() == answer(b"/2")
    assert served.app.begun == ["/1", "/2", "/5"]  # in turns
    await served.let("/5")
    assert served.app.begun == ["/1", "/2", "/5", "/3"]
    await served.let("/3", "/4")
    assert client.received == answer(b"/3") + answer(b"/4")


async def test_a_thousand_requests_that_are_turned_away_are_all_answered(parser: MakeParser) -> None:
    served = Served(parser)
    await served.send(get(b"/1"))
    client = await served.send(get(b"/2") * 1000)
    for _ in range(10):
        await client.wait()
    assert client.received == busy() * 1000
    assert client.transport.reading


async def test_background_work_after_a_response_counts_as_running(parser: MakeParser) -> None:
    served = Served(parser, limit=2, queue=9)
    client = await served.send(get(b"/after1") + get(b"/after2") + get(b"/after3") + get(b"/after4"))
    await served.let("/after1", "/after2", "/after3", "/after4")
    assert client.take() == answer(b"/after1") + answer(b"/after2")
    assert len(served.context.running) == 2
    other = await served.send(get(b"/5"))
    await served.let("/after2/after", "/5")
    assert client.take() == answer(b"/after3")
    assert (other.received, len(served.context.running)) == (b"", 2)
    await served.let("/after1/after")
    assert other.received == answer(b"/5")
    assert client.received == answer(b"/after4")
    await served.let("/after3/after", "/after4/after")
    assert not served.context.running


# Clients that leave.


async def test_a_lost_connection_waits_no_more(parser: MakeParser) -> None:
    served = Served(parser, queue=1)
    await served.send(get(b"/1"))
    second = await served.send(get(b"/2"))
    served.clients.remove(second)
    await second.lose()
    third = await served.send(get(b"/3"))
    assert third.received == b""
    await served.let("/1", "/3")
    assert third.received == answer(b"/3")
    assert served.app.begun == ["/1", "/3"]
    await served.pass_time(10)
    assert second.received == b""


async def test_a_client_that_ends_its_side_while_its_request_waits_is_still_served(parser: MakeParser) -> None:
    served = Served(parser, queue=9)
    await served.send(get(b"/1"))
    second = await served.send(get(b"/2") + get(b"/3"))
    await second.hang_up()
    await pass_time(served.context, 5)
    await served.let("/1", "/2", "/3")
    assert second.received == answer(b"/2") + answer(b"/3", connection=b"connection: close\r\n")
    assert second.transport.calls == ["close"]


async def test_a_client_that_ends_its_side_while_its_request_waits_is_turned_away_like_any_other(
    parser: MakeParser,
) -> None:
    served = Served(parser, queue=9)
    await served.send(get(b"/1"))
    second = await served.send(get(b"/2"))
    await second.hang_up()
    await served.pass_time(2)
    assert second.received == busy(connection=b"connection: close\r\n")
    assert second.transport.calls == ["close"]


async def test_a_client_that_reads_nothing_does_not_keep_its_place(parser: MakeParser) -> None:
    served = Served(parser, queue=9)
    await served.send(get(b"/1"))
    stuck = await served.send(get(b"/at-once") + get(b"/2"))
    stuck.transport.full = True
    third = await served.send(get(b"/3"))
    await served.let("/1", "/3")
    assert third.received == answer(b"/3")
    assert served.app.begun == ["/1", "/at-once", "/3"]
    stuck.connection.resume_writing()
    await served.let("/2")
    assert stuck.received == answer(b"/at-once") + answer(b"/2")


# What stays.


@pytest.mark.parametrize("queue", [0, 9], ids=["turned away", "waits"])
@pytest.mark.parametrize("seconds", [0, 5], ids=["at once", "later"])
async def test_a_connection_that_got_no_place_leaves_nothing_behind(
    parser: MakeParser, queue: int, seconds: float
) -> None:
    served = Served(parser, queue=queue)
    await served.send(get(b"/1"))
    await leaves_nothing(lambda: live(served, seconds))
    assert len(served.context.connections) == len(served.context.running) == 1


async def live(served: Served, seconds: float) -> None:
    client = Client(served.context)
    await client.send(get(b"/2") + post(b"/3", 5))
    served.timers.pass_time(seconds)
    await client.wait()
    await client.lose()
