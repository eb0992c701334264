"""Reload, scale and upgrade under load: no request is lost, no connection refused, none closed."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.kit.accounting import Load
from tests.kit.changing import ChangingApp
from tests.kit.extent import FULL
from tests.kit.raw_client import RawConnection, connections
from tests.kit.server_process import ServerProcess, until

pytestmark = pytest.mark.e2e

RELOADS, RESIZES = (20, 10) if FULL else (4, 2)


@pytest.fixture
def four(start: Start, app: ChangingApp) -> ServerProcess:
    return start(*app.arguments, "--workers", "4", "--timeout-graceful-shutdown", "10", "--log-level", "debug")


def load(server: ServerProcess) -> Load:
    return Load(server.port, keepers=64, strangers=3, slow=50)


def answer(server: ServerProcess, path: str = "/") -> str:
    with RawConnection(server.port) as connection:
        return connection.get(path)[1].decode()


def taken_over(server: ServerProcess) -> int:
    return server.stderr.count("a connection was taken over")


def test_reloads_under_load_lose_nothing(four: ServerProcess, app: ChangingApp) -> None:
    with load(four).running() as account:
        for number in range(RELOADS):
            app.become(str(number + 2))
            four.signal(signal.SIGHUP)
            four.wait_for_log("reloaded in", number + 1)
            assert answer(four) == str(number + 2)
    account.check()
    assert taken_over(four) >= 64, "connections were not handed over"
    until(lambda: len(four.worker_pids()) == 4, "the end of the old workers")
    assert four.stop() == 0


def test_growing_and_shrinking_under_load_loses_nothing(four: ServerProcess) -> None:
    with load(four).running() as account:
        for number in range(RESIZES):
            four.signal(signal.SIGTTIN)
            four.wait_for_log(r"worker 5 \(pid \d+\) is ready", number + 1)
            four.signal(signal.SIGTTOU)
            four.wait_for_log(r"worker 5 \(pid \d+\) exited with code 0", number + 1)
    account.check()
    until(lambda: len(four.worker_pids()) == 4, "the end of the others")
    assert four.stop() == 0


def test_idle_connections_are_spread_over_a_new_worker(start: Start, app: ChangingApp) -> None:
    server = start(*app.arguments, "--workers", "1")
    with connections(40, server.port) as clients:
        for client in clients:
            client.get("/")
        server.signal(signal.SIGTTIN)
        server.wait_for_log("worker 2 .* is ready")

        def spread() -> bool:
            pids = [client.get("/pid")[1] for client in clients]
            return min(pids.count(pid) for pid in set(pids)) >= 10 and len(set(pids)) == 2

        until(spread, "both workers to have a share")
    assert server.stop() == 0


def test_one_worker_is_never_fewer_than_one(start: Start, app: ChangingApp) -> None:
    server = start(*app.arguments)
    server.signal(signal.SIGTTOU)
    server.wait_for_log("SIGTTOU: ignored, the last worker stays")
    assert answer(server) == "1"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (ChangingApp.become_broken, "No module named 'no_such_module'"),
        (ChangingApp.become_failing, "the database is away"),
    ],
    ids=["broken import", "failing lifespan"],
)
def test_broken_code_never_takes_over(
    four: ServerProcess, app: ChangingApp, spoil: Callable[[ChangingApp], None], reason: str
) -> None:
    with load(four).running() as account:
        spoil(app)
        four.signal(signal.SIGHUP)
        four.wait_for_log("the reload has failed, the old workers serve on: worker 1 could not start")
    account.check()
    assert reason in four.stderr
    assert four.stderr.count("Traceback") <= 1, "it is told in full once"
    assert answer(four) == "1"
    app.become("2")
    four.signal(signal.SIGHUP)
    four.wait_for_log("reloaded in")
    assert answer(four) == "2"


def test_a_slow_import_is_not_noticed(start: Start, app: ChangingApp) -> None:
    server = start(*app.arguments, "--workers", "2", "--reload-parallel", "2", "--timeout-worker-healthcheck", "2")
    with Load(server.port, keepers=16, strangers=1, slow=4).running() as account:
        seconds = 9 if FULL else 3
        app.become_slow("2", seconds)
        server.signal(signal.SIGHUP)
        server.wait_for_log("reloaded in")
        assert account.longest < seconds, "nobody has waited for the import"
    account.check()
    assert answer(server) == "2"


@pytest.mark.feature
def test_a_start_that_takes_too_long_ends_the_reload(start: Start, app: ChangingApp) -> None:
    server = start(*app.arguments)  # with all the time that a busy machine may need
    (app.directory / "corehttp.toml").write_text("timeout-worker-startup = 1\n")
    app.become_slow("2")
    server.signal(signal.SIGHUP)
    server.wait_for_log(r"the reload has failed, .*: worker 1 was not ready after 1 s \(--timeout-worker-startup\)")
    assert answer(server) == "1"


@pytest.mark.feature
def test_a_wrong_configuration_changes_nothing_and_a_right_one_is_read(start: Start, app: ChangingApp) -> None:
    app.become("1")
    config = app.directory / "corehttp.toml"
    config.write_text('workers = "1"\n')
    server = start(*app.arguments)
    config.write_text('workers = "many"\n')
    server.signal(signal.SIGHUP)
    server.wait_for_log("the reload has failed, the old workers serve on: corehttp.toml: workers: 'many' is not valid")
    config.write_text('workers = "2"\nport = 1\n')
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded in")
    until(lambda: len(server.worker_pids()) == 2, "two workers")
    assert answer(server) == "1"


@pytest.mark.feature
def test_stop_first_needs_no_room_for_two_and_keeps_idle_connections(start: Start, app: ChangingApp) -> None:
    server = start(*app.arguments, "--reload-strategy", "stop-first")
    with RawConnection(server.port) as client:
        first = client.get("/pid")
        app.become("2")
        server.signal(signal.SIGHUP)
        until(lambda: client.get("/")[1] == b"2", "the successor, which was left the connection")
        assert client.get("/pid") != first
    server.wait_for_log("reloaded in")


@pytest.mark.feature
def test_a_stop_during_a_reload_is_obeyed_at_once(start: Start, app: ChangingApp) -> None:
    server = start(*app.arguments, "--workers", "2")
    app.become_slow("2")
    server.signal(signal.SIGHUP)
    server.wait_for_log("SIGHUP: reloading")
    assert server.stop(5) == 0


@pytest.mark.feature
def test_a_unix_socket_is_reloaded_too(start: Start, app: ChangingApp, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    server = start(*app.arguments[:3], "--uds", path, "--workers", "2", "--no-access-log")
    with RawConnection(path) as client:
        client.get("/")
        app.become("2")
        server.signal(signal.SIGHUP)
        server.wait_for_log("reloaded in")
        assert client.get("/")[1] == b"2"
    assert server.stop() == 0


# Upgrade in place.


def test_a_new_supervisor_takes_over_under_load(four: ServerProcess, app: ChangingApp) -> None:
    with Load(four.port, keepers=32, strangers=3, slow=10).running() as account:
        app.become("2")
        four.signal(signal.SIGUSR2)
        successor = int(four.wait_for_log(r"the new supervisor \(pid (\d+)\) is ready").group(1))
        assert four.wait() == 0
        assert answer(four) == "2"
    account.check()
    os.kill(successor, signal.SIGTERM)
    until(lambda: not four.processes(), "the end of the successor")


def test_a_new_supervisor_that_fails_changes_nothing(start: Start, app: ChangingApp) -> None:
    server = start(*app.arguments)
    app.become_broken()
    server.signal(signal.SIGUSR2)
    server.wait_for_log(r"the new supervisor \(pid \d+\) has failed: this one serves on")
    assert answer(server) == "1"
    app.become("2")
    server.signal(signal.SIGUSR2)
    successor = int(server.wait_for_log(r"the new supervisor \(pid (\d+)\) is ready").group(1))
    assert server.wait() == 0
    assert answer(server) == "2"
    os.kill(successor, signal.SIGTERM)
    until(lambda: not server.processes(), "the end of the successor")


def test_a_reload_that_fails_does_not_change_the_number_of_workers(start: Start, app: ChangingApp) -> None:
    config = app.directory / "corehttp.toml"
    config.write_text('workers = "3"\n')
    server = start(*app.arguments)
    config.write_text('workers = "1"\n')
    app.become_broken()
    server.signal(signal.SIGHUP)
    server.wait_for_log("the reload has failed, the old workers serve on")
    server.signal(signal.SIGTTIN)
    server.wait_for_log("SIGTTIN: from 3 to 4 workers")
    app.become("2")
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded in")
    until(lambda: len(server.worker_pids()) == 1, "the smaller number, with the code it came with")


def test_a_reload_with_less_patience_lets_old_workers_finish_in_their_own_time(start: Start, app: ChangingApp) -> None:
    config = app.directory / "corehttp.toml"
    config.write_text("timeout-graceful-shutdown = 20\n")
    server = start(*app.arguments)
    with RawConnection(server.port) as client:
        client.ask("/slow?seconds=4")
        until(lambda: not client.has_answer(), "the request")
        config.write_text("timeout-graceful-shutdown = 0\n")
        server.signal(signal.SIGHUP)
        server.wait_for_log("reloaded in")
        assert client.answer()[1] == b"1"
    assert "is killed" not in server.stderr


def test_a_current_directory_that_is_gone_does_not_matter_beside_an_absolute_app_dir(
    start: Start, app: ChangingApp, tmp_path: Path
) -> None:
    release = tmp_path / "release"
    release.mkdir()
    server = start(*app.arguments, directory=release)
    release.rmdir()
    app.become("2")
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded in")
    assert answer(server) == "2"


def test_a_stop_during_an_upgrade_stops_both(start: Start, app: ChangingApp) -> None:
    server = start(*app.arguments, "--workers", "2")
    app.become_slow("2")
    server.signal(signal.SIGUSR2)
    server.wait_for_log(r"a new supervisor \(pid \d+\) is starting")
    assert server.stop(5) == 0
    until(lambda: not server.processes(), "the end of the new one")


def test_a_new_supervisor_with_another_address_takes_the_place_of_the_old_one(start: Start, app: ChangingApp) -> None:
    server = start(*app.arguments, "--host", "127.0.0.1")
    config = app.directory / "corehttp.toml"
    with RawConnection(server.port) as client:
        client.get("/")
        config.write_text('socket = "shared"\n')
        server.signal(signal.SIGUSR2)
        successor = int(server.wait_for_log(r"the new supervisor \(pid (\d+)\) is ready").group(1))
        assert client.rest() == b"", "its old connection is closed, rather than left with nobody"
        assert server.wait() == 0
    os.kill(successor, signal.SIGTERM)
    until(lambda: not server.processes(), "the end of the successor")
