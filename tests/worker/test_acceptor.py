"""Accepting: on real sockets in both event loops; who gets in, who waits, and that nobody is lost."""

import asyncio
import contextlib
import contextvars
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import cast

import pytest
import uvloop

from corehttp.ipc import handover
from corehttp.ipc.handover import InboxQueue
from corehttp.ipc.parcel import Parcel
from corehttp.protocols.entrance import Origin
from corehttp.sockets import endpoint
from corehttp.sockets.accept_queue import Accepted, AcceptedSocket
from corehttp.worker import acceptor as module
from corehttp.worker.acceptor import BATCH, Acceptor, Placement
from corehttp.worker.adoptions import MakeProtocol
from tests.kit.descriptors import no_free_descriptor

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
TURNS = 200  # of the event loop: more than anything here needs
SHORTAGES = {
    errno.EMFILE: "files that it may; raise `ulimit -n` (LimitNOFILE= in systemd), or set --limit-connections",
    errno.ENFILE: "raise fs.file-max, or set --limit-connections",
    errno.ENOBUFS: "no memory for connections; give it more, or set --limit-connections",
    errno.ENOMEM: "no memory for connections; give it more, or set --limit-connections",
}
EACH_SHORTAGE = pytest.mark.parametrize("number", SHORTAGES, ids=errno.errorcode.__getitem__)

Run = Callable[[Coroutine[object, object, None]], None]
tag = contextvars.ContextVar("tag", default="none")


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs a coroutine in each of the event loops."""
    with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
        yield runner.run


class ListeningSocket(endpoint.ListeningSocket):
    """Counts how often it is asked for a connection, and fails as it is told to."""

    def __init__(self, family: socket.AddressFamily = socket.AF_INET) -> None:
        super().__init__(family, socket.SOCK_STREAM)
        self.asked = 0
        self.failures: list[int] = []

    def _accept(self) -> tuple[int, object]:
        self.asked += 1
        if self.failures:
            number = self.failures.pop(0)
            raise OSError(number, os.strerror(number))
        return cast(tuple[int, object], super()._accept())  # type: ignore[misc]


class Echo(asyncio.Protocol):
    """A connection of the server under test."""

    def __init__(self, site: "Site") -> None:
        self.site = site
        self.tag = ""
        site.made += 1
        site.most = max(site.most, site.made - site.lost)
        site.descriptors = site.acceptor.descriptors()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.tag = tag.get()
        self.site.open.append(self)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.site.open.remove(self)
        self.site.lost += 1
        self.site.acceptor.released()


class Site:
    """Listening sockets with an acceptor, and their clients."""

    acceptor: Acceptor

    def __init__(self, sockets: list[ListeningSocket], clients: contextlib.ExitStack) -> None:
        self.sockets = sockets
        self.open: list[Echo] = []
        self.made = self.lost = self.most = 0
        self.descriptors: list[int] = []  # those of the acceptor when it made the last protocol
        self._clients = clients

    def connect(self, count: int = 1, place: int = 0) -> list[socket.socket]:
        """So many clients; each is connected as soon as it is in the accept queue."""
        clients = []
        for _ in range(count):
            client = self._clients.enter_context(socket.socket(self.sockets[place].family))
            client.connect(self.sockets[place].getsockname())
            client.setblocking(False)
            clients.append(client)
        return clients

    async def until_open(self, count: int) -> None:
        await until(lambda: len(self.open) == count)


async def until(look: Callable[[], object]) -> None:
    """Let the event loop turn until it is so."""
    for _ in range(TURNS):
        if look():
            return
        await asyncio.sleep(0)
    raise AssertionError("it has not come to pass")


async def turn() -> None:
    """Let the event loop do all it can."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


def received(client: socket.socket) -> bytes | None:
    """What a client has received: None for nothing yet, b"" for the end."""
    try:
        return client.recv(100)
    except BlockingIOError:
        return None


async def is_served(client: socket.socket) -> bool:
    client.send(b"hello")
    answer: bytes | None = None
    for _ in range(TURNS):
        answer = received(client)
        if answer is not None:
            break
        await asyncio.sleep(0)
    return answer == b"hello"


