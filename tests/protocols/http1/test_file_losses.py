"""Clients that leave in the middle of a file: what the access log counts, and what the application is told."""

import asyncio
import contextlib
import errno
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from corehttp.asgi import Receive, Scope, Send
from corehttp.errors import ClientDisconnectedError
from corehttp.protocols import file_reader, files
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.disk import CALL, PIECE
from corehttp.protocols.http1.connection import HTTP1Connection
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from corehttp.protocols.observers import AccessRecord
from tests.kit.connections import (
    LARGE,
    Client,
    Opened,
    SlowDisk,
    Source,
    descriptors,
    on_both_loops,
    pair_of_sockets,
    refuse,
    until,
)
from tests.kit.fakes import TURNS, make_context

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")


class Downloads:
    """The application sends a file as the whole body; keeps what that ended in."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.error: BaseException | None = None
        self.served = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        try:
            await send({"type": "http.response.pathsend", "path": self._source.path})
            self.served = True
        except BaseException as error:
            self.error = error
            raise


class Serving:
    """A connection that a client has asked for a file."""

    def __init__(self, app: Downloads, context: WorkerContext, client: Client, records: list[AccessRecord]) -> None:
        self.app = app
        self.context = context
        self.client = client
        self.records = records

    @property
    def logged(self) -> list[tuple[int, int]]:
        """Status and bytes, as in the access log."""
        return [record[4:6] for record in self.records]

    def cut(self) -> None:
        """End the connection on our side."""
        [connection] = self.context.connections
        connection.cut()

    async def end(self) -> None:
        """Until nothing is left of it."""
        await until(lambda: not self.context.connections and not self.context.running)


@contextlib.asynccontextmanager
async def serving(source: Source, family: str = "unix", *, cancel: bool = False) -> AsyncIterator[Serving]:
    app = Downloads(source)
    records: list[AccessRecord] = []
    context = make_context(app, HttptoolsParser, records=records, cancel_on_disconnect=cancel)
    sock, other = pair_of_sockets(family)
    other.setblocking(False)
    with other:
        await context.loop.connect_accepted_socket(lambda: HTTP1Connection(context), sock)
        other.sendall(GET)
        serving = Serving(app, context, Client(other), records)
        yield serving
        await serving.end()


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes of files the kernel has taken, call by call."""
    sizes: list[int] = []

    def noting(call: Callable[..., int]) -> Callable[..., int]:
        def noted(*arguments: object) -> int:
            size = call(*arguments)
            sizes.append(size)
            return size

        return noted

    monkeypatch.setattr(os, "sendfile", noting(os.sendfile))
    monkeypatch.setattr(os, "write", noting(os.write))
    return sizes


async def leave(serving: Serving) -> None:
    serving.client.sock.close()


async def reset(serving: Serving) -> None:
    serving.client.reset()


async def be_cut(serving: Serving) -> None:
    serving.cut()


@pytest.mark.parametrize("copied", [False, True], ids=["by the kernel", "copied"])
@pytest.mark.parametrize("family", ["unix", "tcp", "slow"])
@pytest.mark.parametrize("end", [leave, reset, be_cut])
@pytest.mark.parametrize("cancel", [False, True], ids=["", "cancelled"])
@on_both_loops
async def test_all_that_the_kernel_has_taken_is_counted(
    opened: Opened,
    handed: list[int],
    monkeypatch: pytest.MonkeyPatch,
    error_log: list[logging.LogRecord],
    family: str,
    end: Callable[[Serving], Awaitable[None]],
    copied: bool,
    cancel: bool,
) -> None:
    if copied:
        monkeypatch.setattr(os, "sendfile", refuse(errno.EINVAL))
    async with serving(opened(LARGE), family, cancel=cancel) as served:
        await served.client.read(1_000_000)
        await end(served)
    assert served.logged == [(200, sum(handed))]
    assert sum(handed) >= 1_000_000 - 1000  # a head came before
    # Whether a cancelled application learns first of its client's end is chance.
    assert isinstance(served.app.error, (ClientDisconnectedError, *[asyncio.CancelledError] * cancel))
    assert not error_log


@pytest.mark.parametrize("cancel", [False, True], ids=["", "cancelled"])
@on_both_loops
async def test_what_a_thread_is_just_sending_is_counted_too(opened: Opened, slow_disk: SlowDisk, cancel: bool) -> None:
    before = descriptors()
    source = opened(LARGE)
    async with serving(source, cancel=cancel) as served:
        await until(lambda: len(slow_disk.calls) > 0)
        served.cut()
        for _ in range(TURNS):
            await asyncio.sleep(0)
        assert not served.context.connections
        assert not served.logged
        slow_disk.released.set()
        await served.end()
        _, _, body = (await served.client.read(LARGE)).partition(b"\r\n\r\n")
        assert source.data.startswith(body)
        assert served.logged == [(200, len(body))]
        assert 0 < len(body) <= CALL
        assert len(slow_disk.calls) == 1
    await until(lambda: descriptors() == before + 1)


@on_both_loops
async def test_a_disk_that_does_not_answer_does_not_keep_a_request_whose_client_left(
    opened: Opened, slow_disk: SlowDisk, monkeypatch: pytest.MonkeyPatch, error_log: list[logging.LogRecord]
) -> None:
    monkeypatch.setattr(file_reader, "PATIENCE", 0)
    async with serving(opened(LARGE)) as served:
        await until(lambda: len(slow_disk.calls) > 0)
        served.cut()
        await served.end()
        assert served.logged == [(200, 0)]
    assert not error_log


@on_both_loops
async def test_a_client_that_leaves_as_soon_as_it_has_all_has_been_served(
    opened: Opened, slow_disk: SlowDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "FEW", PIECE)
    slow_disk.tells_late = True
    source = opened(PIECE + 1)  # that much goes into a socket at once
    async with serving(source) as served:
        _, _, body = (await served.client.read(PIECE)).partition(b"\r\n\r\n")
        body += await served.client.read(len(source.data) - len(body))
        assert body == source.data
        served.client.sock.close()
        await until(lambda: not served.context.connections)
        slow_disk.released.set()
    assert served.app.served
    assert served.logged == [(200, PIECE + 1)]
