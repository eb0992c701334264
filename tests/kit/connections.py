"""Both ends of a connection over real sockets, on both event loops; and what they leave open."""

import asyncio
import contextlib
import functools
import inspect
import os
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from random import Random
from typing import TypeVar, cast

import pytest

from corehttp.protocols.files import Transfer
from corehttp.worker.event_loop import loop_factory

WAIT = 20.0  # seconds, for what takes a moment
SMALL_BUFFER = 16384  # bytes, of a socket
LARGE = 20_000_000  # bytes: more than any socket's buffers take

AsyncTest = Callable[..., Coroutine[object, object, None]]
Opened = Callable[[int], "Source"]
_T = TypeVar("_T")


def on_both_loops(test: AsyncTest) -> Callable[..., None]:
    """Run a test on uvloop and on asyncio's own loop."""

    @functools.wraps(test)
    def run(loop: str, **fixtures: object) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(WAIT):
                await test(**fixtures)

        with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
            runner.run(bounded())

    signature = inspect.signature(test)
    loop = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), loop])  # type: ignore[attr-defined]
    return pytest.mark.parametrize("loop", ["uvloop", "asyncio"])(run)


@functools.cache  # to make them takes most of the time of a test with a large file
def random_bytes(size: int) -> bytes:
    """Return random bytes, which are the same for the same size."""
    return Random(size).randbytes(size)


class Source:
    """A file of random bytes, open for reading; it is written only where there is none of its size at `path` yet."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.data = random_bytes(size)
        if not path.exists():
            path.write_bytes(self.data)
        assert path.stat().st_size == size, "a test has changed a file that others use as well"
        self.descriptor = os.open(path, os.O_RDONLY)


class Connection(asyncio.Protocol):
    """The server's end of a connection, with what a transfer needs of one."""

    transport: asyncio.Transport
    transfer: Transfer

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.lost = self.loop.create_future()
        self._congested = False
        self._drained = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transfer = Transfer(self.transport, self.loop, self.writable)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transfer.disconnect()
        self.resume_writing()
        self.lost.set_result(None)

    def pause_writing(self) -> None:
        self._congested = True
        self._drained.clear()

    def resume_writing(self) -> None:
        self._congested = False
        self._drained.set()

    async def writable(self) -> None:
        if self._congested:
            await self._drained.wait()

    @property
    def sent(self) -> int:
        return self.transfer.sent

    def send(self, file: int, offset: int, count: int) -> "asyncio.Task[int]":
        return self.loop.create_task(self.transfer.send(file, offset, count))


class Client:
    """The client's end of a connection; it reads only when the test says so."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    async def read(self, size: int, step: int = 1 << 20) -> bytes:
        """Return the next `size` bytes, read in steps of at most `step` bytes; fewer only at the end of the stream."""
        loop = asyncio.get_running_loop()
        data = bytearray()
        while len(data) < size:
            piece = await loop.sock_recv(self.sock, min(step, size - len(data)))
            if not piece:
                break
            data += piece
        return bytes(data)

    def reset(self) -> None:
        """Leave with a reset (socket(7), SO_LINGER)."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class SlowDisk:
    """Replaces os.sendfile and os.pread: a call of either ends only when the test sets `released`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[int, int]] = []  # device and inode of what is asked for
        self.released = threading.Event()
        self.tells_late = False  # whether the call does its work at once, and only its return waits for `released`
        self._sendfile, self._pread = os.sendfile, os.pread
        monkeypatch.setattr(os, "sendfile", self.sendfile)
        monkeypatch.setattr(os, "pread", self.pread)

    def sendfile(self, sock: int, file: int, offset: int, count: int) -> int:
        return self._work(file, lambda: self._sendfile(sock, file, offset, count))

    def pread(self, file: int, count: int, offset: int) -> bytes:
        return self._work(file, lambda: self._pread(file, count, offset))

    def _work(self, file: int, call: Callable[[], _T]) -> _T:
        status = os.fstat(file)
        if not self.tells_late:
            self._wait(status)
            return call()
        answer = call()
        self._wait(status)
        return answer

    def _wait(self, status: os.stat_result) -> None:
        self.calls.append((status.st_dev, status.st_ino))
        assert self.released.wait(WAIT)


def pair_of_sockets(family: str) -> tuple[socket.socket, socket.socket]:
    if family == "unix":
        return socket.socketpair()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if family == "slow":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        listener.listen()
        client = socket.socket()
        if family == "slow":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        client.connect(listener.getsockname())
        return listener.accept()[0], client


@contextlib.asynccontextmanager
async def connected(family: str = "tcp") -> AsyncIterator[tuple[Connection, Client]]:
    """A server's connection and its client over "tcp", "unix", or "slow": TCP with small buffers."""
    loop = asyncio.get_running_loop()
    sock, other = pair_of_sockets(family)
    other.setblocking(False)
    try:
        _, connection = await loop.connect_accepted_socket(Connection, sock)
        yield connection, Client(other)
        if not connection.lost.done():
            connection.transport.abort()
        await connection.lost
    finally:
        other.close()


async def until(fact: Callable[[], bool]) -> None:
    while not fact():
        await asyncio.sleep(0)


def descriptors() -> int:
    """How many descriptors are open, without that of /dev/null, which uvloop keeps from the first connection on."""
    count = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the directory's own
            count += os.readlink(f"/proc/self/fd/{number}") != os.devnull
    return count


def workers() -> int:
    """How many threads there are that wait for disks."""
    return sum(thread.name.startswith("files") for thread in threading.enumerate())


async def closed(but: int) -> None:
    """Wait until `but` descriptors are open; uvloop closes one some turns after the protocol lost its connection."""
    await until(lambda: descriptors() == but)


async def waiting_for_client(connection: Connection, descriptors_before: int) -> None:
    """Wait until the socket takes no more and the transfer watches a copy of it; over "unix" until the client reads."""
    await until(lambda: connection.sent > 0 and descriptors() == descriptors_before + 1)


def skip_unless_it_tells(file: int) -> None:
    """Skip the test unless the file system of `file` tells which bytes are in memory (preadv2(2), RWF_NOWAIT)."""
    try:
        os.preadv(file, [bytearray(1)], 0, os.RWF_NOWAIT)
    except OSError as error:
        pytest.skip(f"this file system does not tell: {error}")


def refuse(code: int) -> Callable[..., int]:
    def call(*args: object) -> int:
        raise OSError(code, os.strerror(code))

    return call


def anonymous_tls(side: int) -> ssl.SSLContext:
    """TLS that needs no certificate."""
    context = ssl.SSLContext(side)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AECDH:@SECLEVEL=0")
    return context
