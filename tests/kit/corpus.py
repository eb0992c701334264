"""The corpus: raw requests in `cases/*.toml`, and what must come of each one.

A case says `why`, what the rule rests on (`rfc`: "9112, 5.1" is a section of an RFC; "ours: ..." is a rule of our own
and its reason), the `request` and the `status` of the answer; 200 means that the request reaches the application. Then
it may say what the application gets: `body`, `path` (if it is not "/"), `query`, and where that is the point `method`
and `fields`, all of them in order. `closes`: the connection ends after the answer. `continues`: a 100 (Continue) may
come before it. The characters of a request, a body, a query and a field are bytes (Latin-1). Long text is a list of
pieces, of which [piece, number] is one so many times.
"""

import re
import tomllib
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tests.kit.apps import answer
from tests.kit.fakes import LINES

CASES = Path(__file__).parents[1] / "protocols" / "cases"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True)
class Case:
    """A request and what must come of it."""

    name: str
    why: str
    rfc: str
    status: int
    request: bytes = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    method: str | None = None
    path: str = "/"
    query: bytes = b""
    fields: list[tuple[bytes, bytes]] | None = None
    closes: bool = False  # after the answer
    continues: bool = False  # a 100 (Continue) may come before the answer

    @property
    def accepted(self) -> bool:
        return self.status == 200

    @property
    def expected_method(self) -> str:
        """What the application gets: the first word of an accepted request."""
        return self.method or self.request.lstrip(b"\r\n").partition(b" ")[0].decode("latin-1")

    @property
    def last(self) -> bool:
        """Whether nothing behind it on its connection is a request."""
        return self.closes or not self.accepted


def read_cases() -> list[Case]:
    """All cases, by file and in the order they stand there."""
    return [
        _case(f"{file.stem}: {name}", given)
        for file in sorted(CASES.glob("*.toml"))
        for name, given in tomllib.loads(file.read_text()).items()
    ]


def after_answer(case: Case, received: bytes) -> bytes:
    """What was received behind the answer to `case`; asserts that this answer is right, to the last byte.

    The application is `echo`; of a refusal the reason is left open, but there is one, and nothing follows it.
    """
    if case.continues:
        received = received.removeprefix(CONTINUE)
    if not case.accepted:
        assert received.startswith(b"HTTP/1.1 %d " % case.status)
        assert received == refusal_like(received, case.status)
        return b""
    expected = _answer(case)
    assert received[: len(expected)] == expected
    return received[len(expected) :]


def refusal_like(received: bytes, status: int) -> bytes:
    """The whole refusal that ends with the same reason as `received` does."""
    reason = received.partition(b"\r\n\r\n")[2]
    assert reason.endswith(b"\n")
    assert reason.strip()
    return (
        b"HTTP/1.1 %d %b\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
        % (status, HTTPStatus(status).phrase.encode(), len(reason))
        + LINES
        + b"connection: close\r\n\r\n"
        + reason
    )


def without_body(response: bytes) -> bytes:
    """What a HEAD request gets for it (RFC 9110, 9.3.2: the length may be left out)."""
    head, end, _ = response.partition(b"\r\n\r\n")
    return re.sub(rb"content-length: \d+\r\n", b"", head + end)


def _answer(case: Case) -> bytes:
    """What `echo` answers to an accepted request."""
    request_line = case.request.lstrip(b"\r\n").partition(b"\r\n")[0]
    connection = b""
    if case.closes:
        connection = b"connection: close\r\n"
    elif request_line.endswith(b"HTTP/1.0"):
        connection = b"connection: keep-alive\r\n"
    whole = answer(b"%b=%b" % (case.path.encode(), case.body), connection=connection)
    return without_body(whole) if request_line.startswith(b"HEAD ") else whole


def _case(name: str, given: dict[str, Any]) -> Case:
    values = given.copy()
    for key in {"request", "body", "query"} & given.keys():
        values[key] = _text(given[key]).encode("latin-1")
    if "fields" in given:
        values["fields"] = [(key.encode("latin-1"), value.encode("latin-1")) for key, value in given["fields"]]
    return Case(name, **values)


def _text(piece: object) -> str:
    match piece:
        case str():
            return piece
        case [repeated, int(times)]:
            return _text(repeated) * times
        case list():
            return "".join(map(_text, piece))
        case _:
            raise ValueError(f"text, or a list of pieces: {piece!r}")
