"""An error's traceback is the answer for a program on this machine, and for nobody else."""

from typing import Any

import pytest

from corehttp.asgi import ASGIApp, Message, Receive, Scope, Send
from corehttp.worker.debug_exceptions import MOST_HELD, DebugExceptions, is_from_here

BROWSER = (b"accept", b"text/html,*/*")


def scope(*fields: tuple[bytes, bytes], host: bytes = b"localhost:8000", **other: Any) -> Scope:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/a",
        "headers": [(b"host", host), *fields],
        "client": ("127.0.0.1", 5000),
        "server": ("127.0.0.1", 8000),
        **other,
    }


async def ask(app: ASGIApp, asked: Scope, fails: bool = True) -> list[Message]:
    """What is sent for a request whose application fails or not; the failure is passed on."""
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    if fails:
        with pytest.raises(ValueError, match="no <b>"):
            await DebugExceptions(app)(asked, receive, send)
    else:
        await DebugExceptions(app)(asked, receive, send)
    return sent


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("no <b>")


async def answering(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 500 and fail, as frameworks do."""
    await send({"type": "http.response.start", "status": 500, "headers": []})
    await send({"type": "http.response.body", "body": b"Internal Server Error"})
    raise ValueError("no <b>")


async def begun(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise ValueError("no <b>")


async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 500 on purpose."""
    await send({"type": "http.response.start", "status": 500, "headers": []})
    await send({"type": "http.response.body", "body": b"on ", "more_body": True})
    await send({"type": "http.response.body", "body": b"purpose"})


async def pouring(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 500 with more than is held back, and fail."""
    await send({"type": "http.response.start", "status": 500, "headers": []})
    for _ in range(2):
        await send({"type": "http.response.body", "body": b"x" * (MOST_HELD // 2), "more_body": True})
    raise ValueError("no <b>")


@pytest.mark.parametrize("app", [failing, answering])
async def test_a_browser_is_shown_a_page_with_what_is_not_safe_escaped(app: ASGIApp) -> None:
    start, body = await ask(app, scope(BROWSER))
    assert start["status"] == 500
    assert dict(start["headers"])[b"content-type"] == b"text/html; charset=utf-8"
    assert int(dict(start["headers"])[b"content-length"]) == len(body["body"])
    assert b"ValueError(&#x27;no &lt;b&gt;&#x27;)" in body["body"]
    assert b"test_debug_exceptions.py" in body["body"]
    assert b"<b>" not in body["body"]
    assert b"corehttp/worker" not in body["body"], "frames of ours that lead to the application's are left out"


async def test_another_program_is_shown_text() -> None:
    start, body = await ask(failing, scope())
    assert dict(start["headers"])[b"content-type"] == b"text/plain; charset=utf-8"
    assert body["body"].startswith(b"GET /a\n\nTraceback (most recent call last):\n")
    assert body["body"].endswith(b"ValueError: no <b>\n")


async def test_an_answer_that_has_begun_goes_on_as_it_was() -> None:
    assert [message.get("status") for message in await ask(begun, scope())] == [200]
    assert [message["type"] for message in await ask(pouring, scope())] == [
        "http.response.start",
        "http.response.body",
        "http.response.body",
    ]


async def test_an_answer_of_500_without_an_error_is_that_of_the_application() -> None:
    sent = await ask(refusing, scope(), fails=False)
    assert [message.get("body") for message in sent] == [None, b"on ", b"purpose"]


async def test_a_stranger_gets_what_the_application_answers() -> None:
    stranger = scope(BROWSER, client=("192.0.2.1", 5000))
    assert await ask(failing, stranger) == []
    sent = await ask(answering, stranger)
    assert sent[1]["body"] == b"Internal Server Error"


async def test_what_is_no_request_is_passed_on() -> None:
    assert await ask(failing, {"type": "lifespan"}) == []
    assert await ask(failing, scope(type="websocket")) == []


@pytest.mark.parametrize(
    "host", [b"localhost", b"LocalHost:80", b"app.localhost:8000", b"127.0.0.1:8000", b"[::1]:8000"]
)
def test_names_and_addresses_of_this_machine_are_believed(host: bytes) -> None:
    assert is_from_here(scope(host=host))


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ((b"x-forwarded-for", b"127.0.0.1"), {}),
        ((b"x_forwarded_for", b"127.0.0.1"), {}),
        ((b"x-forwarded-proto", b"http"), {}),
        ((b"forwarded", b"for=127.0.0.1"), {}),
        ((b"x-real-ip", b"127.0.0.1"), {}),
        ((b"via", b"1.1 proxy"), {}),
        ((b"host", b"example.org"), {}),
        ((b"a", b"b"), {"host": b"example.org"}),
        ((b"a", b"b"), {"host": b"localhost.example.org"}),
        ((b"a", b"b"), {"host": b"127.0.0.1.example.org"}),
        ((b"a", b"b"), {"host": b"192.0.2.1"}),
        ((b"a", b"b"), {"host": b""}),
        ((b"a", b"b"), {"client": ("192.0.2.1", 1)}),
        ((b"a", b"b"), {"client": None}),
        ((b"a", b"b"), {"server": ("192.0.2.1", 1)}),
        ((b"a", b"b"), {"server": ("/run/a.sock", None)}),
        ((b"a", b"b"), {"http_version": "1.0"}),
    ],
)
def test_whatever_tells_of_a_proxy_or_of_another_machine_is_enough(field: tuple[bytes, bytes], other: Any) -> None:
    assert not is_from_here(scope(field, **other))
