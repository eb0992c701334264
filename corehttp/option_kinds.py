"""The kinds of values that options have: how each is read from what was given, and what is allowed, in words.

The module is pure. A reader raises ValueError, TypeError, KeyError or OverflowError for a value that is not allowed.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from corehttp.errors import AppError
from corehttp.protocols.fields import CONNECTION_FIELDS, check_field, is_prefix

Fields = tuple[tuple[bytes, bytes], ...]


class OptionKind(NamedTuple):
    """How an option's value is read, and what is allowed."""

    parse: Callable[[object], object]  # returns the value as `Config` holds it, or raises as the module says
    allowed: str  # what is allowed, to follow "it must be"
    is_switch: bool = False  # whether the option has a flag to switch it on and one to switch it off
    takes_nothing: bool = False  # whether empty text is a value
    is_list: bool = False  # whether the flag may be given several times
    choices: tuple[str, ...] = ()  # the only words that are allowed, if the kind is a choice
    placeholder: str = ""  # what stands for a value in --help; empty: the name of the option
    # Words of other servers that are taken for one of the choices, in lower case.
    synonyms: Mapping[str, str] = MappingProxyType({})
    # Returns what is shown in the place of a value that holds a secret; None where values may be shown as they are.
    conceal: Callable[[str], str] | None = None

    @property
    def is_secret(self) -> bool:
        """Whether a value is never to be shown as it is."""
        return self.conceal is not None


WRONG = (ValueError, TypeError, KeyError, OverflowError)  # what `OptionKind.parse` raises for a wrong value


def wrong_part(kind: OptionKind, value: object) -> object:
    """Return the part of a wrong value that is to be shown: the first wrong element of a list, else the whole value."""
    elements = value.splitlines() if isinstance(value, str) else value
    if kind.is_list and isinstance(elements, list | tuple):
        for element in elements:
            try:
                kind.parse([element])
            except WRONG:
                return element
    return value


def _text(value: object) -> str:
    text = plain_text(value)
    if not text:
        raise ValueError
    return text


def plain_text(value: object) -> str:
    """Return text as a plain str, also that of a subclass: only that goes through a channel. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError
    return str.__str__(value)


def _path(value: object) -> str:
    to_text = getattr(type(value), "__fspath__", None)  # os.PathLike
    text = plain_text(value if to_text is None else to_text(value))
    if "\0" in text:
        raise ValueError
    return text


def whole(low: int, high: int) -> OptionKind:
    """Return the kind of whole numbers from `low` to `high`."""

    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError
        number = int(value)
        if not low <= number <= high:
            raise ValueError
        return number

    return OptionKind(parse, f"a whole number from {low} to {high}", placeholder="N")


def size(low: int) -> OptionKind:
    """Return the kind of numbers of bytes from `low`, which may end with K, M or G (powers of 1024)."""

    def parse(value: object) -> int:
        text = str(value).strip().upper() if isinstance(value, int | str) and not isinstance(value, bool) else ""
        parts = re.fullmatch(r"([0-9]{1,15})([KMG]?)B?", text)
        if parts is None:
            raise ValueError
        number = int(parts[1]) * {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}[parts[2]]
        if number < low:
            raise ValueError
        return number

    return OptionKind(parse, f"a number of bytes from {low}, as in 65536, 64K or 10M", placeholder="BYTES")


def _paths(value: object) -> tuple[str, ...]:
    """Return paths, of which text, as in the environment, has one in each line."""
    if isinstance(value, str):
        value = value.splitlines()
    if not isinstance(value, list | tuple) or not all(isinstance(path, str) and path[:1] == "/" for path in value):
        raise ValueError
    return tuple(map(str.__str__, value))


def _texts(value: object) -> tuple[str, ...]:
    """Return texts, of which one text, as in the environment, has one in each line; a path may be os.PathLike."""
    if isinstance(value, str):
        value = value.splitlines()
    elif hasattr(type(value), "__fspath__"):
        value = [value]
    if not isinstance(value, list | tuple):
        raise ValueError
    return tuple(_text(_path(entry)) for entry in value)


def _seconds(value: object) -> float:
    """Return a number of seconds, at most a year."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    number = float(value)
    if not 0 <= number <= 31_536_000:
        raise ValueError
    return number


