"""What happens when a worker or the supervisor dies."""

import os
import signal
import time
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Start
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import APP, ServerProcess, until

pytestmark = pytest.mark.e2e

CRASH_LOOP = 4
# Boots once; then, when the file `doomed` exists, every successor ends before it is ready.
DOOMED = "import os\nif os.path.exists('doomed'):\n    os._exit(1)\nfrom tests.e2e.application import app\n"
HANGS = "import time\nopen('importing', 'w').close()\ntime.sleep(1000)\n"


@pytest.mark.feature
def test_a_single_worker_that_is_killed_is_replaced_and_the_log_names_the_signal(start: Start) -> None:
    server = start(*APP)
    [first] = server.worker_pids()
    assert first != server.pid
    os.kill(first, signal.SIGKILL)
    server.wait_for_log(rf"worker 1 \(pid {first}\) was killed by SIGKILL")
    server.wait_for_log(r"worker 1 \(pid \d+\) is ready")
    [second] = server.worker_pids()
    assert httpx.get(f"{server.url}/who").json()["pid"] == second != first
    assert server.stop() == 0


def test_a_worker_that_exits_is_replaced_and_the_log_names_the_code(start: Start) -> None:
    server = start(*APP, "--workers", "2")
    before = set(server.worker_pids())
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{server.url}/exit?code=7")
    server.wait_for_log(r"worker \d \(pid \d+\) exited with code 7")
    server.wait_for_log(r"worker \d \(pid \d+\) is ready")
    after = set(server.worker_pids())
    assert len(after) == 2
    assert len(before & after) == 1
    assert server.stop() == 0


@pytest.mark.feature
def test_connections_that_wait_while_a_worker_is_dead_are_served_by_its_successor(start: Start) -> None:
    server = start(*APP)
    [first] = server.worker_pids()
    os.kill(first, signal.SIGSTOP)
    with RawConnection(server.port) as waiting:
        waiting.ask("/")
        os.kill(first, signal.SIGKILL)
        assert waiting.answer()[1] == b"hello"


def test_a_worker_that_keeps_crashing_is_replaced_more_and_more_slowly(start: Start, tmp_path: Path) -> None:
    server = start_doomed(start, tmp_path)
    began = time.monotonic()
    server.wait_for_log(r"worker 1 \(pid \d+\) exited with code 1", count=3)
    # The successor of the first dead comes at once, the next ones after 0.5 s and 1 s.
    assert time.monotonic() - began >= 1.5


@pytest.mark.feature
def test_when_all_workers_keep_crashing_the_supervisor_gives_up(start: Start, tmp_path: Path) -> None:
    server = start_doomed(start, tmp_path, "--crash-loop-timeout", "1")
    assert server.wait() == CRASH_LOOP


def test_sigterm_ends_a_crash_loop_at_once(start: Start, tmp_path: Path) -> None:
    server = start_doomed(start, tmp_path)
    server.wait_for_log(r"worker 1 \(pid \d+\) exited with code 1", count=2)
    assert server.stop() == 0


@pytest.mark.feature
def test_a_worker_dead_before_it_was_ready_ends_the_first_boot(start: Start, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import os\nos._exit(9)\n")
    server = start("main", "--port", "0", "--workers", "2", ready=False)
    assert server.wait() == 3
    assert len(server.stderr.splitlines()) == 2
    assert "exited with code 9 before it was ready" in server.stderr


@pytest.mark.feature
def test_workers_finish_the_request_in_flight_when_the_supervisor_is_killed_and_the_port_is_free(start: Start) -> None:
    server = start(*APP, "--workers", "2")
    with RawConnection(server.port) as client:
        client.ask("/stream?lines=5&seconds=0.1")
        client.wait_for(b"line 0")
        server.signal(signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL
        assert client.rest().endswith(b"line 4\n\r\n0\r\n\r\n")
    port = server.port
    server.check_nothing_is_left()
    assert start(*APP[:-1], str(port)).port == port


def test_a_worker_that_hangs_in_its_import_does_not_outlive_a_killed_supervisor(start: Start, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(HANGS)
    server = start("main", "--port", "0", "--workers", "2", ready=False)
    until((tmp_path / "importing").exists, "the import")
    server.signal(signal.SIGKILL)
    assert server.wait() == -signal.SIGKILL
    server.check_nothing_is_left()


def start_doomed(start: Start, directory: Path, *arguments: str) -> ServerProcess:
    """A server whose worker has just been killed and whose successors die at once."""
    (directory / "main.py").write_text(DOOMED)
    server = start("main", "--port", "0", *arguments)
    (directory / "doomed").touch()
    [worker] = server.worker_pids()
    os.kill(worker, signal.SIGKILL)
    return server
