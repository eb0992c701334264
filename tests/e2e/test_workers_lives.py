"""Workers that crash, hang, grow old, are forked, or end: what their clients and the operator see of it."""

import functools
import os
import re
import signal
import threading

import psutil  # type: ignore[import-untyped]
import pytest

from tests.e2e.conftest import Start
from tests.kit.accounting import Load
from tests.kit.changing import ChangingApp
from tests.kit.raw_client import RawConnection, connections
from tests.kit.server_process import ROOT, until

pytestmark = pytest.mark.e2e


# Crashes.


def test_a_request_that_kills_its_worker_six_times_takes_nothing_else_with_it(start: Start, app: ChangingApp) -> None:
    server = start(*app.arguments, "--workers", "4")
    for number in range(6):
        with RawConnection(server.port) as killer:
            killer.ask("/exit")
            assert killer.rest() == b""
        for _ in range(20):
            with RawConnection(server.port) as client:
                assert client.get("/")[1] == b"1"
        server.wait_for_log(r"worker \d \(pid \d+\) exited with code 7, in flight: GET /exit \(0\.\d s\)", number + 1)
    assert server.stop() == 0


def test_who_waits_for_a_worker_that_is_killed_is_served_by_its_successor(start: Start, app: ChangingApp) -> None:
    server = start(*app.arguments, "--blocked-warn", "0")
    [pid] = server.worker_pids()
    with RawConnection(server.port) as holder, connections(20, server.port) as waiting:
        holder.ask("/block?1000")
        until(lambda: psutil.Process(pid).status() == psutil.STATUS_SLEEPING, "the block")
        for client in waiting:
            client.ask("/")
        newcomers = [RawConnection(server.port) for _ in range(20)]
        for client in newcomers:
            client.ask("/")
        os.kill(pid, signal.SIGKILL)
        answers = []
        for client in newcomers:
            with client:
                answers.append(client.answer()[1])
        assert answers == [b"1"] * 20
    server.wait_for_log(r"worker 1 \(pid \d+\) was killed by SIGKILL, in flight: GET /block")
    until(lambda: len(server.worker_pids()) == 1, "full strength")


def test_a_worker_that_dies_on_every_request_is_started_ever_less_often(start: Start, app: ChangingApp) -> None:
    server = start(*app.arguments)
    ended = threading.Event()
    timer = threading.Timer(10, ended.set)
    timer.start()
    while not ended.is_set():
        with RawConnection(server.port) as client:
            client.ask("/exit")
            client.socket.settimeout(0.2)
            try:
                client.rest()
            except (TimeoutError, ConnectionResetError):
                pass
    assert 3 <= server.stderr.count("exited with code 7") <= 8
    timer.join()


@pytest.mark.feature
def test_a_worker_that_an_operator_ends_is_replaced_and_nobody_notices(start: Start, app: ChangingApp) -> None:
    server = start(*app.arguments, "--workers", "2")

    def gone(pid: int) -> bool:
        return pid not in server.worker_pids()

    with Load(server.port, keepers=16, strangers=2, slow=4).running() as account:
        for pid in server.worker_pids():
            os.kill(pid, signal.SIGTERM)
            until(functools.partial(gone, pid), "the end of the worker")
            until(lambda: len(server.worker_pids()) == 2, "its successor")
    account.check()
    assert server.stop() == 0


# Hangs.


@pytest.mark.feature
def test_a_blocked_loop_is_reported_with_its_request_and_stack_and_replaced(start: Start, app: ChangingApp) -> None:
    server = start(*app.arguments, "--workers", "2", "--timeout-worker-healthcheck", "4")
    hung = None
    with RawConnection(server.port) as holder:
        holder.ask("/block?1000")
        server.wait_for_log(r"the event loop is blocked for 1\.\d s by GET /block, in\n")
        server.wait_for_log(r"time\.sleep\(float\(query\)\)")
        found = server.wait_for_log(
            r"worker (\d) \(pid (\d+)\): its event loop is blocked for \d\.\d s \(--timeout-worker-healthcheck\), "
            r"it is replaced, in flight: GET /block"
        )
        hung = int(found.group(2))
        server.wait_for_log(r"(?s)Current thread .*in app")
        server.wait_for_log(rf"worker {found.group(1)} \(pid {hung}\) is killed while draining")
        assert holder.rest() == b""
    for _ in range(20):
        with RawConnection(server.port) as client:
            assert client.get("/pid")[1] != str(hung).encode()
    assert len(re.findall("the event loop is blocked", server.stderr)) == 1
    assert server.stop() == 0


def test_a_loop_that_runs_again_is_reported_too(start: Start, app: ChangingApp) -> None:
    server = start(*app.arguments)
    with RawConnection(server.port) as client:
        assert client.get("/block?2")[1] == b"1"
    server.wait_for_log(r"the event loop runs again after 2\.\d s")


def test_a_worker_that_a_debugger_has_stopped_is_left_alone(start: Start, app: ChangingApp) -> None:
    server = start(*app.arguments, "--timeout-worker-healthcheck", "2")
    [pid] = server.worker_pids()
    os.kill(pid, signal.SIGSTOP)
    try:
        with RawConnection(server.port) as client:
            client.ask("/")
            client.socket.settimeout(5)
            with pytest.raises(TimeoutError):
                client.answer()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert server.worker_pids() == [pid]
    assert "it is replaced" not in server.stderr


