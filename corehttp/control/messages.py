"""What goes over a control socket: one line of JSON in, lines of JSON out. Pure.

A request is an object with `verb`, and with what that verb takes. Each line of the answer is an object with `kind`: any
number of `progress`, then one `result` or one `error`, after which the service closes the connection. Both sides ignore
members that they do not know, so that a command and a service of different releases understand each other.
"""

from collections.abc import Mapping
from enum import Enum

from corehttp.records import fresh, record

SCHEMA = 1  # the number of this form, which changes only if something is removed or gets another meaning
LIMIT = 64 * 1024  # bytes of a request


class Fault(Enum):
    """Why a request is not done, as the member `fault` of an error says it."""

    USAGE = "usage"  # it cannot be understood
    REFUSED = "refused"  # it makes no sense in the present state of the service
    FAILED = "failed"  # it was begun and has failed
    FORBIDDEN = "forbidden"  # who has asked may not
    BUSY = "busy"  # too many are connected
    LATE = "late"  # the request did not come in time


class RequestError(ValueError):
    """A line is no request; the text says why."""


@record
class ControlRequest:
    """What an operator asks for."""

    verb: str
    arguments: Mapping[str, object] = fresh(factory=dict)


def parse_request(line: bytes) -> ControlRequest:
    """Return the request in a line. Raises RequestError."""
    import json  # here, since a supervisor to which nobody talks does without it

    if len(line) > LIMIT:
        raise RequestError(f"a request of more than {LIMIT} bytes")
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise RequestError('a request is one line with a JSON object, as in {"verb": "status"}')
    verb = content.pop("verb", None)
    if not isinstance(verb, str):
        raise RequestError('a request names what it wants as text, as in {"verb": "status"}')
    return ControlRequest(verb, content)


def encode_request(verb: str, arguments: Mapping[str, object]) -> bytes:
    """Return the line of a request."""
    return _line({"verb": verb, "schema": SCHEMA, **arguments})


def progress(content: Mapping[str, object]) -> bytes:
    """Return a line that says how far something has come."""
    return _line({"kind": "progress", "schema": SCHEMA, **content})


def result(content: Mapping[str, object]) -> bytes:
    """Return the last line of an answer to what was done."""
    return _line({"kind": "result", "schema": SCHEMA, **content})


def error(fault: Fault, reason: str) -> bytes:
    """Return the last line of an answer to what was not done."""
    return _line({"kind": "error", "schema": SCHEMA, "fault": fault.value, "reason": reason})


def parse_answer(line: bytes) -> dict[str, object]:
    """Return a line of an answer. Raises ValueError for anything else."""
    import json

    try:
        content = json.loads(line)
    except RecursionError:
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("kind"), str):
        raise ValueError("a line that is no answer")
    return content


def _line(content: Mapping[str, object]) -> bytes:
    import json

    return json.dumps(content, separators=(",", ":")).encode() + b"\n"
