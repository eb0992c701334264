"""What the messages of the ASGI extensions carry, checked: files by path or descriptor, links, trailers.

ASGI specification, Extensions: `http.response.pathsend`, `.zerocopysend`, `.early_hint`, `.trailers`.
"""

import contextlib
import os
import stat
from collections.abc import Iterator

from corehttp.asgi import Message, Unchecked
from corehttp.errors import AppError

MAX_OFFSET = 2**63 - 1  # off_t


def field(message: Message, name: str) -> Unchecked:
    """A field that the message must have; raises AppError."""
    try:
        return message[name]
    except KeyError:
        raise AppError(f"{message['type']!r} needs the field {name!r}") from None


def pairs(headers: Unchecked) -> list[tuple[bytes, bytes]]:
    """The fields of a message as a list; what they hold is checked where they are rendered. Raises AppError."""
    try:
        return [(name, value) for name, value in headers]
    except (TypeError, ValueError) as error:
        raise AppError(f"headers must be pairs of bytes: {error}") from error


@contextlib.contextmanager
def opened(path: object) -> Iterator[tuple[int, int]]:
    """Descriptor and size in bytes of a regular file; raises AppError for anything else."""
    if not isinstance(path, str | bytes | os.PathLike):
        raise AppError(f"the field 'path' of 'http.response.pathsend' must be a path, not {path!r:.80}")
    try:
        # Non-blocking: to open a FIFO would wait for somebody to write to it (fifo(7)).
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise AppError(f"http.response.pathsend: the file cannot be opened: {error}") from error
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise AppError(f"http.response.pathsend: {os.fsdecode(path)} is not a regular file")
        yield file, status.st_size
    finally:
        os.close(file)


def measured(file: object, offset: object, count: object) -> tuple[int, int, int]:
    """Descriptor, offset and count in bytes of a `zerocopysend`; raises AppError.

    Without an offset it is the file's position, without a count the rest of the file.
    """
    try:
        number = file if isinstance(file, int) else file.fileno()  # type: ignore[attr-defined]
        start: Unchecked = os.lseek(number, 0, os.SEEK_CUR) if offset is None else offset
        size = os.fstat(number).st_size - start if count is None else count
    except (AttributeError, TypeError, OSError, ValueError) as error:
        raise AppError(f"http.response.zerocopysend needs a file with a descriptor and a position: {error}") from error
    if not isinstance(start, int) or not isinstance(size, int) or not (0 <= start <= start + size <= MAX_OFFSET):
        raise AppError(
            f"http.response.zerocopysend: offset {offset!r} and count {count!r} must be numbers from 0 to 2**63 - 1"
        )
    return number, start, size
