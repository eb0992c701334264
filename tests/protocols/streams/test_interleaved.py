"""Two streams and more over one connection: nothing in the contract belongs to the connection instead of the stream."""

import asyncio
import itertools
import logging

from corehttp.asgi import Message, Receive, Scope, Send
from corehttp.protocols.admission import Admission
from corehttp.protocols.fairness import FIRST, STRETCH
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from tests.kit.draining import Time, drain_of
from tests.kit.fakes import NOW, FakeTimers, make_context
from tests.kit.multiplexed import WINDOW, MultiplexedConnection
from tests.kit.sides import turn

START: Message = {"type": "http.response.start", "status": 200, "headers": []}


def body(content: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


class Paths:
    """An application with one answer for each path, and what each call can be told from outside."""

    def __init__(self) -> None:
        self.release: dict[str, asyncio.Event] = {}
        self.sent: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        released = self.release.setdefault(path, asyncio.Event())
        await send(START)
        if path.startswith("/flood"):
            while not released.is_set():
                await send(body(bytes(4096), more=True))
                self.sent[path] = self.sent.get(path, 0) + 4096
        elif path.startswith("/hold"):
            await send(body(path.encode(), more=True))
            await released.wait()
        elif path.startswith("/read"):
            await released.wait()
            while (await receive()).get("more_body"):
                pass
        await send(body(path.encode()))


def connect() -> tuple[Paths, MultiplexedConnection]:
    app = Paths()
    return app, MultiplexedConnection(make_context(app, HttptoolsParser))


async def test_a_stream_whose_client_takes_nothing_does_not_hold_the_other() -> None:
    _, connection = connect()
    connection.request(1, "/hold", window=0)
    connection.request(3, "/other")
    await turn()
    assert connection.received(3).whole
    assert connection.received(1).body == b""
    assert list(connection.streams) == [1]


async def test_the_pieces_of_two_responses_interleave_and_each_keeps_its_order() -> None:
    app, connection = connect()
    connection.request(1, "/hold/1", window=3)
    connection.request(3, "/hold/3", window=3)
    await turn()
    for _ in range(10):
        for number in (1, 3):
            if number in connection.streams:
                connection.open_window(number, 2)
    for path in ("/hold/1", "/hold/3"):
        app.release[path].set()
    await turn()
    for number in (1, 3):
        connection.open_window(number, 100) if number in connection.streams else None
        assert connection.received(number).body == b"/hold/%d" % number * 2
        assert connection.received(number).whole
    order = [frame.stream for frame in connection.frames if frame.kind == "data"]
    assert len(list(itertools.groupby(order))) > 2


async def test_a_response_that_is_cut_ends_alone() -> None:
    app, connection = connect()
    cut = connection.request(1, "/hold/1")
    connection.request(3, "/hold/3")
    await turn()
    cut.abort()
    app.release["/hold/3"].set()
    await turn()
    assert connection.received(1).cut
    assert connection.received(3).whole


async def test_a_client_that_resets_one_stream_is_served_on_the_other() -> None:
    app, connection = connect()
    lost = connection.request(1, "/hold/1")
    connection.request(3, "/hold/3")
    await turn()
    lost.lose()
    app.release["/hold/1"].set()
    app.release["/hold/3"].set()
    await turn()
    assert not connection.received(1).whole
    assert connection.received(3).whole
    assert connection.context.answered == 1


async def test_every_byte_of_a_body_is_given_back_once_whatever_becomes_of_the_request() -> None:
    """Else the window of the connection would shrink with each request whose body nobody takes."""
    app, connection = connect()
    taken = connection.request(1, "/read/taken", length=-1)
    left = connection.request(3, "/hold/left", length=-1)
    lost = connection.request(5, "/hold/lost", length=-1)
    late = connection.request(7, "/done", length=-1)
    await turn()
    for stream in (taken, left, lost, late):
        for _ in range(4):
            stream.receive(bytes(1000), end=False)
    assert (taken.credit, left.credit, lost.credit) == (WINDOW - 4000,) * 3
    assert late.credit == WINDOW, "after its end a response wants no more of the request"
    for path in ("/read/taken", "/hold/left"):
        app.release[path].set()
    lost.lose()
    taken.receive(b"", end=True)
    await turn()
    assert [stream.credit for stream in (taken, left, lost, late)] == [WINDOW] * 4


async def test_what_a_connection_sends_in_a_turn_does_not_grow_with_its_streams() -> None:
    app, connection = connect()
    streams = 20
    for number in range(streams):
        connection.request(number, f"/flood/{number}")
    sent = [0, sum(app.sent.values())]
    for _ in range(200):
        await asyncio.sleep(0)
        sent.append(sum(app.sent.values()))
    slack = streams * 4096  # one message of each, since a message is weighed when it was sent
    assert next(filter(None, sent)) <= FIRST + slack
    assert max(after - before for before, after in itertools.pairwise(sent)) <= STRETCH + slack
    assert min(app.sent[f"/flood/{number}"] for number in range(streams)) > 0
    for event in app.release.values():
        event.set()
    for _ in range(10):
        await turn()
    assert not connection.context.running


async def test_several_requests_of_a_connection_wait_in_line_each_for_itself() -> None:
    app, connection = connect()
    timers = FakeTimers()
    context = connection.context
    context.admission = Admission(context.running, timers, limit=1, queue=2, queue_timeout=2)
    for number, path in enumerate(("/hold/1", "/hold/2", "/hold/3", "/hold/4")):
        connection.request(number, path)
    await turn()
    assert set(app.release) == {"/hold/1"}
    assert connection.received(3).status == 503
    assert connection.received(1).status == connection.received(2).status == 0
    app.release["/hold/1"].set()
    await turn()
    assert set(app.release) == {"/hold/1", "/hold/2"}
    connection.streams[2].lose()
    app.release["/hold/2"].set()
    await turn()
    assert set(app.release) == {"/hold/1", "/hold/2"}
    assert not context.admission.waits


async def test_one_that_has_waited_too_long_is_turned_away_and_the_next_one_waits_on() -> None:
    app, connection = connect()
    timers = FakeTimers()
    context = connection.context
    context.admission = Admission(context.running, timers, limit=1, queue=2, queue_timeout=2)
    connection.request(1, "/hold/1")
    connection.request(3, "/hold/3")
    timers.pass_time(1)
    connection.request(5, "/hold/5")
    timers.pass_time(1)
    await turn()
    assert connection.received(3).status == 503
    app.release["/hold/1"].set()
    await turn()
    assert set(app.release) == {"/hold/1", "/hold/5"}


async def test_a_request_is_late_alone() -> None:
    app, connection = connect()
    context = connection.context
    clock = context.clock
    context.request_timeout = 10.0
    late = connection.request(1, "/hold/1")
    clock.update(clock.now + 5, 0)
    connection.request(3, "/hold/3")
    assert connection.deadline == late.exchange.due
    await turn()
    clock.update(clock.now + 6, 0)
    connection.expire()
    await turn()
    assert connection.received(1).cut
    assert late.exchange.ended
    assert connection.deadline == connection.streams[3].exchange.due
    app.release["/hold/3"].set()
    await turn()
    assert connection.received(3).whole


async def test_a_connection_is_not_idle_until_its_last_response_is_delivered() -> None:
    _, connection = connect()
    connection.request(1, "/slow", window=0)
    connection.request(3, "/fast")
    await turn()
    assert not connection.context.running, "both applications have returned"
    assert not connection.idle
    assert [request.name for request in connection.unanswered] == ["GET /slow"]
    connection.open_window(1, 100)
    assert connection.idle
    assert connection.context.answered == 2


async def test_a_drain_waits_for_a_response_that_is_not_delivered() -> None:
    _, connection = connect()
    connection.request(1, "/slow", window=0)
    await turn()
    assert not connection.context.running, "the application has returned"
    time = Time()
    looks: list[float] = []

    def meanwhile() -> None:
        looks.append(time.now)
        if time.now > NOW + 5 and not connection.idle:
            connection.open_window(1, 100)

    time.meanwhile = meanwhile
    assert await drain_of(connection.context, time, grace=0.0).finish(NOW + 30)
    assert len([look for look in looks if look <= NOW + 5]) > 1
    assert connection.received(1).whole
    assert not connection.context.connections


async def test_a_response_that_is_not_delivered_in_time_is_cut_and_said_so(error_log: list[logging.LogRecord]) -> None:
    _, connection = connect()
    connection.request(1, "/slow", window=0)
    await turn()
    drain = drain_of(connection.context, Time(), grace=0.0)
    assert not await drain.finish(NOW + 5)
    assert await drain.cut() == 1
    [record] = error_log
    assert record.getMessage().startswith("cut at the end of the graceful time: GET /slow after ")
    assert not connection.context.connections
