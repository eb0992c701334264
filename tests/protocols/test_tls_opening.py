"""A connection before its TLS handshake: what it waits for, where it may go, and when it ends."""

import asyncio
import gc
import logging
import socket
import ssl
import weakref
from collections.abc import Callable, Iterator
from typing import cast

import pytest
import uvloop

from corehttp.asgi import Scope
from corehttp.ipc.parcel import Parcel
from corehttp.protocols.contracts import HandOver
from corehttp.protocols.entrance import Entrance, Origin
from corehttp.protocols.http1.parser_h11 import H11Parser
from corehttp.protocols.outlet import LINGER, has_left
from corehttp.protocols.peer_socket import close_idle, unsent
from corehttp.protocols.tally import Tally
from corehttp.protocols.tls_opening import HURRY, Handshakes, OpeningStage, TlsOpening
from corehttp.protocols.tls_session import TlsSession
from tests.kit.apps import hello
from tests.kit.fakes import NOW, FakeTransport, make_context

TIMEOUT = 10.0  # seconds
RECORD = b"\x16\x03\x01\0\5hello"  # whole, and no hello


class Context:
    """The contexts of a worker; nobody begins a handshake here."""

    current = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


class Opened:
    """A connection that was accepted a moment ago."""

    def __init__(self, sock: socket.socket, *, settled: bool = False, origin: Origin | None = None) -> None:
        self.context = make_context(hello, H11Parser)
        self.transport = FakeTransport(sock=sock)
        self.handshakes = Handshakes(Context(), self.context, TIMEOUT)
        make = cast(Callable[[], asyncio.Protocol], None)
        entrance = Entrance(3, "https")
        self.opening = TlsOpening(self.context, self.handshakes, entrance, make, origin, settled=settled)
        self.transport.set_protocol(self.opening)

    def connect(self) -> None:
        self.opening.connection_made(self.transport)


class Affinity:
    """Ties every client to the worker of slot 2."""

    def __init__(self) -> None:
        self.asked: list[Scope] = []
        self.put_there: list[tuple[int, Parcel]] = []

    def elsewhere(self, scope: Scope, connection: object = None) -> int | None:
        self.asked.append(scope)
        return 2

    def put(self, slot: int, parcel: Parcel) -> bool:
        self.put_there.append((slot, parcel))
        return True


class Leaving:
    """A departure in which every connection has waited, or none has."""

    def __init__(self, hand_over: HandOver | None, *, waited: bool) -> None:
        self.hand_over = hand_over
        self._waited = waited

    def has_waited(self, connection: object, now: float) -> bool:
        return self._waited

    def is_turn_of(self, connection: object, now: float) -> bool:
        return True


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours


async def test_it_counts_as_a_connection_and_is_late_after_its_time(
    sock: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "corehttp.error")
    opened = Opened(sock)
    opened.connect()
    assert opened.context.connections == {opened.opening}
    assert opened.opening.deadline == NOW + TIMEOUT
    opened.opening.expire()
    assert opened.transport.calls == ["abort"]
    opened.opening.connection_lost(None)
    assert not opened.context.connections
    again = Opened(sock)
    again.handshakes.failed("192.0.2.1", "it took longer than 10 s")
    again.handshakes.failed("192.0.2.1", "it took longer than 10 s")
    assert [record.levelno for record in caplog.records] == [logging.INFO, logging.INFO, logging.DEBUG]


async def test_while_nothing_was_read_it_may_go_to_another_worker_with_what_a_proxy_has_told(
    sock: socket.socket,
) -> None:
    given: list[Parcel] = []

    def take(parcel: Parcel) -> bool:
        given.append(parcel)
        return True

    opened = Opened(sock, origin=Origin(("203.0.113.9", 5), ("192.0.2.7", 443)))
    opened.connect()
    assert opened.opening.idle
    assert opened.opening.pass_on(take)
    (parcel,) = given
    assert (parcel.descriptor, parcel.endpoint, parcel.held) == (sock.fileno(), 3, b"")
    assert (parcel.announced, parcel.client) == (True, ("203.0.113.9", 5))
    assert opened.transport.calls == ["abort"]
    assert not opened.context.connections


async def test_one_of_whose_first_record_a_part_was_read_stays_and_has_to_hurry_when_its_worker_leaves(
    sock: socket.socket,
) -> None:
    opened = Opened(sock)
    opened.connect()
    opened.transport.deliver(RECORD[:7])
    assert opened.opening.stage is OpeningStage.HELLO
    assert not opened.opening.pass_on(lambda parcel: True)
    opened.opening.leave(NOW, Leaving(None, waited=True))
    assert opened.opening.deadline == NOW + HURRY
    assert opened.transport.calls == []


@pytest.mark.parametrize(("waited", "calls"), [(True, ["close"]), (False, [])])
async def test_one_of_which_nothing_came_is_closed_when_it_has_waited(
    sock: socket.socket, waited: bool, calls: list[str]
) -> None:
    opened = Opened(sock)
    opened.connect()
    opened.opening.leave(NOW, Leaving(None, waited=waited))
    assert opened.transport.calls == calls


