"""What the tests control instead of the real thing: the transport, the time, and a client at the other end."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator

from corehttp.asgi import ASGIApp
from corehttp.protocols.clock import Clock
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import RequestParser
from corehttp.protocols.http1.connection import HTTP1Connection
from corehttp.protocols.limits import Limits
from corehttp.protocols.observers import AccessRecord, Logged
from corehttp.protocols.peer import Trust

MakeParser = Callable[[Limits], RequestParser]

NOW = 1000.0  # seconds, monotonic
WALL = 784111777.0  # the moment of RFC 9110's own example of a date
DATE = b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
SERVER = b"server: corehttp\r\n"
LINES = SERVER + DATE  # what every response carries
KEEP_ALIVE = 5.0  # seconds
LIMITS = Limits(keep_alive=KEEP_ALIVE)
TURNS = 10  # of the event loop: more than any exchange needs for what it can do without its client


def fixed_clock() -> Clock:
    """A clock that stands still until `update` is called."""
    clock = Clock(server=b"corehttp")
    clock.update(NOW, WALL)
    return clock


class FakeTransport(asyncio.Transport):
    """A transport that records what a protocol calls, and delivers data, ends and losses only when the test says so."""

    def __init__(
        self,
        *,
        peer: object = ("192.0.2.1", 50000),
        own: object = ("192.0.2.2", 8000),
        sock: object = None,
        half_closes: bool = True,
    ) -> None:
        super().__init__({"peername": peer, "sockname": own, "socket": sock})
        self.writes: list[bytes] = []
        self.calls: list[str] = []  # the names of all calls but write(), in order
        self.buffered = 0  # bytes that the peer has not taken
        self.reading = True
        self.high_water: int | None = None
        self.full = False  # the peer takes nothing: the protocol is told at its next write
        self._half_closes = half_closes
        self._protocol: asyncio.BaseProtocol | None = None
        self.unread: deque[bytes] = deque()  # data that was delivered while reading was paused

    # What the protocol calls.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if "write_eof" in self.calls:
            raise RuntimeError("write() after write_eof()")
        if not self.is_closing():
            self.writes.append(bytes(data))
            if self.full:
                self.full = False
                self.get_protocol().pause_writing()

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")

    def write_eof(self) -> None:
        self.calls.append("write_eof")

    def can_write_eof(self) -> bool:
        return self._half_closes

    def is_closing(self) -> bool:
        return "close" in self.calls or "abort" in self.calls or self._protocol is None

    def pause_reading(self) -> None:
        self.calls.append("pause_reading")
        self.reading = False

    def resume_reading(self) -> None:
        self.calls.append("resume_reading")
        self.reading = True

    def is_reading(self) -> bool:
        return self.reading and not self.is_closing()

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high_water = high

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None, "the connection is lost"
        return self._protocol

    # What the test calls.

    def deliver(self, data: bytes) -> None:
        """Give the protocol data from the peer; while reading is paused, keep it for `deliver_held`."""
        if not self.is_reading() or self.unread:
            self.unread.append(data)
        else:
            self._receive(data)

    def deliver_held(self) -> None:
        """Deliver what was kept, if reading has been resumed.

        A transport does so from the event loop, never inside a call of the protocol's.
        """
        while self.unread and self.is_reading():
            self._receive(self.unread.popleft())

    def _receive(self, data: bytes) -> None:
        protocol = self.get_protocol()
        assert isinstance(protocol, asyncio.Protocol)
        protocol.data_received(data)

    def end(self) -> None:
        """End the peer's side; as asyncio does, close the transport unless `eof_received` returns true."""
        protocol = self.get_protocol()
        assert isinstance(protocol, asyncio.Protocol)
        if not protocol.eof_received():
            self.close()

    def lose(self, error: Exception | None = None) -> None:
        """Lose the connection, as a transport also does some time after close() or abort()."""
        protocol, self._protocol = self.get_protocol(), None
        protocol.connection_lost(error)


