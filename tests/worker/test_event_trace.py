"""The events of an application in the log, without what may be secret."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from corehttp.asgi import ASGIApp, Message, Receive, Scope, Send
from corehttp.config import Config
from corehttp.logs import TRACE
from corehttp.worker import wiring
from corehttp.worker.event_trace import EventTrace

SECRET = b"hidden-secret"
SCOPE = {
    "type": "http",
    "path": "/a\n",
    "client": ("10.0.0.1", 4000),
    "headers": [(b"authorization", SECRET), (b"cookie", SECRET), (b"x-own", SECRET)],
    "state": {"token": SECRET},
    "extensions": {"http.response.pathsend": {}},
}


async def answering(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"set-cookie", SECRET)]})
    await send({"type": "http.response.body", "body": SECRET})


async def receive() -> Message:
    return {"type": "http.request", "body": SECRET, "more_body": False}


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """Filled with the lines of the log as they come."""
    logger, told = logging.getLogger("corehttp.error"), list[str]()

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert (record.levelno, record.levelname) == (TRACE, "TRACE")
            told.append(record.getMessage())

    handler, level = Keeping(), logger.level
    logger.addHandler(handler)
    logger.setLevel(TRACE)
    yield told
    logger.removeHandler(handler)
    logger.setLevel(level)


async def call(app: ASGIApp, scope: Scope) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await EventTrace(app)(scope, receive, send)
    return sent


async def test_each_event_is_a_line_without_secrets(lines: list[str]) -> None:
    sent = await call(answering, dict(SCOPE))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    who = "10.0.0.1:4000 - ASGI [1]"
    assert lines.pop(0) == (
        f"{who} Started scope={{'type': 'http', 'path': '/a\\n', 'client': ('10.0.0.1', 4000), "
        "'headers': [authorization <13 bytes>, cookie <13 bytes>, x-own <13 bytes>], "
        "'state': <token>, 'extensions': <http.response.pathsend>}"
    )
    assert lines == [
        f"{who} Receive {{'type': 'http.request', 'body': <13 bytes>, 'more_body': False}}",
        f"{who} Send {{'type': 'http.response.start', 'status': 200, 'headers': [set-cookie <13 bytes>]}}",
        f"{who} Send {{'type': 'http.response.body', 'body': <13 bytes>}}",
        f"{who} Completed",
    ]


async def test_calls_without_a_client_are_told_apart_by_their_number(lines: list[str]) -> None:
    async def pausing(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.send", "text": "hidden", "bytes": None})

    async def send(message: Message) -> None: ...

    traced = EventTrace(pausing)
    await traced({"type": "websocket"}, receive, send)
    await traced({"type": "lifespan"}, receive, send)
    assert lines[:3] == [
        "ASGI [1] Started scope={'type': 'websocket'}",
        "ASGI [1] Send {'type': 'websocket.send', 'text': <6 characters>, 'bytes': None}",
        "ASGI [1] Completed",
    ]
    assert lines[3] == "ASGI [2] Started scope={'type': 'lifespan'}"


@pytest.mark.parametrize("error", [ValueError("by\ndesign"), asyncio.CancelledError()])
async def test_what_the_application_raises_is_told_and_raised(lines: list[str], error: BaseException) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    with pytest.raises(type(error)):
        await call(failing, {"type": "http"})
    assert lines[-1] == f"ASGI [1] Raised exception {error!r}"


class Odd(dict[str, Any]):
    def items(self) -> Any:
        raise LookupError


class Mute:
    def __repr__(self) -> str:
        raise LookupError


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (None, "Send None"),
        (Odd(type="x"), "Send {'type': 'x'}"),
        ({"headers": [1]}, "Send {'headers': [1]}"),
        ({"headers": iter([])}, "Send {'headers': <list_iterator>}"),
        ({"body": 5, "x": "\x1b[2J"}, r"Send {'body': 5, 'x': '\x1b[2J'}"),
        ({"x": Mute()}, "Send {'x': <tests.worker.test_event_trace.Mute object at "),
        ({"x": "a" * 9000}, "Send {'x': 'aaaa"),
    ],
)
async def test_whatever_an_application_sends_is_a_short_line_and_passed_on(
    lines: list[str], message: Any, told: str
) -> None:
    async def sending(scope: Scope, receive: Receive, send: Send) -> None:
        await send(message)

    assert await call(sending, {"type": "http"}) == [message]
    assert lines[1].startswith(f"ASGI [1] {told}")
    assert len(lines[1]) < 8100


async def test_while_the_level_is_above_it_nothing_is_done(lines: list[str]) -> None:
    logging.getLogger("corehttp.error").setLevel(logging.DEBUG)
    assert len(await call(answering, dict(SCOPE))) == 2
    assert lines == []


def test_an_application_is_wrapped_only_where_that_is_asked_for() -> None:
    assert wiring.load_application(Config(app=answering, log_level="debug")) is answering
    assert isinstance(wiring.load_application(Config(app=answering, log_level="TRACE")), EventTrace)
