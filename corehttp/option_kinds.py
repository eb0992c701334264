"""The kinds of values that options have: how each is read from what was given, and what is allowed, in words.

Pure. Every reader raises ValueError, TypeError, KeyError or OverflowError for what is no such value.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from corehttp.errors import AppError
from corehttp.protocols.fields import check_field, is_prefix

Fields = tuple[tuple[bytes, bytes], ...]


class Kind(NamedTuple):
    """How an option's value is read, and how to say what is allowed."""

    parse: Callable[[object], object]  # raises ValueError
    allowed: str
    is_switch: bool = False
    takes_nothing: bool = False  # empty text is a value too
    is_list: bool = False
    choices: tuple[str, ...] = ()


def _text(value: object) -> str:
    text = _any_text(value)
    if not text:
        raise ValueError
    return text


def _any_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return str.__str__(value)  # a plain one, whatever class of text it is of: only that goes through a channel


def _path(value: object) -> str:
    to_text = getattr(type(value), "__fspath__", None)  # os.PathLike
    return _any_text(value if to_text is None else to_text(value))


def whole(low: int, high: int) -> Kind:
    """A whole number from `low` to `high`."""

    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError
        number = int(value)
        if not low <= number <= high:
            raise ValueError
        return number

    return Kind(parse, f"a whole number from {low} to {high}")


def size(low: int) -> Kind:
    """A number of bytes, also with K, M or G (powers of 1024); 0 where it is allowed beside `low` and more."""

    def parse(value: object) -> int:
        text = str(value).strip().upper() if isinstance(value, int | str) and not isinstance(value, bool) else ""
        parts = re.fullmatch(r"([0-9]{1,15})([KMG]?)B?", text)
        if parts is None:
            raise ValueError
        number = int(parts[1]) * {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}[parts[2]]
        if number < low:
            raise ValueError
        return number

    return Kind(parse, f"a number of bytes from {low}, as in 65536, 64K or 10M")


def _paths(value: object) -> tuple[str, ...]:
    """Paths; in the environment one per line."""
    if isinstance(value, str):
        value = value.splitlines()
    if not isinstance(value, list | tuple) or not all(isinstance(path, str) and path[:1] == "/" for path in value):
        raise ValueError
    return tuple(map(str.__str__, value))


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    number = float(value)
    if not 0 <= number <= 31_536_000:
        raise ValueError
    return number


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    return {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}[
        str(value).lower()
    ]


def choice(*choices: str) -> Kind:
    """One of these words, in whatever case."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or value.lower() not in choices:
            raise ValueError
        return value.lower()

    return Kind(parse, "one of " + ", ".join(choices), choices=choices)


def _workers(value: object) -> str:
    text = str(value).strip().lower() if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if re.fullmatch(r"[1-9][0-9]{0,3}|auto|auto-[0-9]{1,3}|auto/[1-9][0-9]{0,2}", text) is None:
        raise ValueError
    return text


def optional(kind: Kind) -> Kind:
    """The same kind, or None, which no text means."""
    return Kind(lambda value: None if value is None else kind.parse(value), kind.allowed)


def _trust(value: object) -> str:
    """Who is trusted, as `protocols.peer.Trust` takes it; in a file also as a list."""
    if isinstance(value, list | tuple):
        value = ",".join(_any_text(entry) for entry in value)
    text = _any_text(value)
    if text != THIS_MACHINE:
        from corehttp.protocols.peer import Trust  # here, since it takes the supervisor 0.5 MB

        Trust(text)
    return text


def _root_path(value: object) -> str:
    """A prefix of paths, without the slash at its end: what follows begins with one."""
    text = _any_text(value).rstrip("/")
    if text and not is_prefix(text):
        raise ValueError
    return text


def _forwarded(value: object) -> str:
    """Ends of names of proxies' fields; in a file also as a list."""
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list | tuple):
        raise ValueError
    words = [_text(word).strip().lower().removeprefix("x-forwarded-") for word in words]
    if not set(words) <= set(FORWARDED.split(",")):
        raise ValueError
    return ",".join(words)


def _mode(value: object) -> str:
    """Permissions in octal digits. Not as a number, since nobody could tell 440 from 0o440."""
    if not isinstance(value, str) or re.fullmatch(r"(0o?)?[0-7]{3}", value) is None:
        raise ValueError
    return value[-3:]


def _fields(value: object) -> Fields:
    """Header lines NAME:VALUE; in the environment one per line."""
    if isinstance(value, str):
        value = value.splitlines()
    if not isinstance(value, list | tuple):
        raise ValueError
    return tuple(_field(line) for line in value)


def _field(line: object) -> tuple[bytes, bytes]:
    if isinstance(line, tuple | list) and len(line) == 2:
        name, text = (part.decode("latin-1") if isinstance(part, bytes) else str(part) for part in line)
    elif isinstance(line, str) and ":" in line:
        name, _, text = line.partition(":")
    else:
        raise ValueError
    field = (name.strip().encode("latin-1"), text.strip().encode("latin-1"))
    try:
        check_field(*field)
    except AppError as error:
        raise ValueError from error
    return field


TEXT = Kind(_text, "some text")
ANY_TEXT = Kind(_any_text, "text", takes_nothing=True)
DIRECTORY = Kind(_path, "a path", takes_nothing=True)
SOCKET_PATH = Kind(lambda value: _text(_path(value)), "some text")
SECONDS = Kind(_seconds, "a number of seconds, 0 or more")
SWITCH = Kind(_switch, "true or false", is_switch=True)
WORKERS = Kind(_workers, "a number from 1, auto, auto-1 (fewer than auto) or auto/2 (a part of auto)")
FIELDS = Kind(_fields, "NAME:VALUE, NAME a token (RFC 9110, 5.6.2), VALUE without line breaks", is_list=True)
TRUST = Kind(
    _trust,
    "a list with commas of addresses, networks (as 10.0.0.0/8, with no bits beyond the prefix), unix, or *",
    takes_nothing=True,
)
ROOT_PATH = Kind(_root_path, "a path that begins with /, as in /api, and is not encoded", takes_nothing=True)
FORWARDED = "for,proto,host,port,prefix"
FORWARDED_FIELDS = Kind(_forwarded, "a list with commas of for, proto, host, port, prefix")
OPEN_TO_ALL = "666"
THIS_MACHINE = "127.0.0.1,::1,unix"
MODE = Kind(_mode, "three octal digits, as in 660; in quotes where it is not on a command line")
PATHS = Kind(_paths, "a path that begins with /", is_list=True)
LOG_LEVEL = choice("critical", "error", "warning", "info", "debug")
