"""Reads a client's frames: bytes become messages and control frames, however they are cut (RFC 6455, 5). Pure."""

import struct
import sys
import zlib
from codecs import IncrementalDecoder, getincrementaldecoder
from io import BytesIO

from corehttp.protocols.websocket.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    MASKED,
    PING,
    PONG,
    RSV,
    RSV1,
    TEXT,
    Event,
    ProtocolError,
    parse_close,
)
from corehttp.protocols.websocket.handshake import Deflate
from corehttp.protocols.websocket.inflation import END_OF_DEFLATE, Inflation
from corehttp.protocols.websocket.masking import unmask

# What `_head` answers instead of where a head ends: it is not whole, or has to wait until what came before is inflated.
_INCOMPLETE, _LATER = -1, -2
_SIZE_BYTES = {126: 2, 127: 8}  # bytes of the size behind a second byte with these values (RFC 6455, 5.2)
_SHORT, _LONG = struct.Struct("!H"), struct.Struct("!Q")
_Utf8 = getincrementaldecoder("utf-8")


class FrameReader:
    """Makes messages and control frames of the bytes of one client; `deflate` is None without compression (RFC 7692).

    A message of more than `max_size` bytes, and whatever else RFC 6455 forbids, is a ProtocolError.
    """

    __slots__ = (
        "_buffer",
        "_compressed",
        "_decoder",
        "_deflate",
        "_final",
        "_first",
        "_inflation",
        "_mask",
        "_max_size",
        "_opcode",
        "_remaining",
        "_rest",
        "_size",
        "_text",
        "_whole",
        "behind",
        "close_received",
        "frames",
        "room",
    )

    def __init__(self, max_size: int, deflate: Deflate | None) -> None:
        self._max_size = max_size  # bytes that a message may have
        self._deflate = deflate
        self._buffer = b""  # a part of a frame's head or of a control frame, which is not whole
        self.close_received = False  # whether a close frame has come
        self.behind = False  # whether a part of what was read is still to be inflated, by another call of `feed`
        self.frames = 0  # how many frames of messages, and control frames, have been begun
        self.room = 0  # bytes of messages that the last call of `feed` could still have read
        # The message that is being read.
        self._opcode = -1  # TEXT or BINARY; -1 between two messages
        self._compressed = False
        self._first: bytes | None = None  # the first piece of the message; None before it
        self._text = ""  # the first piece of a text, decoded
        self._rest: BytesIO | None = None  # all pieces of the message, once there are several
        self._size = 0  # bytes of the message so far
        self._decoder: IncrementalDecoder | None = None  # decodes a text that comes in pieces
        self._inflation: Inflation | None = None  # that of compressed messages; kept if they share it
        self._whole = False  # whether the message's last frame has come, and some of it is still to be inflated
        # Its frame that is being read.
        self._remaining = -1  # bytes of the payload that are to come; -1 between two frames
        self._final = False  # whether the frame is the last of its message
        self._mask = b""  # four bytes; the first of them is for the next byte of the payload

    @property
    def between_messages(self) -> bool:
        """Whether what comes next is the first frame of a message, or a control frame."""
        return self._opcode < 0 and not self._buffer

    def feed(
        self, data: bytes, at: int, most: int, room: int = sys.maxsize, frames: int = sys.maxsize
    ) -> tuple[list[Event], int]:
        """Read `data` from `at` on; stop after `most` messages, `room` bytes of messages, or so many `frames`.

        Answers what came, and where in `data` the reading stopped. No more than `room` bytes are inflated; if there
        are more, `behind` says so, and another call goes on. After a close frame nothing is read any more. Raises
        ProtocolError, whose `events` are what came before the fault; then `feed` must not be called again.
        """
        events: list[Event] = []
        last = self.frames + frames
        kept = 0  # bytes at the beginning of what is read that an earlier call has kept in `_buffer`
        given = at
        if self._buffer and most > 0:
            kept, at = len(self._buffer), 0
            data, self._buffer = self._buffer + data[given:], b""
        self.room = room
        try:
            if self._whole and self._caught_up():
                events.append(self._message())
                most -= 1
            while at < len(data) and most > 0 and self.room > 0 and not (self._whole or self.close_received):
                if self._remaining < 0:
                    if self.frames >= last:
                        break
                    try:
                        start = self._head(data, at, events)
                    except ProtocolError:
                        # A fault of what came before is to be found first, or the outcome would depend on the cut.
                        if self._inflation is None or self._caught_up():
                            raise
                        break
                    if start < 0:
                        if start == _INCOMPLETE:
                            self._buffer, at = data[at:], len(data)
                        break
                    at = start
                    self.frames += 1
                if self._remaining >= 0:
                    at, self._whole = self._payload(data, at)
                    if self._whole and (self._inflation is None or self._caught_up()):
                        events.append(self._message())
                        most -= 1
            self.behind = self._inflation is not None and not (self._caught_up() and not self._whole)
        except ProtocolError as error:
            error.events = events
            raise
        if not kept:
            return events, at
        if at < kept:  # a frame that begins in what was kept waits until what came before is inflated
            self._buffer, at = data[at:kept], kept
        return events, given + at - kept

    def _head(self, data: bytes, at: int, events: list[Event]) -> int:
        """Read the head of a frame, or a whole control frame, that begins at `at` (RFC 6455, 5.2).

        Answers where it ends, or `_INCOMPLETE` or `_LATER`. Control frames are added to `events`.
        """
        available = len(data) - at
        first = data[at]
        self._check_first(first)
        if available < 2:
            return _INCOMPLETE
        if not data[at + 1] & MASKED:
            raise ProtocolError(1002, "a frame that is not masked")
        size = data[at + 1] & 0x7F
        control = first & 0x08
        if control and size > 125:
            raise ProtocolError(1002, "a control frame of more than 125 bytes")
        extra = _SIZE_BYTES.get(size, 0)
        start = at + 6 + extra
        if len(data) < start + (size if control else 0):
            return _INCOMPLETE
        mask = data[start - 4 : start]
        if control:
            if self._inflation is not None and not self._caught_up():
                return _LATER
            events.append(self._control(first & 0x0F, unmask(data[start : start + size], mask)))
            return start + size
        if extra:
            form, least = (_SHORT, 126) if extra == 2 else (_LONG, 65536)
            (size,) = form.unpack_from(data, at + 2)
            if size < least or size > 2**63 - 1:
                raise ProtocolError(1002, "a frame whose length is not in its shortest form")
        self._begin(first, size)
        self._mask = mask
        return start

    def _check_first(self, first: int) -> None:
        """Raise ProtocolError if no frame may begin with the byte `first` here."""
        opcode = first & 0x0F
        compressed = first & RSV == RSV1 and self._deflate is not None and opcode in (TEXT, BINARY)
        if first & RSV and not compressed:
            raise ProtocolError(1002, "a frame with reserved bits")
        if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise ProtocolError(1002, "a frame with a reserved opcode")
        if opcode & 0x08:
            if not first & FIN:
                raise ProtocolError(1002, "a control frame in fragments")
        elif (opcode == CONTINUATION) is (self._opcode < 0):
            raise ProtocolError(1002, "a continuation of nothing, or a new message before the end of the last")

    def _control(self, opcode: int, payload: bytes) -> Event:
        """Return the event of a control frame; raises ProtocolError for a wrong close frame."""
        if opcode == CLOSE:
            self.close_received = True
            return opcode, parse_close(payload)
        return opcode, payload

    def _begin(self, first: int, size: int) -> None:
        """Begin a frame of a message, whose first byte is `first` and whose payload has `size` bytes."""
        opcode = first & 0x0F
        self._remaining = size
        self._final = bool(first & FIN)
        if opcode != CONTINUATION:
            self._opcode = opcode
            self._first = self._rest = None
            self._text = ""
            self._size = 0
            self._decoder = _Utf8() if opcode == TEXT else None
            self._compressed = bool(first & RSV1)
            if self._compressed and self._inflation is None:
                assert self._deflate is not None
                self._inflation = Inflation(self._deflate)
        # A compressed message is judged by what it inflates to; compression may also have made it longer.
        if not self._compressed and size > self._max_size - self._size:
            raise self._too_large()

    def _payload(self, data: bytes, at: int) -> tuple[int, bool]:
        """Take what `data` has of the frame's payload; answers where that ends, and whether the message is whole."""
        piece = data[at : at + self._remaining]
        self._remaining -= len(piece)
        if piece:
            mask = self._mask
            turn = len(piece) % 4
            if turn and self._remaining:
                self._mask = mask[turn:] + mask[:turn]
            if self._compressed and self._inflation is not None:
                self._inflation.add(unmask(piece, mask))
            else:
                self.room -= len(piece)
                self._take(unmask(piece, mask))
        whole = not self._remaining and self._final
        if not self._remaining:
            self._remaining = -1
        if whole and self._compressed and self._inflation is not None:
            self._inflation.add(END_OF_DEFLATE)
        return at + len(piece), whole

    def _take(self, piece: bytes) -> None:
        """Add a piece to the message; raises ProtocolError if it is too large, or a text that is not UTF-8."""
        self._size += len(piece)
        text = ""
        if self._decoder is not None:
            try:
                text = self._decoder.decode(piece)
            except UnicodeDecodeError:
                raise ProtocolError(1007, "a text that is not UTF-8") from None
        if self._size > self._max_size:  # checked after the decoding, or the close code would depend on the cut
            raise self._too_large()
        if self._first is None:
            self._first, self._text = piece, text
            return
        # A list of pieces would take some fifty bytes for each, and a client may send them byte by byte. A StringIO is
        # such a list in Python 3.11, and takes four bytes for each character later.
        if self._rest is None:
            self._rest = BytesIO()
            self._rest.write(self._first)
            self._first = b""
        self._rest.write(piece)

    def _caught_up(self) -> bool:
        """Inflate what has come, as far as there is room and a message may grow; answers whether nothing is left."""
        inflation = self._inflation
        if inflation is None:
            return True
        while inflation.pending:
            if self.room <= 0:
                return False
            try:
                piece = inflation.take(min(self.room, self._max_size - self._size + 1))
            except zlib.error:
                raise ProtocolError(1007, "a message that cannot be inflated") from None
            self.room -= inflation.spent
            if piece:
                self._take(piece)
        return True

    def _message(self) -> Event:
        """End the message and return it; raises ProtocolError if its text ends within a character."""
        self._whole = False
        if self._compressed and self._deflate is not None and self._deflate.inflate_anew:
            self._inflation = None
        opcode, self._opcode = self._opcode, -1
        if self._decoder is not None:
            try:
                self._decoder.decode(b"", True)
            except UnicodeDecodeError:
                raise ProtocolError(1007, "a text that is not UTF-8") from None
        first, rest = self._first or b"", self._rest
        self._first = self._rest = self._decoder = None
        if rest is not None:
            return opcode, rest.getvalue().decode() if opcode == TEXT else rest.getvalue()
        return opcode, self._text if opcode == TEXT else first

    def _too_large(self) -> ProtocolError:
        return ProtocolError(1009, f"a message of more than {self._max_size} bytes")
