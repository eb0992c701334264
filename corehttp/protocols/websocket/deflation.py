"""The compression of the server's messages (RFC 7692, 7.2.1). Pure."""

import zlib
from typing import TYPE_CHECKING

from corehttp.protocols.websocket.handshake import Deflate
from corehttp.protocols.websocket.inflation import END_OF_DEFLATE

if TYPE_CHECKING:
    Compressor = zlib._Compress


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
