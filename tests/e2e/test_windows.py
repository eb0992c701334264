"""The command in a model of Windows (`tests/kit/windows_host.py` says what that is, and what it does not show)."""

import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from corehttp.errors import ELSEWHERE, ExitCode
from tests.kit import windows_host
from tests.kit.certificates import Authority
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import APP, HERE, PATIENCE, ROOT, ServerProcess, until

pytestmark = pytest.mark.e2e

HOST = str(windows_host.__file__)
SIGBREAK = signal.Signals(windows_host.SIGNALS["SIGBREAK"])  # it has another name here
WEBSOCKETS = ("websocket_application:app", "--app-dir", str(HERE), "--port", "0")
NEVER_STARTS = """
import asyncio, pathlib
async def app(scope, receive, send):
    await receive()
    pathlib.Path('reached').touch()
    await asyncio.Event().wait()
"""

Serve = Callable[..., ServerProcess]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    servers: list[ServerProcess] = []

    def serve(*arguments: str, ready: bool = True) -> ServerProcess:
        servers.append(ServerProcess(arguments, tmp_path, program=(HOST,)))
        if ready:
            servers[-1].wait_until_ready()
        return servers[-1]

    yield serve
    for server in servers:
        server.end()


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, HOST, *arguments],
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@pytest.mark.feature
@pytest.mark.parametrize("number", [signal.SIGINT, SIGBREAK], ids=["Ctrl-C", "Ctrl-Break"])
def test_one_worker_serves_until_ctrl_c_and_finishes_what_is_in_flight(
    serve: Serve, tmp_path: Path, number: signal.Signals
) -> None:
    server = serve(*APP, "--workers", "1")
    with httpx.Client(base_url=server.url) as client:
        assert client.get("/").text == "hello"
        assert client.post("/echo", content=b"a" * 100_000).text == "a" * 100_000
    with RawConnection(server.port) as connection:
        connection.ask(f"/slow?seconds=0&until={tmp_path}/go")
        until(lambda: "sleeping" in (tmp_path / "events").read_text(), "the request")
        server.signal(number)
        server.wait_for_log("finishing what is in flight")
        (tmp_path / "go").touch()
        assert connection.answer()[1] == b"slept"
    assert server.wait() == ExitCode.CLEAN
    server.check_nothing_is_left()
    assert [line.split()[0] for line in (tmp_path / "events").read_text().splitlines()] == [
        *("startup", "sleeping", "shutdown")
    ]
    assert server.stdout.count('"GET / HTTP/1.1" 200') == 1  # the access log
    assert "1 request answered meanwhile, 0 cut; exit code 0" in server.stderr
    assert "Traceback" not in server.stderr


@pytest.mark.feature
def test_websockets_are_served_and_told_to_leave(serve: Serve) -> None:
    server = serve(*WEBSOCKETS)
    with connect(f"ws://127.0.0.1:{server.port}/echo") as websocket:
        websocket.send("hello")
        assert websocket.recv(PATIENCE) == "hello"
        server.signal(signal.SIGINT)
        assert server.wait() == ExitCode.CLEAN
        assert websocket.protocol.close_code == 1012


