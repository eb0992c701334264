"""Inflates the compressed messages of a WebSocket's client, some bytes at a time (RFC 7692, 7.2.2). Pure."""

import zlib
from typing import TYPE_CHECKING

from corehttp.protocols.websocket.handshake import Deflate

if TYPE_CHECKING:
    from zlib import _Decompress as Inflater

END_OF_DEFLATE = b"\x00\x00\xff\xff"  # what a sender leaves out at the end of each message (RFC 7692, 7.2.1)
# How many bytes zlib is given at once: few behind the end of a stream (a block with BFINAL, RFC 7692, 7.2.3.4), then
# more and more. At the end of a stream zlib copies the rest of what it was given, so that a client whose streams are
# two bytes long could have all that it sends copied for each of them.
_SMALL, _LARGE = 64, 65536
_STREAM = 1024  # bytes that the end of a stream counts for, since a new decompressor takes as long as so many bytes


class Inflation:
    """Takes the compressed pieces of one message after the other, and gives what they inflate to in parts.

    The time is proportional to the bytes that go in and come out, and what one call of `take` does is bounded by its
    argument, however the client has compressed.
    """

    __slots__ = ("_at", "_bits", "_data", "_inflater", "_more", "_pieces", "_window", "spent")

    def __init__(self, deflate: Deflate) -> None:
        self._bits = deflate.inflate_bits
        self._inflater: Inflater | None = None
        # Pieces behind `_data`. Joined all at once, since a client may send a message in very many frames.
        self._pieces: list[bytes] = []
        self._data = b""  # what is being inflated
        self._at = 0  # how many bytes of `_data` are inflated
        self._more = False  # whether zlib may have more to give without another byte
        self._window = _LARGE  # how many bytes zlib is given next
        self.spent = 0  # bytes that the last call of `take` counts for

    @property
    def pending(self) -> bool:
        """Whether there is something to inflate."""
        return self._more or bool(self._pieces) or self._at < len(self._data)

    def add(self, piece: bytes) -> None:
        """Add a further piece of the message."""
        self._pieces.append(piece)

    def take(self, most: int) -> bytes:
        """Return the next bytes, at most `most`, which is at least 1; to be called until nothing is `pending`.

        Raises zlib.error for what cannot be inflated.
        """
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
        """Give zlib some of the data, and add what that inflates to, at most `most` bytes, to `out`.

        Answers how many bytes that counts for.
        """
        inflater = self._inflater
        if inflater is None:
            inflater = self._inflater = zlib.decompressobj(-self._bits)
        window = self._data[self._at : self._at + self._window]
        piece = inflater.decompress(window, most)
        # At the end of a stream both attributes may hold the rest, so only one of them is asked.
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
