"""CPU time of the protocol alone: requests and messages over a transport that only records, without a system call.

Run it: python -m benchmarks.micro
With uvicorn installed, its httptools protocol is measured beside this one. Each figure is the least of several repeats.
"""

import asyncio
import gc
import platform
import time
from collections.abc import Callable
from itertools import cycle
from typing import cast

import uvloop

from benchmarks.lib.table import aligned
from corehttp.asgi import ASGIApp, Receive, Scope, Send
from corehttp.protocols.contracts import ResponseStream
from corehttp.protocols.http1.connection import HTTP1Connection
from corehttp.protocols.http1.parser_h11 import H11Parser
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from corehttp.protocols.http1.request_heads import RequestHeads
from corehttp.protocols.http1.wire import known_heads, response_head
from corehttp.protocols.peer import direct
from corehttp.protocols.tally import Tally
from corehttp.protocols.websocket.wakeup import Wakeup
from examples.hello import app
from tests.kit.fakes import FakeTransport, MakeParser, make_context
from tests.kit.websocket_client import BINARY, WebSocketClient, echo, handshake, masked, websocket_context

REPEATS = 7
ROUND = 5000  # requests or messages a repeat
AT_ONCE = 10  # messages in one turn of the loop: fewer than pause reading while the application waits for its turn

GET = (
    b"GET /items?page=2 HTTP/1.1\r\nHost: example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"
    b"Accept: text/html,application/xhtml+xml\r\nAccept-Language: en\r\nAccept-Encoding: gzip, br\r\n"
    b"Cookie: session=0123456789abcdef\r\nReferer: https://example.org/\r\nConnection: keep-alive\r\n\r\n"
)
POST = b"POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024
HEADS = [[(b"content-type", b"application/json"), (b"content-length", length)] for length in (b"27", b"28")]

hello = cast(ASGIApp, app)  # its types are its own
Connect = Callable[[ASGIApp, FakeTransport], asyncio.Protocol]


