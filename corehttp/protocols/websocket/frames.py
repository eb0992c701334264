"""WebSocket frames and messages, to and from bytes (RFC 6455, 5 to 8; RFC 7692, 7.2). Pure."""

import struct
import sys
import zlib
from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from io import BytesIO
from typing import TYPE_CHECKING

from corehttp.protocols.websocket.handshake import Deflate
from corehttp.protocols.websocket.inflation import END_OF_DEFLATE, Inflation

Unmask = Callable[[bytes, bytes], bytes]  # a payload, and the four bytes of its mask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN, RSV1, RSV = 0x80, 0x40, 0x70
MASKED = 0x80

# Codes that may stand in a close frame (RFC 6455, 7.4.1, and the IANA registry); those from 3000 on are free.
_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
_INCOMPLETE, _LATER = -1, -2  # a head is not whole; it has to wait until what came before it is inflated
_SHORT, _LONG = struct.Struct("!H"), struct.Struct("!Q")
_Utf8 = getincrementaldecoder("utf-8")

# What came in: an opcode, and the payload: str, bytes, or for CLOSE the code and the reason.
Event = tuple[int, str | bytes | tuple[int, str]]


if TYPE_CHECKING:
    Compressor = zlib._Compress


# The heads of short messages from a server, by opcode and size: 36 ns each instead of 103 (timeit, CPython 3.13).
SHORT_HEADS = {opcode: tuple(bytes((FIN | opcode, size)) for size in range(126)) for opcode in (TEXT, BINARY)}


class ProtocolError(Exception):
    """The peer broke the protocol or a limit: `code` is what the close frame says."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.events: list[Event] = []  # that came before it


def frame(opcode: int, payload: bytes, first: int = FIN) -> bytes:
    """A frame from a server, which is not masked (RFC 6455, 5.1); `first` holds FIN and RSV1."""
    size = len(payload)
    if size < 126:
        return bytes((first | opcode, size)) + payload
    if size < 65536:
        return bytes((first | opcode, 126)) + _SHORT.pack(size) + payload
    return bytes((first | opcode, 127)) + _LONG.pack(size) + payload


def close_payload(code: int, reason: str) -> bytes:
    """The payload of a close frame; the reason is cut to what a control frame can hold, between two characters.

    UTF-8 has no place for unpaired surrogates: they become question marks.
    """
    return _SHORT.pack(code) + reason[:123].encode(errors="replace")[:123].decode(errors="ignore").encode()


def is_close_code(code: int) -> bool:
    """Whether a close frame may carry it."""
    return code in _CODES or 3000 <= code <= 4999


def parse_close(payload: bytes) -> tuple[int, str]:
    """Code and reason of a close frame; 1005 where it has none. Raises ProtocolError."""
    if not payload:
        return 1005, ""
    if len(payload) == 1 or not is_close_code(_SHORT.unpack_from(payload)[0]):
        raise ProtocolError(1002, "a close frame with a wrong code")
    try:
        return _SHORT.unpack_from(payload)[0], payload[2:].decode()
    except UnicodeDecodeError:
        raise ProtocolError(1007, "a close frame whose reason is not UTF-8") from None


def unmask_in_python(data: bytes, mask: bytes) -> bytes:
    """The payload without its mask (RFC 6455, 5.3)."""
    size = len(data)
    if size < 2048:
        key = int.from_bytes((mask * (size // 4 + 1))[:size], "little")
        return (int.from_bytes(data, "little") ^ key).to_bytes(size, "little")
    out = bytearray(data)
    for offset in range(4):
        out[offset::4] = data[offset::4].translate(_table(mask[offset]))
    return bytes(out)


def _table(key: int) -> bytes:
    table = _tables.get(key)
    if table is None:
        table = _tables[key] = bytes(byte ^ key for byte in range(256))
    return table


_tables: dict[int, bytes] = {}


def _fastest_unmask() -> Unmask:
    """That of the package websockets: 0.5 us for 125 bytes, 0.4 us for 16 KiB; ours 1.4 and 16 us (CPython 3.13).

    Loaded without the package around it, which looks for its own version: 11 ms at each start, and the module email.
    """
    package = PathFinder.find_spec("websockets")
    locations = None if package is None else package.submodule_search_locations
    found = None if locations is None else PathFinder.find_spec("websockets.speedups", locations)
    if found is None or found.loader is None:
        return unmask_in_python
    try:
        speedups = module_from_spec(found)
        found.loader.exec_module(speedups)
    except ImportError:  # built for another Python
        return unmask_in_python
    apply_mask: Unmask = speedups.apply_mask
    return apply_mask


unmask = _fastest_unmask()


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


class Deflater:
    """Compresses our messages (RFC 7692, 7.2.1)."""

    __slots__ = ("_anew", "_bits", "_compressor")

    def __init__(self, deflate: Deflate) -> None:
        self._bits = deflate.deflate_bits
        self._anew = deflate.deflate_anew
        self._compressor: Compressor | None = None

    def compress(self, payload: bytes) -> bytes:
        """The payload of a message, whose first frame then has RSV1."""
        compressor = self._compressor
        if compressor is None:
            # The memory follows the window: 2^(bits + 2) bytes, and 2^(level + 9) (zlib.h, "Memory usage").
            compressor = zlib.compressobj(wbits=-self._bits, memLevel=max(1, self._bits - 7))
            if not self._anew:
                self._compressor = compressor
        data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return data[: -len(END_OF_DEFLATE)]
