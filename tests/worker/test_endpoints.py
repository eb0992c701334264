"""Connections of one worker that come through different endpoints: what each tells the application, and passes on."""

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from corehttp.asgi import Receive, Scope, Send
from corehttp.config import Config
from corehttp.ipc import handover
from corehttp.ipc.parcel import Parcel
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.entrance import Entrance
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from corehttp.protocols.scope import REDIRECTED
from corehttp.sockets.endpoint import ListeningSocket
from corehttp.worker import entrances
from corehttp.worker.acceptor import Acceptor
from corehttp.worker.connection_protocols import make_protocol
from tests.kit.accepting import accepting
from tests.kit.fakes import make_context

LOOPS = pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
MakeLoop = Callable[[], asyncio.AbstractEventLoop]
# The second endpoint is one with TLS as far as the connections know it; what comes in through it is cleartext here.
ENTRANCES = {0: Entrance(0, "http"), 1: Entrance(1, "https")}


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers how the request has come, as the scope says it."""
    server = scope["server"]
    body = f"{scope['scheme']} {server[0]} {server[1]}".encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def listen(family: socket.AddressFamily, address: str | tuple[str, int], endpoint: int) -> ListeningSocket:
    sock = ListeningSocket(family, socket.SOCK_STREAM, endpoint=endpoint)
    sock.bind(address)
    sock.listen()
    return sock


@asynccontextmanager
async def serving(sockets: list[ListeningSocket], inbox: socket.socket | None = None) -> AsyncIterator[WorkerContext]:
    """Serves `tell` on these sockets as a worker does; at the end nothing of it is left."""
    context = make_context(tell, HttptoolsParser)
    make = functools.partial(make_protocol, context, dict(ENTRANCES))
    acceptor = Acceptor(context.loop, sockets, make, context.connections, inbox=inbox)
    async with accepting(acceptor, context):
        yield context


async def ask(streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> str:
    """Make a request; answers the body of the response."""
    reader, writer = streams
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return (await reader.readexactly(length)).decode()


@LOOPS
def test_scheme_and_server_follow_from_the_endpoint_through_which_a_client_has_come(make_loop: MakeLoop) -> None:
    async def main() -> None:
        first, second = (listen(socket.AF_INET, ("127.0.0.1", 0), number) for number in (0, 1))
        ports = [sock.getsockname()[1] for sock in (first, second)]
        async with serving([first, second]):
            clients = [await asyncio.open_connection("127.0.0.1", port) for port in ports]
            for _ in range(2):
                assert [await ask(client) for client in clients] == [
                    f"http 127.0.0.1 {ports[0]}",
                    f"https 127.0.0.1 {ports[1]}",
                ]
            for _, writer in clients:
                writer.close()

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(main())


@LOOPS
def test_a_unix_socket_and_all_addresses_of_the_machine_can_be_endpoints_of_one_worker(
    make_loop: MakeLoop, tmp_path: Path
) -> None:
    async def main() -> None:
        path = str(tmp_path / "socket")
        every = listen(socket.AF_INET, ("0.0.0.0", 0), 0)
        port = every.getsockname()[1]
        async with serving([every, listen(socket.AF_UNIX, path, 1)]):
            # The server is the address that the client has asked for, not the one to which the socket is bound.
            clients = [await asyncio.open_connection(host, port) for host in ("127.0.0.1", "127.0.0.2")]
            clients.append(await asyncio.open_unix_connection(path))
            assert [await ask(client) for client in clients] == [
                f"http 127.0.0.1 {port}",
                f"http 127.0.0.2 {port}",
                f"https {path} None",
            ]
            for _, writer in clients:
                writer.close()

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(main())


@LOOPS
def test_a_connection_that_is_handed_over_stays_one_of_its_endpoint(make_loop: MakeLoop) -> None:
    async def main() -> None:
        second = listen(socket.AF_INET, ("127.0.0.1", 0), 1)
        port = second.getsockname()[1]
        reader, writer = handover.pair()
        with writer:
            async with serving([second]) as giver, serving([], reader) as taker:
                client = await asyncio.open_connection("127.0.0.1", port)
                assert await ask(client) == f"https 127.0.0.1 {port}"
                [connection] = giver.connections
                parcels: list[Parcel] = []

                def hand_over(parcel: Parcel) -> bool:
                    parcels.append(parcel)
                    return handover.put(writer, parcel)

                assert connection.pass_on(hand_over)
                assert [parcel.endpoint for parcel in parcels] == [1]
                while not taker.connections:
                    await asyncio.sleep(0)
                assert await ask(client) == f"https 127.0.0.1 {port}"
                client[1].close()

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(main())


def test_the_options_say_how_each_endpoint_is_asked_for() -> None:
    assert entrances.entrances_of(Config(app="a:b")) == {0: Entrance(0, "http")}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_a_redirect_leads_to_a_port_of_all_workers(order: tuple[int, int]) -> None:
    binds = ("127.0.0.1:9000+{worker}", "127.0.0.1:8443")
    config = Config(app="a:b", bind=binds, ssl_certfile=("a",), redirect_http=("127.0.0.1:8080",))
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(listen(socket.AF_INET, ("127.0.0.1", 0), number)) for number in order]
        context = make_context(tell, HttptoolsParser)
        entrances.protocol_maker(config, context, None, sockets)
        told: list[Any] = []

        async def send(message: Any) -> None:
            told.append(message)

        scope = {"type": "http", "headers": [(b"host", b"a")], "raw_path": b"/", "query_string": b""}
        await context.app({**scope, "extensions": {REDIRECTED: {}}}, receive_nothing, send)
        port = sockets[order.index(1)].getsockname()[1]
        assert told[0]["headers"][0] == (b"location", b"https://a:%d/" % port)


async def receive_nothing() -> dict[str, Any]:
    raise AssertionError("a redirect needs nothing of the body")


async def test_an_endpoint_that_the_options_do_not_give_is_one_in_cleartext() -> None:
    known = entrances.entrances_of(Config(app="a:b"))
    make_protocol(make_context(tell, HttptoolsParser), known, 7)
    assert known[7] == Entrance(7, "http")
