"""Processes that help an application: they end with their worker, hold no port, and answer what a drain waits for."""

import os
import signal
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.e2e.conftest import Start
from tests.kit.extent import crossed
from tests.kit.process_facts import of_port, sockets, until_gone
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import ROOT, ServerProcess, until

pytestmark = pytest.mark.e2e

EXAMPLE = ("examples.cpu_bound:app", "--app-dir", str(ROOT), "--port", "0")
SHORT = ("--timeout-graceful-shutdown", "1", "--timeout-exit", "1")
PATIENT = ("--timeout-graceful-shutdown", "600", "--timeout-lifespan-shutdown", "600")
LONG = 100_000_000  # primes below it take minutes

# What the example does not use: other ways to start processes of multiprocessing.
APP = """
import asyncio, concurrent.futures, multiprocessing, os
from examples.primes import count_primes

async def app(scope, receive, send):
    assert scope["type"] == "http"
    _, kind, below = scope["path"].split("/")
    if kind == "child":
        multiprocessing.get_context("fork").Process(target=count_primes, args=(int(below),)).start()
    elif kind != "idle":
        pool = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context(kind))
        await asyncio.get_running_loop().run_in_executor(pool, count_primes, int(below))
    body = b"%d" % os.getpid()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""
KINDS = ("process", "pool", "fork", "forkserver", "child")
ENDINGS = ("stop", "reload", "kill the worker", "kill the supervisor")


def serving(start: Start, directory: Path, kind: str, *options: str) -> ServerProcess:
    """Serve the example, or for the kinds that it does not have another application."""
    if kind in ("process", "pool"):
        return start(*EXAMPLE, *options)
    (directory / "web.py").write_text(APP)
    return start("web:app", "--port", "0", *options)


def busy(worker: int) -> list[int]:
    """The processes below a worker, once one of them, or the worker itself, keeps a CPU busy."""
    before: dict[int, float] = {}

    def look() -> bool:
        processes = [psutil.Process(worker), *psutil.Process(worker).children(recursive=True)]
        used = {process.pid: process.cpu_times().user for process in processes}
        return any(used[pid] - before.setdefault(pid, used[pid]) > 0.2 for pid in used)

    until(look, "a busy process")
    return [child.pid for child in psutil.Process(worker).children(recursive=True)]


def bring_about(ending: str, server: ServerProcess, worker: int) -> None:
    """End the worker, and wait until it has ended."""
    match ending:
        case "stop":
            server.stop()
        case "reload":
            server.signal(signal.SIGHUP)
            server.wait_for_log("reloaded")
        case "kill the worker":
            os.kill(worker, signal.SIGKILL)
            server.wait_for_log("is ready")
        case _:
            os.kill(server.pid, signal.SIGKILL)
            server.wait()
    until_gone(worker)


def test_the_example_computes_in_each_place(start: Start) -> None:
    server = start(*EXAMPLE)
    with RawConnection(server.port) as client:
        for place in ("loop", "thread", "process", "pool"):
            assert client.get(f"/{place}/1000")[1].startswith(b'{"primes":168,')
    assert server.stop() == 0


@crossed(("kind", "ending"), KINDS, ENDINGS)
def test_busy_helpers_end_with_their_worker(start: Start, tmp_path: Path, kind: str, ending: str) -> None:
    server = serving(start, tmp_path, kind, *SHORT)
    [worker] = server.worker_pids()
    with RawConnection(server.port) as client:
        client.ask(f"/{kind}/{LONG}")
        helpers = busy(worker)
        bring_about(ending, server, worker)
        for helper in helpers:
            until_gone(helper)
    if server.running:
        server.stop()


@pytest.mark.feature
def test_helpers_end_with_a_worker_that_was_killed(start: Start, tmp_path: Path) -> None:
    server = serving(start, tmp_path, "fork")
    [worker] = server.worker_pids()
    with RawConnection(server.port) as client:
        client.ask(f"/fork/{LONG}")
        [helper] = busy(worker)
        assert not sockets(helper) & of_port(server.port)
        bring_about("kill the worker", server, worker)
        until_gone(helper)
    server.wait_for_log(rf"ended what the application had left running: \S+ \(pid {helper}\); a session of its own")
    assert server.stop() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_helpers_that_nobody_is_left_to_end_hold_no_port(start: Start, tmp_path: Path, kind: str) -> None:
    server = serving(start, tmp_path, kind)
    [worker] = server.worker_pids()
    with RawConnection(server.port) as client:
        client.ask(f"/{kind}/{LONG}")
        helpers = busy(worker)
        try:
            for pid in (server.pid, worker):
                os.kill(pid, signal.SIGKILL)
            server.wait()
            until_gone(worker)
            again = start("tests.e2e.application:app", "--app-dir", str(ROOT), "--port", str(server.port))
            with RawConnection(again.port) as other:
                assert other.get("/")[1] == b"hello"
            assert any(psutil.pid_exists(helper) for helper in helpers)
            assert again.stop() == 0
        finally:
            server.end()


@pytest.mark.parametrize("kind", ["thread", "process", "pool"])
def test_a_reload_and_a_stop_wait_for_work_that_a_request_waits_for(start: Start, kind: str) -> None:
    server = start(*EXAMPLE, *PATIENT)
    for end in (signal.SIGHUP, signal.SIGTERM):
        until(lambda: len(server.worker_pids()) == 1, "one worker")
        [worker] = server.worker_pids()
        with RawConnection(server.port) as client:
            client.ask(f"/{kind}/2000000")
            busy(worker)
            server.signal(end)
            assert client.answer()[1].startswith(b'{"primes":148933,')
        until_gone(worker)
    assert server.wait() == 0
    assert "ended what the application had left running" not in server.stderr


@pytest.mark.parametrize("kind", ["thread", "process", "pool"])
def test_ctrl_c_does_not_cut_what_the_helpers_of_the_example_do(start: Start, kind: str) -> None:
    server = start(*EXAMPLE, *PATIENT)
    [worker] = server.worker_pids()
    with RawConnection(server.port) as client:
        client.ask(f"/{kind}/2000000")
        busy(worker)
        os.killpg(server.pid, signal.SIGINT)
        assert client.answer()[1].startswith(b'{"primes":148933,')
    assert server.wait() == 0


RUNNING = """
import os, subprocess

