"""What supervisor, workers and templates say to each other, to and from bytes, however those are cut. Pure.

A message is its size in four bytes, and then a tuple as `codec` writes it: the name of its kind, and the values of its
fields. What comes in is input: it is held to a size, to the kinds that the other end may send and how often, and to the
shape of each.
"""

import dataclasses
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from corehttp.ipc.codec import dump, load

VERSION = 2  # of all messages; the boot message carries it, since a package may be replaced while its supervisor runs
LIMIT = 1 << 20  # the most bytes of a message
TEXT_LIMIT = 1 << 16  # the most characters of a text that a message carries


class LeaveReason(Enum):
    """Why a worker is to leave."""

    STOP = "stop"  # everything ends
    REPLACED = "replaced"  # another worker has its slot, or will have it
    SLOT_CLOSES = "slot closes"  # fewer workers are wanted
    ORPHANED = "orphaned"  # the supervisor is gone; another one may serve on the same sockets


# What the supervisor sends.


@dataclass(frozen=True, slots=True)
class Seat:
    """The part of a boot message that is for one worker alone."""

    slot: int  # the number of its slot, from 0
    row: int  # the number of its row in the scoreboard
    sockets: int  # how many descriptors of listening sockets go with the message; those of inbox and scoreboard follow
    shared: bool  # whether all slots have the same listening sockets


@dataclass(frozen=True, slots=True)
class Boot:
    """To every child, as the first message: what to load and to serve. It says nothing that a child may not know."""

    version: int  # VERSION as the supervisor has it; a child of another version ends
    config: dict[str, object]  # the fields of `config.Config`
    directory: str  # the working directory
    path: list[str]  # sys.path
    argv: list[str]  # sys.argv
    seat: Seat | None = None  # None for a template, which serves nothing itself


@dataclass(frozen=True, slots=True)
class Serve:
    """To a worker that is ready: its sockets listen, so it is to accept connections."""


@dataclass(frozen=True, slots=True)
class Leave:
    """To a worker that serves: finish what is in flight, then end."""

    reason: LeaveReason


@dataclass(frozen=True, slots=True)
class Inboxes:
    """To a worker that serves: with the message go descriptors through which other workers are passed connections."""

    slots: tuple[int, ...]  # whose inboxes they are, in the order of the descriptors


@dataclass(frozen=True, slots=True)
class Fork:
    """To a template: fork a worker. With the message goes the descriptor of the worker's end of a channel."""


# What workers and templates send.


@dataclass(frozen=True, slots=True)
class Ready:
    """From a worker: its application is ready to serve. From a template: it has loaded the application."""


@dataclass(frozen=True, slots=True)
class Failed:
    """From a worker or a template, which ends then: why it cannot start."""

    message: str  # one line for the operator
    traceback: str  # empty if there is none


@dataclass(frozen=True, slots=True)
class Closed:
    """From a worker that leaves: it accepts no more, and has closed its copies of the listening sockets."""


@dataclass(frozen=True, slots=True)
class Drained:
    """From a worker that leaves: nothing is in flight any more, and its lifespan shutdown begins."""


@dataclass(frozen=True, slots=True)
class Forked:
    """From a template, as an answer to Fork: there is a new worker."""

    pid: int


@dataclass(frozen=True, slots=True)
class NotForked:
    """From a template, as an answer to Fork: there is no new worker."""

    reason: str  # for the operator


@dataclass(frozen=True, slots=True)
class Retire:
    """From a worker that serves: it wants to be replaced."""

    cause: str  # for the operator


FromSupervisor = Boot | Serve | Leave | Inboxes | Fork
FromChild = Ready | Failed | Closed | Drained | Forked | NotForked | Retire
M = TypeVar("M")


class GarbledError(Exception):
    """What came in is no message that the other end may send now; the text says why."""


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= TEXT_LIMIT and not any("\ud800" <= c <= "\udfff" for c in value)


def _is_pid(value: object) -> bool:
    return type(value) is int and 1 < value < 1 << 31


def _is_whole(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _is_path(value: object) -> bool:
    return isinstance(value, str)


def _are_paths(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_path, value))


def _are_slots(value: object) -> bool:
    return isinstance(value, tuple) and all(map(_is_whole, value))


