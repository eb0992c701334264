"""The verbs of the command against running services, with everything that can go wrong between the two."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from tests.e2e.conftest import Start
from tests.kit.changing import ChangingApp
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import APP, PATIENCE, ROOT, ServerProcess, until
from tests.kit.verbs import NOBODY, RawOperator, done, environment, told, verb

pytestmark = pytest.mark.e2e

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


def sockets(runtime: Path) -> list[Path]:
    return sorted((runtime / "corehttp").glob("*"))


def slots(runtime: Path) -> list[int]:
    """The numbers of the workers that serve."""
    return [worker["slot"] for worker in told(runtime, "status")["workers"] if worker["state"] == "serving"]


@pytest.mark.feature
def test_a_service_is_found_listed_and_shown(start: Start, runtime: Path) -> None:
    server = start(*APP, "--workers", "2", env=environment(runtime))
    with RawConnection(server.port) as client:
        client.get("/")
        listed = done(verb(runtime, "list")).splitlines()
        assert " ".join(listed[0].split()) == "NAME PID STATE WORKERS GEN UP ADDRESS REQ/S ERR/S RSS RELOADS"
        assert listed[1].split()[:5] == [f"application-{server.port}", str(server.pid), "serving", "2/2", "1"]
        assert listed[1].split()[6] == server.url
        assert listed[1].split()[8] in ("-", "0.0"), "errors are known once a second has passed"

        shown = told(runtime, "status")
        assert (shown["name"], shown["pid"], shown["state"]) == (f"application-{server.port}", server.pid, "serving")
        assert (shown["generation"], shown["target"], shown["reloads"], shown["last_reload"]) == (1, 2, 0, None)
        assert shown["listeners"] == [{"address": server.url, "backlog": 0}]
        assert sum(worker["connections"] for worker in shown["workers"]) == 1
        for slot, worker in enumerate(shown["workers"], 1):
            assert (worker["slot"], worker["state"], worker["starts"]) == (slot, "serving", 1)
            assert worker["pid"] in server.worker_pids()
            assert worker["rss_bytes"] > 2**20
            assert worker["cpu_percent"] >= 0
            assert (worker["errors"], worker["last_exit"]) == (0, None)
            assert worker["lag_ms"] >= 0
        assert shown["rss_bytes"] > sum(worker["rss_bytes"] for worker in shown["workers"])
    table = done(verb(runtime, "describe"))
    assert re.search(r"^ *1 +\d+ +1 +serving ", table, re.MULTILINE)
    assert f"listens on {server.url}, 0 waiting" in table
    assert told(runtime, "ps")["services"][0]["socket"] == str(sockets(runtime)[0])


def test_the_socket_is_the_users_own_from_its_making_to_its_end(start: Start, runtime: Path) -> None:
    server = start(*APP, env=environment(runtime))
    [path] = sockets(runtime)
    assert path.name == f"application-{server.port}-{server.pid}.sock"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert server.stop() == 0
    assert not sockets(runtime)


def test_off_makes_no_socket_and_auto_does_without_a_place(start: Start, runtime: Path) -> None:
    start(*APP, "--control", "off", env=environment(runtime))
    assert not sockets(runtime)
    nowhere = {"XDG_RUNTIME_DIR": "/nowhere", "TMPDIR": "/nowhere"}
    server = start(*APP, "--log-level", "debug", env=nowhere)
    assert (
        "DEBUG    [supervisor] there is no control socket: /nowhere/corehttp cannot be made: No such" in server.stderr
    )
    assert "WARNING" not in server.stderr
    assert server.stop() == 0


def test_a_socket_at_a_path_is_found_as_well_and_a_live_one_is_not_taken(start: Start, runtime: Path) -> None:
    path = runtime / "control.sock"
    server = start(*APP, "--control", str(path), "--name", "shop", env=environment(runtime))
    assert told(runtime, "status", "--name", "shop")["pid"] == server.pid
    assert told(runtime, "status", "--socket", str(path))["pid"] == server.pid

    second = start(*APP, "--control", str(path), env=environment(runtime), ready=False)
    assert second.wait() == 3
    assert f"there is no control socket at {path} (--control): {path} is in use by another service" in second.stderr
    assert told(runtime, "status")["pid"] == server.pid

    server.signal(signal.SIGKILL)
    server.wait()
    until(lambda: not server.processes(), "the end of the workers")
    assert path.exists()
    third = start(*APP, "--control", str(path), env=environment(runtime))
    assert told(runtime, "status")["pid"] == third.pid, "what a killed service leaves is in nobody's way"
    assert third.stop() == 0
    assert not path.exists()
    assert not sockets(runtime)


def test_systemds_runtime_directory_comes_first(start: Start, runtime: Path) -> None:
    directory = runtime / "service"
    directory.mkdir()
    server = start(*APP, env={**environment(runtime), "RUNTIME_DIRECTORY": str(directory)})
    assert (directory / "control.sock").is_socket()
    assert told(runtime, "status")["pid"] == server.pid
    assert server.stop() == 0
    assert not list(directory.iterdir())


def test_a_name_or_a_pid_chooses_among_services(start: Start, runtime: Path) -> None:
    assert verb(runtime, "list").stdout == "no service of this user runs\n"
    none = verb(runtime, "status")
    assert (none.returncode, none.stdout) == (3, "")
    assert none.stderr == "Error: no service of this user runs\n"

    one = start(*APP, "--name", "one", env=environment(runtime))
    two = start(*APP, "--name", "two", env=environment(runtime))
    assert [service["name"] for service in told(runtime, "list")["services"]] == ["one", "two"]
    both = verb(runtime, "reload")
    assert both.returncode == 3
    assert "there is more than one service; choose by --name or --pid:\n" in both.stderr
    assert f"one  pid {one.pid}  serving  {one.url}\n" in both.stderr
    assert f"two  pid {two.pid}  serving  {two.url}\n" in both.stderr
    assert told(runtime, "status", "--name", "two")["pid"] == two.pid
    assert told(runtime, "status", "--pid", str(one.pid))["name"] == "one"
    other = verb(runtime, "stop", "--name", "three")
    assert other.returncode == 3
    assert "no service named three of this user runs; there are:\n  one " in other.stderr


@pytest.mark.feature
def test_a_reload_is_waited_for_and_says_how_it_ends(start: Start, app: ChangingApp, runtime: Path) -> None:
    server = start(*app.arguments, "--workers", "2", env=environment(runtime))
    app.become("2")
    said = done(verb(runtime, "reload"))
    assert "reload: 1 of 2 are of generation 2\n" in said
    assert said.endswith("reload: all workers are of generation 2\n")
    with RawConnection(server.port) as client:
        assert client.get("/")[1] == b"2"
    by = re.search(r"corehttp reload by uid (\d+), pid \d+: reloading", server.stderr)
    assert by is not None
    assert int(by[1]) == os.geteuid()
    until(lambda: len(told(runtime, "status")["workers"]) == 2, "the end of the old workers")
    shown = told(runtime, "status")
    assert (shown["generation"], shown["reloads"], shown["last_reload"]["ok"]) == (2, 1, True)
    assert {worker["last_exit"]["cause"] for worker in shown["workers"]} == {"reload"}


def test_a_reload_that_fails_ends_with_1_and_its_reason(start: Start, app: ChangingApp, runtime: Path) -> None:
    server = start(*app.arguments, env=environment(runtime))
    app.become_broken()
    failed = verb(runtime, "reload")
    assert failed.returncode == 1
    assert "Error: worker 1 could not start: " in failed.stderr
    assert told(runtime, "status")["last_reload"]["ok"] is False
    assert "last reload: " in done(verb(runtime, "status"))
    with RawConnection(server.port) as client:
        assert client.get("/")[1] == b"1"


def test_a_configuration_that_is_wrong_ends_a_reload_with_1(start: Start, app: ChangingApp, runtime: Path) -> None:
    start(*app.arguments, env=environment(runtime))
    (app.directory / "corehttp.toml").write_text("backlog = 'many'\n")
    failed = verb(runtime, "reload")
    assert failed.returncode == 1
    assert "the old workers serve on: corehttp.toml: backlog: 'many' is not valid" in failed.stderr


def test_waiting_can_be_left_out_or_bounded(start: Start, app: ChangingApp, runtime: Path) -> None:
    start(*app.arguments, env=environment(runtime))
    assert done(verb(runtime, "reload", "--no-wait")) == "reload: generation 2 is starting\n"
    until(lambda: told(runtime, "status")["generation"] == 2, "the reload")
    app.become_slow("3", seconds=3)
    late = verb(runtime, "reload", "--timeout", "0.1")
    assert late.returncode == 5
    assert late.stderr == "Error: it is not done yet, and goes on without being waited for (--timeout)\n"
    until(lambda: told(runtime, "status")["generation"] == 3, "the reload that nobody waits for")


@pytest.mark.feature
def test_workers_are_added_and_removed(start: Start, runtime: Path) -> None:
    server = start(*APP, env=environment(runtime))
    assert done(verb(runtime, "scale", "3")).endswith("scale: 3 workers\n")
    assert slots(runtime) == [1, 2, 3]
    assert done(verb(runtime, "scale", "-1")).endswith("scale: 2 workers\n")
    assert slots(runtime) == [1, 2]
    assert len(server.worker_pids()) == 2
    assert done(verb(runtime, "scale", "2")).endswith("scale: 2 workers\n"), "nothing had to be done"
    assert done(verb(runtime, "scale", "+1")).endswith("scale: 3 workers\n")
    done(verb(runtime, "scale", "auto"))
    assert len(slots(runtime)) == len(os.sched_getaffinity(0)) or len(slots(runtime)) >= 1
    refused = verb(runtime, "scale", "-9")
    assert (refused.returncode, refused.stderr) == (1, "Error: the last worker stays\n")
    wrong = verb(runtime, "scale", "many")
    assert wrong.returncode == 2
    assert "'many' is no number of workers; it must be one of 4, +1, -1, auto" in wrong.stderr


def test_a_worker_that_cannot_start_is_told_and_the_others_serve(start: Start, app: ChangingApp, runtime: Path) -> None:
    server = start(*app.arguments, env=environment(runtime))
    app.become_broken()
    failed = verb(runtime, "scale", "2")
    assert failed.returncode == 1
    assert "worker 2 cannot be started (exit 3)" in failed.stderr
    failed = verb(runtime, "restart", "1")
    assert failed.returncode == 1
    assert "worker 1 cannot be started (exit 3)" in failed.stderr
    with RawConnection(server.port) as client:
        assert client.get("/")[1] == b"1"


def test_a_restart_replaces_one_worker_or_all(start: Start, runtime: Path) -> None:
    start(*APP, "--workers", "2", env=environment(runtime))
    before = [worker["pid"] for worker in told(runtime, "status")["workers"]]
    assert done(verb(runtime, "restart", "2")).endswith("restart: 1 worker replaced\n")
    serving = [worker for worker in told(runtime, "status")["workers"] if worker["state"] == "serving"]
    assert [worker["pid"] == pid for worker, pid in zip(serving, before, strict=True)] == [True, False]
    assert [worker["starts"] for worker in serving] == [1, 2]
    assert done(verb(runtime, "restart", "all")).endswith("restart: 2 workers replaced\n")
    until(lambda: len(told(runtime, "status")["workers"]) == 2, "the end of the old ones")
    causes = {worker["last_exit"]["cause"] for worker in told(runtime, "status")["workers"]}
    assert causes == {"restart"}
    none = verb(runtime, "restart", "3")
    assert (none.returncode, none.stderr) == (1, "Error: there is no worker 3\n")


@pytest.mark.feature
def test_a_stop_finishes_what_is_in_flight_and_waits_for_it(start: Start, runtime: Path, tmp_path: Path) -> None:
    server = start(*APP, env=environment(runtime))
    with RawConnection(server.port) as client:
        client.ask("/slow?until=released")
        until(lambda: told(runtime, "requests")["requests"], "the request")
        [request] = told(runtime, "requests")["requests"]
        assert (request["method"], request["path"], request["state"]) == ("GET", "/slow", "waiting")
        assert "/slow" in done(verb(runtime, "requests", "1"))
        with ThreadPoolExecutor(1) as threads:
            stop = threads.submit(verb, runtime, "stop")
            server.wait_for_log("finishing")
            (tmp_path / "released").touch()
            assert done(stop.result()) == "stop: stopping\nstop: stopped\n"
        assert client.answer()[1] == b"slept"
    assert server.wait() == 0


def test_a_stop_that_is_not_to_wait_kills_everything(start: Start, runtime: Path, tmp_path: Path) -> None:
    server = start(*APP, env=environment(runtime))
    with RawConnection(server.port) as client:
        client.ask("/slow?seconds=1000")
        until((tmp_path / "events").exists, "the request")
        stopped = told(runtime, "stop", "--now")
    assert (stopped["ok"], stopped["exit_code"]) == (True, 130)
    assert server.wait() == 130


def test_a_stopped_supervisor_is_not_waited_for(start: Start, runtime: Path) -> None:
    server = start(*APP, "--name", "frozen", env=environment(runtime))
    server.signal(signal.SIGSTOP)
    try:
        silent = verb(runtime, "status")
        assert silent.returncode == 5
        assert silent.stderr == "Error: the service has not answered within 5 s; is it stopped?\n"
        assert re.search(rf"^frozen +{server.pid} +no answer +- ", done(verb(runtime, "list")), re.MULTILINE)
    finally:
        server.signal(signal.SIGCONT)
    assert told(runtime, "status")["state"] == "serving"


def test_a_new_supervisor_takes_over_the_socket(start: Start, app: ChangingApp, runtime: Path) -> None:
    server = start(*app.arguments, "--name", "shop", env=environment(runtime))
    paths = sockets(runtime)
    with RawConnection(server.port) as client:
        client.ask("/slow?seconds=3")  # in flight, so that the old one stays for a while
        app.become("2")
        server.signal(signal.SIGUSR2)
        until(lambda: told(runtime, "status")["pid"] != server.pid, "the new supervisor's answer")
        assert sockets(runtime) == paths
        shown = told(runtime, "status", "--name", "shop")
        assert client.answer()[0].startswith(b"HTTP/1.1 200")
    assert server.wait() == 0
    assert sockets(runtime) == paths, "the end of the old one removes nothing of the new one's"
    assert told(runtime, "status", "--pid", str(shown["pid"]))["state"] == "serving"
    assert done(verb(runtime, "stop")).endswith("stop: stopped\n")
    until(lambda: not psutil.pid_exists(shown["pid"]), "the end of the new one")
    assert not sockets(runtime)


def test_a_new_supervisor_that_fails_leaves_the_socket_to_the_old_one(
    start: Start, app: ChangingApp, runtime: Path
) -> None:
    server = start(*app.arguments, env=environment(runtime))
    app.become_broken()
    server.signal(signal.SIGUSR2)
    server.wait_for_log(r"the new supervisor \(pid \d+\) has failed")
    assert told(runtime, "status")["pid"] == server.pid
    assert server.stop() == 0
    assert not sockets(runtime)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x00\xff\n", 'a request is one line with a JSON object, as in {"verb": "status"}'),
        (b"[" * 60000 + b"\n", 'a request is one line with a JSON object, as in {"verb": "status"}'),
        (b"[]\n", 'a request is one line with a JSON object, as in {"verb": "status"}'),
        (b'{"verb": 5}\n', 'a request names what it wants as text, as in {"verb": "status"}'),
        (b"x" * 70000, "a request of more than 65536 bytes"),
        (b'{"verb": "scale", "workers": "x"}\n', "scale needs `workers`, a whole number or auto"),
        (b'{"verb": "scale", "workers": true}\n', "scale needs `workers`, a whole number or auto"),
        (b'{"verb": "restart", "worker": 0}\n', "`worker` must be the number of a worker, from 1"),
        (b'{"verb": "stop", "now": 1}\n', "`now` of stop must be true or false"),
        (b'{"verb": "st"', "no request has come within 5 s"),
    ],
    ids=["bytes", "deep", "list", "number", "long", "no number", "a truth", "worker 0", "now", "half"],
)
def test_what_cannot_be_understood_is_answered_and_nothing_else_happens(
    two_workers: ServerProcess, shared: Path, data: bytes, reason: str
) -> None:
    [path] = sockets(shared)
    with RawOperator(str(path)) as operator:
        operator.send(data)
        [line] = operator.answer()
    assert (line["kind"], line["schema"]) == ("error", 1)
    assert reason in line["reason"]
    assert told(shared, "status")["state"] == "serving"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="corehttp-", dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Iterator[ServerProcess]:
    """One server for the tests that change nothing."""
    server = ServerProcess((*APP, "--workers", "2"), tmp_path_factory.mktemp("shared"), environment(shared))
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.end()


def test_clients_that_say_nothing_keep_nobody_else_out_for_long(two_workers: ServerProcess, shared: Path) -> None:
    [path] = sockets(shared)
    silent = [RawOperator(str(path)) for _ in range(16)]
    with RawOperator(str(path)) as operator:
        [busy] = operator.answer()
    assert busy["reason"] == "16 clients are connected already"
    for one in silent:
        [late] = one.answer()
        assert late["fault"] == "late"
        one.__exit__()
    assert told(shared, "status")["state"] == "serving"


def test_who_leaves_while_waiting_changes_nothing(start: Start, app: ChangingApp, runtime: Path) -> None:
    server = start(*app.arguments, env=environment(runtime))
    with RawOperator(str(sockets(runtime)[0])) as operator:
        operator.send(b'{"verb": "reload"}\n')
        server.wait_for_log("reloading")
    until(lambda: told(runtime, "status")["generation"] == 2, "the reload")
    assert "Traceback" not in server.stderr


def test_who_ends_its_side_of_the_connection_hears_how_a_reload_ends(
    start: Start, app: ChangingApp, runtime: Path
) -> None:
    start(*app.arguments, env=environment(runtime))
    with RawOperator(str(sockets(runtime)[0])) as operator:
        operator.send(b'{"verb": "reload"}\n')
        operator.end_side()
        lines = operator.answer()
    assert (lines[-1]["kind"], lines[-1]["text"]) == ("result", "all workers are of generation 2")


@as_root
def test_another_user_is_refused_by_the_file_system_and_by_the_service(start: Start, runtime: Path) -> None:
    runtime.chmod(0o711)
    path = runtime / "control.sock"
    server = start(*APP, "--control", str(path), env=environment(runtime))
    refused = verb(runtime, "stop", "--socket", str(path), user=NOBODY)
    assert (refused.returncode, refused.stderr) == (4, f"Error: {path} may not be used by this user\n")
    path.chmod(0o666)
    refused = verb(runtime, "status", "--socket", str(path), user=NOBODY)
    assert refused.returncode == 4
    assert refused.stderr == f"Error: uid {NOBODY} may not use this service's control socket\n"
    assert re.search(rf"control: uid {NOBODY}, pid \d+ is refused", server.stderr)
    assert server.running


@as_root
def test_a_group_may_look_and_with_the_right_to_change_too(start: Start, runtime: Path) -> None:
    runtime.chmod(0o711)
    path, group = runtime / "control.sock", 54321
    server = start(*APP, "--control", str(path), "--control-group", f"{group}:read", env=environment(runtime))
    assert (path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (group, 0o660)
    words = ("--socket", str(path))
    assert "serving" in done(verb(runtime, "status", *words, user=NOBODY, group=group))
    refused = verb(runtime, "scale", "2", *words, user=NOBODY, group=group)
    assert refused.returncode == 4
    assert f"uid {NOBODY}, pid " in refused.stderr
    assert "may not change this service" in refused.stderr
    assert re.search(rf"control: scale by uid {NOBODY}, pid \d+: refused, who may only look", server.stderr)
    assert server.stop() == 0

    start(*APP, "--control", str(path), "--control-group", str(group), env=environment(runtime))
    assert done(verb(runtime, "scale", "2", *words, user=NOBODY, group=group)).endswith("scale: 2 workers\n")


def test_verbs_under_load_lose_no_request(start: Start, app: ChangingApp, runtime: Path) -> None:
    server = start(*app.arguments, "--workers", "2", env=environment(runtime))
    counts: dict[str, int] = {"answered": 0, "lost": 0}
    stopping = threading.Event()

    def load() -> None:
        while not stopping.is_set():
            with RawConnection(server.port) as client:
                for _ in range(20):
                    counts["answered" if client.get("/")[0].startswith(b"HTTP/1.1 200") else "lost"] += 1

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for words in (("scale", "3"), ("reload",), ("restart", "all"), ("scale", "2"), ("status",), ("list",)):
            done(verb(runtime, *words))
        until(lambda: rate(runtime) > 0, "a rate of requests")
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    assert counts["lost"] == 0
    assert counts["answered"] > 100
    assert server.stop() == 0


def rate(runtime: Path) -> float:
    workers: list[dict[str, Any]] = told(runtime, "status")["workers"]
    return sum(worker["requests_per_second"] or 0 for worker in workers)


def test_a_paused_worker_is_told_from_one_that_is_blocked(start: Start, runtime: Path) -> None:
    server = start(*APP, "--workers", "2", env=environment(runtime))
    first, second = server.worker_pids()
    os.kill(first, signal.SIGSTOP)
    try:
        until(lambda: "paused" in states(runtime), "the worker that is stopped")
    finally:
        os.kill(first, signal.SIGCONT)
    until(lambda: states(runtime) == ["serving", "serving"], "both workers")
    with RawConnection(server.port) as client:
        client.ask("/busy")
        until(lambda: sorted(states(runtime)) == ["blocked", "serving"], "the worker that is busy")
        [request] = told(runtime, "requests")["requests"]
        assert request["path"] == "/busy"
        # Python 3.11 runs no task before the loop's next turn, when its request counts as one that has waited.
        assert request["state"] == ("running" if sys.version_info >= (3, 12) else "waiting")
    assert done(verb(runtime, "stop", "--now"))
    assert second != first


def states(runtime: Path) -> list[str]:
    return [worker["state"] for worker in told(runtime, "status")["workers"]]


def test_an_application_with_the_name_of_a_verb_is_served_by_its_whole_name(
    start: Start, tmp_path: Path, runtime: Path
) -> None:
    (tmp_path / "status.py").write_text("from tests.kit.apps import hello as app\n")
    server = start("status:app", "--port", "0", env=environment(runtime))
    assert told(runtime, "status")["name"] == f"status-{server.port}"
    wrong = start("--port", "0", "status", env=environment(runtime), ready=False)
    assert wrong.wait() == 2
    assert "status is a verb, which comes first; an application of that name is status:app" in wrong.stderr


def test_a_thousand_questions_a_second_are_answered_beside_requests(start: Start, runtime: Path) -> None:
    server = start(*APP, "--workers", "2", env=environment(runtime))
    path = str(sockets(runtime)[0])
    began = time.monotonic()
    with RawConnection(server.port) as client:
        for _ in range(1000):
            with RawOperator(path) as operator:
                operator.send(b'{"verb": "status"}\n')
                assert operator.answer()[0]["state"] == "serving"
        assert client.get("/")[0].startswith(b"HTTP/1.1 200")
    assert time.monotonic() - began < 60
    assert psutil.Process(server.pid).num_fds() < 60


def test_top_prints_a_table_each_time_where_there_is_no_terminal(start: Start, runtime: Path) -> None:
    start(*APP, env=environment(runtime))
    said = done(verb(runtime, "top", "--count", "2", "--interval", "0.1"))
    assert said.count("STARTS  LAST-EXIT\n") == 2
    lines = done(verb(runtime, "monit", "--count", "2", "--interval", "0.1", "--json")).splitlines()
    looks = [json.loads(line) for line in lines]
    assert [look["schema"] for look in looks] == [1, 1]
    assert looks[0]["workers"][0]["cpu_percent"] is None
    assert looks[1]["workers"][0]["cpu_percent"] >= 0


def test_top_draws_one_screen_in_a_terminal_and_puts_it_back(start: Start, runtime: Path) -> None:
    server = start(*APP, env=environment(runtime))
    terminal, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 30, 160, 0, 0))
    env = {**os.environ, **environment(runtime), "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    command = [sys.executable, "-m", "corehttp", "top", "--interval", "0.2"]
    with subprocess.Popen(command, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as top:
        os.close(theirs)
        shown = b""
        while not re.search(rb"serving.*Ctrl-C ends.*serving.*Ctrl-C ends", shown, re.DOTALL):
            shown += os.read(terminal, 65536)
        top.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # Linux says so when the other end of a terminal is gone
            while data := os.read(terminal, 65536):
                shown += data
        assert top.wait() == 0
    os.close(terminal)
    assert f"application-{server.port}: serving, pid {server.pid}".encode() in shown
    assert b"\x1b[?1049h" in shown, "the terminal's other screen"
    assert shown.rindex(b"\x1b[?1049l") > shown.rindex(b"\x1b[?1049h"), "its own screen again"
    assert b"Traceback" not in shown


def test_top_ends_with_3_when_the_service_ends(start: Start, runtime: Path) -> None:
    server = start(*APP, env=environment(runtime))
    own = {**os.environ, **environment(runtime), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "corehttp", "top", "--interval", "0.1"]
    with subprocess.Popen(command, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as top:
        assert top.stdout is not None
        assert "serving" in top.stdout.readline()
        assert server.stop() == 0
        _, said = top.communicate(timeout=PATIENCE)
    assert top.returncode == 3
    assert "Error: no service" in said


STUCK = """
import asyncio

