"""Processes that the application forks: they take signals as usual, and hold nothing that belongs to the server."""

import os
import re
import signal
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.e2e.conftest import Start
from tests.kit.extent import varied
from tests.kit.process_facts import of_port, sockets, until_gone
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import ServerProcess, until

pytestmark = pytest.mark.e2e

APP = """
import asyncio, gc, multiprocessing, os, socket, sys, time

own, _other = socket.socketpair()

def work(path):
    parent = os.getppid()
    open(f"begun-{os.getpid()}", "w").close()
    if path == "/close-everything":
        for thing in gc.get_objects():
            if type(thing).__name__ in ("TCPTransport", "_SelectorSocketTransport", "UnixTransport"):
                thing.abort()
        gc.collect()
        open("closed", "w").close()
    if path == "/own-socket":
        own.send(b"still here")
    while os.getppid() == parent:
        time.sleep(0.05)

def fork(path):
    pid = os.fork()
    if not pid:
        try:
            work(path)
        finally:
            os._exit(0)
    return pid

def by_multiprocessing(path):
    process = multiprocessing.get_context("fork").Process(target=work, args=(path,), daemon=True)
    process.start()
    return process.pid

async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        return
    assert scope["type"] == "http"
    path = scope["path"]
    text = str(os.getpid())
    if path == "/terminated-at-once":
        process = multiprocessing.get_context("fork").Process(target=work, args=(path,))
        process.start()
        process.terminate()
        process.join()
        text += f" {process.exitcode}"
    elif path == "/in-a-thread":
        text += f" {await asyncio.get_running_loop().run_in_executor(None, fork, path)}"
    elif path == "/fork":
        text += f" {fork(path)}"
    elif path != "/":
        text += f" {by_multiprocessing(path)}"
    if path == "/own-socket":
        text += " " + _other.recv(100).decode().replace(" ", "-")
    body = text.encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""
MODES = [
    (),
    ("--loop", "asyncio"),
    ("--preload",),
    ("--no-supervise",),
    ("--no-supervise", "--loop", "asyncio"),
    ("--workers", "2", "--socket", "reuseport"),
]
HANDSHAKE = (
    *("GET / HTTP/1.1", "Host: a", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
    *("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", ""),
)


def serving(start: Start, directory: Path, *options: str) -> ServerProcess:
    (directory / "web.py").write_text(APP)
    return start("web:app", "--port", "0", *options)


def told(connection: RawConnection, path: str) -> list[str]:
    """The words of the answer; the first is the process that has answered."""
    return connection.get(path)[1].decode().split()


def names(mode: tuple[str, ...]) -> str:
    return " ".join(mode) or "supervised"


@pytest.mark.parametrize("mode", MODES, ids=names)
def test_they_hold_neither_the_port_nor_a_connection(start: Start, tmp_path: Path, mode: tuple[str, ...]) -> None:
    server = serving(start, tmp_path, *mode)
    with RawConnection(server.port) as idle, RawConnection(server.port) as socket, RawConnection(server.port) as asking:
        idle.get("/")
        socket.send(*HANDSHAKE)
        socket.wait_for(b"\r\n\r\n")
        for path in ("/fork", "/in-a-thread", "/multiprocessing"):
            worker, child = map(int, told(asking, path))
            until((tmp_path / f"begun-{child}").exists, "the process to begin")
            of_server = of_port(server.port)
            assert sockets(worker) & of_server
            assert not sockets(child) & of_server
        assert told(asking, "/own-socket")[-1] == "still-here"
    assert server.stop() == 0


@pytest.mark.parametrize("mode", MODES, ids=names)
def test_a_client_sees_the_end_of_its_connection(start: Start, tmp_path: Path, mode: tuple[str, ...]) -> None:
    server = serving(start, tmp_path, "--timeout-keep-alive", "0.5", *mode)
    with RawConnection(server.port) as idle, RawConnection(server.port) as closing:
        told(idle, "/multiprocessing")
        closing.ask("/multiprocessing", "Connection: close")
        assert closing.rest().startswith(b"HTTP/1.1 200")
        assert idle.rest() == b""
    assert server.stop() == 0


@pytest.mark.parametrize("mode", MODES, ids=names)
def test_signals_end_them_and_not_their_worker(start: Start, tmp_path: Path, mode: tuple[str, ...]) -> None:
    server = serving(start, tmp_path, *mode)
    with RawConnection(server.port) as client:
        worker = told(client, "/")[0]
        for _ in range(5):
            assert told(client, "/terminated-at-once") == [worker, "-15"]
        for path in ("/fork", "/in-a-thread"):
            # Python may handle SIGINT late in a process that was forked in a thread.
            sigint = () if path == "/in-a-thread" else (signal.SIGINT,)
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2, signal.SIGIO, *sigint):
                child = int(told(client, path)[1])
                until((tmp_path / f"begun-{child}").exists, "the process to begin")
                os.kill(child, number)
                until_gone(child)
        assert told(client, "/")[0] == worker
    assert "left" not in server.stderr
    assert server.stop() == 0


@pytest.mark.parametrize("mode", MODES, ids=names)
def test_what_one_closes_is_not_what_the_worker_watches(start: Start, tmp_path: Path, mode: tuple[str, ...]) -> None:
    server = serving(start, tmp_path, *mode)
    with RawConnection(server.port) as first, RawConnection(server.port) as second:
        worker = told(first, "/")[0]
        told(second, "/")
        told(first, "/close-everything")
        until(lambda: (tmp_path / "closed").exists(), "the process to close what it can")
        assert told(first, "/")[0] == worker
        assert told(second, "/")
        with RawConnection(server.port) as third:
            assert told(third, "/")
    assert server.stop() == 0


LEAVING = """
import asyncio, os, signal, subprocess, sys, time

