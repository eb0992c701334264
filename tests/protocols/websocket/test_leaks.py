"""A WebSocket leaves nothing behind: no reference cycle, no entry in the worker's context (house rule R9)."""

import pytest

from corehttp.asgi import ASGIApp, Receive, Scope, Send
from corehttp.protocols.context import WorkerContext
from tests.kit.apps import Sender
from tests.kit.fakes import MakeParser
from tests.kit.garbage import leaves_nothing
from tests.kit.websocket_client import ACCEPT, CLOSE, PING, TEXT, WebSocketClient, echo, handshake, masked
from tests.kit.websocket_client import websocket_context as make_context

OPEN = handshake()
COMPRESSED = handshake(b"Sec-WebSocket-Extensions: permessage-deflate")
LONG = masked(TEXT, b"a" * 1000)
DENIAL = Sender(
    {"type": "websocket.http.response.start", "status": 404},
    {"type": "websocket.http.response.body", "body": b"a", "more_body": True},
    {"type": "websocket.http.response.body", "body": b"b"},
)
CLOSES = Sender(ACCEPT, {"type": "websocket.close"})


async def fails(scope: Scope, receive: Receive, send: Send) -> None:
    await send(ACCEPT)
    raise LookupError


async def waits(scope: Scope, receive: Receive, send: Send) -> None:
    """Never answers the handshake."""
    while (await receive())["type"] != "websocket.disconnect":
        pass


@pytest.mark.parametrize(
    ("app", "pieces"),
    [
        (echo, [OPEN]),
        (echo, [OPEN[:50], OPEN[50:] + LONG, masked(TEXT, b"a"), LONG[:9]]),
        (echo, [OPEN, masked(TEXT, b"a") * 100, masked(PING), masked(CLOSE)]),
        (echo, [COMPRESSED, LONG, LONG]),
        (echo, [OPEN, b"\0\0"]),
        (waits, [OPEN + LONG]),
        (fails, [OPEN]),
        (CLOSES, [OPEN]),
        (CLOSES, [OPEN, masked(CLOSE)]),
        (DENIAL, [OPEN, LONG]),
        (Sender(), [OPEN]),
        (echo, [OPEN.replace(b": 13", b": 8")]),
        (echo, [OPEN.replace(b"Key: ", b"Key: x")]),
    ],
    ids=[
        "open",
        "cut in a message",
        "closed by the client",
        "compressed",
        "wrong frame",
        "not answered",
        "application fault",
        "closed by the application",
        "closed by both",
        "denied",
        "returned at once",
        "another version",
        "wrong key",
    ],
)
async def test_a_websockets_life_leaves_nothing_for_the_garbage_collector(
    parser: MakeParser, app: ASGIApp, pieces: list[bytes]
) -> None:
    context = make_context(app, parser, compression="full", records=[])
    await leaves_nothing(lambda: live(context, pieces))
    assert not context.connections
    assert not context.websockets


async def test_a_websocket_beyond_the_limit_leaves_nothing_either(parser: MakeParser) -> None:
    context = make_context(echo, parser)
    context.websocket_limit = 0
    await leaves_nothing(lambda: live(context, [OPEN]))
    assert not context.connections


async def live(context: WorkerContext, pieces: list[bytes]) -> None:
    client = WebSocketClient(context)
    await client.send(*pieces)
    await client.lose()
