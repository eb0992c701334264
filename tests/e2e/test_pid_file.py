"""--pid: the file names the process to which signals are sent, over an upgrade too, and goes with it."""

import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Start
from tests.kit.extent import varied
from tests.kit.server_process import APP, until

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("mode", varied(("--workers", "2"), ("--no-supervise",)))
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_the_file_is_there_while_the_service_runs(
    start: Start, tmp_path: Path, mode: tuple[str, ...], number: signal.Signals
) -> None:
    path = tmp_path / "shop.pid"
    server = start(*APP, "--port", "0", "--pid", "shop.pid", *mode)
    os.kill(int(path.read_text()), number)
    server.wait()
    assert not path.exists()


def test_after_an_upgrade_it_names_the_new_supervisor(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "shop.pid"
    server = start(*APP, "--port", "0", "--pid", str(path))
    server.signal(signal.SIGUSR2)
    successor = int(server.wait_for_log(r"the new supervisor \(pid (\d+)\) is ready").group(1))
    assert server.wait() == 0
    assert path.read_text() == f"{successor}\n"
    assert httpx.get(server.url).status_code == 200
    os.kill(successor, signal.SIGTERM)
    until(lambda: not server.processes(), "the end of the successor")
    assert not path.exists()


def test_a_file_that_cannot_be_written_ends_the_start(start: Start) -> None:
    server = start(*APP, "--port", "0", "--pid", "/nowhere/shop.pid", ready=False)
    assert server.wait() == 3
    assert "pid: /nowhere/shop.pid cannot be written: No such file or directory" in server.stderr