async def app(scope, receive, send):
    assert scope["type"] == "http"
    kind = scope["path"]
    if kind == "/forked":
        pid = os.fork()
        if not pid:
            time.sleep(600)
            os._exit(0)
    elif kind == "/deaf":
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
            os._exit(0)
    elif kind == "/slow":
        pid = 0
        open("slow", "w").close()
        while os.path.exists("slow"):
            await asyncio.sleep(0.01)
    elif kind in ("/grandchild", "/orphan"):
        script = "sleep 600 >/dev/null & echo $!" + "; wait" * (kind == "/grandchild")
        shell = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE)
        pid = int(shell.stdout.readline())
        if kind == "/orphan":
            shell.wait()
    else:
        pid = subprocess.Popen(["sleep", "600"], start_new_session=kind == "/detached").pid
    body = f"{os.getpid()} {pid}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""


KINDS = ("/forked", "/deaf", "/program", "/grandchild", "/orphan", "/detached")


@pytest.mark.parametrize("mode", varied((), ("--preload",), ("--no-supervise",), ("killed",)), ids=names)
def test_nothing_that_is_left_running_outlives_the_service_but_what_is_detached(
    start: Start, tmp_path: Path, mode: tuple[str, ...]
) -> None:
    (tmp_path / "web.py").write_text(LEAVING)
    server = start("web:app", "--port", "0", *(mode if mode != ("killed",) else ()))
    with RawConnection(server.port) as client:
        found = {path: list(map(int, told(client, path))) for path in KINDS}
    if mode == ("killed",):
        os.kill(found["/forked"][0], signal.SIGKILL)
        server.wait_for_log("was killed by SIGKILL")
    detached = found.pop("/detached")[1]
    try:
        assert all(psutil.pid_exists(child) for _, child in found.values())
        assert server.stop() == 0
        for _, child in found.values():
            until_gone(child)
        assert psutil.Process(detached).status() != psutil.STATUS_ZOMBIE
    finally:
        os.kill(detached, signal.SIGKILL)
    assert "ended what the application had left running: " in server.stderr
    assert re.search(r"(sleep|sh|python\d*) \(pid \d+\).* a session of its own would detach it", server.stderr)


def one_left_running(server: ServerProcess) -> tuple[int, int]:
    """A worker and what its application has started, which nobody has ended."""
    with RawConnection(server.port) as client:
        worker, child = map(int, told(client, "/program"))
    assert psutil.pid_exists(child)
    return worker, child


@pytest.mark.parametrize("new_ends_first", [False, True])
def test_nothing_outlives_a_service_that_has_had_a_new_supervisor(
    start: Start, tmp_path: Path, new_ends_first: bool
) -> None:
    (tmp_path / "web.py").write_text(LEAVING)
    server = start("web:app", "--port", "0")
    _, child = one_left_running(server)
    with RawConnection(server.port) as client:
        if new_ends_first:  # an old worker has something in flight
            client.ask("/slow")
            until(lambda: (tmp_path / "slow").exists(), "the request")
        server.signal(signal.SIGUSR2)
        successor = int(server.wait_for_log(r"the new supervisor \(pid (\d+)\) is ready")[1])
        if not new_ends_first:
            assert server.wait() == 0
            assert psutil.pid_exists(child)
        os.kill(successor, signal.SIGTERM)
        if new_ends_first:
            until_gone(successor)
            (tmp_path / "slow").unlink()
            assert client.answer()[1]
            assert server.wait() == 0
            assert "the new supervisor serves on" not in server.stderr
    until_gone(child)


