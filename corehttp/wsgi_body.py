"""The body of a request as the file that a WSGI application reads (PEP 3333, "Input and Error Streams")."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class _Pieces(io.RawIOBase):
    """A file without a buffer, of the pieces of a body as they come."""

    def __init__(self, next_piece: Callable[[], bytes]) -> None:
        self._next_piece = next_piece
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Copy what there is into `buffer`, and return its size in bytes, 0 at the end; waits if there is nothing."""
        if not self._piece:
            self._piece = memoryview(self._next_piece())
        target = memoryview(buffer).cast("B")
        size = min(len(target), len(self._piece))
        target[:size] = self._piece[:size]
        self._piece = self._piece[size:]
        return size


def body_file(next_piece: Callable[[], bytes]) -> io.BufferedReader:
    """Return a file of the pieces of a body. `next_piece` waits for one; it returns b"" at the end, and only there."""
    return io.BufferedReader(_Pieces(next_piece))
