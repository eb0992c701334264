"""The end of a worker's WebSockets: closed one after the other over their time, and those that stay are cut."""

import asyncio
import logging
from collections.abc import Callable
from itertools import pairwise

import pytest

from corehttp.asgi import ASGIApp
from corehttp.protocols.contracts import Departure, HandOver
from corehttp.protocols.exchange import Exchange
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from corehttp.worker.drain import POLL, Drain
from tests.kit.draining import Time, drain_of
from tests.kit.fakes import NOW
from tests.kit.websocket_client import (
    CLOSE,
    Puppet,
    WebSocketClient,
    close_payload,
    echo,
    handshake,
    masked,
    switching,
    unmasked,
    websocket_context,
)

TOLD = switching() + unmasked(CLOSE, close_payload(1012, "the server is restarting"))
GRACE = 2.0  # seconds


async def clients_of(app: ASGIApp, count: int, time: Time) -> tuple[list[WebSocketClient], Callable[[float], Drain]]:
    """So many open WebSockets, and what makes the drain of their worker, with a grace in seconds."""
    context = websocket_context(app, HttptoolsParser)
    clients = [WebSocketClient(context) for _ in range(count)]
    for client in clients:
        await client.send(handshake())
    return clients, lambda grace: drain_of(context, time, grace=grace)


def told(clients: list[WebSocketClient]) -> int:
    return sum(client.received == TOLD for client in clients)


def answer_all(clients: list[WebSocketClient]) -> None:
    """The clients that were told answer and leave, but each in a later turn than it was told."""
    for client in clients:
        if client.received == TOLD and "write_eof" not in client.transport.calls:
            client.transport.deliver(masked(CLOSE, close_payload(1012)))
        elif "write_eof" in client.transport.calls and not client.transport.is_closing():
            client.transport.end()
            client.transport.lose()


@pytest.mark.parametrize("count", [1, 7, 100, 250])
async def test_websockets_are_closed_spread_over_the_grace(time: Time, count: int) -> None:
    clients, make = await clients_of(echo, count, time)
    seen: list[tuple[float, int]] = []

    def meanwhile() -> None:
        seen.append((time.now - NOW, told(clients)))
        answer_all(clients)

    time.meanwhile = meanwhile
    assert await make(GRACE).finish(NOW + 30)
    assert told(clients) == count
    steps = [now - before for (_, before), (_, now) in pairwise(seen)]
    assert max(steps, default=0) <= 1 + 2 * count * POLL / GRACE, "never many at once"
    for at, number in seen:
        assert number >= count * min(1.0, (at - 2 * POLL) / GRACE) - 1, "and not late"
    assert next(at for at, number in seen if number == count) <= GRACE + 2 * POLL
    if count >= 100:
        halfway = next(at for at, number in seen if number >= count / 2)
        assert GRACE / 4 <= halfway <= GRACE * 3 / 4


async def test_without_a_grace_all_are_closed_at_once(time: Time) -> None:
    clients, make = await clients_of(echo, 50, time)
    seen: list[int] = []

    def meanwhile() -> None:
        seen.append(told(clients))
        answer_all(clients)

    time.meanwhile = meanwhile
    assert await make(0.0).finish(NOW + 30)
    assert seen[0] == 50


async def test_one_that_is_accepted_during_the_drain_is_closed_too(time: Time) -> None:
    app = Puppet()
    clients, make = await clients_of(app, 1, time)
    accepting: list[asyncio.Future[None]] = []

    def accept() -> None:
        if time.now > NOW + 2 * GRACE and not accepting:
            accepting.append(asyncio.ensure_future(app.send({"type": "websocket.accept"})))
        elif told(clients):
            app.end()
            answer_all(clients)

    time.meanwhile = accept
    assert await make(GRACE).finish(NOW + 30)
    assert told(clients) == 1


async def test_the_drain_waits_for_applications_and_cuts_those_that_do_not_end(
    time: Time, error_log: list[logging.LogRecord]
) -> None:
    app = Puppet()
    clients, make = await clients_of(app, 1, time)
    await app.send({"type": "websocket.accept"})
    end = make(0.0)
    time.meanwhile = lambda: answer_all(clients)
    assert not await end.finish(NOW + 5)
    assert clients[0].received == TOLD
    assert not app.cancelled
    assert await end.cut()
    assert app.cancelled
    [record] = error_log
    assert record.getMessage().startswith("cut at the end of the graceful time: WS /ws after ")


async def test_a_handshake_that_is_not_answered_by_the_end_is_refused_with_503(time: Time) -> None:
    clients, make = await clients_of(Puppet(), 1, time)
    end = make(0.0)
    assert not await end.finish(NOW + 5)
    assert clients[0].received == b""
    assert await end.cut()
    assert clients[0].received.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"retry-after: 1\r\n" in clients[0].received
    await clients[0].lose()


async def test_one_that_is_accepted_at_the_very_end_is_told_to_connect_again(time: Time) -> None:
    app = Puppet()
    clients, make = await clients_of(app, 1, time)
    end = make(0.0)
    assert not await end.finish(NOW + 5)
    await app.send({"type": "websocket.accept"})
    assert await end.cut()
    assert clients[0].received == TOLD
    await clients[0].lose()


async def test_the_cut_ends_what_the_client_does_not(time: Time) -> None:
    clients, make = await clients_of(echo, 2, time)
    end = make(0.0)
    assert not await end.finish(NOW + 5)
    assert told(clients) == 2
    assert not await end.cut(), "every application has ended: nothing is unfinished"
    assert [client.transport.calls[-1] for client in clients] == ["abort", "abort"]
    for client in clients:
        await client.lose()


@pytest.mark.parametrize("fails", ["suspect", "pass_on", "close"])
async def test_a_connection_that_fails_is_cut_and_the_stop_goes_on(
    time: Time, error_log: list[logging.LogRecord], fails: str
) -> None:
    context = websocket_context(echo, HttptoolsParser)
    if fails == "pass_on":
        context.hand_over = lambda parcel: False

    class Idle:
        idle = True
        deadline = 0.0
        wrong = False
        ended = ""

        @property
        def unanswered(self) -> list[Exchange]:
            return []

        def act(self, name: str) -> bool:
            if self.wrong and name == fails:
                raise LookupError(name)
            if name in ("close", "cut"):
                self.ended = name
                context.connections.discard(self)
            return False

        def fileno(self) -> int:
            return -1

        def expire(self) -> None: ...

        def suspect(self) -> None:
            self.act("suspect")

        def leave(self, now: float, departure: Departure) -> None:
            waited = departure.has_waited(self, now)
            if departure.hand_over is not None and self.pass_on(departure.hand_over):
                return
            if waited:
                self.close()

        def pass_on(self, hand_over: HandOver) -> bool:
            return self.act("pass_on")

        def close(self) -> None:
            self.act("close")

        def cut(self) -> None:
            self.act("cut")

    connections = [Idle() for _ in range(5)]
    connections[2].wrong = connections[3].wrong = True
    context.connections.update(connections)
    drain = drain_of(context, time)
    assert await drain.finish(NOW + 60)
    assert [connection.ended for connection in connections] == ["close", "close", "cut", "cut", "close"]
    assert [record.exc_info[0] for record in error_log if record.exc_info] == [LookupError]