async def test_a_client_goes_to_the_worker_that_its_address_is_tied_to_once(sock: socket.socket) -> None:
    affinity = Affinity()
    opened = Opened(sock)
    opened.context.affinity = affinity
    opened.connect()
    assert affinity.asked == [{"client": ("192.0.2.1", 50000)}]
    assert [slot for slot, _ in affinity.put_there] == [2]
    assert opened.transport.calls == ["abort"]
    settled = Opened(sock, settled=True)
    settled.context.affinity = affinity
    settled.connect()
    assert len(affinity.put_there) == 1


async def test_who_speaks_cleartext_is_answered_and_read_for_a_moment(sock: socket.socket) -> None:
    opened = Opened(sock)
    opened.connect()
    opened.transport.deliver(b"GET / HTTP/1.1\r\n")
    assert opened.transport.writes[0].startswith(b"HTTP/1.1 400 ")
    assert opened.transport.calls == ["write_eof"]
    assert opened.opening.deadline == NOW + LINGER
    opened.transport.deliver(b"host: a\r\n\r\n")
    opened.transport.buffered = 5
    opened.opening.expire()
    assert opened.transport.calls == ["write_eof"]
    opened.transport.buffered = 0
    opened.opening.expire()
    assert opened.transport.calls == ["write_eof", "abort"]


async def test_a_handshake_that_cannot_begin_ends_the_connection(
    sock: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "corehttp.error")
    opened = Opened(sock)
    opened.connect()
    opened.context.count_in(tally := Tally())
    opened.transport.deliver(RECORD)  # the event loop begins no handshake over a transport of the tests'
    assert opened.transport.calls == ["abort"]
    assert not opened.context.connections
    assert "a TLS handshake of 192.0.2.1:50000 has failed: " in caplog.text
    assert tally.openings == {"tls_done": 0, "tls_failed": 1, "proxy_failed": 0}


@pytest.mark.parametrize("size", [0, (1 << 14) + 1])
async def test_a_first_record_of_no_size_or_of_too_much_is_cut(sock: socket.socket, size: int) -> None:
    opened = Opened(sock)
    opened.connect()
    opened.transport.deliver(b"\x16\x03\x01" + size.to_bytes(2))
    assert opened.transport.calls == ["abort"]


class Watched(TlsOpening):
    """One that can be watched with a weak reference."""


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("sent", [RECORD, b"\x16\x03\x01\0\4\1\0\x10\0"], ids=["no hello", "a part of a hello"])
def test_one_whose_handshake_fails_is_freed_without_the_garbage_collector(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], sent: bytes
) -> None:
    async def live() -> weakref.ref[TlsOpening]:
        loop = asyncio.get_running_loop()
        context = make_context(hello, H11Parser)
        make = cast(Callable[[], asyncio.Protocol], None)
        opening = Watched(context, Handshakes(Context(), context, TIMEOUT), Entrance(3, "https"), make, settled=False)
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.setblocking(False)
            await loop.connect_accepted_socket(lambda: opening, ours)
            await loop.sock_sendall(theirs, sent)
            theirs.shutdown(socket.SHUT_WR)
            while await loop.sock_recv(theirs, 4096):
                pass
        while context.connections:
            await asyncio.sleep(0)
        return weakref.ref(opening)

    logging.getLogger("corehttp.error").disabled = True  # a record that is kept would keep what it tells of
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            opening = runner.run(live())
            runner.run(asyncio.sleep(0))
            assert opening() is None
    finally:
        gc.enable()
        logging.getLogger("corehttp.error").disabled = False


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("end", [TlsOpening.expire, TlsOpening.cut], ids=["late", "cut"])
def test_one_that_is_cut_in_its_handshake_is_gone_and_has_failed_once(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], end: Callable[[TlsOpening], None]
) -> None:
    async def live() -> Tally:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, fault: faults.append(fault))
        context = make_context(hello, H11Parser)
        context.count_in(tally := Tally())
        make = cast(Callable[[], asyncio.Protocol], None)
        opening = TlsOpening(context, Handshakes(Context(), context, TIMEOUT), Entrance(3, "https"), make, settled=True)
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.setblocking(False)
            await loop.connect_accepted_socket(lambda: opening, ours)
            await loop.sock_sendall(theirs, b"\x16\x03\x01\0\4\1\0\x10\0")  # a part of a hello: the rest is awaited
            while opening.stage is not OpeningStage.SHAKING:
                await asyncio.sleep(0)
            for _ in range(3):
                await asyncio.sleep(0)
            end(opening)
            assert await loop.sock_recv(theirs, 1) == b""
            async with asyncio.timeout(TIMEOUT):
                while hasattr(opening, "_transport"):  # until all is told that follows of the cut
                    await asyncio.sleep(0)
        assert not context.connections
        return tally

    faults: list[object] = []
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(live()).openings["tls_failed"] == 1
    assert not faults


