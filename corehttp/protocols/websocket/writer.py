"""Writes what goes out over a WebSocket: the answer to its handshake, messages, control frames (RFC 6455, 5)."""

import asyncio

from corehttp.errors import AppError
from corehttp.protocols.outlet import Outlet
from corehttp.protocols.peer_socket import reset_on_close
from corehttp.protocols.tally import Tally
from corehttp.protocols.websocket.deflation import Deflater
from corehttp.protocols.websocket.frames import (
    CLOSE,
    FIN,
    PING,
    PONG,
    RSV1,
    SHORT_HEADS,
    close_payload,
    frame,
    is_close_code,
)
from corehttp.protocols.websocket.opening import OpeningAnswer
from corehttp.records import record


@record
class Settings:
    """What the options say about WebSockets; times in seconds, sizes in bytes."""

    max_size: int = 16 * 2**20  # the most bytes of a message
    compress_from: int = 512  # the least size of a message that is compressed; a smaller one costs more than it saves
    max_queue: int = 32  # messages that wait for the application before reading pauses
    write_high_water: int = 65536  # bytes that wait in the transport before send() waits for the client
    ping_interval: float = 20.0  # from the handshake, or the last pong, to the next ping; infinite: no pings
    ping_timeout: float = 20.0  # from a ping until its pong must have come


class WebSocketWriter:
    """Writes to the transport of one WebSocket; a session's `Wire`.

    While the client takes too little there is an `outlet`, in which senders wait. The connection has it made by
    `hold_senders` or `watch` and looks at it, since the transport tells the connection.
    """

    __slots__ = (
        *("_compress_from", "_deflater", "_pong", "_tally", "congested", "opening", "outlet", "sent", "sizes"),
        "transport",
    )

    def __init__(
        self, transport: asyncio.Transport, settings: Settings, opening: OpeningAnswer, tally: Tally | None
    ) -> None:
        """Write to `transport`, and count the bytes in `tally`, if there is one."""
        self.transport = transport
        self.opening: OpeningAnswer | None = opening  # None once the handshake is accepted
        self.congested = False  # whether the transport holds so much that senders are to wait
        self.outlet: Outlet | None = None  # watches what the client does not take; None if that need not be watched
        self.sent = 0  # how many messages were sent
        self.sizes = 0  # bytes of these messages, before compression
        self._compress_from = settings.compress_from
        self._deflater: Deflater | None = None  # None: messages are not compressed
        self._tally = tally
        self._pong: bytes | None = None  # payload of a pong that waits until the client has taken what is written

    def accept(self, subprotocol: str | None, headers: list[tuple[bytes, bytes]]) -> None:
        """Write the answer that opens the WebSocket; raises AppError before a byte is written."""
        assert self.opening is not None, "a handshake is accepted once"
        data, agreed = self.opening.accept(subprotocol, headers)
        if agreed is not None:
            self._deflater = Deflater(agreed)
        self.opening = None
        self._write(data)

    def deny(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, more: bool) -> None:
        """Write a response that refuses the handshake, or its first part if `more`; raises AppError before that."""
        assert self.opening is not None, "an accepted handshake is not refused"
        self._write(self.opening.deny(status, headers, body, more))

    def deny_further(self, body: bytes, more: bool) -> None:
        """Write a further piece of the body of `deny`; raises AppError if it breaks the declared length."""
        assert self.opening is not None, "an accepted handshake is not refused"
        self._write(self.opening.deny_further(body, more))

    def write_message(self, opcode: int, payload: bytes) -> None:
        """Write a whole message as one frame, compressed if that was agreed on and the message is large enough."""
        size = len(payload)
        self.sent += 1
        self.sizes += size
        if self._deflater is not None and size >= self._compress_from:
            data = frame(opcode, self._deflater.compress(payload), FIN | RSV1)
        elif size < 126:
            data = SHORT_HEADS[opcode][size] + payload
        else:
            data = frame(opcode, payload)
        self.transport.write(data)
        if self._tally is not None:
            self._tally.sent += len(data)

    def close(self, code: int, reason: str) -> None:
        """Write a close frame; raises AppError for a code that no close frame may carry (RFC 6455, 7.4)."""
        if not is_close_code(code):
            raise AppError(f"{code} cannot be the code of a close frame (RFC 6455, 7.4)")
        self.write_close(close_payload(code, reason))

    def abort(self) -> None:
        """Reset the connection, so that the client sees that what it has got is not whole."""
        reset_on_close(self.transport)
        self.transport.abort()

    async def writable(self) -> None:
        """Wait until the client has taken enough of what was written, or the connection is lost."""
        if self.congested and self.outlet is not None:
            await self.outlet.writable()

    # What the connection calls.

    @property
    def compresses(self) -> bool:
        """Whether compression was agreed on in the handshake."""
        return self._deflater is not None

    def write_close(self, payload: bytes) -> None:
        """Send a close frame, after which no other frame may be sent (RFC 6455, 5.5.1)."""
        self._pong = None
        self._write(frame(CLOSE, payload))

    def ping(self, payload: bytes) -> None:
        """Send a ping."""
        self._write(frame(PING, payload))

    def answer_pings(self, payloads: list[bytes]) -> None:
        """Answer each ping, in one write; while the client takes nothing, only the last one (RFC 6455, 5.5.3)."""
        if self.congested:
            self._pong = payloads[-1]
        else:
            self._write(b"".join([frame(PONG, payload) for payload in payloads]))

    def hold_senders(self, stall: float, now: float) -> None:
        """Let senders wait until `relax`, and `watch` what the client does not take."""
        self.congested = True
        self.watch(stall, now)

    def watch(self, stall: float, now: float) -> None:
        """Watch what the client does not take, from `now` on; it stalls after `stall` seconds without progress."""
        if self.outlet is None:
            self.outlet = Outlet(self.transport, stall, now)
        else:
            self.outlet.watch(stall, now)

    def relax(self) -> None:
        """Let senders go on, and send a pong that waits, since the client has taken what was written."""
        self._release()
        pong, self._pong = self._pong, None
        if pong is not None:
            self.answer_pings([pong])

    def give_up(self) -> None:
        """Let senders go on, since the connection is lost."""
        self._pong = None
        self._release()

    def _write(self, data: bytes) -> None:
        """Give the transport what is no message, and count it."""
        self.transport.write(data)
        if self._tally is not None:
            self._tally.sent += len(data)

    def _release(self) -> None:
        self.congested = False
        outlet, self.outlet = self.outlet, None
        if outlet is not None:
            outlet.release()
