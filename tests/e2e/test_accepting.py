"""Who is let in when there is no room for all: a limit, siblings that take over, and descriptors that run out."""

import json
import os
import resource
import signal
import sys
import time

import psutil  # type: ignore[import-untyped]
import pytest

from tests.e2e.conftest import Start
from tests.kit.raw_client import RawConnection, connections
from tests.kit.server_process import APP

pytestmark = pytest.mark.e2e

EACH_LOOP = pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit(2)")


@pytest.mark.feature
@EACH_LOOP
def test_who_is_one_too_many_waits_at_no_cost_and_is_served_when_another_leaves(start: Start, loop: str) -> None:
    server = start(*APP, "--limit-connections", "3", "--loop", loop)
    [worker] = server.worker_pids()
    with connections(4, server.port) as clients:
        *admitted, waiting = clients
        for client in admitted:
            assert client.get("/")[1] == b"hello"
        waiting.ask("/")
        before = cpu_seconds(worker)
        assert admitted[0].get("/slow?seconds=1")[1] == b"slept"
        assert cpu_seconds(worker) - before < 0.2
        assert not waiting.has_answer()
        admitted[1].socket.close()
        assert waiting.answer()[1] == b"hello"
    assert server.stop() == 0


@pytest.mark.feature
def test_a_sibling_takes_over_whom_a_full_worker_leaves_waiting(start: Start) -> None:
    server = start(*APP, "--limit-connections", "1", "--workers", "2")
    assert "one shared socket" in server.stderr
    with connections(4, server.port) as (first, second, third, fourth):
        workers = [pid_of(first), pid_of(second)]
        assert len(set(workers)) == 2
        third.ask("/who")
        fourth.ask("/who")
        assert not third.has_answer()
        second.socket.close()
        assert json.loads(third.answer()[1])["pid"] == workers[1]
        assert not fourth.has_answer()
        first.socket.close()
        assert json.loads(fourth.answer()[1])["pid"] == workers[0]
    assert server.stop() == 0


def test_who_waits_because_of_the_limit_is_answered_at_a_stop(start: Start) -> None:
    server = start(*APP, "--limit-connections", "2", "--workers", "2")
    with connections(20, server.port) as clients:
        for client in clients:
            client.ask("/slow?seconds=0.1")
        server.signal(signal.SIGTERM)
        for client in clients:
            assert client.answer()[1] == b"slept"
            assert client.rest() == b""
    assert server.wait() == 0


@LINUX
@EACH_LOOP
def test_without_descriptors_clients_wait_at_no_cost_and_all_are_served(start: Start, loop: str) -> None:
    server = start(*APP, "--loop", loop)
    [worker] = server.worker_pids()
    leave_descriptors(worker, 10)
    with connections(40, server.port) as clients:
        for client in clients:
            client.ask("/")
        server.wait_for_log("no connection can be accepted for the moment")
        before = cpu_seconds(worker)
        time.sleep(1.5)  # one try in vain belongs to it
        assert cpu_seconds(worker) - before < 0.2
        assert 5 < sum(client.has_answer() for client in clients) < 20
        for client in clients:
            assert client.answer()[1] == b"hello"
            client.socket.close()
    assert server.stderr.count("no connection can be accepted for the moment") == 1
    assert "raise `ulimit -n` (LimitNOFILE= in systemd), or set --limit-connections" in server.stderr
    assert server.stop() == 0


@LINUX
def test_without_descriptors_all_who_wait_are_answered_at_a_stop(start: Start) -> None:
    server = start(*APP, "--no-supervise")
    leave_descriptors(server.pid, 5)
    with connections(20, server.port) as clients:
        for client in clients:
            client.ask("/slow?seconds=0.1")
        server.wait_for_log("no connection can be accepted for the moment")
        server.signal(signal.SIGTERM)
        for client in clients:
            assert client.answer()[1] == b"slept"
            assert client.rest() == b""
            client.socket.close()
    assert server.wait() == 0


def pid_of(client: RawConnection) -> int:
    """The process that serves it."""
    pid: int = json.loads(client.get("/who")[1])["pid"]
    return pid


def leave_descriptors(pid: int, count: int) -> None:
    """Let the process open so many more, or a few more than that."""
    highest = max(map(int, os.listdir(f"/proc/{pid}/fd")))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1 + count, highest + 1 + count))


def cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    seconds: float = times.user + times.system
    return seconds
