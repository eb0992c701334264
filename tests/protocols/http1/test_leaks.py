"""A connection leaves nothing behind: no reference cycle, no entry in the worker's context (house rule R9)."""

import pytest

from corehttp.asgi import ASGIApp, Receive, Scope, Send
from tests.kit.apps import Sender, echo, hello
from tests.kit.fakes import Client, MakeParser, make_context
from tests.kit.garbage import leaves_nothing

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
STREAM = Sender(
    {"type": "http.response.start", "status": 200, "headers": []},
    {"type": "http.response.body", "body": b"a", "more_body": True},
    {"type": "http.response.body", "body": b"b"},
)


async def read_forever(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@pytest.mark.parametrize(
    ("app", "pieces"),
    [
        (hello, []),
        (hello, [b"GET"]),
        (hello, [GET]),
        (hello, [GET * 3, GET[:20], GET[20:]]),
        (echo, [POST, b"3\r\nabc\r\n", b"0\r\n\r\n" + GET]),
        (hello, [POST, b"3\r\nabc\r\n"]),
        (STREAM, [GET]),
        (read_forever, [GET]),
        (read_forever, [GET + GET]),
        (read_forever, [POST, b"3\r\n"]),
        (hello, [b"GET / HTTP/1.1\r\nConnection: close\r\nHost: a\r\n\r\n"]),
        (hello, [b"GET / HTTP/1.1\r\n\r\n"]),
        (hello, [b"nonsense\r\n\r\n"]),
        (echo, [POST, b"xyz\r\n"]),
        (read_forever, [GET + b"nonsense\r\n\r\n"]),
        (hello, [UPGRADE + GET]),
        (Sender(), [GET]),
    ],
    ids=[
        "nothing sent",
        "half a request",
        "a request",
        "pipelined requests",
        "a body",
        "an unread body",
        "a streamed response",
        "lost in a request",
        "lost with a request not begun",
        "lost in a body",
        "close",
        "refused by us",
        "refused by the parser",
        "refused in a body",
        "lost with a refusal not sent",
        "upgrade",
        "application fault",
    ],
)
async def test_a_connections_life_leaves_nothing_for_the_garbage_collector(
    parser: MakeParser, app: ASGIApp, pieces: list[bytes]
) -> None:
    context = make_context(app, parser)
    await leaves_nothing(lambda: live(Client(context), pieces))
    assert not context.connections
    assert not context.running


async def live(client: Client, pieces: list[bytes]) -> None:
    await client.send(*pieces)
    await client.lose()
