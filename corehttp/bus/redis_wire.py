"""A wire over Redis: one channel, to which each worker subscribes and publishes, over two connections of its own.

Only `--bus` has this module imported, which needs the package redis (redis-py). Of that its connections are used, not
its clients, which would connect again by themselves and take a reply of any size.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from redis._parsers import _AsyncRESP2Parser
from redis.asyncio import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError

from corehttp.bus.envelope import ENVELOPE_LIMIT
from corehttp.bus.transport import NO_ANSWER, WireError
from corehttp.bus_url import BusURL

OPENING = 5.0  # seconds that it may take to connect and to subscribe
# How often, and for how many seconds each, an answer is waited for. An event loop that was blocked has one of these
# waits run out, not all, so that it reads what has come in meanwhile before it gives up.
LOOKS, LOOK = 6, 0.5
PIECE = 65536  # bytes of what is too large that are read at once

T = TypeVar("T")


class BoundedParser(_AsyncRESP2Parser):
    """Reads what Redis sends; a text of more than ENVELOPE_LIMIT bytes is read to its end, and empty."""

    async def _read(self, length: int) -> bytes:
        if length <= ENVELOPE_LIMIT:
            return bytes(await super()._read(length))
        left = length + 2
        while left:
            size = min(left, PIECE)
            await super()._read(size - 2)  # which reads two bytes more
            self._clear()  # type: ignore[no-untyped-call]
            left -= size
        return b""


class RedisWire:
    """The connections of one worker to a Redis, both over `channel`. Implements `transport.Wire`."""

    def __init__(self, url: BusURL, channel: str) -> None:
        self._channel = channel
        self._publisher = _connection(url)
        self._subscriber = _connection(url)
        self._using_publisher = asyncio.Lock()
        self._pong = asyncio.Event()
        self._received = 0  # how many messages have come in

    async def open(self) -> None:
        """Connect, log in and subscribe; raises WireError if that fails or takes longer than OPENING."""
        with _translated():
            try:
                async with asyncio.timeout(OPENING):
                    await self._publisher.connect()  # type: ignore[no-untyped-call]
                    await self._subscriber.connect()  # type: ignore[no-untyped-call]
                    await self._subscriber.send_command("SUBSCRIBE", self._channel, check_health=False)
                    await self._subscriber.read_response(disable_decoding=True)
            except TimeoutError:
                raise WireError(NO_ANSWER) from None

    async def publish(self, envelopes: list[bytes]) -> None:
        """Send these to all machines, in their order. Raises WireError."""
        await patiently(self._command([("PUBLISH", self._channel, envelope) for envelope in envelopes]))

    async def receive(self) -> bytes:
        """Wait for the next message, and return it; empty for one that was too large. Raises WireError."""
        with _translated():
            while True:
                match await self._subscriber.read_response(disable_decoding=True):
                    case [b"message", _, bytes(data)]:
                        self._received += 1
                        return data
                    case [b"pong", *_]:
                        self._pong.set()
                    case _:
                        pass

    async def ping(self) -> None:
        """Wait for an answer over both connections. Raises WireError."""
        self._pong.clear()
        await patiently(self._subscriber.send_command("PING", check_health=False))
        await patiently(self._command([("PING",)]))
        while not self._pong.is_set():
            received = self._received
            try:
                await patiently(self._pong.wait())
            except WireError:
                if received == self._received:
                    raise  # else the answer is behind messages that are still coming in

    def descriptors(self) -> list[int]:
        """Return the descriptors of both connections, as far as they are open."""
        transports = [_transport(each) for each in (self._publisher, self._subscriber)]
        sockets = [each.get_extra_info("socket") for each in transports if each is not None]
        return [each.fileno() for each in sockets if each is not None]

    async def close(self) -> None:
        """End both connections at once."""
        for connection in (self._publisher, self._subscriber):
            transport = _transport(connection)
            if transport is not None:
                transport.abort()
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                await connection.disconnect(nowait=True)

    async def _command(self, commands: list[tuple[Any, ...]]) -> None:
        """Send commands at once, and read all their replies. Raises RedisError if one of them is an error."""
        async with self._using_publisher:
            packed = self._publisher.pack_commands(commands)
            await self._publisher.send_packed_command(packed, check_health=False)
            for _ in commands:
                await self._publisher.read_response(disable_decoding=True)


def _connection(url: BusURL) -> Connection | UnixDomainSocketConnection:
    """Return a connection that is not open yet, is never opened again by itself, and waits as long as it takes."""
    options: dict[str, Any] = {
        "username": url.username,
        "password": url.password,
        "socket_timeout": None,
        "socket_connect_timeout": OPENING,
        "protocol": 2,
        "parser_class": BoundedParser,
    }
    if url.path:
        return UnixDomainSocketConnection(path=url.path, **options)
    options |= {"host": url.host, "port": url.port}
    if url.tls is None:
        return Connection(**options)
    options |= url.tls
    return SSLConnection(**options, ssl_cert_reqs="required", ssl_check_hostname=True)


def _transport(connection: Connection | UnixDomainSocketConnection) -> asyncio.WriteTransport | None:
    """Return the transport of a connection, None if it has none; redis-py has no other way to its socket."""
    writer: asyncio.StreamWriter | None = getattr(connection, "_writer", None)
    return None if writer is None else writer.transport


async def patiently(work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns. Raises WireError if that takes longer than all LOOKS together, or fails."""
    task = asyncio.ensure_future(work)
    try:
        for _ in range(LOOKS):
            done, _ = await asyncio.wait([task], timeout=LOOK)
            if done:
                with _translated():
                    return task.result()
        raise WireError(NO_ANSWER)
    finally:
        task.cancel()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Raise WireError in the place of what a connection raises when it fails."""
    try:
        yield
    except (RedisError, OSError, TimeoutError, ValueError) as error:
        # ValueError is what a StreamReader raises for a line without an end.
        raise WireError(_reason(error)) from error


def _reason(error: Exception) -> str:
    """Return what an operator is told of an error: of one that a fault of TLS has caused, that fault."""
    cause = error.__cause__ or error.__context__
    return str(cause if isinstance(cause, ssl.SSLError) else error).rstrip(".") or type(error).__name__