@pytest.mark.feature
def test_the_stacks_of_a_worker_can_be_asked_for(start: Start, app: ChangingApp) -> None:
    server = start(*app.arguments)
    [pid] = server.worker_pids()
    os.kill(pid, signal.SIGUSR2)
    server.wait_for_log(r"Current thread 0x\w+ (\[.+\] )?\(most recent call first\)")
    assert server.worker_pids() == [pid]


def test_they_can_be_asked_for_while_the_application_is_loaded(start: Start, app: ChangingApp) -> None:
    loading = app.directory / "loading"
    app.become("1", before=f"import pathlib, time\npathlib.Path({str(loading)!r}).touch()\ntime.sleep(100)\n")
    server = start(*app.arguments, ready=False)
    until(loading.exists, "the import")
    [pid] = server.worker_pids()
    os.kill(pid, signal.SIGUSR2)
    server.wait_for_log(r'File ".*changing_app\.py", line [23]')  # 2: still in `touch`
    assert server.worker_pids() == [pid]


# Recycling.


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        (("--limit-max-requests", "50"), r"it has begun \d+ requests \(--limit-max-requests\)"),
        (("--worker-max-age", "1"), r"it is \d s old \(--worker-max-age\)"),
        (("--worker-max-rss", "1M"), r"it holds \d+ MiB of memory \(--worker-max-rss\)"),
    ],
    ids=["requests", "age", "memory"],
)
def test_workers_are_recycled_and_nobody_notices(
    start: Start, app: ChangingApp, options: tuple[str, str], cause: str
) -> None:
    server = start(*app.arguments, "--workers", "2", *options)
    with Load(server.port, keepers=16, strangers=2, slow=2).running() as account:
        server.wait_for_log(rf"worker 1 \(pid \d+\) is replaced: {cause}")
        server.wait_for_log(rf"worker 2 \(pid \d+\) is replaced: {cause}")
    account.check()
    assert server.stop() == 0


# Preload.


def test_preloaded_workers_share_memory_and_a_reload_brings_new_code(start: Start, app: ChangingApp) -> None:
    server = start(*app.arguments, "--preload", "--workers", "2", "--log-level", "debug")
    with Load(server.port, keepers=16, strangers=2, slow=4).running() as account:
        app.become("2")
        server.signal(signal.SIGHUP)
        server.wait_for_log("reloaded in")
        with RawConnection(server.port) as client:
            assert client.get("/")[1] == b"2"
        app.become_broken()
        server.signal(signal.SIGHUP)
        server.wait_for_log("the reload has failed, the old workers serve on: .*changing_app")
        for pid in server.worker_pids():
            if "template" not in " ".join(psutil.Process(pid).cmdline()):
                os.kill(pid, signal.SIGTERM)
        with RawConnection(server.port) as client:
            assert client.get("/")[1] == b"2", "the old template still forks workers"
    account.check()
    assert server.stop() == 0


def test_a_preloaded_fastapi_worker_takes_two_fifths_less_memory(start: Start) -> None:
    def memory(*options: str) -> float:
        arguments = ("examples.fastapi_app:app", "--app-dir", str(ROOT), "--port", "0", "--workers", "4")
        server = start(*arguments, "--log-level", "debug", *options)
        workers = re.findall(r"worker \d \(pid (\d+)\) started", server.stderr)
        size = sum(psutil.Process(int(pid)).memory_full_info().pss for pid in workers) / len(workers)
        if options:
            server.wait_for_log(r"preload: on average a worker is charged with \d+\.\d MiB and saves \d+\.\d MiB")
        assert server.stop() == 0
        return float(size)

    plain, preloaded = memory(), memory("--preload")
    print(f"PSS of a worker: {plain / 2**20:.1f} MiB, preloaded {preloaded / 2**20:.1f} MiB")  # noqa: T201
    assert preloaded <= 0.6 * plain, (plain, preloaded)


@pytest.mark.parametrize("strict", [False, True])
def test_what_a_fork_would_break_is_named(start: Start, app: ChangingApp, strict: bool) -> None:
    app.become(
        "1",
        before="import socket, threading, time\n"
        "threading.Thread(target=time.sleep, args=(100,), name='poller', daemon=True).start()\n"
        "left, right = socket.socketpair()\n",
    )
    server = start(*app.arguments, "--preload", *(["--preload-strict"] if strict else []), ready=not strict)
    server.wait_for_log("after the application was loaded there is the thread 'poller'; the socket connected to ''")
    if strict:
        assert server.wait() == 3
    else:
        with RawConnection(server.port) as client:
            assert client.get("/")[1] == b"1"


@pytest.mark.feature
def test_an_application_that_cannot_be_preloaded_fails_the_start(start: Start, app: ChangingApp) -> None:
    app.become_broken()
    server = start(*app.arguments, "--preload", "--workers", "2", ready=False)
    assert server.wait() == 3
    assert server.stderr.count("Traceback") == 1


@pytest.mark.parametrize("way", ["SIG_IGN", "lambda number, frame: os.waitpid(-1, os.WNOHANG)"])
def test_an_application_may_have_its_own_way_with_its_children(start: Start, app: ChangingApp, way: str) -> None:
    app.become("1", before=f"import os\nfrom signal import *\nsignal(SIGCHLD, {way})\n")
    server = start(*app.arguments, "--preload", "--workers", "2")
    with RawConnection(server.port) as client:
        assert client.get("/")[1] == b"1"
    assert server.stop() == 0
