"""Applications that the protocol tests serve."""

from asyncio import Event

from corehttp.asgi import ASGIApp, Message, Receive, Scope, Send
from tests.kit.fakes import LINES

PLAIN = [(b"content-type", b"text/plain")]
FAILED = (
    b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain; charset=utf-8\r\n"
    + LINES
    + b"content-length: 21\r\n\r\nInternal Server Error"
)  # what the client gets for an application that fails before its response


def answer(body: bytes, *, connection: bytes = b"") -> bytes:
    """What the client gets for `respond(send, body)`; `connection` is that field's line."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n" + LINES
    return head + b"content-length: %d\r\n" % len(body) + connection + b"\r\n" + body


async def respond(send: Send, body: bytes, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": PLAIN})
    await send({"type": "http.response.body", "body": body})


async def read_body(receive: Receive) -> bytes:
    """The whole body; fails if the client leaves before its end."""
    pieces = []
    while True:
        message = await receive()
        assert message["type"] == "http.request", message
        pieces.append(message["body"])
        if not message["more_body"]:
            return b"".join(pieces)


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer at once, whatever the request is."""
    await respond(send, b"hello")


async def tell_path(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, scope["path"].encode())


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, then answer with the path and the body."""
    body = await read_body(receive)
    await respond(send, b"%b=%b" % (scope["path"].encode(), body))


class Sender:
    """An application that sends the given messages."""

    def __init__(self, *messages: Message) -> None:
        self._messages = messages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for message in self._messages:
            await send(message)


class Recorder:
    """Keeps what `app` is given: each request's scope, and its messages with adjoining pieces of a body as one."""

    def __init__(self, app: ASGIApp) -> None:
        self.scopes: list[Scope] = []
        self.messages: list[list[bytes | str]] = []
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        got: list[bytes | str] = []
        self.messages.append(got)

        async def recorded() -> Message:
            message = await receive()
            if message["type"] != "http.request":
                got.append(message["type"])
            else:
                whole = message["body"]
                if got and isinstance(got[-1], bytes):
                    whole = got.pop() + whole
                got.append(whole)
                if not message["more_body"]:
                    got.append("end of body")
            return message

        await self._app(scope, recorded, send)


class Held:
    """Answers with the path, but `/slow` only once `release` is set."""

    def __init__(self) -> None:
        self.release = Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            await self.release.wait()
        await respond(send, scope["path"].encode())
