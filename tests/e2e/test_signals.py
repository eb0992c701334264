"""Signals: those that nobody uses end nothing, and no flood of them hides one that somebody does."""

import itertools
import os
import re
import signal
import time
from pathlib import Path

import pytest

from corehttp.unused_signals import name, unused
from tests.e2e.conftest import Start
from tests.kit.changing import ChangingApp
from tests.kit.extent import varied
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import ServerProcess, until

pytestmark = pytest.mark.e2e

OF_SUPERVISOR = (
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR2,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
)
SILENT = {"SIGPIPE", "SIGXFSZ"}  # ignored by Python itself
KINDS = {"reuseport": (), "preload": ("--preload",), "alone": ("--no-supervise",), "asyncio": ("--loop", "asyncio")}


def answer(server: ServerProcess, path: str = "/") -> str:
    with RawConnection(server.port) as connection:
        return connection.get(path)[1].decode()


def check_told_once(server: ServerProcess, names: set[str]) -> None:
    for told in names - SILENT:
        server.wait_for_log(rf"{re.escape(told)}: ignored")
    assert len(re.findall("ignored, nothing here uses it", server.stderr)) == len(names - SILENT)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_signals_that_nobody_uses_are_told_once_and_end_nothing(start: Start, app: ChangingApp, kind: str) -> None:
    workers = () if kind == "alone" else ("--workers", "2")
    server = start(*app.arguments, *workers, *KINDS[kind])
    before = server.worker_pids()
    used = (
        (*OF_SUPERVISOR, signal.SIGTTIN)
        if kind != "alone"
        else (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
    )
    numbers = unused(used)
    for number in numbers * 2:
        os.kill(server.pid, number)
        assert answer(server) == "1"
    check_told_once(server, set(map(name, numbers)))
    assert server.worker_pids() == before
    assert server.stop() == 0


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"alone"}))
def test_neither_do_they_end_a_worker(start: Start, app: ChangingApp, kind: str) -> None:
    server = start(*app.arguments, *KINDS[kind])
    pid = int(answer(server, "/pid"))
    # SIGIO is the channel's own, SIGUSR2 prints stacks; those of the terminal are for the supervisor.
    numbers = unused((signal.SIGIO, signal.SIGUSR2, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM))
    for number in (*numbers, *numbers, signal.SIGIO, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        os.kill(pid, number)
        assert answer(server, "/pid") == str(pid)
    check_told_once(server, set(map(name, numbers)))
    assert server.stop() == 0


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["spawned", "template"])
def test_nor_a_process_that_still_loads_the_application(
    start: Start, app: ChangingApp, preload: tuple[str, ...]
) -> None:
    loading = app.directory / "loading"
    app.become("1", f"import pathlib, time\npathlib.Path({str(loading)!r}).touch()\ntime.sleep(2)\n")
    server = start(*app.arguments, *preload, ready=False)
    [pid] = until(server.worker_pids, "its process")
    for number in unused((signal.SIGUSR2, signal.SIGTERM)):
        os.kill(pid, number)  # before it has handlers, too
    until(loading.exists, "the application is being loaded")
    for number in (signal.SIGUSR1, signal.SIGALRM, signal.SIGIO, signal.SIGRTMIN):
        os.kill(pid, number)
    server.wait_until_ready()
    assert pid in server.worker_pids()
    assert server.stop() == 0


@pytest.mark.feature
def test_a_flood_of_signals_hides_no_sigterm(start: Start, app: ChangingApp) -> None:
    server = start(*app.arguments, "--workers", "2")
    os.kill(server.pid, signal.SIGSTOP)
    os.kill(server.pid, signal.SIGCONT)
    for _ in range(3000):
        os.kill(server.pid, signal.SIGUSR1)
        os.kill(server.pid, signal.SIGCHLD)
    assert server.stop() == 0
    assert len(re.findall("SIGUSR1: ignored", server.stderr)) == 1


@pytest.mark.parametrize("supervise", ["--supervise", "--no-supervise"])
def test_no_signal_up_to_the_last_moment_changes_the_exit_code(start: Start, app: ChangingApp, supervise: str) -> None:
    server = start(*app.arguments, supervise)
    server.signal(signal.SIGTERM)
    numbers = itertools.cycle((signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGALRM, signal.SIGRTMIN))

    def send_some() -> bool:
        for number in itertools.islice(numbers, 100):
            os.kill(server.pid, number)  # as long as nobody has waited for its end, there is such a process
            time.sleep(0.0002)
        return not server.running

    until(send_some, "the end")
    assert server.wait() == 0


@pytest.mark.parametrize("supervise", varied("--supervise", "--no-supervise"))
def test_sigquit_ends_all_at_once(start: Start, app: ChangingApp, supervise: str) -> None:
    server = start(*app.arguments, supervise)
    with RawConnection(server.port) as client:
        client.ask("/slow?seconds=100")
        assert answer(server) == "1"
        server.signal(signal.SIGQUIT)
        assert server.wait() == 130
    assert "SIGQUIT" in server.stderr


@pytest.mark.feature
def test_without_a_supervisor_a_hang_up_stops_as_sigterm_does(start: Start, app: ChangingApp) -> None:
    server = start(*app.arguments, "--no-supervise")
    server.signal(signal.SIGHUP)
    assert server.wait() == 0


@pytest.mark.parametrize("arguments", [(), ("--preload",), ("--no-supervise",)], ids=" ".join)
def test_a_launcher_that_blocks_or_ignores_signals_does_not_keep_it_from_stopping(
    tmp_path: Path, app: ChangingApp, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "launcher.py").write_text(
        "import os, signal, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
        "for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):\n"
        "    signal.signal(number, signal.SIG_IGN)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'corehttp', *sys.argv[1:]])\n"
    )
    server = ServerProcess([*app.arguments, *arguments], tmp_path, program=["launcher.py"])
    try:
        server.wait_until_ready()
        assert server.stop() == 0
        server.check_nothing_is_left()
    finally:
        server.end()
