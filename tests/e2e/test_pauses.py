"""A worker that does not run for a while makes nobody late: what came in time is read before anybody is judged."""

import signal
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.e2e.conftest import Start
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import APP, until
from tests.kit.websocket_clients import HANDSHAKE, WELCOME, framed

pytestmark = pytest.mark.e2e

LIMIT = 1.0  # seconds that each time-out allows
PAUSE = 2.5  # seconds without the worker: every deadline and two ticks of its clock are over

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
# What a client sends before the pause, and what it sends in time, while nobody reads.
CLIENTS = {
    "new": (b"", GET),
    "kept alive": (GET, GET),
    "head": (GET[:-2], GET[-2:]),
    "body": (b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab", b"cd"),
    "chunked body": (
        b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nab",
        b"cd\r\n0\r\n\r\n",
    ),
}


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_who_was_in_time_is_answered_after_a_worker_was_stopped_for_a_while(start: Start, loop: str) -> None:
    limits = [f"--timeout-{name}={LIMIT:g}" for name in ("keep-alive", "request-header", "request-body", "request")]
    server = start(*APP, "--no-supervise", "--loop", loop, *limits)
    clients = {name: RawConnection(server.port) for name in CLIENTS}
    try:
        for name, (before, _) in CLIENTS.items():
            clients[name].socket.sendall(before)
        clients["kept alive"].answer()
        server.signal(signal.SIGSTOP)
        until(lambda: psutil.Process(server.pid).status() == psutil.STATUS_STOPPED, "the stop of the worker")
        clients["in the accept queue"] = waiting = RawConnection(server.port)
        waiting.socket.sendall(GET)
        for name, (_, after) in CLIENTS.items():
            clients[name].socket.sendall(after)
        time.sleep(PAUSE)
        server.signal(signal.SIGCONT)
        assert {name: client.answer()[0][9:12] for name, client in clients.items()} == dict.fromkeys(clients, b"200")
        for client in clients.values():  # and each has its whole time again
            client.socket.sendall(GET)
            assert client.answer()[0][9:12] == b"200"
    finally:
        server.signal(signal.SIGCONT)
        for client in clients.values():
            client.socket.close()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_pong_that_came_while_the_worker_was_stopped_counts(start: Start, loop: str) -> None:
    server = start(
        "websocket_application:app",
        *APP[1:],
        "--no-supervise",
        "--loop",
        loop,
        f"--ws-ping-interval={LIMIT:g}",
        f"--ws-ping-timeout={LIMIT:g}",
    )
    with RawConnection(server.port) as client:
        client.ask("/echo", *HANDSHAKE)
        client.read_past(WELCOME)
        first = client.read(6)  # a ping of four bytes
        assert first[0] == 0x89
        server.signal(signal.SIGSTOP)
        client.socket.sendall(framed(first[2:], 0x8A))
        time.sleep(PAUSE)
        server.signal(signal.SIGCONT)
        assert client.read(6)[0] == 0x89  # not a close frame


@pytest.mark.feature
def test_a_client_that_resets_behind_a_408_ends_no_ticker(start: Start, tmp_path: Path) -> None:
    server = start(*APP, "--no-supervise", "--loop", "asyncio", "--timeout-request-header", f"{LIMIT:g}")
    for _ in range(3):
        with RawConnection(server.port) as client, RawConnection(server.port) as other:
            client.socket.sendall(GET[:-2])
            other.socket.sendall(GET[:-2])
            server.signal(signal.SIGSTOP)
            client.reset()
            time.sleep(0.1)
            server.signal(signal.SIGCONT)
            assert other.answer()[0][9:12] == b"408"
    assert "Traceback" not in server.stderr
