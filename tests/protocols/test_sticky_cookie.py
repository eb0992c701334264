"""The cookie that ties a client to its worker is set in the first response, whatever the application sends."""

import pytest

from corehttp.asgi import Message, Receive, Scope, Send
from corehttp.protocols.sticky_cookie import CookieSetter


class Given:
    """Gives every client the same cookie, or none."""

    def __init__(self, value: bytes | None) -> None:
        self.value = value

    def ticket(self, scope: Scope) -> bytes | None:
        return self.value


async def sent(value: bytes | None, messages: list[Message], scheme: str = "http") -> list[Message]:
    """What comes out of an application that sends these messages."""
    found: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    async def send(message: Message) -> None:
        found.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing is received")

    await CookieSetter(app, Given(value))({"scheme": scheme}, receive, send)
    return found


@pytest.mark.parametrize("kind", ["http.response.start", "websocket.accept", "websocket.http.response.start"])
@pytest.mark.parametrize("scheme", ["http", "https", "ws", "wss"])
async def test_the_cookie_is_added_to_the_fields_of_the_response(kind: str, scheme: str) -> None:
    headers = [(b"a", b"b")]
    start: Message = {"type": kind, "headers": headers}
    secure = b"; Secure" if scheme in ("https", "wss") else b""
    cookie = (b"set-cookie", b"corehttp=1.x; HttpOnly; SameSite=Lax; Path=/" + secure)
    assert await sent(b"1.x", [start, {"type": "other"}], scheme) == [
        {"type": kind, "headers": [(b"a", b"b"), cookie]},
        {"type": "other"},
    ]
    assert headers == [(b"a", b"b")], "the list is the application's"


async def test_a_response_without_fields_gets_the_cookie_too() -> None:
    [start] = await sent(b"1.x", [{"type": "http.response.start", "status": 204}])
    assert [name for name, _ in start["headers"]] == [b"set-cookie"]


async def test_who_is_to_get_none_gets_the_message_itself() -> None:
    message: Message = {"type": "http.response.start", "headers": []}
    assert (await sent(None, [message]))[0] is message