def test_tls_is_served(serve: Serve, tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = authority.issue("127.0.0.1").write(tmp_path)
    server = serve(*APP, "--ssl-certfile", certificate, "--ssl-keyfile", key)
    trusting = ssl.create_default_context(cadata=authority.pem.decode())
    assert httpx.get(server.url, verify=trusting).text == "hello"


def test_ctrl_c_ends_a_start_that_waits_for_nothing(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(NEVER_STARTS)
    server = serve("waiting:app", "--port", "0", ready=False)
    until((tmp_path / "reached").exists, "the start-up")
    server.signal(signal.SIGINT)
    assert server.wait() == ExitCode.FORCED
    assert "Traceback" not in server.stderr


def test_more_connections_than_select_takes_wait_for_their_turn(serve: Serve) -> None:
    server = serve(*APP, "--no-access-log")
    many = [RawConnection(server.port) for _ in range(windows_host.FEW + 8)]
    for connection in many:
        with connection:
            connection.ask("/", "connection: close")
            assert connection.answer()[1] == b"hello"
    server.signal(signal.SIGINT)
    assert server.wait() == ExitCode.CLEAN


@pytest.mark.feature
@pytest.mark.parametrize(
    ("arguments", "named"),
    [((*APP, "--workers", "2"), "workers 2"), ((*APP, "--reload"), "reload"), (("list",), "list")],
    ids=["workers", "reload", "a verb"],
)
def test_what_is_not_there_ends_the_command_with_one_line(arguments: tuple[str, ...], named: str) -> None:
    done = run(*arguments)
    [line] = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    assert line.startswith(f"Error: {named}: ")
    assert line.endswith(ELSEWHERE)


def test_the_configuration_can_be_looked_at() -> None:
    done = run(*APP, "--check-config")
    assert (done.returncode, done.stderr) == (0, "")
    assert "can be loaded" in done.stdout
    assert 'workers = "1"' in run("--print-config").stdout


def test_an_asterisk_stays_one_where_click_reads_the_arguments(tmp_path: Path) -> None:
    command = (*APP, "--proxy-headers", "--forwarded-allow-ips", "*", "--check-config")
    done = run(*command, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


FORBIDDEN = """
import errno, socket
from corehttp.sockets import listening
from corehttp.sockets.accept_queue import PEER_FAILED

print(listening._bind_failed(PermissionError(errno.EACCES, ""), ("127.0.0.1", 8000)))
print(errno.ECONNRESET in PEER_FAILED)
"""


def test_errors_of_sockets_mean_what_they_mean_there() -> None:
    done = run("-c", FORBIDDEN)
    assert done.stderr == ""
    forbidden, passes_over_resets = done.stdout.splitlines()
    assert forbidden.startswith("port 8000 on 127.0.0.1 is in use by another server, or Windows has reserved it")
    assert passes_over_resets == "True"


COLOURED = """
import sys
from corehttp.standard_streams import is_terminal
sys.stderr.write(f"{is_terminal(1)} {is_terminal(0)}")
"""


def test_a_console_is_told_to_show_colours() -> None:
    ours, theirs = os.openpty()
    try:
        command = [sys.executable, HOST, "-c", COLOURED]
        environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE, timeout=PATIENCE
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.stderr == b"True False"


MESSAGE = """
import asyncio
from corehttp import bus, worker

async def main():
    async with bus.subscribe("topic") as messages:
        print(await bus.publish("topic", b"hello"), (await anext(aiter(messages))).data.decode())

asyncio.run(main())
"""


def test_applications_have_the_messages_of_one_worker() -> None:
    done = run("-c", MESSAGE)
    assert (done.stdout, done.stderr) == ("1 hello\n", "")


EMBEDDED = """
import asyncio, http.client
import corehttp
from tests.e2e.application import app

with corehttp.run_in_thread(app, lifespan="off", port=0) as server:
    client = http.client.HTTPConnection("127.0.0.1", server.port)
    client.request("GET", "/")
    print(client.getresponse().read().decode())

async def main():
    async with corehttp.serve(app, lifespan="off", port=0) as server:
        print("serves")

with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
    runner.run(main())
try:
    asyncio.run(main())
except corehttp.StartupError as error:
    print(error)
"""


def test_a_program_that_embeds_it_needs_an_event_loop_that_watches_sockets() -> None:
    done = run("-c", EMBEDDED)
    assert done.stderr == ""
    hello, serves, refused = done.stdout.splitlines()
    assert (hello, serves) == ("hello", "serves")
    assert refused.startswith("ProactorEventLoop cannot watch sockets")
    assert refused.endswith("loop_factory=asyncio.SelectorEventLoop)")