@contextlib.asynccontextmanager
async def accepting(
    *,
    limit: int = 0,
    unix: Path | None = None,
    places: int = 1,
    box: socket.socket | None = None,
    placement: Placement | None = None,
    temporary: bool = False,
) -> AsyncIterator[Site]:
    """A site that accepts, with this inbox; at the end nothing of it is left."""
    with contextlib.ExitStack() as clients:
        sockets = []
        for _ in range(places):
            sock = ListeningSocket(socket.AF_INET if unix is None else socket.AF_UNIX)
            sock.bind(("127.0.0.1", 0) if unix is None else str(unix))
            sock.listen(200)
            sock.is_temporary = temporary
            sockets.append(sock)
        site = Site(sockets, clients)
        loop = asyncio.get_running_loop()
        site.acceptor = Acceptor(
            loop, sockets, lambda endpoint, parcel=None, origin=None: Echo(site), site.open, limit, box, placement
        )
        site.acceptor.start()
        try:
            yield site
        finally:
            site.acceptor.close()
            for connection in tuple(site.open):
                connection.transport.abort()
            await site.until_open(0)
            await until(lambda: site.acceptor.done)


# Who gets in.


def test_every_connection_is_served_also_if_more_come_at_once_than_a_batch(run: Run) -> None:
    async def main() -> None:
        async with accepting() as site:
            clients = site.connect(3 * BATCH)
            assert all([await is_served(client) for client in clients])

    run(main())