@pytest.mark.parametrize("mode", [(), ("--preload",)], ids=names)
def test_nothing_outlives_a_service_whose_supervisor_was_killed(
    start: Start, tmp_path: Path, mode: tuple[str, ...]
) -> None:
    (tmp_path / "web.py").write_text(LEAVING)
    server = start("web:app", "--port", "0", *mode)
    worker, child = one_left_running(server)
    os.kill(server.pid, signal.SIGKILL)
    until_gone(worker)
    until_gone(child)


HELPED = """
import concurrent.futures, multiprocessing, os
from multiprocessing.shared_memory import SharedMemory

async def app(scope, receive, send):
    assert scope["type"] == "http"
    global kept, pool
    kept = SharedMemory(create=True, size=1)
    method = "forkserver" if scope["path"] == "/forkserver" else "spawn"
    pool = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context(method))
    body = f"{pool.submit(os.getpid).result()} {kept.name}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""


@pytest.mark.parametrize("mode", [(), ("--preload",), ("--no-supervise",)], ids=names)
@pytest.mark.parametrize("path", ["/spawn", "/forkserver"])
def test_the_helpers_of_multiprocessing_end_by_themselves_and_finish_their_work(
    start: Start, tmp_path: Path, mode: tuple[str, ...], path: str
) -> None:
    (tmp_path / "web.py").write_text(HELPED)
    server = start("web:app", "--port", "0", *mode)
    with RawConnection(server.port) as client:
        name = client.get(path)[1].decode().split()[1]
    memory = Path("/dev/shm") / name
    assert memory.exists()
    assert server.stop() == 0
    server.check_nothing_is_left()
    assert not memory.exists()
    assert "the application had left running" not in server.stderr


def test_the_children_of_a_program_outlive_what_it_runs(tmp_path: Path) -> None:
    (tmp_path / "web.py").write_text(LEAVING)
    (tmp_path / "go.py").write_text(
        "import corehttp, subprocess\n"
        "if __name__ == '__main__':\n"
        "    child = subprocess.Popen(['sleep', '600'])\n"
        "    corehttp.run('web:app', port=0)\n"
        "    assert child.poll() is None\n"
        "    child.kill()\n"
        "    print('its own child was there', flush=True)\n"
    )
    server = ServerProcess([], tmp_path, program=["go.py"])
    try:
        server.wait_until_ready()
        with RawConnection(server.port) as client:
            left = int(told(client, "/program")[1])
        assert server.stop() == 0
        until_gone(left)
    finally:
        server.end()
    assert "its own child was there" in server.stdout


@pytest.mark.feature
def test_daemons_end_with_their_worker(start: Start, tmp_path: Path) -> None:
    server = serving(start, tmp_path)
    with RawConnection(server.port) as client:
        child = int(told(client, "/multiprocessing")[1])
    assert server.stop() == 0
    assert not psutil.pid_exists(child)


@pytest.mark.parametrize("served", ["'web:app', workers=2", "'web:app', preload=True", "app"])
def test_what_a_program_forks_beside_the_server_is_none_of_its(tmp_path: Path, served: str) -> None:
    (tmp_path / "web.py").write_text(APP)
    (tmp_path / "go.py").write_text(
        "import corehttp, os, threading, time\nfrom web import app\n"
        "def fork():\n"
        "    while not os.path.exists('wanted'):\n        time.sleep(0.01)\n"
        "    pid = os.fork()\n"
        "    if not pid:\n"
        "        open(f'begun-{os.getpid()}', 'w').close()\n"
        "        time.sleep(600)\n"
        "        os._exit(0)\n"
        "    print('child', os.waitpid(pid, 0)[1], flush=True)\n"
        "if __name__ == '__main__':\n"
        "    threading.Thread(target=fork, daemon=True).start()\n"
        f"    corehttp.run({served}, port=0)\n"
    )
    server = ServerProcess([], tmp_path, program=["go.py"])
    try:
        server.wait_until_ready()
        (tmp_path / "wanted").touch()
        until(lambda: list(tmp_path.glob("begun-*")), "the process to begin")
        [child] = [int(path.name.removeprefix("begun-")) for path in tmp_path.glob("begun-*")]
        assert not sockets(child) & of_port(server.port)
        os.kill(child, signal.SIGTERM)
        until(lambda: re.search(r"child \d+\n", server.stdout), "the end of the process")
        assert f"child {int(signal.SIGTERM)}" in server.stdout
        with RawConnection(server.port) as client:
            assert told(client, "/")
        assert "SIGTERM" not in server.stderr.replace("kill -TERM", "")
        assert server.stop() == 0
    finally:
        server.end()
