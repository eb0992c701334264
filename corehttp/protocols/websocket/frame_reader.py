"""The frames of a client become messages and control frames, however they are cut (RFC 6455, 5; RFC 7692). Pure."""

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

_INCOMPLETE, _LATER = -1, -2  # a head is not whole; it has to wait until what came before it is inflated
_SHORT, _LONG = struct.Struct("!H"), struct.Struct("!Q")
_Utf8 = getincrementaldecoder("utf-8")


class FrameReader:
    """The bytes of a client become messages and control frames, however they are cut."""

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
        "ended",
        "frames",
        "room",
    )

    def __init__(self, max_size: int, deflate: Deflate | None) -> None:
        self._max_size = max_size  # bytes of a message
        self._deflate = deflate
        self._buffer = b""  # a part of a frame's head, or of a control frame
        self.ended = False  # a close frame has come
        self.behind = False  # something that was read is still to be inflated: call `feed` again, with data or without
        self.frames = 0  # that have begun
        self.room = 0  # bytes that are left of what `feed` was given
        # The message that is being read.
        self._opcode = -1
        self._compressed = False
        self._first: bytes | None = None  # what there is of it
        self._text = ""  # the same, of a text
        self._rest: BytesIO | None = None  # all of it, if it comes in several pieces
        self._size = 0  # bytes of it
        self._decoder: IncrementalDecoder | None = None  # of a text
        self._inflation: Inflation | None = None
        self._whole = False  # its last frame is here, and some of it is still to be inflated
        # Its frame that is being read.
        self._remaining = -1  # bytes of the payload; -1: none is
        self._final = False
        self._mask = b""  # for the next byte on

    @property
    def idle(self) -> bool:
        """Whether what comes next is the first frame of a message, or a control frame."""
        return self._opcode < 0 and not self._buffer

    def feed(
        self, data: bytes, at: int, most: int, room: int = sys.maxsize, frames: int = sys.maxsize
    ) -> tuple[list[Event], int]:
        """Read on from `at`, but stop after `most` messages, `room` bytes of them or so many `frames`.

        Answers what came, and where it stopped. No more than `room` bytes are inflated, so that the rest may have to
        wait until there is more room (`behind`). After a close frame nothing is read any more. Raises ProtocolError, in
        whose `events` is what came before; after it there must be no other call.
        """
        events: list[Event] = []
        last = self.frames + frames
        kept = 0  # bytes of `data` as it is read here that came earlier
        given = at
        if self._buffer and most > 0:
            kept, at = len(self._buffer), 0
            data, self._buffer = self._buffer + data[given:], b""
        self.room = room
        try:
            if self._whole and self._caught_up():
                events.append(self._message())
                most -= 1
            while at < len(data) and most > 0 and self.room > 0 and not (self._whole or self.ended):
                if self._remaining < 0:
                    if self.frames >= last:
                        break
                    try:
                        start = self._head(data, at, events)
                    except ProtocolError:
                        # What is wrong with what came before it comes first, or the outcome would depend on the cut.
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
        if at < kept:  # the frame that begins there waits for what is inflated before it
            self._buffer, at = data[at:kept], kept
        return events, given + at - kept

    def _head(self, data: bytes, at: int, events: list[Event]) -> int:
        """Read a frame's head, or a whole control frame; answers where it ends, or `_INCOMPLETE` or `_LATER` (5.2)."""
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
        extra = 2 if size == 126 else 8 if size == 127 else 0
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
        if opcode == CLOSE:
            self.ended = True
            return opcode, parse_close(payload)
        return opcode, payload

    def _begin(self, first: int, size: int) -> None:
        """A frame of a message begins."""
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
        # What is compressed is judged by what it inflates to: it may also have become longer.
        if not self._compressed and size > self._max_size - self._size:
            raise self._too_large()

    def _payload(self, data: bytes, at: int) -> tuple[int, bool]:
        """Take what there is of a frame's payload; answers where that ends, and whether the message is whole."""
        piece = data[at : at + self._remaining]
        self._remaining -= len(piece)
        if piece:
            mask = self._mask
            if self._remaining and (turn := len(piece) % 4):
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
        self._size += len(piece)
        text = ""
        if self._decoder is not None:
            try:
                text = self._decoder.decode(piece)
            except UnicodeDecodeError:
                raise ProtocolError(1007, "a text that is not UTF-8") from None
        if self._size > self._max_size:  # second, or the code would depend on the cut
            raise self._too_large()
        if self._first is None:
            self._first, self._text = piece, text
            return
        # Not a list of pieces: a client may send them byte by byte, and each takes some fifty in memory. No StringIO
        # either: that is such a list (Python 3.11), or takes four bytes for each character.
        if self._rest is None:
            self._rest = BytesIO()
            self._rest.write(self._first)
            self._first = b""
        self._rest.write(piece)

    def _caught_up(self) -> bool:
        """Inflate what has come, as far as there is room and a message may hold it; answers whether that is all."""
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
