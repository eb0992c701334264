"""An upgrade in place whose old supervisor is killed on the way: the new one serves, and nothing keeps clients out."""

import contextlib
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from corehttp.sockets import steering
from tests.e2e.conftest import Start
from tests.kit.changing import ChangingApp
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import ServerProcess, until

pytestmark = pytest.mark.e2e

MANY = 30  # connections: enough to reach every socket of a port


def answer(server: int | str) -> str:
    with contextlib.suppress(OSError), RawConnection(server) as client:
        return client.get("/")[1].decode()
    return ""


def at_once(server: ServerProcess) -> None:
    pass


def while_it_loads(server: ServerProcess) -> None:
    until(lambda: server.stderr.count("starting 2 workers") == 2, "the new supervisor")


def when_it_is_ready(server: ServerProcess) -> None:
    server.wait_for_log(r"the new supervisor \(pid \d+\) is ready")


MOMENTS: list[Callable[[ServerProcess], None]] = [at_once, while_it_loads, when_it_is_ready]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__)
@pytest.mark.parametrize("kind", ["reuseport", "shared", "unix"])
def test_a_new_supervisor_serves_though_the_old_one_is_killed(
    start: Start, app: ChangingApp, tmp_path: Path, kind: str, moment: Callable[[ServerProcess], None]
) -> None:
    options = ("--uds", str(tmp_path / "socket")) if kind == "unix" else ("--socket", kind)
    server = start(*app.arguments, "--workers", "2", *options)
    where = server.uds if kind == "unix" else server.port
    with RawConnection(where) as client:  # in flight, so that an old worker stays for a while
        client.ask("/slow?seconds=2")
        app.become("2", "import time; time.sleep(0.5)\n")
        server.signal(signal.SIGUSR2)
        successor = int(server.wait_for_log(r"a new supervisor \(pid (\d+)\) is starting").group(1))
        moment(server)
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: answer(where) == "2", "the new one", 30)
        assert client.answer()[1] == b"1"
    until(lambda: [answer(where) for _ in range(MANY)] == ["2"] * MANY, "the end of the old workers", 30)
    until(lambda: server.stderr.count("workers ready in") == 2, "all workers of the new one")
    os.kill(successor, signal.SIGTERM)
    until(lambda: not server.processes(), "the end of the successor")


@pytest.mark.feature
def test_a_filter_that_somebody_has_left_on_an_inherited_socket_keeps_nobody_out(
    start: Start, app: ChangingApp
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        steering.refuse_new(sock)
        sock.set_inheritable(True)
        server = start(*app.arguments[:3], "--fd", str(sock.fileno()), pass_fds=[sock.fileno()])
        assert answer(port) == "1"
        assert server.stop() == 0
        server.url = ""  # the port is ours
