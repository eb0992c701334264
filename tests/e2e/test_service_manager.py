"""A service under a service manager: a socket of the test's own stands for systemd's."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.kit.changing import ChangingApp
from tests.kit.extent import varied
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import PATIENCE, ROOT, ServerProcess, until

pytestmark = pytest.mark.e2e

# Runs the command with a socket of the name web, as systemd does it: from descriptor 3 on.
ACTIVATE = """
import os, socket, sys
sock = socket.create_server(("127.0.0.1", 0))
os.dup2(sock.fileno(), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"}
os.execv(sys.executable, [sys.executable, "-m", "corehttp", *sys.argv[1:]])
"""


class NotifySocket:
    """A socket for the datagrams of sd_notify(3), with all that has come in: each assignment of each datagram."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        self._socket.settimeout(PATIENCE)
        self.told: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self._socket.close()

    def wait_for(self, assignment: str) -> str:
        """Read until an assignment begins with this, and return it; what has come before it is forgotten."""
        while not (found := [line for line in self.told if line.startswith(assignment)]):
            self.told += self._socket.recv(4096).decode().splitlines()
        del self.told[: self.told.index(found[0]) + 1]
        return found[0]


@pytest.fixture(params=varied("path", "abstract"))
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NotifySocket]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@corehttp-test-{os.getpid()}"
    with NotifySocket(name) as manager:
        yield manager


def test_systemd_is_told_of_the_start_a_reload_and_the_stop(tmp_path: Path, manager: NotifySocket) -> None:
    app = ChangingApp(tmp_path)
    app.become("1", before="import os; assert not [n for n in os.environ if n.startswith(('NOTIFY_', 'WATCHDOG_'))]\n")
    env = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "200000"}
    server = ServerProcess((*app.arguments, "--workers", "2"), tmp_path, env=env)
    try:
        manager.wait_for("READY=1")
        assert manager.wait_for("MAINPID=") == f"MAINPID={server.pid}"
        server.wait_until_ready()
        assert manager.wait_for("STATUS=Serving") == "STATUS=Serving: 2 of 2 workers ready, 0 open connections"
        manager.wait_for("WATCHDOG=1")
        manager.wait_for("WATCHDOG=1")

        before = time.monotonic()
        server.signal(signal.SIGHUP)
        manager.wait_for("RELOADING=1")
        assert int(manager.wait_for("MONOTONIC_USEC=").partition("=")[2]) >= before * 1e6
        manager.wait_for("READY=1")
        assert "reloaded in" in server.stderr

        app.become_broken()
        server.signal(signal.SIGHUP)
        manager.wait_for("RELOADING=1")
        manager.wait_for("READY=1")

        with RawConnection(server.port) as client:
            client.ask("/slow?seconds=6")
            server.signal(signal.SIGTERM)
            manager.wait_for("STOPPING=1")
            for _ in range(2):
                assert manager.wait_for("EXTEND_TIMEOUT_USEC=") == "EXTEND_TIMEOUT_USEC=15000000"
            assert client.answer()[1] == b"1"
        assert server.wait() == 0
    finally:
        server.end()


def test_an_upgrade_names_the_new_main_process_which_goes_on_telling(tmp_path: Path, manager: NotifySocket) -> None:
    app = ChangingApp(tmp_path)
    app.become("1")
    env = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "200000"}
    server = ServerProcess((*app.arguments, "--workers", "1"), tmp_path, env=env)
    try:
        manager.wait_for("READY=1")
        server.signal(signal.SIGUSR2)
        successor = int(server.wait_for_log(r"a new supervisor \(pid (\d+)\)").group(1))
        manager.wait_for(f"MAINPID={successor}")
        assert server.wait() == 0
        manager.told.clear()
        for _ in range(3):
            manager.wait_for("WATCHDOG=1")
        os.kill(successor, signal.SIGHUP)
        manager.wait_for("RELOADING=1")
        manager.wait_for("READY=1")
        os.kill(successor, signal.SIGTERM)
        manager.wait_for("STOPPING=1")
    finally:
        server.end()


def _answers(port: int) -> set[bytes]:
    """Return what some new connections are answered."""
    found = set()
    for _ in range(10):
        with RawConnection(port) as client:
            found.add(client.get("/")[1])
    return found


@pytest.mark.feature
def test_a_unit_is_printed_and_written_for_the_options_given(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "corehttp", "systemd-unit", *words]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PWD": str(tmp_path)}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    words = ("--write", str(tmp_path), "main:app", "--workers", "2", "-b", "127.0.0.1:8080", "--name", "shop")
    done = run(*words)
    assert done.returncode == 0, done.stderr
    service = (tmp_path / "shop.service").read_text()
    assert f"\nWorkingDirectory={tmp_path}\n" in service
    assert " main:app --workers 2 --name shop --bind systemd:\n" in service
    assert "\nListenStream=127.0.0.1:8080\n" in (tmp_path / "shop.socket").read_text()
    assert service in done.stdout

    again = run(*words)
    assert again.returncode == 2
    assert f"{tmp_path}/shop.service exists; remove it, or choose another --name" in again.stderr
    assert "no application: name it as MODULE:ATTRIBUTE" in run("--workers", "2").stderr
    (tmp_path / "corehttp.toml").write_text("port = 8081")
    assert "ListenStream" not in run("main:app").stdout, "a file says where it listens"


def test_a_socket_on_which_nobody_can_listen_ends_the_start(tmp_path: Path) -> None:
    app = ChangingApp(tmp_path)
    app.become("1")
    program = tmp_path / "activate.py"
    # A connection, as a socket unit with Accept=yes passes it.
    program.write_text(ACTIVATE.replace('socket.create_server(("127.0.0.1", 0))', "socket.socketpair()[0]"))
    place = app.arguments.index("--port")
    arguments = app.arguments[:place] + app.arguments[place + 2 :]
    server = ServerProcess((*arguments, "-b", "systemd:web", "--workers", "2"), tmp_path, program=[str(program)])
    try:
        assert server.wait() == 3
        assert server.stderr.count("cannot listen on ") == 1
    finally:
        server.end()


def test_a_service_that_systemd_activates_serves_on_its_sockets(tmp_path: Path) -> None:
    app = ChangingApp(tmp_path)
    app.become("1")
    program = tmp_path / "activate.py"
    program.write_text(ACTIVATE)
    place = app.arguments.index("--port")
    arguments = app.arguments[:place] + app.arguments[place + 2 :]
    given = (*arguments, "-b", "systemd:web", "--workers", "2")
    server = ServerProcess(given, tmp_path, program=[str(program)])
    try:
        server.wait_until_ready()
        with RawConnection(server.port) as client:
            assert client.get("/")[1] == b"1"
        app.become("2")
        server.signal(signal.SIGUSR2)
        until(lambda: _answers(server.port) == {b"2"}, "the new supervisor's workers")
    finally:
        server.end()
