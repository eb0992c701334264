"""Messages that are larger than one of the bus, in pieces that fit. Pure."""

import struct
from collections.abc import Iterator

from corehttp.ipc.bus_frames import DATA_LIMIT

SIZE_LIMIT = 16 << 20  # the most bytes of a message
HELD_LIMIT = 64 << 20  # the most bytes that are held of messages whose rest has not come yet

_HEAD = struct.Struct("!16sIHH")  # the sender, the number of the message, that of the piece, and how many pieces it has
_ROOM = DATA_LIMIT - _HEAD.size


def cut(sender: bytes, number: int, message: bytes) -> Iterator[bytes]:
    """Yield the pieces of a message. `sender` are 16 bytes that no other one has, `number` differs for each message.

    Raises ValueError for a message of more than SIZE_LIMIT bytes.
    """
    if len(message) > SIZE_LIMIT:
        raise ValueError(f"a message of {len(message)} bytes; it may have {SIZE_LIMIT} at most")
    starts = range(0, len(message), _ROOM) or range(1)
    for piece, start in enumerate(starts):
        head = _HEAD.pack(sender, number % (1 << 32), piece, len(starts))
        yield head + message[start : start + _ROOM]


class Assembly:
    """Puts pieces together. Those of one message come in their order; a message of which one is missing is dropped."""

    def __init__(self) -> None:
        # The pieces that have come of each message which is not whole, the oldest message first.
        self._begun: dict[tuple[bytes, int], list[bytes]] = {}
        self._held = 0

    def add(self, piece: bytes) -> bytes | None:
        """Take in a piece, and return the message that it completes; None if it completes none, or is no piece."""
        if len(piece) < _HEAD.size:
            return None
        sender, number, index, count = _HEAD.unpack_from(piece)
        content, key = piece[_HEAD.size :], (sender, number)
        if count == 1:
            return content
        pieces = self._begun.get(key, [])
        if index != len(pieces) or index >= count:
            self._drop(key)
            return None
        self._begun[key] = pieces
        pieces.append(content)
        self._held += len(content)
        if index + 1 == count:
            self._drop(key)
            return b"".join(pieces)
        while self._held > HELD_LIMIT:
            self._drop(next(iter(self._begun)))
        return None

    def _drop(self, key: tuple[bytes, int]) -> None:
        self._held -= sum(map(len, self._begun.pop(key, [])))
