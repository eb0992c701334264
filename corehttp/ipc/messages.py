"""What supervisor, workers and templates say to each other, to and from bytes, however those are cut. Pure.

A message is its size in four bytes and then a tuple as `codec` writes it. What comes in is input: it is held to a size,
to the kinds that the other end may send and how often, and to the shape of each.
"""

import struct
from collections.abc import Callable, Mapping
from enum import Enum

from corehttp.ipc.codec import dump, load

VERSION = 1  # of all this; part of the boot message, since a package may be replaced while its supervisor runs
LIMIT = 1 << 20  # bytes of a message
TEXT_LIMIT = 1 << 16  # characters of a text that a message carries

# Kinds of messages that the supervisor sends.
BOOT = "boot"
SERVE = "serve"  # the sockets listen: accept
LEAVE = "leave"  # with the reason, a `LeaveReason`
INBOXES = "inboxes"  # slots, and for each the descriptor through which its worker is passed connections
FORK = "fork"  # to a template: with the descriptor of the new worker's end of a channel
# Kinds of messages that a worker or a template sends.
READY = "ready"
FAILED = "failed"  # with the message and the traceback
CLOSED = "closed"  # no longer accepting
DRAINED = "drained"
FORKED = "forked"  # with the pid of the new worker
NOT_FORKED = "not forked"  # with what was in the way
RETIRE = "retire"  # it wants to be replaced; with the cause


class LeaveReason(Enum):
    """Why a worker is to leave."""

    STOP = "stop"  # everything ends
    REPLACED = "replaced"  # another worker has its slot, or will have it
    SLOT_CLOSES = "slot closes"  # fewer workers are wanted
    ORPHANED = "orphaned"  # the supervisor is gone; another one may serve on the same sockets


Message = tuple[object, ...]
Shape = tuple[Callable[[object], bool], ...]  # a test for each detail

_SIZE = struct.Struct("!I")


class GarbledError(Exception):
    """What came in is no message that the other end may send now; the text says why."""


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= TEXT_LIMIT and not any("\ud800" <= c <= "\udfff" for c in value)


def _is_pid(value: object) -> bool:
    return type(value) is int and 1 < value < 1 << 31


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _are_slots(value: object) -> bool:
    return isinstance(value, tuple) and all(type(slot) is int and slot >= 0 for slot in value)


FROM_SUPERVISOR: Mapping[str, Shape] = {
    BOOT: (_is_table,),
    SERVE: (),
    LEAVE: (_is_text,),
    INBOXES: (_are_slots,),
    FORK: (),
}
FROM_CHILD: Mapping[str, Shape] = {
    READY: (),
    FAILED: (_is_text, _is_text),
    CLOSED: (),
    DRAINED: (),
    FORKED: (_is_pid,),
    NOT_FORKED: (_is_text,),
    RETIRE: (_is_text,),
}
# How often a child may say each: so no child can keep the supervisor busy.
ALLOWED_OF_CHILD: Mapping[str, int] = {**dict.fromkeys(FROM_CHILD, 1), FORKED: 0, NOT_FORKED: 0}


def encode(message: Message) -> bytes:
    """The bytes of a message.

    A long text among its details loses its middle. Raises ValueError for one that is too large all the same, and for
    values that are not plain.
    """
    payload = dump(tuple(_fitting(detail) if isinstance(detail, str) else detail for detail in message))
    if len(payload) > LIMIT:
        raise ValueError(f"a message of {len(payload)} bytes; at most {LIMIT} are allowed")
    return _SIZE.pack(len(payload)) + payload


class Parser:
    """Messages out of bytes that come in pieces.

    `shapes` says what may come. `allowed` says how often; without it, any number of times.
    """

    def __init__(self, shapes: Mapping[str, Shape], allowed: Mapping[str, int] | None = None) -> None:
        self._shapes = shapes
        self._allowed = None if allowed is None else dict(allowed)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take in more bytes."""
        self._buffer += data

    def expect(self, kind: str) -> None:
        """Allow one more message of a kind."""
        if self._allowed is not None:
            self._allowed[kind] = self._allowed.get(kind, 0) + 1

    def take(self) -> Message | None:
        """The next message that is there whole, if there is one; raises GarbledError, and then again each time."""
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

    @property
    def empty(self) -> bool:
        """Whether nothing is left over."""
        return not self._buffer

    def _checked(self, message: Message) -> Message:
        kind, *details = message or (None,)
        shape = self._shapes.get(kind) if isinstance(kind, str) else None
        if shape is None:
            raise GarbledError(f"a message of an unknown kind, {_shown(kind)}")
        if len(details) != len(shape) or not all(fits(detail) for fits, detail in zip(shape, details, strict=True)):
            raise GarbledError(f"a message {kind!r} with wrong details")
        if self._allowed is not None:
            if not self._allowed.get(str(kind), 0):
                raise GarbledError(f"a message {kind!r} that nobody has asked for")
            self._allowed[str(kind)] -= 1
        return message


def _decode(payload: bytes) -> Message:
    """The message in the bytes; raises GarbledError."""
    try:
        message = load(payload)
    except ValueError:
        message = None
    if not isinstance(message, tuple):
        raise GarbledError(f"{len(payload)} bytes that are no message")
    return message


def _fitting(text: str) -> str:
    """The text without lone surrogates, and short enough: of a traceback both ends matter."""
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= TEXT_LIMIT:
        return text
    half = TEXT_LIMIT // 2 - 10
    return f"{text[:half]}\n[...]\n{text[-half:]}"


def _shown(kind: object) -> str:
    text = ascii(kind)
    return text if len(text) <= 40 else text[:40] + "..."
