"""An application that asks or sends again and again, and never has to wait, leaves others their turns."""

import asyncio
import contextlib
import itertools
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from corehttp.asgi import Message, Receive, Scope, Send
from tests.kit.apps import hello
from tests.kit.fakes import Client, MakeParser, make_context
from tests.kit.websocket_client import ACCEPT, WebSocketClient, handshake, websocket_context

TIMES = 3000
ENOUGH = TIMES // 300  # turns of the loop
START: Message = {"type": "http.response.start", "status": 200}
WRONG: list[Message] = [{}, {"type": "unknown"}, {"type": "http.response.body", "body": 1, "more_body": True}]
BEGINNINGS: list[list[Message]] = [
    [],
    [START],
    [START, {"type": "http.response.body", "body": b"a", "more_body": True}],
    [START, {"type": "http.response.body", "body": b"a"}],
]
DENIAL: Message = {"type": "websocket.http.response.start", "status": 404}

Step = Callable[[], Awaitable[object]]


class Endless:
    """Sends `begin`, waits until the client is as wanted, and then goes on with a step that has no need to wait."""

    def __init__(self, step: str | Message, *begin: Message) -> None:
        self.ready = asyncio.Event()
        self.turns = 0  # of the event loop meanwhile
        self._step = step
        self._begin = begin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/other":
            await hello(scope, receive, send)
            return
        await receive()
        for message in self._begin:
            await send(message)
        await self.ready.wait()
        step = self._step
        count = asyncio.create_task(self._count())
        for _ in range(TIMES):
            with contextlib.suppress(Exception):
                await (receive() if isinstance(step, str) else send(step))
        count.cancel()

    async def _count(self) -> None:
        while True:
            self.turns += 1
            await asyncio.sleep(0)


def body(content: bytes = b"", *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


def text(content: str) -> Message:
    return {"type": "websocket.send", "text": content}


async def go_through(app: Endless, client: Client) -> None:
    """Let it go through its loop."""
    app.ready.set()
    async with asyncio.timeout(60):
        while client.connection._context.running or client.connection._context.websockets:
            await asyncio.sleep(0)
    assert app.turns >= ENOUGH


@pytest.mark.parametrize(
    ("step", "begin", "leaves"),
    [
        ("receive", [], True),
        ("receive", [START, body(b"a")], True),
        (body(b"a"), [START], True),
        (START, [], True),
        ("receive", [START, body(b"a", more=False)], False),
        (body(), [START], False),
        (body(b"a"), [START], False),
        ({"type": "http.response.early_hint", "links": []}, [], False),
        ({"type": "http.response.early_hint", "links": []}, [START, body()], False),
        (
            {"type": "http.response.trailers", "headers": [], "more_trailers": True},
            [{**START, "trailers": True}, body(more=False)],
            False,
        ),
        ({"type": "http.response.trailers", "headers": []}, [START, body(more=False)], False),
        *[(wrong, begin, False) for wrong in WRONG for begin in BEGINNINGS],
    ],
)
@pytest.mark.parametrize("te", [b"", b"TE: trailers\r\n"])
async def test_a_request_in_a_loop_lets_others_run(
    parser: MakeParser, step: str | Message, begin: list[Message], leaves: bool, te: bytes
) -> None:
    if te and step == {"type": "http.response.trailers", "headers": []}:
        return  # an error then
    app = Endless(step, *begin)
    client = Client(make_context(app, parser))
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % te)
    if leaves:
        await client.lose()
    await go_through(app, client)


async def test_a_request_that_sends_nothing_of_a_file_lets_others_run(parser: MakeParser, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    file = os.open(path, os.O_RDONLY)
    try:
        step = {"type": "http.response.zerocopysend", "file": file, "offset": 0, "count": 0, "more_body": True}
        app = Endless(step, START, body())
        client = Client(make_context(app, parser))
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await go_through(app, client)
    finally:
        os.close(file)


@pytest.mark.parametrize(
    ("step", "begin", "leaves"),
    [
        ("receive", [ACCEPT], True),
        ("receive", [], True),
        (text("a"), [ACCEPT], True),
        ({"type": "websocket.close"}, [ACCEPT], True),
        ("receive", [{"type": "websocket.close"}], False),
        (text(""), [ACCEPT], False),
        (text("a"), [ACCEPT], False),
        (text("a"), [ACCEPT, {"type": "websocket.close"}], False),
        ({"type": "websocket.send", "bytes": bytearray(10)}, [ACCEPT], False),
        ({"type": "websocket.close"}, [ACCEPT, {"type": "websocket.close"}], False),
        ({"type": "websocket.http.response.body", "body": b"", "more_body": True}, [DENIAL], False),
        *[(wrong, begin, False) for wrong in WRONG for begin in ([], [ACCEPT], [DENIAL])],
        (text("\ud800"), [ACCEPT], False),
        ({"type": "websocket.close", "code": "no"}, [ACCEPT], False),
    ],
)
async def test_a_websocket_in_a_loop_lets_others_run(
    parser: MakeParser, step: str | Message, begin: list[Message], leaves: bool
) -> None:
    app = Endless(step, *begin)
    client = WebSocketClient(websocket_context(app, parser))
    await client.send(handshake())
    if leaves:
        await client.lose()
    app.ready.set()
    for _ in range(ENOUGH):
        await asyncio.sleep(0)
    if not leaves:
        client.transport.lose()
    await go_through(app, client)


async def test_other_requests_are_answered_beside_many_that_loop(parser: MakeParser) -> None:
    app = Endless("receive")
    context = make_context(app, parser)
    many = [Client(context) for _ in range(20)]
    for client in many:
        client.transport.deliver(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.lose()
    app.ready.set()
    await asyncio.sleep(0)
    other = Client(context)
    other.transport.deliver(b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n")
    for _ in range(3):
        await asyncio.sleep(0)
    assert other.received.endswith(b"hello")
    assert len(context.running) == len(many)
    await go_through(app, other)


async def test_who_only_looks_whether_the_client_has_left_learns_it_at_once(parser: MakeParser) -> None:
    """As Starlette's `Request.is_disconnected` does: in a scope that is cancelled already, so that nothing may wait."""
    seen: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await left.wait()
        for _ in range(1000):
            seen.append(poll(receive))

    def poll(receive: Receive) -> bool:
        coroutine = receive()
        try:
            coroutine.send(None)  # type: ignore[attr-defined]
        except StopIteration as answer:
            return bool(answer.value["type"] == "http.disconnect")
        with contextlib.suppress(asyncio.CancelledError):
            coroutine.throw(asyncio.CancelledError())  # type: ignore[attr-defined]
        return False

    left = asyncio.Event()
    client = Client(make_context(app, parser))
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await client.lose()
    left.set()
    await client.wait()
    assert seen[:50] == [True] * 50
    assert all(before or after for before, after in itertools.pairwise(seen))
    assert seen.count(False) < 10
