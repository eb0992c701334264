"""Workers and templates that say the worst over their channel: it costs at most themselves."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import ServerProcess, until

pytestmark = pytest.mark.e2e

# What a request's query makes its worker do; it has `channel`, the worker's end, and `wire`, its socket.
APP = """
import gc, os, socket, struct, threading
from corehttp.ipc.codec import dump

def find():
    return next(thing for thing in gc.get_objects() if type(thing).__name__ == "Channel")

def say(payload, fds=()):
    data = struct.pack("!I", len(payload)) + payload
    wire = find()._sock.dup()
    data = data[socket.send_fds(wire, [data], list(fds)) :]
    wire.setblocking(True)
    wire.sendall(data)

def endless():
    wire = find()._sock.dup()
    wire.setblocking(True)
    while True:
        wire.sendall(b"x" * 65536)

def floods_of_descriptors():
    while True:
        say(dump(("retire", "x")), [0] * 250)

def half():
    find()._sock.sendall(struct.pack("!I", 1000) + b"(\\0\\0")

def deaf():
    # Nobody reads the channel any more, and its other end sees that.
    find()._sock.shutdown(socket.SHUT_WR)

def cut_off():
    # The inboxes, our own and those of the others, and also what the event loop wakes itself up with.
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as sock:
                if sock.family == socket.AF_UNIX:
                    sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

DEEDS = {
    "bytes": lambda: find()._sock.sendall(b"?" * 1000),
    "zeros": lambda: find()._sock.sendall(bytes(1000)),
    "unknown": lambda: say(dump(("unknown",))),
    "shape": lambda: say(dump(("failed", 7))),
    "nested": lambda: say(b"(\\0\\0\\0\\1" * 100_000),
    "ready_again": lambda: say(dump(("ready",))),
    "pid": lambda: say(dump(("forked", os.getppid()))),
    "endless": endless, "descriptors": floods_of_descriptors, "half": half, "deaf": deaf,
    "cut_off": cut_off,
}

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        return await send({"type": "lifespan.shutdown.complete"})
    body = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
    if scope["query_string"]:  # it may be killed at once for that: its answer is on its way
        threading.Thread(target=DEEDS[scope["query_string"].decode()], daemon=True).start()
"""


@pytest.fixture
def arguments(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "hostile.py").write_text(APP)
    return ("hostile:app", "--app-dir", str(tmp_path), "--port", "0", "--no-access-log")


@pytest.fixture
def bystander() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    yield process.pid
    assert process.poll() is None, "a process that does not belong to the service was ended"
    process.kill()
    process.wait()


def deed(server: ServerProcess, name: str) -> int:
    """Have a worker do it; its pid."""
    with RawConnection(server.port) as client:
        return int(client.get(f"/?{name}")[1])


@pytest.mark.parametrize(
    "name",
    ["bytes", "zeros", "unknown", "shape", "nested", "ready_again", "pid", "endless", "descriptors"],
)
def test_what_a_worker_may_not_say_costs_that_worker_alone(start: Start, arguments: tuple[str, ...], name: str) -> None:
    server = start(*arguments, "--workers", "2")
    before = set(server.worker_pids())
    culprit = deed(server, name)
    server.wait_for_log(rf"worker \d \(pid {culprit}\) is killed: it has sent .* over its channel")
    until(lambda: culprit not in server.worker_pids() and len(server.worker_pids()) == 2, "its successor")
    assert before - {culprit} < set(server.worker_pids()), "the other worker was replaced too"
    server.wait_for_log(r"worker \d \(pid \d+\) is ready")
    with RawConnection(server.port) as client:
        assert int(client.get("/")[1]) in server.worker_pids()
    assert server.stop() == 0
    assert len(re.findall("over its channel", server.stderr)) == 1
    assert "Traceback" not in server.stderr


@pytest.mark.feature
def test_half_a_message_is_waited_for_and_nobody_waits_with_it(start: Start, arguments: tuple[str, ...]) -> None:
    server = start(*arguments, "--workers", "2")
    deed(server, "half")
    before = server.worker_pids()
    for _ in range(20):
        with RawConnection(server.port) as client:
            assert int(client.get("/")[1]) in before
    assert server.stop() == 0


@pytest.mark.feature
def test_a_worker_that_has_closed_its_channel_is_replaced_and_leaves_in_peace(
    start: Start, arguments: tuple[str, ...]
) -> None:
    server = start(*arguments, "--workers", "2")
    culprit = deed(server, "deaf")
    server.wait_for_log(rf"worker \d \(pid {culprit}\) is replaced: nothing can be said to it")
    until(lambda: culprit not in server.worker_pids(), "its end")
    assert server.stop() == 0


def test_a_worker_that_shuts_down_all_inboxes_ends_neither_the_supervisor_nor_its_stop(
    start: Start, arguments: tuple[str, ...]
) -> None:
    server = start(*arguments, "--workers", "2", "--timeout-graceful-shutdown", "1")
    culprit = deed(server, "cut_off")
    until(lambda: culprit not in server.worker_pids() and len(server.worker_pids()) == 2, "its successor")
    os.kill(server.pid, signal.SIGHUP)
    server.wait_for_log("all workers are of generation 2")
    with RawConnection(server.port) as client:
        assert int(client.get("/")[1]) in server.worker_pids()
    assert server.stop() == 0


HOSTILE_TEMPLATE = """
from corehttp.ipc.channel import Channel
truly = Channel.send
def send(self, message, fds=()):
    if type(message).__name__ == "Forked":
        message = type(message)({pid})
    return truly(self, message, fds)
Channel.send = send
"""


@pytest.mark.parametrize("invented", ["a bystander", "the supervisor", "nobody"])
def test_a_pid_that_a_template_has_invented_is_never_signalled(
    start: Start, arguments: tuple[str, ...], tmp_path: Path, bystander: int, invented: str
) -> None:
    pid = {"a bystander": str(bystander), "the supervisor": "__import__('os').getppid()", "nobody": "4194000"}[invented]
    (tmp_path / "hostile.py").write_text(HOSTILE_TEMPLATE.format(pid=pid) + APP)
    server = start(*arguments, "--workers", "2", "--preload", ready=False)
    server.wait_for_log(
        r"the application's template \(pid \d+\) is killed: it has sent the pid \d+, which is no process"
    )
    assert server.wait() == 3
    until(lambda: not server.processes(), "the end of all that it forked")


def test_a_template_that_turns_hostile_at_a_reload_changes_nothing(
    start: Start, arguments: tuple[str, ...], tmp_path: Path, bystander: int
) -> None:
    server = start(*arguments, "--workers", "2", "--preload")
    before = set(server.worker_pids())
    (tmp_path / "hostile.py").write_text(HOSTILE_TEMPLATE.format(pid=bystander) + APP)
    os.kill(server.pid, signal.SIGHUP)
    server.wait_for_log("the reload has failed, the old workers serve on")
    with RawConnection(server.port) as client:
        assert int(client.get("/")[1]) in before
    assert server.stop() == 0
