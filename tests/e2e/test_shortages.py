"""A supervisor that has run out of descriptors: what it was to do fails and is told, and the old workers serve on."""

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.conftest import Start
from tests.kit.changing import ChangingApp
from tests.kit.extent import crossed
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import APP, ServerProcess, until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux changes the limits of another process"),
]

HELP = r"raise `ulimit -n` \(LimitNOFILE= in systemd\)"


@contextmanager
def out_of_descriptors(pid: int, spare: int = 0) -> Iterator[None]:
    """A process that can open no more than so many files."""
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    free = [fd for fd in range(max(used) + spare + 2) if fd not in used]
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[spare], before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def answer(server: ServerProcess, path: str = "/") -> str:
    with RawConnection(server.port) as connection:
        return connection.get(path)[1].decode()


@crossed(("spare", "options"), [0, 2], [("--socket", "reuseport"), ("--socket", "shared"), ("--preload",)])
def test_scaling_reloading_and_upgrading_fail_and_succeed_later(
    start: Start, app: ChangingApp, options: tuple[str, ...], spare: int
) -> None:
    server = start(*app.arguments, "--workers", "2", *options)
    before = set(server.worker_pids())
    with out_of_descriptors(server.pid, spare):
        app.become("2")
        server.signal(signal.SIGUSR2)
        server.signal(signal.SIGHUP)
        if spare == 0:
            server.wait_for_log("SIGUSR2: a new supervisor cannot be started: .*" + HELP)
            server.wait_for_log("the reload has failed, the old workers serve on")
            server.signal(signal.SIGTTIN)
            server.wait_for_log("worker 3 cannot be added: .*" + HELP)
            assert before <= set(server.worker_pids())
        for _ in range(20):
            assert answer(server) in ("1", "2")
    if server.running:
        server.signal(signal.SIGHUP)
        until(lambda: not before & set(server.worker_pids()) or not server.running, "the new code", 30)
    until(lambda: answer(server) == "2", "the new code", 30)
    if spare == 0:
        children = 4 if "--preload" in options else 3  # with the template
        until(lambda: len(server.worker_pids()) == children, "worker 3", 30)
        assert server.stop() == 0
        assert "Traceback" not in server.stderr
    for pid in server.processes():
        with contextlib.suppress(ProcessLookupError):  # it may end by itself meanwhile
            os.kill(pid, signal.SIGTERM)
    until(lambda: not server.processes(), "the end of all")


@pytest.mark.feature
def test_a_supervisor_without_descriptors_does_not_start_and_says_why() -> None:
    """Whatever it is that it cannot have any more: with each limit until it starts one process."""
    failed = 0
    for limit in range(7, 40):
        command = (sys.executable, "-m", "corehttp", *APP)
        descriptors = f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({limit},) * 2)"
        limited = (sys.executable, "-c", f"{descriptors}; os.execv(sys.argv[1], sys.argv[1:])", *command)
        with subprocess.Popen(limited, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
            assert process.stderr is not None
            said = ""
            for line in process.stderr:
                said += line
                if "worker 1" in line:  # it runs, and can or cannot start a process, which is another matter
                    process.kill()
                    break
            if "worker 1" in said:
                break
            assert process.wait(60) == 3
        assert re.search(HELP, said) or "Too many open files" in said
        assert "Traceback" not in said
        failed += 1
    assert failed
