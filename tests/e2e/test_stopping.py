"""SIGTERM and SIGINT: what is in flight is finished, nothing is reset, nothing can hold the end up."""

import contextlib
import os
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.conftest import Start
from tests.kit.extent import varied
from tests.kit.raw_client import RawConnection, connections
from tests.kit.server_process import APP, ServerProcess, refused, until

pytestmark = pytest.mark.e2e

CUT, FORCED = 5, 130
WAYS = ("--supervise", "--no-supervise")
SUPERVISED = pytest.mark.parametrize("supervise", varied(*WAYS))


@pytest.mark.feature
def test_200_requests_in_flight_are_all_answered(start: Start) -> None:
    server = start(*APP, "--workers", "2")
    with connections(200, server.port) as clients:
        for client in clients:
            client.ask("/slow?seconds=0.5")
        server.signal(signal.SIGTERM)
        for client in clients:
            head, body = client.answer()
            assert head.startswith(b"HTTP/1.1 200 ")
            assert body == b"slept"
            assert client.rest() == b""
    assert server.wait() == 0


@pytest.mark.feature
def test_an_idle_connection_is_closed_and_not_reset(start: Start) -> None:
    server = start(*APP, "--workers", "2")
    with RawConnection(server.port) as used, RawConnection(server.port) as fresh:
        assert used.get("/")[1] == b"hello"
        server.signal(signal.SIGTERM)
        assert used.rest() == b""
        assert fresh.rest() == b""
    assert server.wait() == 0


def test_requests_on_the_wire_when_the_stop_comes_are_answered_and_end_their_connections(start: Start) -> None:
    server = start(*APP, "--workers", "2")
    workers = server.worker_pids()
    with connections(20, server.port) as clients:
        for client in clients:
            assert client.get("/")[1] == b"hello"
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        server.signal(signal.SIGTERM)
        server.wait_for_log("SIGTERM: finishing")
        for client in clients:
            client.ask("/")
        # Now each worker finds the signal and the requests at the same time.
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
        for client in clients:
            assert client.answer()[1] == b"hello"
            assert client.rest() == b""
    assert server.wait() == 0


def test_requests_that_follow_each_other_on_a_connection_are_answered_until_one_says_close(start: Start) -> None:
    server = start(*APP)
    with RawConnection(server.port) as client:
        client.get("/")
        server.signal(signal.SIGTERM)
        head = b""
        while b"connection: close" not in head:
            head, body = client.get("/")
            assert body == b"hello"
        assert client.rest() == b""
    assert server.wait() == 0


@SUPERVISED
def test_a_stream_is_finished_and_new_connections_are_refused_meanwhile(start: Start, supervise: str) -> None:
    server = start(*APP, supervise)
    with RawConnection(server.port) as client:
        client.ask("/stream?lines=15&seconds=0.1")
        client.wait_for(b"line 0")
        server.signal(signal.SIGTERM)
        if supervise == "--supervise":
            server.wait_for_log("SIGTERM: finishing")
            assert refused(server.port)
        else:
            until(lambda: refused(server.port), "a refused connection")
        assert server.running
        assert client.rest().endswith(b"line 14\n\r\n0\r\n\r\n")
    assert server.wait() == 0


@pytest.mark.parametrize("socket_option", varied("reuseport", "shared"))
def test_no_connection_of_a_steady_stream_is_reset(start: Start, socket_option: str) -> None:
    server = start(*APP, "--workers", "2", "--socket", socket_option, "--no-access-log")
    callers = [Caller(server.port) for _ in range(8)]
    for caller in callers:
        caller.start()
    until(lambda: all(caller.answered >= 20 for caller in callers), "answers to every caller")
    server.signal(signal.SIGTERM)
    for caller in callers:
        caller.join()
    assert [caller.failure for caller in callers] == ["ConnectionRefusedError"] * len(callers)
    assert server.wait() == 0


@SUPERVISED
def test_at_the_deadline_requests_are_cut_and_named_and_the_shutdown_still_runs(
    start: Start, tmp_path: Path, supervise: str
) -> None:
    server = start(*APP, supervise, "--timeout-graceful-shutdown", "0.3")
    with RawConnection(server.port) as begun, RawConnection(server.port) as not_begun:
        begun.ask("/stream?lines=2&seconds=1000")
        begun.wait_for(b"line 0")
        not_begun.ask("/slow?seconds=1000")
        until(lambda: events(tmp_path, "sleeping"), "the request to begin")
        server.signal(signal.SIGTERM)
        assert not begun.rest().endswith(b"0\r\n\r\n")
        head, _ = not_begun.answer()
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"connection: close" in head
    assert server.wait() == CUT
    assert "cut at the end of the graceful time: GET /stream after " in server.stderr
    assert "cut at the end of the graceful time: GET /slow after " in server.stderr
    assert events(tmp_path, "shutdown") == 1


