"""What the compressed messages of a WebSocket inflate to, some at a time (RFC 7692, 7.2.2). Pure."""

import zlib
from typing import TYPE_CHECKING

from corehttp.protocols.websocket.handshake import Deflate

if TYPE_CHECKING:
    from zlib import _Decompress as Inflater

END_OF_DEFLATE = b"\x00\x00\xff\xff"
# Bytes that zlib is given at once. Where a stream ends (a block with BFINAL, RFC 7692, 7.2.3.4) zlib copies the rest: a
# client whose streams are two bytes long would have all that it sends copied for each of them.
_SMALL, _LARGE = 64, 65536
_STREAM = 1024  # bytes that the end of a stream counts for: another decompressor takes as long as so many bytes


class Inflation:
    """The compressed pieces of one message after the other; what they inflate to is asked for bit by bit.

    The time is proportional to the bytes that go in and come out, and what `take` does at once is bounded by its
    argument, however the client has compressed.
    """

    __slots__ = ("_at", "_bits", "_data", "_inflater", "_more", "_pieces", "_window", "spent")

    def __init__(self, deflate: Deflate) -> None:
        self._bits = deflate.inflate_bits
        self._inflater: Inflater | None = None
        self._pieces: list[bytes] = []  # not joined one by one: a client may send a message in very many frames
        self._data = b""
        self._at = 0  # before it all is inflated
        self._more = False  # zlib may have more to say without another byte
        self._window = _LARGE
        self.spent = 0  # bytes that the last `take` counts for

    @property
    def pending(self) -> bool:
        """Whether there is something to inflate."""
        return self._more or bool(self._pieces) or self._at < len(self._data)

    def add(self, piece: bytes) -> None:
        """A further piece of the message has come."""
        self._pieces.append(piece)

    def take(self, most: int) -> bytes:
        """The next bytes, at most so many (at least one); call it until nothing is `pending`. Raises zlib.error."""
        out: list[bytes] = []
        left = most
        while left > 0 and self.pending:
            if self._at == len(self._data) and self._pieces:
                self._data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
                self._at = 0
                self._pieces = []
            left -= self._step(out, left)
        self.spent = most - left
        if self._at == len(self._data):
            self._data, self._at = b"", 0
        return out[0] if len(out) == 1 else b"".join(out)

    def _step(self, out: list[bytes], most: int) -> int:
        """Give zlib a window of the data; answers what that counts for."""
        inflater = self._inflater
        if inflater is None:
            inflater = self._inflater = zlib.decompressobj(-self._bits)
        window = self._data[self._at : self._at + self._window]
        piece = inflater.decompress(window, most)
        # At the end of a stream both may hold the rest.
        self._at += len(window) - len(inflater.unused_data if inflater.eof else inflater.unconsumed_tail)
        self._more = len(piece) == most and not inflater.eof
        if piece:
            out.append(piece)
        if not inflater.eof:
            self._window = min(2 * self._window, _LARGE)
            return len(piece)
        self._inflater = None
        self._window = _SMALL
        return len(piece) + _STREAM
