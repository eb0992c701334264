"""`-b HOST:PORT+{worker}`: each worker has a port of its own, on which nobody else answers."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.kit.extent import varied
from tests.kit.ports import free_ports
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import ServerProcess, refused, until

pytestmark = pytest.mark.e2e

MANY = 12  # connections at once to one worker: more than the others have
_APPLICATION = """
import os

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise ValueError("only HTTP")
    told = f"{os.environ['COREHTTP_WORKER_ID']} {os.getpid()}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(told))]})
    await send({"type": "http.response.body", "body": told})
"""


@pytest.fixture
def base() -> int:
    return free_ports(4)[0] - 1


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path, base: int) -> Iterator[ServerProcess]:
    (tmp_path / "main.py").write_text(_APPLICATION)
    words = ("main:app", "--workers", "2", "--socket", request.param, "-b", "127.0.0.1:0")
    server = ServerProcess((*words, "-b", f"127.0.0.1:{base}+{{worker}}", "--no-access-log"), tmp_path)
    try:
        server.wait_until_ready()
        yield server
        assert server.stop() == 0
        server.check_nothing_is_left()
    finally:
        server.end()


def sharing(*ways: Any) -> pytest.MarkDecorator:
    """Serve with each of these values of --socket, which say how workers have the port beside those of their own."""
    return pytest.mark.parametrize("server", ways, indirect=True)


def worker_at(port: int) -> str:
    """The number of the worker that answers on a port."""
    with RawConnection(port) as client:
        return client.get("/")[1].decode().partition(" ")[0]


@sharing(*varied("reuseport", "shared"))
def test_each_port_shows_one_worker_however_many_come(server: ServerProcess, base: int) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(RawConnection(base + 1)) for _ in range(MANY)]
        for _ in range(3):
            answers = {client.get("/")[1] for client in clients}
            assert len(answers) == 1
            assert answers.pop().startswith(b"1 ")
        assert worker_at(base + 2) == "2"
        assert {worker_at(server.port) for _ in range(MANY)} <= {"1", "2"}


@sharing("reuseport")
def test_ports_come_with_workers_and_go_with_them(server: ServerProcess, base: int) -> None:
    assert refused(base + 3)
    server.signal(signal.SIGTTIN)
    server.wait_for_log(r"worker 3 \(pid \d+\) is ready")
    assert [worker_at(base + number) for number in (1, 2, 3)] == ["1", "2", "3"]
    server.signal(signal.SIGTTOU)
    until(lambda: refused(base + 3), "the end of worker 3's port")
    assert [worker_at(base + number) for number in (1, 2)] == ["1", "2"]


@sharing("shared")
def test_a_port_stays_with_its_slot_through_reloads_deaths_and_an_upgrade(server: ServerProcess, base: int) -> None:
    with RawConnection(base + 2) as client:
        first = client.get("/")[1]
        server.signal(signal.SIGHUP)
        server.wait_for_log("reloaded in")
        # Over the connection of before, which the old worker may have for another moment.
        second = until(lambda: {client.get("/")[1]} - {first}, "the successor").pop()
        assert first.startswith(b"2 ")
        assert second.startswith(b"2 ")
    os.kill(int(second.split()[1]), signal.SIGKILL)
    assert [worker_at(base + number) for number in (2, 1)] == ["2", "1"]  # who comes meanwhile waits for the successor
    server.wait_for_log(r"worker 2 \(pid \d+\) is ready")
    server.signal(signal.SIGUSR2)
    successor = int(server.wait_for_log(r"the new supervisor \(pid (\d+)\) is ready").group(1))
    assert server.wait() == 0
    assert [worker_at(base + number) for number in (1, 2)] == ["1", "2"]
    os.kill(successor, signal.SIGTERM)
    until(lambda: not server.processes(), "the end of the successor")


def test_a_reload_adds_and_removes_them(tmp_path: Path, base: int) -> None:
    (tmp_path / "main.py").write_text(_APPLICATION)
    file = tmp_path / "corehttp.toml"
    file.write_text("bind = ['127.0.0.1:0']\n")
    server = ServerProcess(("main:app", "--workers", "2"), tmp_path)
    try:
        server.wait_until_ready()
        file.write_text(f"bind = ['127.0.0.1:0', '127.0.0.1:{base}+{{worker}}']\n")
        server.signal(signal.SIGHUP)
        server.wait_for_log("reloaded in")
        assert [worker_at(base + number) for number in (1, 2)] == ["1", "2"]
        file.write_text("bind = ['127.0.0.1:0']\n")
        server.signal(signal.SIGHUP)
        until(lambda: refused(base + 1) and refused(base + 2), "the end of the ports")
        assert worker_at(server.port) in ("1", "2")
        assert server.stop() == 0
    finally:
        server.end()


def test_a_port_that_is_taken_ends_the_start(tmp_path: Path, base: int) -> None:
    (tmp_path / "main.py").write_text(_APPLICATION)
    with socket.create_server(("127.0.0.1", base + 2)):
        server = ServerProcess(("main:app", "--workers", "2", "-b", f"127.0.0.1:{base}+{{worker}}"), tmp_path)
        try:
            assert server.wait() == 3
            assert f"port {base + 2} on 127.0.0.1 is in use" in server.stderr
        finally:
            server.end()
