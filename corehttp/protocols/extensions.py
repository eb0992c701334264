"""Checks the messages of the ASGI extensions, and gives what they carry to the stream of a response.

ASGI specification, Extensions: `http.response.pathsend`, `.zerocopysend`, `.early_hint`, `.trailers`.
"""

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from typing import Protocol

from corehttp.asgi import Message, Unchecked
from corehttp.errors import AppError
from corehttp.protocols.contracts import ResponseStream
from corehttp.protocols.progress import ResponsePhase
from corehttp.protocols.response_fields import body_left, check_bodiless, checked_status, pairs

MAX_OFFSET = 2**63 - 1  # the largest offset in a file (off_t)

_HEAD, _STARTED, _BODY, _TRAILERS, _DONE = ResponsePhase

_EXPECTED = {
    _HEAD: "the message 'http.response.start'",
    _STARTED: "the message 'http.response.body'",
    _BODY: "the message 'http.response.body'",
    _TRAILERS: "the message 'http.response.trailers'",
    _DONE: "no message after the end of the response",
}


class Response(Protocol):
    """What the message of an extension needs to know of the exchange that sends it, and what it reports to it."""

    @property
    def method(self) -> str:
        """The method of the request."""

    @property
    def phase(self) -> ResponsePhase:
        """How far the response has come."""

    @property
    def stream(self) -> ResponseStream:
        """Where the response is sent."""

    @property
    def head(self) -> Message | None:
        """The message `http.response.start`, until the stream has it."""

    @property
    def trailers(self) -> list[tuple[bytes, bytes]] | None:
        """The trailer fields so far, to be added to; None if the application announced none."""

    @property
    def takes_trailers(self) -> bool:
        """Whether the client takes trailers."""

    def piece_sent(self, more: bool) -> None:
        """Note that the stream has the head, and a piece of the body, maybe an empty one; the last unless `more`."""

    def complete(self) -> None:
        """Note that the whole response was given to the stream."""


async def send_extension(response: Response, kind: str, message: Message) -> None:
    """Send a message of the type `kind`, which is any but 'http.response.start' and 'http.response.body'.

    Raises AppError for a message that is wrong, out of order or of an unknown type, ClientDisconnectedError if the
    client leaves, and any OSError of reading a file.
    """
    phase, stream = response.phase, response.stream
    if kind == "http.response.early_hint" and phase is not _TRAILERS and phase is not _DONE:
        stream.send_early_hints(field(message, "links"))
    elif kind == "http.response.trailers" and phase is _TRAILERS and response.trailers is not None:
        response.trailers.extend(pairs(message.get("headers", ())))
        if not message.get("more_trailers", False):
            stream.write_trailers(response.trailers)
            response.complete()
    elif kind == "http.response.trailers" and phase is _DONE and not response.takes_trailers:
        pass  # the response has ended with its body, since the client takes no trailers
    elif kind == "http.response.pathsend" and phase is _STARTED:
        with opened(field(message, "path")) as (file, size):
            await _send_file(response, file, 0, size, more=False, declare=True)
    elif kind == "http.response.zerocopysend" and (phase is _STARTED or phase is _BODY):
        position, limit = message.get("offset"), message.get("count")
        file, offset, count = measured(field(message, "file"), position, limit)
        await _send_file(response, file, offset, count, more=message.get("more_body", False), declare=False)
        if position is None:
            os.lseek(file, offset + count, os.SEEK_SET)
    else:
        raise AppError(f"expected {_EXPECTED[phase]}, got {kind!r}")


async def _send_file(response: Response, file: int, offset: int, count: int, *, more: bool, declare: bool) -> None:
    """Send a part of a file as a piece of the body; declare its size if `declare`, unless the application has."""
    head = response.head
    if head is not None:
        headers = pairs(head.get("headers", ()))
        declared = [value for name, value in headers if name.lower() == b"content-length"]
        if declare and not declared:
            headers.append((b"content-length", b"%d" % count))
        # Before the head is sent, so that a file of another size than it says is answered with 500, and not cut.
        check_bodiless(checked_status(head["status"]), count)
        if declared and declared[0].isdigit() and response.method != "HEAD":
            body_left(int(declared[0]), count, more)
        response.stream.respond(head["status"], headers, b"", True)
        response.piece_sent(True)
    await response.stream.send_file(file, offset, count, more or response.trailers is not None)
    response.piece_sent(more)


def field(message: Message, name: str) -> Unchecked:
    """Return the field `name` of a message; raises AppError if it has none."""
    try:
        return message[name]
    except KeyError:
        raise AppError(f"{message['type']!r} needs the field {name!r}") from None


def as_bytes(body: object) -> bytes:
    """Return the field 'body' of a message as bytes; raises AppError if it is of another type."""
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    raise AppError(f"the field 'body' of 'http.response.body' must be bytes, not {body!r:.80}")


@contextlib.contextmanager
def opened(path: object) -> Iterator[tuple[int, int]]:
    """Open the regular file `path` for a `pathsend` while the context is open; gives its descriptor and size in bytes.

    Raises AppError if the file cannot be opened, or is no regular file.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        raise AppError(f"the field 'path' of 'http.response.pathsend' must be a path, not {path!r:.80}")
    if sys.platform == "win32":
        raise NotImplementedError
    try:
        # Non-blocking, since opening a FIFO waits for a process that writes to it (fifo(7)).
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
    """Return descriptor, offset and count (in bytes) of a `zerocopysend`; raises AppError for a wrong value.

    The default of the offset is the file's position, and that of the count is the rest of the file.
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
