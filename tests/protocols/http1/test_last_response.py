"""The response with which a connection ends, over real sockets: it comes whole, and the end behind it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from corehttp.asgi import Receive, Scope, Send
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.http1.connection import HTTP1Connection
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from corehttp.protocols.tally import Tally
from tests.kit.connections import Client, on_both_loops, pair_of_sockets, random_bytes, until
from tests.kit.fakes import make_context

REQUESTS = {
    "HTTP/1.1": b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "behind another": b"GET /first HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "with a body": b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2\r\n\r\nab",
}
MOST = 1 << 22  # bytes: more than any response here has


class Application:
    """Answers each request with the same body, whole."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"%d" % len(self.body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


@contextlib.asynccontextmanager
async def served(body: bytes, family: str) -> AsyncIterator[tuple[WorkerContext, Client]]:
    """A client of an HTTP1Connection, whose application answers with `body`; at the end it is lost."""
    sock, other = pair_of_sockets(family)
    other.setblocking(False)
    context = make_context(Application(body), HttptoolsParser)
    context.count_in(Tally())
    with other:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: HTTP1Connection(context), sock)
        yield context, Client(other)
        await until(lambda: not context.connections)


@pytest.mark.parametrize("family", ["tcp", "slow", "unix"])
@pytest.mark.parametrize("size", [0, 13, 10_000, 1 << 20], ids=str)
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
@on_both_loops
async def test_the_last_response_comes_whole_with_the_end_behind_it(request_: bytes, size: int, family: str) -> None:
    body = random_bytes(size)
    async with served(body, family) as (context, client):
        await asyncio.get_running_loop().sock_sendall(client.sock, request_)
        received = await client.read(MOST)
        assert received.endswith(b"connection: close\r\n\r\n" + body)
        assert received.count(b"HTTP/1.1 200 OK\r\n") == request_.count(b"HTTP/1.")
        assert context.tally is not None
        assert context.tally.counters(context.begun).sent == len(received)
    assert not context.left_unanswered


@on_both_loops
async def test_a_client_that_has_reset_its_connection_is_lost_like_any_other() -> None:
    sock, other = pair_of_sockets("tcp")
    other.sendall(REQUESTS["HTTP/1.1"])
    context = make_context(Application(b"hello"), HttptoolsParser)
    Client(other).reset()
    await asyncio.get_running_loop().connect_accepted_socket(lambda: HTTP1Connection(context), sock)
    await until(lambda: not context.connections)


@on_both_loops
async def test_a_client_may_end_its_side_before_the_last_response() -> None:
    async with served(b"hello", "tcp") as (_, client):
        client.sock.sendall(REQUESTS["HTTP/1.0"])
        client.sock.shutdown(socket.SHUT_WR)
        assert (await client.read(MOST)).endswith(b"\r\n\r\nhello")