class Lower(asyncio.BufferedProtocol):
    """What the event loop puts between the socket and TLS."""

    def __init__(self) -> None:
        self.buffer = bytearray(4)
        self.fed = b""

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.fed += self.buffer[:nbytes]


class OneHandshake(Handshakes):
    """A handshake that ends when the test says so, with a transport over TLS."""

    def __init__(self, opened: Opened) -> None:
        super().__init__(Context(), opened.context, TIMEOUT)
        self.lower = Lower()
        self.upper = FakeTransport()
        self.end = opened.context.loop.create_future()

    async def begin(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> asyncio.Transport:
        transport.set_protocol(self.lower)
        self.upper.set_protocol(protocol)
        await self.end
        return self.upper


class Recording(asyncio.Protocol):
    """Records what a connection is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.told.append(transport)

    def data_received(self, data: bytes) -> None:
        self.told.append(data)

    def eof_received(self) -> None:
        self.told.append("eof")


async def begun(sock: socket.socket) -> tuple[Opened, OneHandshake, Recording]:
    """A connection whose handshake has begun."""
    opened, connection = Opened(sock), Recording()
    handshakes = OneHandshake(opened)
    opened.opening = TlsOpening(
        opened.context, handshakes, Entrance(3, "https"), lambda: connection, None, settled=False
    )
    opened.transport.set_protocol(opened.opening)
    opened.connect()
    opened.transport.deliver(RECORD)
    await asyncio.sleep(0)
    assert handshakes.lower.fed == RECORD  # by the four bytes that there was room for
    return opened, handshakes, connection


async def test_what_comes_over_tls_before_the_protocol_is_there_is_given_to_it(sock: socket.socket) -> None:
    opened, handshakes, connection = await begun(sock)
    opened.opening.data_received(b"GET / ")
    opened.opening.eof_received()
    assert connection.told == []
    opened.context.count_in(tally := Tally())
    handshakes.end.set_result(None)
    await asyncio.sleep(0)
    assert connection.told == [handshakes.upper, b"GET / ", "eof"]
    assert handshakes.upper.get_protocol() is connection
    assert tally.openings == {"tls_done": 1, "tls_failed": 0, "proxy_failed": 0}
    assert not opened.context.connections, "the protocol counts itself"


@pytest.mark.parametrize("ends", ["lost", "cut", "failed"])
async def test_a_client_that_is_gone_before_the_end_of_its_handshake_gets_no_protocol(
    sock: socket.socket, ends: str
) -> None:
    opened, handshakes, connection = await begun(sock)
    if ends == "lost":
        opened.opening.connection_lost(ConnectionResetError())
    elif ends == "cut":
        opened.opening.cut()
        handshakes.upper.abort()  # a transport over TLS is closing when the one beneath is
    if ends == "failed":
        handshakes.end.set_exception(ssl.SSLError(1, "no shared cipher"))
    else:
        handshakes.end.set_result(None)
    await asyncio.sleep(0)
    assert connection.told == []
    assert set(opened.transport.calls) == {"abort"}
    assert not opened.context.connections


# What lies beneath TLS.


def over_tls(sock: socket.socket) -> tuple[FakeTransport, FakeTransport]:
    """A transport over TLS, and the one beneath it."""
    upper, lower = FakeTransport(sock=sock, half_closes=False), FakeTransport(sock=sock)
    session = Context.current.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    assert isinstance(session, TlsSession)
    session.beneath = lower
    upper._extra["ssl_object"] = session  # type: ignore[attr-defined]
    return upper, lower


@pytest.fixture(autouse=True)
def sessions() -> None:
    Context.current.sslobject_class = TlsSession


def test_what_the_transport_beneath_has_not_sent_counts(sock: socket.socket) -> None:
    upper, lower = over_tls(sock)
    assert has_left(upper)
    lower.buffered, upper.buffered = 7, 3
    assert unsent(upper) == 10
    assert not has_left(upper)


@pytest.mark.parametrize(("waiting", "calls"), [(0, ["close"]), (3, [])])
def test_an_idle_connection_is_closed_without_waiting_for_close_notify_once_all_is_encrypted(
    sock: socket.socket, waiting: int, calls: list[str]
) -> None:
    upper, lower = over_tls(sock)
    upper.buffered = waiting
    close_idle(upper)
    assert upper.calls == ["close"]
    assert lower.calls == calls


@pytest.mark.parametrize(("waiting", "alert"), [(0, b"\x15\x03"), (3, b"")])
def test_the_alert_of_a_handshake_that_fails_is_not_sent_ahead_of_what_waits(waiting: int, alert: bytes) -> None:
    ours, theirs = socket.socketpair()
    incoming = ssl.MemoryBIO()
    session = Context.current.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True)
    assert isinstance(session, TlsSession)
    with ours, theirs:
        session.beneath = lower = FakeTransport(sock=ours)
        lower.buffered = waiting
        incoming.write(RECORD)
        with pytest.raises(ssl.SSLError):
            session.do_handshake()
        ours.shutdown(socket.SHUT_WR)
        assert theirs.recv(100)[:2] == alert