async def app(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/orphan":
        pid = int(subprocess.run(["sh", "-c", "sleep 600 >/dev/null & echo $!"], stdout=subprocess.PIPE).stdout)
    else:
        pid = subprocess.Popen(["sleep", "600"], start_new_session=scope["path"] == "/detached").pid
    body = b"%d %d" % (os.getpid(), pid)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""


@pytest.mark.parametrize("mode", [(), ("--preload",)], ids=["spawned", "preload"])
def test_what_other_workers_run_is_left_alone_when_one_dies(
    start: Start, tmp_path: Path, mode: tuple[str, ...]
) -> None:
    (tmp_path / "web.py").write_text(RUNNING)
    server = start("web:app", "--port", "0", "--workers", "2", *mode)
    started: dict[int, dict[str, int]] = {}

    def ask() -> bool:
        for path in ("/program", "/orphan", "/detached"):
            with RawConnection(server.port) as client:
                worker, pid = map(int, client.get(path)[1].split())
            started.setdefault(worker, {})[f"{path} {pid}"] = pid
        return len(started) == 2 and all(
            any(name.startswith(path) for name in of) for of in started.values() for path in ("/program", "/detached")
        )

    until(ask, "something that each worker has started")
    dying, other = started
    os.kill(dying, signal.SIGKILL)
    try:
        for name, pid in started[dying].items():
            if not name.startswith("/detached"):
                until_gone(pid)
        server.wait_for_log("ended what the application had left running")
        detached = {name: pid for name, pid in started[dying].items() if name.startswith("/detached")}
        for pid in (*started[other].values(), *detached.values()):
            assert psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        assert server.stop() == 0
    finally:
        for of in started.values():
            for name, pid in of.items():
                if name.startswith("/detached"):
                    os.kill(pid, signal.SIGKILL)
