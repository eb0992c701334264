"""The body of the request that a connection reads: how much of it has come, and what of it nobody wants. Pure."""

from corehttp.protocols.exchange import Exchange
from corehttp.protocols.http1.chunked import ChunkedBody
from corehttp.protocols.http1.semantics import Intent
from corehttp.protocols.limits import Limits

DISCARD_LIMIT = 262144  # bytes of an unread body that are thrown away to keep a connection


class IncomingBody:
    """A request's body from the end of the head to the last byte, cut out of what comes in.

    Only HTTP/1 has to know where a body ends in a stream of bytes, and what is left of it after an early response.
    """

    __slots__ = ("_chunks", "_discarded", "chunked", "exchange", "persistent", "unread", "whole")

    def __init__(self, exchange: Exchange, intent: Intent, limits: Limits) -> None:
        self.exchange = exchange
        self.persistent = intent.persistent  # whether another request may follow this one
        self.unread = length = intent.length  # bytes that have not come in; -1 if the body is chunked
        self.whole = False  # whether all of it has come in
        self.chunked = length < 0
        self._chunks = ChunkedBody(limits) if length < 0 else None
        self._discarded = 0  # bytes that were thrown away

    def cut(self, source: bytes, at: int) -> tuple[bytes, int]:
        """The content that `source` has from `at` on, and where it ends: at the end of the body at the latest.

        Raises PeerError with 400, 413 or 431 for chunks that are wrong.
        """
        chunks = self._chunks
        if chunks is not None:
            piece, end = chunks.feed(source, at)
            self.whole = chunks.whole
        else:
            piece = source[at : at + self.unread]
            end = at + len(piece)
            self.unread -= len(piece)
            self.whole = not self.unread
        return piece, end

    def end_connection(self) -> None:
        """Let no further request follow, since the response ends the connection."""
        self.persistent = False

    def discard(self, size: int) -> bool:
        """Count `size` bytes as thrown away; answers whether these are more than a connection is worth."""
        self._discarded += size
        return self._discarded > DISCARD_LIMIT

    def discard_from_now(self) -> None:
        """The response is out: what comes from now on is thrown away."""
        self._discarded = 0
