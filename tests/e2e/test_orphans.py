"""Nobody waits behind a slot without a worker while another one could serve."""

import contextlib
import os
import re
import signal
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.e2e.conftest import Start
from tests.kit.raw_client import RawConnection, connections
from tests.kit.server_process import ServerProcess, until

pytestmark = pytest.mark.e2e

# Once the file `closed` exists, a worker becomes ready only when it is gone again.
GATED = """
import os, time
while os.path.exists("closed"):
    time.sleep(0.01)
from tests.e2e.application import app
"""


def kill(server: ServerProcess, pid: int) -> str:
    """Kill a worker; answers its name, once the supervisor knows."""
    os.kill(pid, signal.SIGKILL)
    return server.wait_for_log(rf"(worker \d) \(pid {pid}\) was killed by SIGKILL").group(1)


def waiting(port: int) -> list[int]:
    """How many connections wait on each socket that listens on the port (proc(5), /proc/net/tcp: its rx_queue)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [int(row[4].partition(":")[2], 16) for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")]


def test_with_nobody_alive_all_go_to_who_starts_first_and_not_to_one_that_waits(start: Start, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(GATED)
    server = start("main", "--port", "0", "--workers", "2")
    pid, other = server.worker_pids()
    name = ""
    for death in range(1, 7):
        name = kill(server, pid)
        if death < 6:
            pid = int(server.wait_for_log(rf"{name} \(pid (\d+)\) is ready", death).group(1))
    server.wait_for_log(rf"{name} starts again in (8|9|10)\.\d s")
    (tmp_path / "closed").touch()
    assert kill(server, other) != name
    with contextlib.ExitStack() as stack:
        clients: list[RawConnection] = []

        def everywhere() -> bool:
            for _ in range(10):
                clients.append(stack.enter_context(RawConnection(server.port)))
                clients[-1].ask("/")
            return all(waiting(server.port))

        until(everywhere, "clients that wait in each queue")
        os.unlink(tmp_path / "closed")
        assert {client.answer()[1] for client in clients} == {b"hello"}
        assert len(re.findall(rf"{name} \(pid \d+\) is ready", server.stderr)) == 5, "it was not waited for"
    server.wait_for_log(rf"\d+ connections? that waited for {name} (was|were) given to others")
    assert server.stop() == 0


@pytest.mark.feature
def test_who_waits_for_a_worker_that_died_is_served_by_another_while_its_successor_starts_slowly(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "main.py").write_text(GATED)
    server = start("main", "--port", "0", "--workers", "2")
    first, _ = server.worker_pids()
    os.kill(first, signal.SIGSTOP)
    until(lambda: psutil.Process(first).status() == psutil.STATUS_STOPPED, "the stop")
    with connections(40, server.port) as clients:
        for client in clients:
            client.ask("/")
        (tmp_path / "closed").touch()
        kill(server, first)
        assert [client.answer()[1] for client in clients] == [b"hello"] * 40
    assert " is ready" not in server.stderr
    os.unlink(tmp_path / "closed")
    server.wait_for_log(r"worker \d \(pid \d+\) is ready")
    server.wait_for_log(r"\d+ connections? that waited for worker \d (was|were) given to others")
    assert server.stop() == 0
