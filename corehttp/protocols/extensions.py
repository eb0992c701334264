"""The messages of the ASGI extensions: what they carry is checked, and given to the stream of a response.

ASGI specification, Extensions: `http.response.pathsend`, `.zerocopysend`, `.early_hint`, `.trailers`.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import Protocol

from corehttp.asgi import Message, Unchecked
from corehttp.errors import AppError
from corehttp.protocols.contracts import ResponseStream
from corehttp.protocols.progress import ResponsePhase

MAX_OFFSET = 2**63 - 1  # off_t

_HEAD, _STARTED, _BODY, _TRAILERS, _DONE = ResponsePhase

_EXPECTED = {
    _HEAD: "the message 'http.response.start'",
    _STARTED: "the message 'http.response.body'",
    _BODY: "the message 'http.response.body'",
    _TRAILERS: "the message 'http.response.trailers'",
    _DONE: "no message after the end of the response",
}


class Response(Protocol):
    """What an extension's message needs to know of the exchange that sends it, and may change."""

    phase: ResponsePhase
    stream: ResponseStream
    head: Message | None  # `http.response.start`, until the stream has it
    trailers: list[tuple[bytes, bytes]] | None  # the trailer fields so far; None if the application announced none
    takes_trailers: bool  # whether the client takes trailers

    def complete(self) -> None:
        """Note that the whole response was given to the stream."""
        ...


async def send_extension(response: Response, kind: str, message: Message) -> None:
    """Send any message of the type `kind` but a response's start and body.

    Raises AppError for a message that is wrong, out of order or of an unknown type, and an OSError where a file cannot
    be read or the client has left.
    """
    phase, stream = response.phase, response.stream
    if kind == "http.response.early_hint" and phase is not _TRAILERS and phase is not _DONE:
        stream.send_early_hints(field(message, "links"))
    elif kind == "http.response.trailers" and phase is _TRAILERS and response.trailers is not None:
        response.trailers += pairs(message.get("headers", ()))
        if not message.get("more_trailers", False):
            stream.write_trailers(response.trailers)
            response.complete()
    elif kind == "http.response.trailers" and phase is _DONE and not response.takes_trailers:
        pass  # the client takes no trailers, so that the response has ended without them
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
    """Send a part of a file as a piece of the body; `declare` its size where the application has not."""
    head = response.head
    if head is not None:
        headers = pairs(head.get("headers", ()))
        if declare and not any(name.lower() == b"content-length" for name, _ in headers):
            headers.append((b"content-length", b"%d" % count))
        response.stream.respond(head["status"], headers, b"", True)
        response.head = None
        response.phase = _BODY
    await response.stream.send_file(file, offset, count, more or response.trailers is not None)
    if more:
        response.phase = _BODY
    elif response.trailers is not None:
        response.phase = _TRAILERS
    else:
        response.complete()


def field(message: Message, name: str) -> Unchecked:
    """The field `name` of a message, which must have it; raises AppError."""
    try:
        return message[name]
    except KeyError:
        raise AppError(f"{message['type']!r} needs the field {name!r}") from None


def pairs(headers: Unchecked) -> list[tuple[bytes, bytes]]:
    """The header fields of a message as a list of pairs; raises AppError unless they are pairs.

    What the pairs hold is checked where they are rendered.
    """
    try:
        return [(name, value) for name, value in headers]
    except (TypeError, ValueError) as error:
        raise AppError(f"headers must be pairs of bytes: {error}") from error


def as_bytes(body: object) -> bytes:
    """The field 'body' of a message as bytes; raises AppError if it is of another kind."""
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    raise AppError(f"the field 'body' of 'http.response.body' must be bytes, not {body!r:.80}")


@contextlib.contextmanager
def opened(path: object) -> Iterator[tuple[int, int]]:
    """Open the regular file `path` for a `pathsend`, and close it in the end; gives its descriptor and size in bytes.

    Raises AppError if it cannot be opened, or is no regular file.
    """
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
    """Descriptor, offset and count (both in bytes) of a `zerocopysend`; raises AppError for a wrong value.

    The default of the offset is the file's position, that of the count is the rest of the file.
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
