"""The form of access log lines that `--access-log-format` gives, with the atoms of gunicorn. Pure.

The form is text for Python's `%` operator; `%(h)s` stands for the atom `h`. What clients send is escaped: control
characters, and quotation marks, as gunicorn does it.
"""

import re
from collections.abc import Callable, Mapping

from corehttp.protocols.observers import AccessRecord
from corehttp.records import record
from corehttp.text import printable, unquoted
from corehttp.trace_ids import Fields

LONGEST = 65536  # characters of a line of which nothing is known yet; a form that pads to more is refused
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ATOM = re.compile(r"%%|%\([^)]*\)")
_SIZES = re.compile(r"[0-9]{5,}")  # widths and precisions beyond all measure


@record
class Process:
    """What is the same for all lines of a process."""

    pid: int
    environment: Mapping[str, str]


class LoggedRequest:
    """A request that has ended, as the mapping of atoms that a form is applied to; an unknown atom raises KeyError."""

    __slots__ = ("_fields", "_process", "_record", "_response_fields", "_time")

    def __init__(
        self, process: Process, record: AccessRecord, fields: Fields, response_fields: Fields, time: str
    ) -> None:
        """`fields` are those that the client sent, with names in lower case; `time` is the time in CLF format."""
        self._process = process
        self._record = record
        self._fields = fields
        self._response_fields = response_fields
        self._time = time

    def __getitem__(self, atom: str) -> object:
        if atom[:1] == "{" and atom[-2:-1] == "}" and atom[-1:] in _NAMED:
            return _NAMED[atom[-1]](self, atom[1:-2].lower())
        return _ATOMS[atom](self)

    @property
    def _path(self) -> str:
        return _escaped(unquoted(self._record[2].partition("?")[0]))

    def _field(self, name: str) -> str:
        return _value(self._fields, name)

    def _response_field(self, name: str) -> str:
        return _value(self._response_fields, name)

    def _variable(self, name: str) -> str:
        """Return a variable of the process, or one that CGI has for the request (RFC 3875, 4.1)."""
        if name in _CGI:
            return str(_CGI[name](self))
        if name.startswith("http_"):
            return self._field(name[5:].replace("_", "-"))
        environment = self._process.environment
        return _escaped(environment.get(name.upper(), environment.get(name, "-")))

    @property
    def _user(self) -> str:
        """Return the name in Basic authentication (RFC 7617, 2); "-" if there is none."""
        scheme, _, credentials = self._field("authorization").partition(" ")
        if scheme.lower() != "basic":
            return "-"
        from binascii import Error, a2b_base64

        try:
            name = a2b_base64(credentials.strip()).partition(b":")[0].decode()
        except (Error, ValueError):
            return "-"
        return _escaped(name) or "-"

    def _microseconds(self) -> int:
        return int(self._record[6] * 1000)


def _address(name: str) -> str:
    """Return the address of a client without its port: `192.0.2.1:5000`, `[2001:db8::1]:5000`, an address, or "-"."""
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0] if name.count(":") == 1 else name


_ATOMS: Mapping[str, Callable[[LoggedRequest], object]] = {
    "h": lambda request: _address(request._record[0]),
    "l": lambda request: "-",
    "u": lambda request: request._user,
    "t": lambda request: request._time,
    "r": lambda request: f"{request._record[1]} {_escaped(request._record[2])} HTTP/{request._record[3]}",
    "m": lambda request: request._record[1],
    "U": lambda request: request._path,
    "q": lambda request: _escaped(request._record[2].partition("?")[2]),
    "H": lambda request: f"HTTP/{request._record[3]}",
    "s": lambda request: request._record[4],
    "B": lambda request: request._record[5],
    "b": lambda request: request._record[5] or "-",
    "f": lambda request: request._field("referer"),
    "a": lambda request: request._field("user-agent"),
    "T": lambda request: request._microseconds() // 1_000_000,
    "M": lambda request: request._microseconds() // 1000,
    "D": lambda request: request._microseconds(),
    "L": lambda request: f"{request._microseconds() // 1_000_000}.{request._microseconds() % 1_000_000:06}",
    "p": lambda request: f"<{request._process.pid}>",
}
_NAMED: Mapping[str, Callable[[LoggedRequest, str], str]] = {
    "i": LoggedRequest._field,
    "o": LoggedRequest._response_field,
    "e": LoggedRequest._variable,
}
_CGI: Mapping[str, Callable[[LoggedRequest], object]] = {
    "request_method": _ATOMS["m"],
    "path_info": _ATOMS["U"],
    "query_string": _ATOMS["q"],
    "raw_uri": lambda request: _escaped(request._record[2]),
    "server_protocol": _ATOMS["H"],
    "remote_addr": _ATOMS["h"],
    "content_type": lambda request: request._field("content-type"),
    "content_length": lambda request: request._field("content-length"),
}
_SAMPLE: AccessRecord = ("192.0.2.1:5000", "GET", "/", "1.1", 200, 0, 0.0)


def clf_time(year: int, month: int, day: int, clock: str, offset: int) -> str:
    """Return a time as the Common Log Format has it: `[30/Nov/2026:10:00:00 +0100]`.

    `clock` is the time of the day; `offset` is that from UTC in seconds. The names of months are English.
    """
    hours, minutes = divmod(abs(offset) // 60, 60)
    return f"[{day:02}/{_MONTHS[month - 1]}/{year}:{clock} {'-' if offset < 0 else '+'}{hours:02}{minutes:02}]"


def check_format(form: str) -> None:
    """Raise ValueError if a form names an atom that there is not, or cannot be applied to what every atom may be."""
    if not form.isprintable() and not form.replace("\t", "").isprintable():
        raise ValueError("a control character")
    rest = _ATOM.sub("", form)
    if "%" in rest or _SIZES.search(rest):
        raise ValueError("a % without an atom, or a width beyond all measure")
    sample = LoggedRequest(Process(1, {}), _SAMPLE, (), (), "[]")
    try:
        text = form % sample
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(str(error)) from error
    if text == form.replace("%%", "%") or len(text) > LONGEST:
        raise ValueError("no atom, or too many characters")


def _value(fields: Fields, name: str) -> str:
    """Return the value of the last field of a name, as gunicorn does; "-" if there is none."""
    wanted = name.encode("latin-1", "replace")
    found = "-"
    if isinstance(fields, list | tuple):  # the application may have put anything in the place of a list
        for field in fields:
            match field:
                case [bytes(given), bytes(value)] if given.lower() == wanted:
                    found = _escaped(value.decode("latin-1"))
    return found


def _escaped(text: str) -> str:
    return printable(text).replace('"', '\\"')