async def app(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/c":
        sum(range(10**14))  # no signal is heeded before its end
    await asyncio.sleep(1000)
"""


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_the_stacks_of_threads_and_tasks_are_shown(start: Start, runtime: Path, tmp_path: Path, loop: str) -> None:
    server = start(*APP, "--loop", loop, env=environment(runtime))
    with RawConnection(server.port) as waiting, RawConnection(server.port) as busy:
        waiting.ask("/slow?seconds=1000")
        until((tmp_path / "events").exists, "the request")
        shown = done(verb(runtime, "stacks", "1"))
        assert "Current thread 0x" in shown
        assert re.search(r'Task .*\n  File ".*/asyncio/tasks.py", line \d+ in sleep\n  File ".*application.py"', shown)
        busy.ask("/busy")
        until(lambda: (tmp_path / "events").read_text().count("hanging"), "the request that blocks")
        told_busy = told(runtime, "stacks", "1")
        assert (told_busy["slot"], told_busy["complete"]) == (1, True)
        assert re.search(r"Current thread .*\n  File \".*application.py\", line \d+ in app\n", told_busy["text"])
        assert "line" in told(runtime, "stacks", "1")["text"], "it can be asked again"
        done(verb(runtime, "stop", "--now"))
    assert "SIGURG" not in server.stderr
    assert server.wait() == 130


def test_of_an_interpreter_that_is_stuck_in_c_the_threads_are_shown(
    start: Start, runtime: Path, tmp_path: Path
) -> None:
    (tmp_path / "stuck.py").write_text(STUCK)
    server = start("stuck:app", "--port", "0", env=environment(runtime))
    with RawConnection(server.port) as client:
        client.ask("/c")
        until(lambda: states(runtime) == ["blocked"], "the worker that is stuck")
        shown = told(runtime, "stacks", "1")
        assert shown["complete"] is False
        assert re.search(r"stuck.py\", line 7 in app\n", shown["text"])
        assert "The interpreter does not get to tell its tasks" in done(verb(runtime, "stacks", "1"))
        done(verb(runtime, "stop", "--now"))


def test_a_worker_that_starts_slowly_shows_where_it_is(start: Start, app: ChangingApp, runtime: Path) -> None:
    app.become_slow("1")
    server = start(*app.arguments, env=environment(runtime), ready=False)
    until(lambda: sockets(runtime), "the socket")
    until(lambda: 'changing_app.py", line 1 in <module>' in verb(runtime, "stacks", "1").stdout, "the import")
    assert "No event loop runs." in done(verb(runtime, "stacks", "1"))
    assert told(runtime, "status")["state"] == "starting"
    done(verb(runtime, "stop", "--now"))
    assert server.wait() == 130


def test_stacks_of_no_worker_and_of_one_that_is_paused_are_refused(start: Start, runtime: Path) -> None:
    server = start(*APP, env=environment(runtime))
    missing = verb(runtime, "stacks", "2")
    assert (missing.returncode, missing.stderr) == (1, "Error: there is no worker 2\n")
    [pid] = server.worker_pids()
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "the pause")
        paused = verb(runtime, "stacks", "1")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (paused.returncode, paused.stderr) == (
        1,
        f"Error: worker 1 (pid {pid}) is paused by a signal or a debugger\n",
    )


def test_the_options_in_force_are_shown_with_their_sources_and_what_a_reload_would_change(
    start: Start, app: ChangingApp, runtime: Path
) -> None:
    file = app.directory / "corehttp.toml"
    file.write_text("backlog = 100\nheader = ['x-key: secret']\n")
    start(*app.arguments, env={**environment(runtime), "COREHTTP_WORKERS": "2"})
    shown = {one["name"]: (one["value"], one["source"]) for one in told(runtime, "config")["options"]}
    assert shown["app"] == ("changing_app:app", "APP")
    assert shown["port"] == (0, "--port")
    assert shown["workers"] == ("2", "COREHTTP_WORKERS")
    assert shown["backlog"] == (100, "corehttp.toml: backlog")
    assert shown["http"] == ("auto", "default")
    assert "secret" not in verb(runtime, "config").stdout
    assert done(verb(runtime, "config", "--diff")) == "no option is given otherwise by now\n"

    file.write_text("backlog = 200\nsocket = 'shared'\n")
    changed = {one["name"]: (one["next"], one["needs_restart"]) for one in told(runtime, "config", "--diff")["changes"]}
    assert changed == {"backlog": (200, False), "socket": ("shared", True), "header": ([], False)}
    done(verb(runtime, "reload"))
    assert [one["name"] for one in told(runtime, "config", "--diff")["changes"]] == ["socket"]
    shown = {one["name"]: (one["value"], one["source"]) for one in told(runtime, "config")["options"]}
    assert (shown["backlog"], shown["socket"]) == ((200, "corehttp.toml: backlog"), ("auto", "default"))

    file.write_text("backlog = 'x'\n")
    wrong = verb(runtime, "config", "--diff")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("Error: a reload would fail: corehttp.toml: backlog: 'x' is not valid")
