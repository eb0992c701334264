"""Exceptions that stem from a client that has left are told from an application's faults, in any chain of causes."""

import itertools

import pytest

from corehttp.asgi import Receive, Scope, Send
from corehttp.errors import ClientDisconnectedError
from corehttp.protocols.causes import stems_from_disconnect
from tests.kit.apps import FAILED
from tests.kit.fakes import Client, MakeParser, make_context

GONE = ClientDisconnectedError("the client has disconnected")


def chain(*errors: BaseException) -> BaseException:
    """Return the first of `errors`, after each was raised because of the next one."""
    for error, cause in itertools.pairwise(errors):
        error.__cause__ = cause
    return errors[0]


def circle(size: int, *, by: str = "__cause__") -> BaseException:
    errors = [ValueError(str(number)) for number in range(size)]
    for number, error in enumerate(errors):
        BaseException.__dict__[by].__set__(error, errors[number - 1])
    return errors[0]


def nested(depth: int, *inner: Exception) -> ExceptionGroup[Exception]:
    group = ExceptionGroup("innermost", inner)
    for _ in range(depth):
        group = ExceptionGroup("around", [group])
    return group


def shared(depth: int) -> ExceptionGroup[Exception]:
    """Return groups of few exceptions with 2**depth ways through them."""
    group: ExceptionGroup[Exception] = ExceptionGroup("innermost", [ValueError()])
    for _ in range(depth):
        group = ExceptionGroup("twice", [group, group])
    return group


@pytest.mark.parametrize(
    ("error", "stems"),
    [
        (GONE, True),
        (ValueError(), False),
        (chain(ValueError(), OSError(), GONE), True),
        (chain(*[ValueError() for _ in range(500)], GONE), True),
        (chain(*[ValueError() for _ in range(100_000)], GONE), False),
        (circle(1), False),
        (circle(2), False),
        (circle(1000, by="__context__"), False),
        (chain(circle(3)), False),
        (nested(0, GONE), True),
        (nested(3, GONE, ClientDisconnectedError()), True),
        (nested(0, GONE, ValueError()), False),
        (nested(0, ValueError(), GONE), False),
        (chain(nested(0, ValueError()), GONE), True),
        (nested(0, circle(1), GONE), False),  # type: ignore[arg-type]
        (nested(5000, GONE), False),
        (shared(60), False),
    ],
    ids=str,
)
def test_whether_an_error_stems_from_a_client_that_has_left(error: BaseException, stems: bool) -> None:
    assert stems_from_disconnect(error) is stems


@pytest.mark.parametrize("size", [1, 2, 50])
async def test_an_application_that_fails_in_a_circle_is_answered_for_and_logged(
    parser: MakeParser, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise circle(size, by="__context__" if size == 2 else "__cause__")

    client = Client(make_context(app, parser))
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.received == FAILED
    assert [record.getMessage() for record in caplog.records] == ["exception in the application: GET /"]


async def test_what_cannot_be_told_from_a_fault_is_logged_after_the_client_has_left(
    parser: MakeParser, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        error = ValueError()
        raise error from error

    client = Client(make_context(app, parser))
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await client.lose()
    assert [record.getMessage() for record in caplog.records] == ["exception in the application: GET /"]