@pytest.mark.parametrize("supervise", WAYS)
def test_the_last_line_says_what_became_of_the_requests(start: Start, tmp_path: Path, supervise: str) -> None:
    server = start(*APP, supervise, "--timeout-graceful-shutdown", "7", "--shutdown-idle-grace", "20")
    hint = f"to stop: Ctrl-C or kill -TERM {server.pid})"
    server.wait_for_log(re.escape(hint))
    with connections(5, server.port) as slow, RawConnection(server.port) as endless, RawConnection(server.port) as idle:
        assert idle.get("/")[1] == b"hello"
        with RawConnection(server.port) as leaving:
            for client, seconds in [*((one, 4) for one in slow), (endless, 600), (leaving, 600)]:
                client.ask(f"/slow?seconds={seconds}")
            until(lambda: (tmp_path / "events").read_text().count("sleeping") == 7, "the requests")
        server.signal(signal.SIGTERM)
        server.wait_for_log("SIGTERM: finishing what is in flight, for at most 7 s")
        # The line may be read before the worker is told; once it is, it answers one request more on each connection.
        until(lambda: b"connection: close" in idle.get("/")[0].lower(), "a response that ends the connection")
        assert [client.answer()[1] for client in slow] == [b"slept"] * 5
        assert server.wait() == CUT
    last = server.stderr.splitlines()[-1]
    assert re.search(r"stopped after \d+\.\d s: 6 requests answered meanwhile, 1 cut; exit code 5$", last), last


def test_the_processes_of_the_workers_are_in_the_log(start: Start) -> None:
    server = start(*APP, "--workers", "3")
    shown = server.wait_for_log(r"\(pids (\d+), (\d+), (\d+); help: ").groups()
    assert {int(pid) for pid in shown} == set(server.worker_pids())
    assert server.stop() == 0
    assert server.stderr.splitlines()[-1].endswith(" s: 0 requests answered meanwhile, 0 cut; exit code 0")


@pytest.mark.parametrize(("before", "after"), [("1", "2"), ("2", "1")])
def test_the_port_can_be_taken_again_at_once(start: Start, before: str, after: str) -> None:
    first = start(*APP, "--workers", before)
    with RawConnection(first.port) as client:
        client.ask("/", "connection: close")  # the server ends it first, so its port has an old connection
        assert client.answer()[1] == b"hello"
        assert client.rest() == b""
    assert first.stop() == 0
    port = first.port
    first.check_nothing_is_left()
    assert start(*APP[:-1], str(port), "--workers", after).port == port


@pytest.mark.feature
def test_a_second_sigint_ends_all_at_once(start: Start) -> None:
    server = start(*APP, "--workers", "2")
    with RawConnection(server.port) as client:
        client.ask("/stream?lines=1000&seconds=1")
        client.wait_for(b"line 0")
        # As Ctrl-C in a terminal: the whole foreground group gets it.
        os.killpg(server.pid, signal.SIGINT)
        server.wait_for_log("SIGINT: finishing")
        assert server.running
        os.killpg(server.pid, signal.SIGINT)
        assert server.wait() == FORCED


def test_a_second_sigint_ends_a_server_without_supervisor_at_once(start: Start) -> None:
    server = start(*APP, "--no-supervise")
    with RawConnection(server.port) as client:
        client.ask("/stream?lines=1000&seconds=1")
        client.wait_for(b"line 0")
        server.signal(signal.SIGINT)
        until(lambda: refused(server.port), "a refused connection")
        server.signal(signal.SIGINT)
        assert server.wait() == FORCED


def test_one_sigint_stops_as_sigterm_does(start: Start) -> None:
    server = start(*APP, "--workers", "2")
    os.killpg(server.pid, signal.SIGINT)
    assert server.wait() == 0


class Hang(NamedTuple):
    """What a worker hangs in: the module that is served, or the path that is asked for."""

    module: str = ""
    path: str = ""
    arguments: tuple[str, ...] = ("--workers", "2")


HANGS = {
    "import sleeps": Hang("import time\nopen('events', 'w').write('hanging')\ntime.sleep(1000)\n"),
    "import is busy": Hang("open('events', 'w').write('hanging')\nwhile True: pass\n"),
    "startup blocks": Hang(
        """
import time
async def app(scope, receive, send):
    open("events", "w").write("hanging")
    time.sleep(1000)
"""
    ),
    "startup waits": Hang(
        """
import asyncio
async def app(scope, receive, send):
    open("events", "w").write("hanging")
    await asyncio.sleep(1000)
"""
    ),
    "loop sleeps": Hang(path="/sleep-in-loop"),
    "loop is busy": Hang(path="/busy"),
    "thread sleeps": Hang(path="/sleep-in-thread"),
    "thread sleeps without a supervisor": Hang(path="/sleep-in-thread", arguments=("--no-supervise",)),
}


