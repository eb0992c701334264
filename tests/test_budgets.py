"""What a request may cost, in counts that do not wobble: Python frames, memory that stays, modules imported at start.

The budgets are what was counted when they were set. One that is exceeded needs a reason or a better design; one that
is undercut is lowered.
"""

import asyncio
import gc
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

import corehttp
from corehttp.asgi import ASGIApp
from corehttp.protocols.http1.connection import HTTP1Connection
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from corehttp.protocols.tally import Tally
from examples.hello import app as hello
from tests.kit.apps import echo
from tests.kit.fakes import FakeTransport, make_context
from tests.kit.websocket_client import TEXT, WebSocketClient, handshake, masked, websocket_context
from tests.kit.websocket_client import echo as websocket_echo

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = str(Path(corehttp.__file__).parent)
EAGER = sys.version_info >= (3, 12)  # tasks start at once, without a turn of the loop

GET = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"
GET_8 = (
    b"GET /items?page=2 HTTP/1.1\r\nHost: example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"
    b"Accept: text/html,application/xhtml+xml\r\nAccept-Language: en\r\nAccept-Encoding: gzip, br\r\n"
    b"Cookie: session=0123456789abcdef\r\nReferer: https://example.org/\r\nConnection: keep-alive\r\n\r\n"
)
PROXIED = GET_8[:-2] + b"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024


def imported_with(module: str) -> set[str]:
    """The modules that an interpreter has once it has imported this one."""
    code = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


# What looks at code, and takes long to import. From Python 3.14 on `logging` itself brings some of it along.
REFLECTION = {"dataclasses", "inspect", "ast", "dis", "pathlib"} - imported_with("logging")


class Counted:
    """A warm connection whose requests are counted."""

    def __init__(self, app: ASGIApp, raw: bytes, tally: Tally | None = None) -> None:
        self.raw = raw
        self.transport = FakeTransport()
        context = make_context(app, HttptoolsParser, trust="*")
        if tally is not None:
            context.count_in(tally)
        self.connection = HTTP1Connection(context)
        self.transport.set_protocol(self.connection)
        self.connection.connection_made(self.transport)

    async def serve(self, times: int = 1) -> None:
        for _ in range(times):
            self.transport.writes.clear()
            self.connection.data_received(self.raw)
            if not EAGER:
                await asyncio.sleep(0)
            assert len(self.transport.writes) == 1

    async def frames(self) -> Counter[str]:
        """The functions of corehttp that one request enters."""
        await self.serve(50)
        with frames() as counted:
            await self.serve()
        return counted


