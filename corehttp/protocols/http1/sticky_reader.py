"""Reads the requests of a connection where each may have to be served by another worker (`--sticky`)."""

import functools

from corehttp.asgi import Scope
from corehttp.ipc.parcel import HELD_LIMIT
from corehttp.protocols.affinity import Affinity
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import ResponseStream
from corehttp.protocols.exchange import Exchange
from corehttp.protocols.http1.host import ReaderHost
from corehttp.protocols.http1.reader import READ_AT_ONCE, Reader
from corehttp.protocols.http1.state import ReadState
from corehttp.protocols.outlet import HIGH_WATER

LOOK_AGAIN = 0.01  # seconds until a connection is offered again to a worker whose inbox is full
MOST_LOOKS = 50  # how often it is offered before its request is served here

_EMPTY_LINE = b"\r\n"
_END_OF_HEAD, _SPACE = b"\r\n\r\n", ord(" ")
_IDLE, _HEAD, _ENDED = ReadState.IDLE, ReadState.HEAD, ReadState.ENDED


def make_reader(context: WorkerContext, host: ReaderHost, stream: ResponseStream, *, settled: bool) -> Reader:
    """Return the reader of a new connection: a `StickyReader` where requests may be for other workers."""
    if context.affinity is None:
        return Reader(context, host, stream)
    return StickyReader(context, host, stream, context.affinity, settled=settled)


class StickyReader(Reader):
    """A reader that looks at one request at a time, and gives the connection away with one that belongs elsewhere.

    No head is parsed before every response to the requests before it is written, so that whatever was read behind them
    is at hand as bytes. With these the connection moves to the worker that `affinity` names. Where that cannot be, as
    the bytes are too many for a parcel or the other worker takes nothing, the request is served here.
    """

    __slots__ = ("_affinity", "_came", "_drains", "_looks", "_pauses", "_settled", "_slot", "_waits", "is_shared")

    def __init__(
        self, context: WorkerContext, host: ReaderHost, stream: ResponseStream, affinity: Affinity, *, settled: bool
    ) -> None:
        """`settled` says that the first request is to be served here, since another worker has passed it on for that.

        It is not asked again where it belongs, so that workers that disagree do not pass it to and fro.
        """
        super().__init__(context, host, stream)
        self._affinity = affinity
        self._settled = settled
        self.is_shared = settled  # since that request may have been moved here because of its key
        self._came = b""  # what has come in the call of `read` that goes on, without what was held before
        self._drains = False  # whether the transport says when it has sent all that is written
        self._looks = 0  # how often the request that waits has been offered to another worker
        self._slot: int | None = None  # where the request belongs that is about to be parsed once more
        self._waits = False  # whether the head that was parsed last is to be parsed again later
        self._pauses = False  # whether that is to happen only after a moment

    def feed(self, data: bytes) -> None:
        """Take in what has come, and let the connection begin what can be begun."""
        size, host = len(data), self._host
        tally = self._context.tally
        if tally is not None:
            tally.received += size
        if size > READ_AT_ONCE:
            self._timed().rest(self._rested)
        elif self.state is _IDLE and 0 < size - 4 == data.find(_END_OF_HEAD) and not (host.current or host.queue):
            # Most often it is one whole request without a body, to be served here. It costs 7 us more than without the
            # option, instead of 9 (`benchmarks.sticky`); any other one is parsed once more.
            heads = self.heads
            exchange = heads.read(data) if data[0] > _SPACE and not self._settled else None
            if exchange is not None and not heads.intent.length:
                self._slot = self._affinity.elsewhere(exchange.scope, self)
                if self._slot is None:
                    self._blank = 0
                    if not heads.intent.persistent:
                        self.state = _ENDED
                    host.take(exchange, heads.intent)
                    return
        self.read(data)
        self._slot = None
        host.advance()

    def has_next(self) -> bool:
        """Whether a request waits to begin; if none does, what is held is read first, unless that is to wait."""
        return bool(self._host.queue) if self._pauses else super().has_next()

    def read(self, data: bytes = b"") -> None:
        """Take in what is held and what has come, and parse at most one head, if no response is still to be written."""
        host = self._host
        between = self.state is _IDLE or self.state is _HEAD
        self._ahead = 1 if between and host.current is None and not host.queue else 0
        self._came = data
        super().read(data)
        if self._waits:
            self._waits = False
            self.held, self.partial, self.state = bytearray(self._came), None, _HEAD
        self._came = b""

    def _follow(self, exchange: Exchange | None, head: bytes) -> None:
        """Go on behind a whole head, unless its request is for another worker."""
        upgrade = self.heads.upgrade
        if exchange is not None:
            here = self._is_here(exchange.scope)
        else:
            here = upgrade is None or self._is_here(upgrade.scope)
        if here:
            super()._follow(exchange, head)
        else:
            self.state = _ENDED  # so that no more of what has come is read as a request

    def _is_here(self, scope: Scope) -> bool:
        """Whether a request is served here; if not, the connection was given away, or waits (`_waits`)."""
        if self._settled:
            self._settled = False
            return True
        slot = self._affinity.elsewhere(scope, self) if self._slot is None else self._slot
        if slot is None or len(self._came if self.held is None else self.held) > HELD_LIMIT:
            self._looks = 0
            self._set_drains(False)
            return True
        # Without empty lines before the request, since half of one may have been read before.
        self._came = (self._came if self.held is None else bytes(self.held)).lstrip(_EMPTY_LINE)
        if self._transport.get_write_buffer_size():
            self._set_drains(True)
            self._waits = True
            return False
        if self._host.move(functools.partial(self._affinity.put, slot), self._came):
            return False
        self._set_drains(False)
        return not self._offer_again()

    def _set_drains(self, drains: bool) -> None:
        """Have the transport say when it has sent all that is written (`Turns.resume` goes on then), or no longer."""
        if drains is not self._drains:
            self._drains = drains
            self._transport.set_write_buffer_limits(0 if drains else HIGH_WATER)

    def _offer_again(self) -> bool:
        """Have the connection offered again after a moment; answers whether that is worth it."""
        self._looks += 1
        self._waits = self._pauses = self._looks < MOST_LOOKS and not self._transport.is_closing()
        if self._waits:
            self._context.loop.call_later(LOOK_AGAIN, self._look_again, context=self._context.fresh())
        else:
            self._looks = 0
        return self._waits

    def _look_again(self) -> None:
        self._pauses = False
        if self.state is not _ENDED:
            self._host.advance()
