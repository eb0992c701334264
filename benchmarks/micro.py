"""CPU time of the protocol alone: requests over a transport that only records, so no socket and no system call.

Run it: python -m benchmarks.micro
With uvicorn installed, its httptools protocol is measured beside ours. Each figure is the least of several repeats.
"""

import asyncio
import gc
import platform
import time
from collections.abc import Callable
from typing import cast

from benchmarks.lib.table import aligned
from corehttp.asgi import ASGIApp, Receive, Scope, Send
from corehttp.protocols.http1.connection import HTTP1Connection
from corehttp.protocols.http1.parser_h11 import H11Parser
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from corehttp.protocols.http1.wire import response_head
from corehttp.protocols.websocket.wakeup import Wakeup
from examples.hello import app
from tests.kit.fakes import FakeTransport, MakeParser, make_context

REPEATS = 7
ROUND = 5000  # requests a repeat

GET = (
    b"GET /items?page=2 HTTP/1.1\r\nHost: example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"
    b"Accept: text/html,application/xhtml+xml\r\nAccept-Language: en\r\nAccept-Encoding: gzip, br\r\n"
    b"Cookie: session=0123456789abcdef\r\nReferer: https://example.org/\r\nConnection: keep-alive\r\n\r\n"
)
POST = b"POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"27")]

hello = cast(ASGIApp, app)  # its types are its own
Connect = Callable[[ASGIApp, FakeTransport], asyncio.Protocol]


async def read_all(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body, then answers as `hello` does."""
    while (await receive())["more_body"]:
        pass
    await hello(scope, receive, send)


def ours(make_parser: MakeParser) -> Connect:
    def connect(app: ASGIApp, transport: FakeTransport) -> asyncio.Protocol:
        return HTTP1Connection(make_context(app, make_parser))

    return connect


def uvicorns() -> Connect | None:
    """How to connect to uvicorn's protocol, or None if it is not installed."""
    try:
        from uvicorn.config import Config
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
        from uvicorn.server import ServerState
    except ImportError:
        return None

    def connect(app: ASGIApp, transport: FakeTransport) -> asyncio.Protocol:
        config = Config(app, access_log=False, log_level="critical", lifespan="off")
        config.load()
        state = ServerState()
        state.default_headers = [(b"server", b"uvicorn"), (b"date", b"Sun, 06 Nov 1994 08:49:37 GMT")]
        protocol: asyncio.Protocol = HttpToolsProtocol(config, state, {}, asyncio.get_running_loop())
        return protocol

    return connect


async def per_request(connect: Connect, app: ASGIApp, raw: bytes) -> float:
    """Microseconds of CPU time."""
    transport = FakeTransport()
    protocol = connect(app, transport)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    await serve(protocol, transport, raw, ROUND // 10)
    best = float("inf")
    for _ in range(REPEATS):
        gc.collect()
        begun = time.process_time()
        await serve(protocol, transport, raw, ROUND)
        best = min(best, time.process_time() - begun)
    transport.lose()
    return best / ROUND * 1e6


async def serve(protocol: asyncio.Protocol, transport: FakeTransport, raw: bytes, times: int) -> None:
    written = transport.writes
    for _ in range(times):
        written.clear()
        protocol.data_received(raw)
        while not written or not written[-1].endswith(b"Hello, world!"):
            await asyncio.sleep(0)  # a server whose tasks do not start at once pays for its turns of the loop


def per_head() -> float:
    """Microseconds of CPU time that response_head() takes for two fields."""
    best = float("inf")
    for _ in range(REPEATS):
        begun = time.process_time()
        for _ in range(ROUND):
            response_head(200, HEADERS)
        best = min(best, time.process_time() - begun)
    return best / ROUND * 1e6


async def per_ring(*, carried: bool) -> float:
    """Microseconds of CPU time until who waits for a wakeup waits again: one that is carried, or one that is a task."""
    loop = asyncio.get_running_loop()
    wakeup = Wakeup(loop)
    done = loop.create_future()
    best = float("inf")

    async def wait() -> None:
        while True:
            await wakeup

    async def carry() -> None:
        await wakeup.carry(wait())

    def ring() -> None:
        nonlocal best
        for _ in range(REPEATS):
            begun = time.process_time()
            for _ in range(ROUND):
                wakeup.wake()
            best = min(best, time.process_time() - begun)
        done.set_result(None)

    task = asyncio.create_task(carry() if carried else wait())
    loop.call_soon(ring)  # by the loop: what rings in a task rings at the next turn
    await done
    task.cancel()
    return best / ROUND * 1e6


async def rows() -> list[tuple[str, str, str]]:
    servers = {"corehttp, httptools": ours(HttptoolsParser), "corehttp, h11": ours(H11Parser)}
    peer = uvicorns()
    if peer is not None:
        servers["uvicorn, httptools"] = peer
    return [
        (name, f"{await per_request(connect, hello, GET):.2f}", f"{await per_request(connect, read_all, POST):.2f}")
        for name, connect in servers.items()
    ]


def main() -> None:
    print(f"Python {platform.python_version()}; microseconds of CPU time\n")
    print(aligned(("a request", "GET, 8 fields", "POST, 1 KiB"), asyncio.run(rows())))
    print(f"\nresponse_head() with two fields: {per_head():.2f}")
    rings = [asyncio.run(per_ring(carried=carried)) for carried in (True, False)]
    print("a ring of a wakeup, for one that is carried: {:.2f}, for a task: {:.2f}".format(*rings))


if __name__ == "__main__":
    main()
