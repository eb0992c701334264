"""Messages as bytes that come in whatever pieces. Pure.

A message is written as its size in four bytes, and then a tuple as `codec` writes it: the name of its kind, and the
values of its fields. What comes in is input: it is held to a size, to the kinds that the other end may send, to how
often it may send each, and to the types of their fields.
"""

import struct
from collections.abc import Mapping
from typing import Generic, TypeVar

from corehttp.ipc.codec import dump, load
from corehttp.ipc.messages import (
    NAMES,
    FromChild,
    FromSupervisor,
    Kind,
    LeaveReason,
    NotForked,
    Reopened,
    Retire,
    Seat,
    StartFailed,
)
from corehttp.ipc.shapes import TEXT_LIMIT
from corehttp.records import field_names

LIMIT = 1 << 20  # the most bytes of a message, without its size

M = TypeVar("M")

_SIZE = struct.Struct("!I")


class GarbledError(Exception):
    """What has come in is no message that the other end may send now. The text says what it is instead."""


def encode(message: FromSupervisor | FromChild) -> bytes:
    """Return the bytes of a message. A text for the operator that is too long loses its middle.

    Raises ValueError for a message that is too large all the same, and for a field that `codec` cannot write.
    """
    values = (_to_plain(getattr(message, name)) for name in field_names(type(message)))
    if isinstance(message, StartFailed | NotForked | Retire | Reopened):
        values = (_fitting(str(value)) for value in values)
    payload = dump((NAMES[type(message)], *values))
    if len(payload) > LIMIT:
        raise ValueError(f"a message of {len(payload)} bytes; at most {LIMIT} are allowed")
    return _SIZE.pack(len(payload)) + payload


def _to_plain(value: object) -> object:
    """Return what `codec` can write for the value of a field."""
    match value:
        case LeaveReason():
            return value.value
        case Seat():
            return tuple(getattr(value, name) for name in field_names(Seat))
        case _:
            return value


class Parser(Generic[M]):
    """Makes messages of bytes that come in pieces.

    `kinds` are the kinds of messages that may come in, by their names. `allowed` says how often a message of each class
    may come; None sets no limit.
    """

    def __init__(self, kinds: Mapping[str, Kind[M]], allowed: Mapping[type[M], int] | None = None) -> None:
        self._kinds = kinds
        self._allowed = None if allowed is None else dict(allowed)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take in more bytes."""
        self._buffer += data

    def expect(self, kind: type[M]) -> None:
        """Allow one more message of a kind."""
        if self._allowed is not None:
            self._allowed[kind] = self._allowed.get(kind, 0) + 1

    def take(self) -> M | None:
        """Return the next message, or None if it has not come in whole yet.

        Raises GarbledError for anything else, and then again at each call.
        """
        buffer = self._buffer
        if len(buffer) < _SIZE.size:
            return None
        (size,) = _SIZE.unpack_from(buffer)
        if size > LIMIT:
            raise GarbledError(f"a message of {size} bytes")
        end = _SIZE.size + size
        if len(buffer) < end:
            return None
        message = self._checked(_decode(bytes(buffer[_SIZE.size : end])))
        del buffer[:end]
        return message

    def _checked(self, plain: tuple[object, ...]) -> M:
        """Return the message of a name and the values of its fields. Raises GarbledError if it may not come in."""
        name, *values = plain or (None,)
        kind = self._kinds.get(name) if isinstance(name, str) else None
        if kind is None:
            raise GarbledError(f"a message of an unknown kind, {_shown(name)}")
        if len(values) != len(kind.shape):
            raise GarbledError(f"a message {name!r} with wrong details")
        if not all(fits(value) for fits, value in zip(kind.shape, values, strict=True)):
            raise GarbledError(f"a message {name!r} with wrong details")
        if self._allowed is not None:
            if not self._allowed.get(kind.cls, 0):
                raise GarbledError(f"a message {name!r} that nobody has asked for")
            self._allowed[kind.cls] -= 1
        return (kind.make or kind.cls)(*values)


def _decode(payload: bytes) -> tuple[object, ...]:
    """Return the tuple that these bytes are. Raises GarbledError if they are none."""
    try:
        plain = load(payload)
    except ValueError:
        plain = None
    if not isinstance(plain, tuple):
        raise GarbledError(f"{len(payload)} bytes that are no message")
    return plain


def _fitting(text: str) -> str:
    """Return a text that may be sent: lone surrogates are escaped, and one that is too long loses its middle.

    Both ends are kept, since both matter in a traceback.
    """
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= TEXT_LIMIT:
        return text
    half = TEXT_LIMIT // 2 - 10
    return f"{text[:half]}\n[...]\n{text[-half:]}"


def _shown(kind: object) -> str:
    """Return a value for a line of the log, in at most 43 characters of ASCII."""
    text = ascii(kind)
    return text if len(text) <= 40 else text[:40] + "..."
