"""The compression of the server's messages (RFC 7692, 7.2.1). Pure."""

import zlib
from typing import TYPE_CHECKING

from corehttp.protocols.websocket.handshake import Deflate
from corehttp.protocols.websocket.inflation import END_OF_DEFLATE

if TYPE_CHECKING:
    Compressor = zlib._Compress


class Deflater:
    """Compresses the messages that the server sends, as `deflate` was agreed on (RFC 7692, 7.2.1)."""

    __slots__ = ("_anew", "_bits", "_compressor")

    def __init__(self, deflate: Deflate) -> None:
        self._bits = deflate.deflate_bits
        self._anew = deflate.deflate_anew  # whether each message has a compressor of its own
        self._compressor: Compressor | None = None  # that of all messages; None before the first, and if `_anew`

    def compress(self, payload: bytes) -> bytes:
        """Return the compressed payload of a message; the first frame of the message has to have RSV1."""
        compressor = self._compressor
        if compressor is None:
            # A compressor has 2^(window bits + 2) and 2^(memLevel + 9) bytes (zlib.h, "Memory usage").
            compressor = zlib.compressobj(wbits=-self._bits, memLevel=max(1, self._bits - 7))
            if not self._anew:
                self._compressor = compressor
        data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return data[: -len(END_OF_DEFLATE)]