async def read_all(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body, then answers as `hello` does."""
    while (await receive())["more_body"]:
        pass
    await hello(scope, receive, send)


def ours(make_parser: MakeParser, *, counts: bool = False) -> Connect:
    """Return how to connect to this protocol, in a worker that counts, or in one that does not."""

    def connect(app: ASGIApp, transport: FakeTransport) -> asyncio.Protocol:
        context = make_context(app, make_parser)
        if counts:
            context.count_in(Tally())
        return HTTP1Connection(context)

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


def least(act: Callable[[], object]) -> float:
    """Return the microseconds of CPU time that a call takes, the least of several repeats."""
    best = float("inf")
    for _ in range(REPEATS):
        begun = time.process_time()
        for _ in range(ROUND):
            act()
        best = min(best, time.process_time() - begun)
    return best / ROUND * 1e6


async def per_request_head() -> tuple[float, float, float]:
    """Return the microseconds for the head of a request: parsed; the same as the last; with other values than the last.

    The other values are those of the target and of two fields.
    """
    heads = RequestHeads(make_context(hello, HttptoolsParser), cast(ResponseStream, object()))
    heads.peer = direct(("127.0.0.1", 50000), ("127.0.0.1", 8000))

    def parsed() -> None:
        heads.forget()
        heads.read(GET)

    others = cycle(
        GET.replace(b"=2", b"=%d" % n).replace(b"0123", b"%x" % n).replace(b"ple.org/", b"%d" % n) for n in range(100)
    )
    return least(parsed), least(lambda: heads.read(GET)), least(lambda: heads.read(next(others)))


def per_known_head() -> float:
    """Return the microseconds of CPU time to look a response's head of two fields up among those that are known."""
    for _ in range(3):  # the last of which finds the fields of the one before it, all lines of which are remembered
        response_head(200, HEADS[0])
    assert (200, *HEADS[0]) in known_heads
    return least(lambda: known_heads.get((200, *HEADS[0])))


def per_head() -> float:
    """Microseconds of CPU time that response_head() takes for two fields."""
    heads = cycle(HEADS)  # one that is asked for twice in a row would be remembered whole
    return least(lambda: response_head(200, next(heads)))


async def per_message(size: int) -> float:
    """Microseconds of CPU time to read a binary message of `size` bytes from a WebSocket and send it back."""
    loop = asyncio.get_running_loop()
    client = WebSocketClient(websocket_context(echo, HttptoolsParser))
    await client.send(handshake())
    message = masked(BINARY, bytes(size))
    receive = client.transport.get_protocol().data_received  # type: ignore[attr-defined]
    best = float("inf")
    for _ in range(REPEATS):
        client.take()
        gc.collect()
        begun = time.process_time()
        for _ in range(ROUND // AT_ONCE):
            for _ in range(AT_ONCE):
                loop.call_soon(receive, message)  # from the loop: in a task, a message is passed on a turn later
            await asyncio.sleep(0)
        best = min(best, time.process_time() - begun)
        await client.wait()
        assert len(client.transport.writes) == ROUND, "each message is sent back"
    await client.lose()
    return best / ROUND * 1e6


async def per_wakeup(*, carried: bool) -> float:
    """Microseconds of CPU time until who waits for a wakeup waits again: a coroutine it carries, or a task."""
    loop = asyncio.get_running_loop()
    wakeup = Wakeup(loop)
    done = loop.create_future()
    best = float("inf")

    async def wait() -> None:
        while True:
            await wakeup

    async def carry() -> None:
        await wakeup.carry(wait())

    def wake() -> None:
        nonlocal best
        for _ in range(REPEATS):
            begun = time.process_time()
            for _ in range(ROUND):
                wakeup.wake()
            best = min(best, time.process_time() - begun)
        done.set_result(None)

    task = asyncio.create_task(carry() if carried else wait())
    loop.call_soon(wake)  # from the loop: a wakeup that comes in a task has an effect a turn later
    await done
    task.cancel()
    return best / ROUND * 1e6


async def per_turn(*, future: bool) -> float:
    """Microseconds of CPU time that uvloop takes for a message which comes alone, until who has waited waits again.

    A `Wakeup` has the receiver run in the turn of the loop in which the message comes; a Future has it run in the next
    one, before which the loop asks the kernel for events once more.
    """
    loop = asyncio.get_running_loop()
    wakeup = Wakeup(loop)
    waiting = loop.create_future()
    done = loop.create_future()
    left = ROUND

    async def wait() -> None:
        nonlocal waiting
        while True:
            if future:
                await waiting
                waiting = loop.create_future()
            else:
                await wakeup

    async def carry() -> None:
        await wakeup.carry(wait())

    def come() -> None:
        """Let a message come, and the next one when the receiver waits again."""
        nonlocal left
        left -= 1
        if not left:
            done.set_result(None)
        elif future:
            waiting.set_result(None)
            loop.call_soon(loop.call_soon, come)
        else:
            wakeup.wake()
            loop.call_soon(come)

    task = asyncio.create_task(wait() if future else carry())
    begun = time.process_time()
    loop.call_soon(come)
    await done
    spent = time.process_time() - begun
    task.cancel()
    return spent / ROUND * 1e6


async def rows() -> list[tuple[str, str, str]]:
    servers = {
        "corehttp, httptools": ours(HttptoolsParser),
        "corehttp, httptools, counted": ours(HttptoolsParser, counts=True),
        "corehttp, h11": ours(H11Parser),
    }
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
    sizes = {"125 bytes": 125, "16 KiB": 16384}
    echoes = [(name, f"{asyncio.run(per_message(size)):.2f}") for name, size in sizes.items()]
    print("\n" + aligned(("a message over a WebSocket, and back", ""), echoes))
    woken = [
        ("a coroutine that a Wakeup carries", f"{asyncio.run(per_wakeup(carried=True)):.2f}"),
        ("a task that waits for a Wakeup", f"{asyncio.run(per_wakeup(carried=False)):.2f}"),
        ("a Wakeup, with a turn of uvloop", f"{min(uvloop.run(per_turn(future=False)) for _ in range(REPEATS)):.2f}"),
        ("a Future, with two turns of uvloop", f"{min(uvloop.run(per_turn(future=True)) for _ in range(REPEATS)):.2f}"),
    ]
    print("\n" + aligned(("until one that is woken waits again", ""), woken))
    request_heads = asyncio.run(per_request_head())
    words = "parsed: {:.2f}, the same as the last: {:.2f}, with three other values: {:.2f}"
    print("\nthe head of a request, 8 fields, " + words.format(*request_heads))
    print(f"response_head() with two fields: {per_head():.2f}, looked up: {per_known_head():.2f}")


if __name__ == "__main__":
    main()