def _switch(value: object) -> bool:
    """Return a truth value, which text may name in several ways."""
    if isinstance(value, bool):
        return value
    return {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}[
        str(value).lower()
    ]


def choice(*choices: str, **synonyms: str) -> OptionKind:
    """Return the kind whose values are these words, in upper or lower case.

    `synonyms` are words of other servers, with `_` for a hyphen, and which choice each is taken for.
    """
    others = {word.replace("_", "-"): taken for word, taken in synonyms.items()}

    def parse(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError
        word = others.get(value.lower(), value.lower())
        if word not in choices:
            raise ValueError
        return word

    return OptionKind(parse, "one of " + ", ".join(choices), choices=choices, synonyms=others)


def _workers(value: object) -> str:
    """Return a number of workers, or how many are wanted for the CPUs that there are."""
    text = str(value).strip().lower() if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if re.fullmatch(r"[1-9][0-9]{0,3}|auto|auto-[0-9]{1,3}|auto/[1-9][0-9]{0,2}", text) is None:
        raise ValueError
    return text


def optional(kind: OptionKind) -> OptionKind:
    """Return the kind that allows None, which no text stands for, beside the values of `kind`."""
    return kind._replace(parse=lambda value: None if value is None else kind.parse(value))


def _root_path(value: object) -> str:
    """Return a prefix of paths, without a slash at its end: the path that follows begins with one."""
    text = plain_text(value).rstrip("/")
    if text and not is_prefix(text):
        raise ValueError
    return text


def _matching(pattern: str) -> Callable[[object], str]:
    """Return what reads text that matches all of `pattern`."""

    def parse(value: object) -> str:
        text = plain_text(value)
        if re.fullmatch(pattern, text) is None:
            raise ValueError
        return text

    return parse


def _log_file(value: object) -> str | None:
    """Return the path of a log file; None for a hyphen, as other servers call the standard streams."""
    path = _text(_path(value))
    return None if path == "-" else path


def split_address(text: str) -> tuple[str, int] | str:
    """Return the host and the port of HOST:PORT, or the path of unix:PATH. Raises ValueError for any other text."""
    if text.startswith("unix:"):
        return _text(text.removeprefix("unix:"))
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if not host or (":" in host and not bracketed) or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError
    return host, int(port)


def _whole_path(value: object) -> str:
    """Return a path that leads to the same place wherever a process is."""
    text = plain_text(_path(value))
    if text[:1] != "/":
        raise ValueError
    return text


def _address(value: object) -> str:
    """Return an address as it was given."""
    text = _text(value)
    split_address(text)
    return text


def _access_format(value: object) -> str:
    """Return the form of access log lines; empty text stands for the usual one."""
    text = plain_text(value)
    if text:
        from corehttp.access_format import check_format  # here, since few services need it

        check_format(text)
    return text


def _mode(value: object) -> str:
    """Return permissions as three octal digits; a number is refused, since 440 and 0o440 could not be told apart."""
    if not isinstance(value, str) or re.fullmatch(r"(0o?)?[0-7]{3}", value) is None:
        raise ValueError
    return value[-3:]


def _account(value: object) -> str:
    """Return the name or the number of a user or group."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else plain_text(value)
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*[$]?", text) is None:
        raise ValueError
    return text


def _fields(value: object) -> Fields:
    """Return header fields NAME:VALUE, of which text, as in the environment, has one in each line."""
    if isinstance(value, str):
        value = value.splitlines()
    if not isinstance(value, list | tuple):
        raise ValueError
    return tuple(_field(line) for line in value)


def _field(line: object) -> tuple[bytes, bytes]:
    """Return a header field, given as a pair or as NAME:VALUE."""
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
    if field[0].lower() in CONNECTION_FIELDS:
        raise ValueError
    return field


TEXT = OptionKind(_text, "some text")
ANY_TEXT = OptionKind(plain_text, "text", takes_nothing=True)
DIRECTORY = OptionKind(_path, "a path", takes_nothing=True, placeholder="PATH")
SOCKET_PATH = OptionKind(lambda value: _text(_path(value)), "some text", placeholder="PATH")
FILE = OptionKind(lambda value: _text(_path(value)), "a path", placeholder="PATH")
COLOURS = OptionKind(lambda value: None if value is None else _switch(value), "true or false", is_switch=True)
SECONDS = OptionKind(_seconds, "a number of seconds, 0 or more", placeholder="SECONDS")
SWITCH = OptionKind(_switch, "true or false", is_switch=True)
WORKERS = OptionKind(_workers, "a number from 1, auto, auto-1 (fewer than auto) or auto/2 (a part of auto)")
FIELDS = OptionKind(
    _fields,
    "NAME:VALUE, NAME a token (RFC 9110, 5.6.2) but none of "
    f"{', '.join(sorted(name.decode() for name in CONNECTION_FIELDS))}, VALUE without line breaks",
    is_list=True,
    placeholder="NAME:VALUE",
)
ROOT_PATH = OptionKind(
    _root_path, "a path that begins with /, as in /api, and is not encoded", takes_nothing=True, placeholder="PREFIX"
)
# The name of a service is a part of the name of a file.
NAME = OptionKind(
    _matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"),
    "a name of at most 64 letters, digits, dots, hyphens and underscores, as in shop-1",
)
LOG_FILE = OptionKind(
    lambda value: None if value is None else _log_file(value),
    "a path, or - for the standard stream",
    placeholder="PATH",
)
ACCESS_FORMAT = OptionKind(
    _access_format,
    "one line with atoms as gunicorn has them, such as %(h)s, %(r)s, %(s)s or %({x-request-id}i)s (docs/logs.md)",
    takes_nothing=True,
    placeholder="FORMAT",
)
CONTROL = OptionKind(lambda value: _text(_path(value)), "a path, auto or off", placeholder="PATH")
GROUP = OptionKind(
    _matching(r"|[A-Za-z0-9_][A-Za-z0-9_.-]*(:read)?"),
    "the name or number of a group, as in ops, or ops:read",
    takes_nothing=True,
    placeholder="GROUP",
)
ACCOUNT = OptionKind(_account, "a name or a number, as in www-data or 33", placeholder="NAME")
WHOLE_PATH = OptionKind(_whole_path, "a path that begins with /", placeholder="PATH")
ADDRESS = OptionKind(
    _address,
    "HOST:PORT or unix:PATH, as in 127.0.0.1:9100, [::1]:9100 or unix:/run/shop/admin.sock",
    placeholder="ADDRESS",
)
# A secret that a request can carry in its Authorization field (RFC 6750, 2.1).
TOKEN = OptionKind(
    _matching(r"[A-Za-z0-9._~+/-]{8,256}=*"),
    "a secret of 8 to 256 letters, digits and any of -._~+/ (RFC 6750)",
    placeholder="SECRET",
    conceal=lambda _: "secret",
)
OPEN_TO_ALL = "666"
MODE = OptionKind(
    _mode, "three octal digits, as in 660; in quotes where it is not on a command line", placeholder="MODE"
)
UMASK = OptionKind(
    _mode, "three octal digits, as in 027; in quotes where it is not on a command line", placeholder="MODE"
)
PATHS = OptionKind(_paths, "a path that begins with /", is_list=True, placeholder="PATH")
TEXTS = OptionKind(_texts, "some text", is_list=True, placeholder="TEXT")
FILES = OptionKind(_texts, "a path", is_list=True, placeholder="PATH")
LOG_LEVEL = choice("critical", "error", "warning", "info", "debug", "trace")
LOOP = choice("auto", "uvloop", "asyncio", zuvloop="auto")
PARSER = choice("auto", "httptools", "h11", zttp="auto")
# The names of the packages that uvicorn can use; here WebSockets need none.
WEBSOCKETS = choice("off", "on", auto="on", websockets="on", websockets_sansio="on", wsproto="on", none="off")