def test_a_unix_socket_is_served(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with accepting(unix=tmp_path / "socket") as site:
            [client] = site.connect()
            assert await is_served(client)

    run(main())


def test_a_connection_is_among_the_descriptors_until_it_has_a_protocol(run: Run) -> None:
    async def main() -> None:
        async with accepting() as site:
            listening = site.acceptor.descriptors()
            site.connect()
            await site.until_open(1)
            [accepted] = set(site.descriptors) - set(listening)
            assert accepted == site.open[0].transport.get_extra_info("socket").fileno()
            await until(lambda: site.acceptor.descriptors() == listening)

    run(main())


def test_small_writes_are_not_held_back(run: Run) -> None:
    async def main() -> None:
        async with accepting() as site:
            site.connect()
            await site.until_open(1)
            sock = site.open[0].transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1

    run(main())


def test_a_connection_that_has_failed_in_the_queue_costs_nobody_else_anything(
    run: Run, error_log: list[logging.LogRecord]
) -> None:
    async def main() -> None:
        async with accepting() as site:
            site.sockets[0].failures = [errno.ECONNABORTED, errno.EPROTO]
            clients = site.connect(3)
            assert all([await is_served(client) for client in clients])

    run(main())
    assert not error_log


def test_a_connection_that_cannot_be_taken_in_is_logged_and_the_others_are_served(
    run: Run, error_log: list[logging.LogRecord]
) -> None:
    async def main() -> None:
        async with accepting() as site:
            adoptions = site.acceptor._adoptions
            adoptions._make_protocol = fail_once(adoptions._make_protocol)
            lost, *others = site.connect(3)
            assert all([await is_served(client) for client in others])
            assert received(lost) == b""

    run(main())
    [record] = error_log
    assert record.getMessage() == "an accepted connection was lost"
    assert record.exc_info is not None
    assert record.exc_info[0] is LookupError


def fail_once(make: MakeProtocol) -> MakeProtocol:
    failures = [LookupError()]

    def make_or_fail(endpoint: int, parcel: Parcel | None = None, origin: Origin | None = None) -> asyncio.Protocol:
        if failures:
            raise failures.pop()
        return make(endpoint, parcel, origin)

    return make_or_fail


def test_a_connection_does_not_see_the_context_in_which_another_one_ended(run: Run) -> None:
    async def main() -> None:
        async with accepting(limit=1) as site:
            site.connect(2)
            await site.until_open(1)
            [first] = site.open

            async def request() -> None:
                tag.set("of a request")
                first.transport.close()

            await asyncio.create_task(request())
            await until(lambda: site.lost == 1)
            await site.until_open(1)
            assert [connection.tag for connection in site.open] == ["none"]

    run(main())


# The limit.


@pytest.mark.parametrize("limit", [1, 3, BATCH, BATCH + 1])
def test_no_more_than_the_limit_are_open_and_all_are_served_in_the_end(run: Run, limit: int) -> None:
    async def main() -> None:
        async with accepting(limit=limit) as site:
            waiting = site.connect(3 * BATCH + 1)
            while waiting:
                await site.until_open(min(limit, len(waiting)))
                client = waiting.pop(0)
                assert await is_served(client)
                client.close()
            await until(lambda: site.lost == 3 * BATCH + 1)
            assert site.most == limit

    run(main())


def test_at_the_limit_the_kernel_is_left_alone(run: Run) -> None:
    async def main() -> None:
        async with accepting(limit=2) as site:
            site.connect(5)
            await site.until_open(2)
            await turn()
            assert site.sockets[0].asked == 2

    run(main())


def test_below_the_limit_new_connections_are_noticed_again(run: Run) -> None:
    async def main() -> None:
        async with accepting(limit=1) as site:
            for _ in range(3):
                [client] = site.connect()
                assert await is_served(client)
                client.close()
                await site.until_open(0)
                await turn()

    run(main())


def test_at_the_limit_two_addresses_take_turns(run: Run) -> None:
    async def main() -> None:
        async with accepting(limit=1, places=2) as site:
            site.connect(4, place=0)
            site.connect(4, place=1)
            for _ in range(4):
                await site.until_open(1)
                site.open[0].transport.abort()
                await site.until_open(0)
            assert [sock.asked for sock in site.sockets] == [2, 2]

    run(main())


# What runs out.


@EACH_SHORTAGE
def test_a_shortage_is_logged_and_waited_out_until_a_connection_ends(
    run: Run, error_log: list[logging.LogRecord], number: int
) -> None:
    async def main() -> None:
        async with accepting() as site:
            [first] = site.connect()
            assert await is_served(first)
            site.sockets[0].failures = [number]
            second, third = site.connect(2)
            await turn()
            assert site.sockets[0].asked == 2
            first.close()
            assert await is_served(second)
            assert await is_served(third)

    run(main())
    [record] = error_log
    assert SHORTAGES[number] in record.getMessage()


@EACH_SHORTAGE
def test_a_shortage_is_over_after_a_while_though_no_connection_ends(
    run: Run, monkeypatch: pytest.MonkeyPatch, error_log: list[logging.LogRecord], number: int
) -> None:
    monkeypatch.setattr(module, "RETRY", 0.0)

    async def main() -> None:
        async with accepting() as site:
            site.sockets[0].failures = [number] * 5
            [client] = site.connect()
            assert await is_served(client)
            assert site.sockets[0].asked == 6

    run(main())
    assert len(error_log) == 1


def test_a_shortage_that_comes_much_later_is_logged_again(
    run: Run, monkeypatch: pytest.MonkeyPatch, error_log: list[logging.LogRecord]
) -> None:
    monkeypatch.setattr(module, "RETRY", 0.0)
    monkeypatch.setattr(module, "EPISODE", 0.0)

    async def main() -> None:
        async with accepting() as site:
            site.sockets[0].failures = [errno.EMFILE] * 2
            [client] = site.connect()
            assert await is_served(client)

    run(main())
    assert len(error_log) == 2


def test_without_a_free_descriptor_clients_wait_and_are_served_when_there_is_one(
    run: Run, error_log: list[logging.LogRecord]
) -> None:
    async def main() -> None:
        async with accepting() as site:
            first, second = site.connect(2)
            assert await is_served(first)
            assert await is_served(second)
            third, fourth = site.connect(2)
            with no_free_descriptor():
                await turn()
                assert len(site.open) == 2
                site.open[0].transport.close()
                assert await is_served(third)
                assert received(fourth) is None
            site.open[0].transport.close()
            assert await is_served(fourth)

    run(main())
    assert len(error_log) == 1


def test_a_listening_socket_that_fails_is_named_and_tried_only_now_and_then(
    run: Run, error_log: list[logging.LogRecord]
) -> None:
    async def main() -> None:
        async with accepting() as site:
            site.sockets[0].shutdown(socket.SHUT_RDWR)
            await until(lambda: error_log)
            await turn()
            assert site.sockets[0].asked == 1

    run(main())
    [record] = error_log
    assert record.getMessage().endswith("Invalid argument")


# Pause and resume.


def test_during_a_pause_connections_wait(run: Run) -> None:
    async def main() -> None:
        async with accepting() as site:
            site.acceptor.pause()
            [client] = site.connect()
            await turn()
            assert site.sockets[0].asked == 0
            site.acceptor.resume()
            assert await is_served(client)
            [client] = site.connect()
            assert await is_served(client)

    run(main())


def test_a_pause_outlasts_the_end_of_a_connection(run: Run) -> None:
    async def main() -> None:
        async with accepting(limit=1) as site:
            first, second = site.connect(2)
            assert await is_served(first)
            site.acceptor.pause()
            first.close()
            await site.until_open(0)
            await turn()
            assert not site.open
            site.acceptor.resume()
            assert await is_served(second)

    run(main())


# The end.


def test_at_the_end_all_that_wait_are_taken_in_whatever_the_limit_is(run: Run) -> None:
    ends: list[str] = []

    async def main() -> None:
        async with accepting(limit=1) as site:
            clients = site.connect(2 * BATCH)
            await site.until_open(1)
            site.acceptor.pause()
            site.acceptor.finish(lambda: ends.append("closed"))
            assert ends == ["closed"]
            assert site.sockets[0].fileno() == -1
            assert all([await is_served(client) for client in clients])
            assert site.acceptor.done

    run(main())
    assert ends == ["closed"]


def test_at_the_end_a_shortage_is_waited_out_too(run: Run) -> None:
    ends: list[str] = []

    async def main() -> None:
        async with accepting() as site:
            [first] = site.connect()
            assert await is_served(first)
            site.sockets[0].failures = [errno.EMFILE]
            clients = site.connect(3)
            site.acceptor.finish(lambda: ends.append("closed"))
            await turn()
            assert not ends
            assert not site.acceptor.done
            first.close()
            assert all([await is_served(client) for client in clients])
            assert ends == ["closed"]

    run(main())


def test_a_shortage_is_none_while_nobody_waits(run: Run, error_log: list[logging.LogRecord]) -> None:
    ends: list[str] = []

    async def main() -> None:
        async with accepting() as site:
            [client] = site.connect()
            assert await is_served(client)
            with no_free_descriptor():
                site.acceptor.finish(lambda: ends.append("closed"))
                assert ends == ["closed"]

    run(main())
    assert not error_log


def test_at_the_end_a_socket_that_was_shut_is_not_waited_for(run: Run, error_log: list[logging.LogRecord]) -> None:
    async def main() -> None:
        async with accepting() as site:
            site.acceptor.pause()
            site.sockets[0].shutdown(socket.SHUT_RDWR)
            site.acceptor.finish()
            assert site.acceptor.done

    run(main())
    assert not error_log


@pytest.mark.parametrize("temporary", [False, True])
def test_a_socket_that_was_shut_is_let_go_with_a_warning_unless_a_reload_removes_it(
    run: Run, error_log: list[logging.LogRecord], temporary: bool
) -> None:
    async def main() -> None:
        async with accepting(temporary=temporary) as site:
            site.sockets[0].shutdown(socket.SHUT_RDWR)
            await until(lambda: site.sockets[0].fileno() < 0)

    run(main())
    warned = ["nobody is accepted any more on a socket that a process has shut: Invalid argument"]
    assert [record.getMessage() for record in error_log] == ([] if temporary else warned)


@pytest.mark.parametrize("finishing", [False, True], ids=["while it accepts", "at the end"])
def test_an_inbox_that_was_shut_down_is_let_go_and_the_sockets_are_accepted_from(
    run: Run, error_log: list[logging.LogRecord], finishing: bool
) -> None:
    async def main() -> None:
        reader, writer = handover.pair()
        with writer:
            async with accepting(box=reader) as site:
                [client] = site.connect()
                if finishing:
                    site.acceptor.pause()
                writer.shutdown(socket.SHUT_WR)
                if finishing:
                    site.acceptor.finish()
                assert await is_served(client)
                await until(lambda: reader.fileno() < 0)

    run(main())
    [line] = [record.getMessage() for record in error_log]
    assert line.startswith("a process has shut down the inbox of this worker")


def test_an_inbox_that_is_filled_without_an_end_does_not_hold_up_the_end(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InboxQueue, "take", endless_garbage)

    async def main() -> None:
        reader, writer = handover.pair()
        with writer:
            async with accepting(box=reader) as site:
                site.acceptor.finish()
                assert site.acceptor.done

    run(main())


def endless_garbage(queue: InboxQueue) -> AcceptedSocket:
    raise ConnectionAbortedError(errno.ECONNABORTED, "a message without a connection")


def test_close_ends_a_shortage_at_the_end(run: Run) -> None:
    ends: list[str] = []

    async def main() -> None:
        async with accepting() as site:
            site.sockets[0].failures = [errno.EMFILE]
            [client] = site.connect()
            site.acceptor.finish(lambda: ends.append("closed"))
            site.acceptor.close()
            site.acceptor.close()
            with pytest.raises(ConnectionResetError):
                client.recv(1)

    run(main())
    assert ends == ["closed"]


def test_what_is_closed_stays_closed(run: Run) -> None:
    async def main() -> None:
        async with accepting() as site:
            site.acceptor.close()
            site.acceptor.finish()
            site.acceptor.pause()
            site.acceptor.resume()
            await turn()
            assert site.acceptor.done

    run(main())


# Adoptions that take longer, as with TLS.


class SlowLoop(asyncio.SelectorEventLoop):
    """Takes connections in only when the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate: asyncio.Future[None] = self.create_future()

    async def connect_accepted_socket(self, *arguments: object) -> object:  # type: ignore[override]
        await asyncio.sleep(0)
        await asyncio.shield(self.gate)
        return await super().connect_accepted_socket(*arguments)  # type: ignore[arg-type]


def test_connections_that_are_about_to_open_count() -> None:
    async def main() -> None:
        loop = cast(SlowLoop, asyncio.get_running_loop())
        async with accepting(limit=2) as site:
            clients = site.connect(3)
            await turn()
            assert not site.open
            assert site.sockets[0].asked == 2
            site.acceptor.finish()
            await turn()
            assert site.sockets[0].fileno() == -1
            assert not site.acceptor.done
            loop.gate.set_result(None)
            assert all([await is_served(client) for client in clients])
            assert site.acceptor.done

    with asyncio.Runner(loop_factory=SlowLoop) as runner:
        runner.run(main())


def test_a_connection_that_does_not_open_in_the_end_makes_room(error_log: list[logging.LogRecord]) -> None:
    async def main() -> None:
        loop = cast(SlowLoop, asyncio.get_running_loop())
        async with accepting(limit=1) as site:
            first, second = site.connect(2)
            await turn()
            gate, loop.gate = loop.gate, loop.create_future()
            gate.cancel()
            await turn()
            assert received(first) == b""
            loop.gate.set_result(None)
            assert await is_served(second)

    with asyncio.Runner(loop_factory=SlowLoop) as runner:
        runner.run(main())
    assert [record.getMessage() for record in error_log] == ["an accepted connection was lost"]


# Connections that are better placed with another worker.


class EverySecond:
    """Passes every second connection on to nowhere, and notes what it is told."""

    def __init__(self) -> None:
        self.owned: list[int] = []
        self.counts: list[int] = []

    def divert(self, connection: Accepted, own: int, /) -> bool:
        self.owned.append(own)
        if len(self.owned) % 2:
            return False
        connection.close()
        return True

    def arriving(self, count: int, /) -> None:
        self.counts.append(count)


def test_what_is_passed_on_at_once_never_becomes_one_of_ours(run: Run) -> None:
    async def main() -> None:
        placement = EverySecond()
        async with accepting(placement=placement) as site:
            clients = site.connect(10)
            await site.until_open(5)
            await turn()
            assert site.made == 5
            assert placement.owned == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
            assert [received(client) for client in clients].count(b"") == 5

    run(main())


def test_it_is_told_how_many_have_no_protocol_yet(run: Run) -> None:
    async def main() -> None:
        placement = EverySecond()
        async with accepting(placement=placement) as site:
            site.connect(4)
            await site.until_open(2)
            await until(lambda: placement.counts and not placement.counts[-1])
            assert max(placement.counts) == 2

    run(main())


def test_what_another_worker_has_passed_on_stays(run: Run) -> None:
    async def main() -> None:
        reader, writer = handover.pair()
        placement = EverySecond()
        async with accepting(box=reader, placement=placement) as site:
            with writer:
                for _ in range(4):
                    ours, theirs = socket.socketpair()
                    with ours, theirs:
                        assert handover.put(writer, Parcel(ours.fileno(), 5.0))
                await until(lambda: site.made == 4)
                assert placement.owned == []

    run(main())


def test_a_worker_that_leaves_takes_in_all_that_wait_itself(run: Run) -> None:
    async def main() -> None:
        placement = EverySecond()
        async with accepting(placement=placement) as site:
            site.acceptor.pause()
            site.connect(6)
            site.acceptor.finish()
            await site.until_open(6)
            assert placement.owned == []

    run(main())