class Client:
    """The client of a new HTTP1Connection, over a fake transport."""

    def __init__(self, context: WorkerContext, transport: FakeTransport | None = None) -> None:
        self.transport = transport or FakeTransport()
        self.connection = HTTP1Connection(context)
        self.transport.set_protocol(self.connection)
        self.connection.connection_made(self.transport)

    @property
    def received(self) -> bytes:
        return b"".join(self.transport.writes)

    @property
    def closed(self) -> bool:
        """Whether the server has ended its side, in whichever way."""
        return self.transport.is_closing() or "write_eof" in self.transport.calls

    def take(self) -> bytes:
        """Return the bytes that were received since the last call."""
        data = self.received
        self.transport.writes.clear()
        return data

    async def send(self, *pieces: bytes) -> None:
        """Send the pieces, each one in its own turn of the event loop."""
        for piece in pieces:
            self.transport.deliver(piece)
            await self.wait()

    async def wait(self) -> None:
        """Run the event loop until the server writes nothing more."""
        written = -1
        while written != len(self.transport.writes):
            written = len(self.transport.writes)
            for _ in range(TURNS):
                self.transport.deliver_held()
                await asyncio.sleep(0)

    async def hang_up(self) -> None:
        self.transport.end()
        await self.wait()

    async def lose(self, error: Exception | None = None) -> None:
        self.transport.lose(error)
        await self.wait()


class RecordingSink:
    """An access log that only keeps what it is told."""

    def __init__(self, records: list[AccessRecord]) -> None:
        self.records = records
        self.armed = False
        self.closings: list[tuple[str, int, tuple[int, int, int, int]]] = []

    def arm(self, request: Logged) -> None:
        self.armed = True

    def websocket_closed(
        self, client: str, path: str, code: int, counts: tuple[int, int, int, int], seconds: float
    ) -> None:
        self.closings.append((path, code, counts))


class ManualTimers:
    """Makes timers that are due when the test says so."""

    def __init__(self) -> None:
        self.set: list[tuple[float, Callable[[], object]]] = []  # seconds, and what is called

    def __call__(self, callback: Callable[[], object]) -> "ManualTimer":
        return ManualTimer(self, callback)

    def fire(self) -> None:
        """Call the callbacks of all timers that are set, and unset the timers."""
        due, self.set = self.set, []
        for _, callback in due:
            callback()


class ManualTimer:
    """A timer of `ManualTimers`: it is due when the test fires them."""

    def __init__(self, timers: ManualTimers, callback: Callable[[], object]) -> None:
        self._timers = timers
        self._callback = callback

    def set(self, seconds: float) -> None:
        self.close()
        self._timers.set.append((seconds, self._callback))

    def close(self) -> None:
        self._timers.set = [timer for timer in self._timers.set if timer[1] != self._callback]


class FakeTimers:
    """The timers of an event loop, whose time (seconds) passes only when the test says so."""

    def __init__(self) -> None:
        self._now = NOW
        self.waiting: list[tuple[float, Callable[[], object]]] = []

    def time(self) -> float:
        return self._now

    def call_later(self, delay: float, callback: Callable[[], object]) -> object:
        timer = (self._now + delay, callback)
        self.waiting.append(timer)
        return timer

    def block(self, seconds: float) -> None:
        """Let the seconds pass with nothing called in them, then call everything that is due by then."""
        self._now += seconds
        self.pass_time(0)

    def pass_time(self, seconds: float) -> None:
        """Let the seconds pass, and call every timer at the moment when it is due."""
        end = self._now + seconds
        while due := [timer for timer in self.waiting if timer[0] <= end]:
            timer = min(due, key=lambda timer: timer[0])
            self.waiting.remove(timer)
            self._now = max(self._now, timer[0])
            timer[1]()
        self._now = end


def make_context(
    app: ASGIApp,
    make_parser: MakeParser,
    *,
    root_path: str = "",
    trust: str | None = "127.0.0.1,::1,unix",
    records: list[AccessRecord] | None = None,
    limits: Limits = LIMITS,
    cancel_on_disconnect: bool = False,
) -> WorkerContext:
    """A worker's context in the running loop, at the fixed time."""
    return WorkerContext(
        app,
        asyncio.get_running_loop(),
        fixed_clock(),
        make_parser,
        limits=limits,
        root_path=root_path,
        trust=None if trust is None else Trust(trust),
        access=None if records is None else RecordingSink(records),
        cancel_on_disconnect=cancel_on_disconnect,
    )


async def pass_time(context: WorkerContext, seconds: int) -> None:
    """Let the seconds pass one by one; after each, expire late connections, as a worker's ticker does."""
    for _ in range(seconds):
        context.clock.update(context.clock.now + 1, WALL)
        for connection in [c for c in context.connections if c.deadline <= context.clock.now]:
            connection.expire()
        for _ in range(TURNS):
            await asyncio.sleep(0)


def every_cut(data: bytes) -> Iterator[list[bytes]]:
    """Yield the pieces of `data`: whole, byte by byte, and in two pieces for each place where it can be cut."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]