def _is_reason(value: object) -> bool:
    return value in [reason.value for reason in LeaveReason]


def _is_seat(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, tuple) or len(value) != len(dataclasses.fields(Seat)):
        return False
    *numbers, shared = value
    return all(map(_is_whole, numbers)) and isinstance(shared, bool)


@dataclass(frozen=True, slots=True)
class Kind(Generic[M]):
    """What a message of one kind is made of."""

    cls: type[M]
    shape: tuple[Callable[[object], bool], ...] = ()  # a test for the value of each field, as it is sent
    make: Callable[..., M] | None = None  # makes the message of those values; None: `cls` itself does


def _make_boot(
    version: int,
    config: dict[str, object],
    directory: str,
    path: list[str],
    argv: list[str],
    seat: tuple[int, int, int, bool] | None,
) -> Boot:
    return Boot(version, config, directory, path, argv, None if seat is None else Seat(*seat))


FROM_SUPERVISOR: Mapping[str, Kind[FromSupervisor]] = {
    "boot": Kind(Boot, (_is_whole, _is_table, _is_path, _are_paths, _are_paths, _is_seat), _make_boot),
    "serve": Kind(Serve),
    "leave": Kind(Leave, (_is_reason,), lambda reason: Leave(LeaveReason(reason))),
    "inboxes": Kind(Inboxes, (_are_slots,)),
    "fork": Kind(Fork),
}
FROM_CHILD: Mapping[str, Kind[FromChild]] = {
    "ready": Kind(Ready),
    "failed": Kind(Failed, (_is_text, _is_text)),
    "closed": Kind(Closed),
    "drained": Kind(Drained),
    "forked": Kind(Forked, (_is_pid,)),
    "not forked": Kind(NotForked, (_is_text,)),
    "retire": Kind(Retire, (_is_text,)),
}
# How often a child may say each, so that no child can keep the supervisor busy. `Parser.expect` allows more.
ALLOWED_OF_CHILD: Mapping[type[FromChild], int] = {
    **dict.fromkeys((kind.cls for kind in FROM_CHILD.values()), 1),
    Forked: 0,
    NotForked: 0,
}
_NAMES: Mapping[type, str] = {kind.cls: name for kinds in (FROM_SUPERVISOR, FROM_CHILD) for name, kind in kinds.items()}

_SIZE = struct.Struct("!I")


def encode(message: FromSupervisor | FromChild) -> bytes:
    """Return the bytes of a message.

    A long text for the operator loses its middle. Raises ValueError for a message that is too large all the same, and
    for values that are not plain.
    """
    values = (_to_plain(getattr(message, field.name)) for field in dataclasses.fields(message))
    if isinstance(message, Failed | NotForked | Retire):
        values = (_fitting(str(value)) for value in values)
    payload = dump((_NAMES[type(message)], *values))
    if len(payload) > LIMIT:
        raise ValueError(f"a message of {len(payload)} bytes; at most {LIMIT} are allowed")
    return _SIZE.pack(len(payload)) + payload


def _to_plain(value: object) -> object:
    """Return what `codec` can write for the value of a field."""
    match value:
        case LeaveReason():
            return value.value
        case Seat():
            return (value.slot, value.row, value.sockets, value.shared)
        case _:
            return value


class Parser(Generic[M]):
    """Makes messages of bytes that come in pieces.

    `kinds` are those that may come. `allowed` says how often each may come; without it, any number of times.
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
        """Return the next message that is there whole, or None. Raises GarbledError, and then again at each call."""
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
    """Return the tuple in the bytes. Raises GarbledError."""
    try:
        plain = load(payload)
    except ValueError:
        plain = None
    if not isinstance(plain, tuple):
        raise GarbledError(f"{len(payload)} bytes that are no message")
    return plain


def _fitting(text: str) -> str:
    """Return the text without lone surrogates, and short enough: of a traceback both ends matter."""
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= TEXT_LIMIT:
        return text
    half = TEXT_LIMIT // 2 - 10
    return f"{text[:half]}\n[...]\n{text[-half:]}"


def _shown(kind: object) -> str:
    text = ascii(kind)
    return text if len(text) <= 40 else text[:40] + "..."