@contextmanager
def frames() -> Iterator[Counter[str]]:
    """The functions of corehttp that are entered meanwhile, or entered again where they waited."""
    counted: Counter[str] = Counter()

    def count(frame: FrameType, event: str, arg: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            counted[frame.f_code.co_qualname] += 1

    sys.setprofile(count)
    try:
        yield counted
    finally:
        sys.setprofile(None)
        print(*[f"{times} {name}" for name, times in counted.items()], counted.total(), sep="\n")  # noqa: T201


@pytest.mark.parametrize(
    ("app", "raw", "budget"),
    [(hello, GET, 14), (hello, GET_8, 14), (hello, PROXIED, 14), (echo, POST, 19)],
    ids=["GET", "GET with 8 fields", "GET through a proxy", "POST with a body"],
)
async def test_a_request_enters_no_more_functions_than_its_budget(app: ASGIApp, raw: bytes, budget: int) -> None:
    counted = await Counted(app, raw).frames()
    assert counted.total() <= budget


@pytest.mark.parametrize(
    ("app", "raw", "budget"), [(hello, GET_8, 0), (echo, POST, 1)], ids=["one like the last", "another one"]
)
async def test_to_count_a_response_takes_no_function_if_it_is_like_the_last(
    app: ASGIApp, raw: bytes, budget: int
) -> None:
    uncounted = await Counted(app, raw).frames()
    counted = await Counted(app, raw, Tally()).frames()
    assert counted.total() <= uncounted.total() + budget


@pytest.mark.parametrize(
    ("payload", "budget"), [(b"x" * 125, 9), (b"x" * 1000, 10), (b"x" * 100000, 22)], ids=["short", "long", "huge"]
)
@pytest.mark.parametrize("counts", [False, True], ids=["uncounted", "counted"])
async def test_an_echo_over_a_websocket_enters_no_more_functions_than_its_budget(
    payload: bytes, budget: int, counts: bool
) -> None:
    context = websocket_context(websocket_echo, HttptoolsParser)
    if counts:
        context.count_in(Tally())
    client = WebSocketClient(context)
    await client.send(handshake())
    message = masked(TEXT, payload)
    loop = asyncio.get_running_loop()
    loop.call_soon(client.transport.deliver, message)  # a message that comes in a task is passed on in the next turn
    await asyncio.sleep(0)
    with frames() as counted:
        loop.call_soon(client.transport.deliver, message)
        await asyncio.sleep(0)
    assert client.take().count(payload) == 2
    assert counted.total() <= budget


@pytest.mark.parametrize(
    ("app", "raw"), [(hello, GET_8), (hello, PROXIED), (echo, POST)], ids=["GET", "proxied", "POST"]
)
async def test_a_thousand_requests_leave_no_memory_behind(app: ASGIApp, raw: bytes) -> None:
    counted = Counted(app, raw)
    await counted.serve(100)
    gc.collect()
    before = sys.getallocatedblocks()
    await counted.serve(1000)
    gc.collect()
    assert sys.getallocatedblocks() - before < 50


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        # asyncio brings subprocess along.
        (
            "corehttp.worker.process",
            {
                *("click", "anyio", "email", "http.client", "multiprocessing", "h11", "httptools"),
                *("ipaddress", "urllib.parse"),
                # The supervisor reads the options, and rotates log files.
                *("corehttp.config", "corehttp.option", "corehttp.option_conflicts", "corehttp.log_rotation"),
                "corehttp.worker.machines",
            },
        ),
        ("corehttp.protocols.http1.parser_httptools", {"h11", "asyncio", "logging"}),
        ("corehttp.server", {"asyncio", "uvloop", "click", "anyio", "email", "http.client", "multiprocessing", "ssl"}),
        # Arguments without a mistake are read without click, which took 25 ms (`arguments`).
        # Until the first worker's interpreter is started, nothing is imported that waits for it, such as log lines.
        (
            "corehttp.serving",
            {
                *("click", "gettext", "tomllib", "asyncio", "json", "logging", "subprocess", "corehttp.server"),
                *REFLECTION,
            },
        ),
        ("corehttp.supervisor.interpreters", {*("asyncio", "logging", "subprocess", "corehttp.config"), *REFLECTION}),
        ("corehttp.arguments", {*("click", "gettext", "asyncio"), *REFLECTION}),
        # Nothing that the supervisor imports is made by `dataclasses`: that took 50 of 114 ms at start (`records`).
        (
            "corehttp.supervision",
            {
                *("asyncio", "uvloop", "click", "anyio", "tempfile", "ctypes", "multiprocessing", "ssl"),
                *("subprocess", "random", "zlib"),
                *REFLECTION,
            },
        ),
        (
            "corehttp.supervisor.loop",
            {*("asyncio", "uvloop", "tempfile", "ctypes", "json", "multiprocessing", "ssl"), *REFLECTION},
        ),
        ("corehttp", {"asyncio", "uvloop", "click", "anyio", "dataclasses", "logging", "socket"}),
    ],
)
def test_what_a_module_does_not_need_at_start_is_not_imported(module: str, unwanted: set[str]) -> None:
    imported = imported_with(module)
    assert module in imported
    assert not imported & unwanted