@pytest.fixture(scope="module")
def stops(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, float]]:
    """Of all that hangs, the exit code after SIGTERM and the seconds it took; side by side, as most of it waits."""

    def stop(name: str) -> tuple[int, float]:
        hang, directory = HANGS[name], directories[name]
        (directory / "main.py").write_text(hang.module or "from tests.e2e.application import app\n")
        arguments = ("main", "--port", "0", *hang.arguments, "--timeout-graceful-shutdown", "0.3")
        server = ServerProcess(arguments, directory)
        with contextlib.ExitStack() as stack:
            stack.callback(server.end)
            if hang.path:
                server.wait_until_ready()
                stack.enter_context(RawConnection(server.port)).ask(hang.path)
            until(lambda: events(directory, "hanging"), "the hanging worker")
            began = time.monotonic()
            code = server.stop()
            took = time.monotonic() - began
            server.check_nothing_is_left()
            return code, took

    directories = {name: tmp_path_factory.mktemp("hang") for name in HANGS}
    with ThreadPoolExecutor(4) as threads:
        return dict(zip(HANGS, threads.map(stop, HANGS), strict=True))


@pytest.mark.parametrize("name", list(HANGS))
def test_nothing_that_hangs_holds_up_a_stop(stops: dict[str, tuple[int, float]], name: str) -> None:
    code, took = stops[name]
    assert code == (CUT if HANGS[name].path else 0)
    # It should take 0.3 s and one more; the bound is generous, yet below every longer limit.
    assert took < 20


def test_sigterm_in_the_middle_of_the_boot_ends_it(start: Start) -> None:
    server = start(*APP, "--workers", "2", ready=False)
    server.wait_for_log("starting 2 workers")
    until(server.worker_pids, "a worker's process")
    assert server.stop() == 0


STARTS_ONCE = """
import os, time

if os.path.exists("started"):
    time.sleep(1000)
open("started", "w").close()

async def app(scope, receive, send):
    os._exit(7)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_who_waits_for_a_worker_that_never_gets_ready_is_refused_and_not_reset(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "once.py").write_text(STARTS_ONCE)
    server = start("once:app", "--port", "0", "--lifespan", "off", directory=tmp_path)
    with RawConnection(server.port) as killer:
        killer.ask("/")
        assert killer.rest() == b""
    server.wait_for_log("exited with code 7")
    with connections(20, server.port) as waiting, RawConnection(server.port) as silent:
        for client in waiting:
            client.ask("/")
        server.signal(number)
        for client in waiting:
            assert client.rest().startswith(b"HTTP/1.1 503 ")
        assert silent.rest() == b""
    assert server.wait() == (0 if number == signal.SIGTERM else FORCED)
    server.check_nothing_is_left()


class Caller(threading.Thread):
    """Opens one connection after the other, each for one request, until one fails."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self.answered = 0
        self.failure = ""

    def run(self) -> None:
        try:
            for _ in range(20_000):
                with RawConnection(self._port) as client:
                    assert client.get("/")[1] == b"hello"
                self.answered += 1
        except Exception as error:
            self.failure = type(error).__name__


def events(directory: Path, kind: str) -> int:
    """How many events of the kind the application has noted."""
    path = directory / "events"
    return path.read_text().count(kind) if path.exists() else 0


LEAVING = """
import asyncio

async def app(scope, receive, send):
    assert scope["type"] == "http"
    with open("events", "a") as file:
        file.write(scope["path"] + "\\n")
    await asyncio.sleep(1000 if scope["path"] == "/never" else 2)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
    await send({"type": "http.response.body", "body": b"served"})
"""


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("options", [(), ("--loop", "asyncio", "--http", "h11")], ids=["uvloop", "asyncio"])
def test_a_stop_waits_for_no_client_that_has_left_and_for_each_that_reads_on(
    start: Start, tmp_path: Path, options: tuple[str, ...], version: str
) -> None:
    """HTTP/1.0 is what nginx speaks by default; the first bytes of a response, which tell the server, suit each."""
    (tmp_path / "web.py").write_text(LEAVING)
    server = start("web:app", "--port", "0", "--timeout-graceful-shutdown", "1000", *options)
    with RawConnection(server.port) as reader:
        with RawConnection(server.port) as leaver:
            for client, path in ((leaver, "/never"), (reader, "/soon")):
                client.send(f"GET {path} HTTP/{version}", "host: a", "")
                until(partial(events, tmp_path, path), "the request")
        reader.socket.shutdown(socket.SHUT_WR)
        server.signal(signal.SIGTERM)
        received = reader.rest()
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.endswith(b"\r\n\r\nserved")
    assert server.wait() == 0
    assert "1 request answered meanwhile, 0 cut" in server.stderr
