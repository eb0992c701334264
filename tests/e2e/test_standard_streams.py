"""Standard streams that are closed, or that nobody reads: requests are answered, and a stop is obeyed."""

import contextlib
import fcntl
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Start
from tests.kit.extent import crossed
from tests.kit.server_process import HERE, PACKAGE, PATIENCE, ROOT, until

pytestmark = pytest.mark.e2e

GOOD = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
BAD = b"GET / HTTP/1.1\r\nHost: a\r\nBad field\r\n\r\n"  # a warning on standard error each
WAYS = [(), ("--workers", "2"), ("--preload",), ("--no-supervise",)]


class Command:
    """The command on a unix socket, with streams of the test's choice."""

    def __init__(self, directory: Path, *arguments: str, redirected: str = "", stdout: int, stderr: int) -> None:
        self.path = str(directory / "socket")
        own = {key: value for key, value in os.environ.items() if not key.startswith("COREHTTP_")}
        self.process = subprocess.Popen(
            [
                *("sh", "-c", f'exec "$0" -m corehttp "$@" {redirected}', sys.executable),
                *("application:app", "--app-dir", str(HERE), "--uds", self.path, *arguments),
            ],
            cwd=directory,
            env={**own, "PYTHONPATH": os.pathsep.join((str(PACKAGE), str(ROOT)))},
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        until(lambda: self.ask(GOOD) if self.process.poll() is None else "ended", "the first answer", 4 * PATIENCE)

    def ask(self, request: bytes) -> bytes:
        """The answer's first bytes; nothing if there is none."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(self.path)
            sock.sendall(request)
            return sock.recv(15)
        return b""

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(4 * PATIENCE)


@pytest.fixture
def commands() -> Iterator[list[Command]]:
    """Those that a test has started, whose processes do not stay."""
    started: list[Command] = []
    yield started
    for command in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(command.process.pid, signal.SIGKILL)
        command.process.wait(PATIENCE)


def pipe() -> tuple[int, int]:
    """A pipe with as little room as there can be."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    return reader, writer


def sockets() -> tuple[int, int]:
    """As the journal of systemd takes what a service writes."""
    reader, writer = socket.socketpair()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return reader.detach(), writer.detach()


@crossed(("make", "arguments"), [pipe, sockets], WAYS)
def test_a_log_that_nobody_reads_holds_up_neither_a_request_nor_a_stop(
    tmp_path: Path, commands: list[Command], arguments: tuple[str, ...], make: object
) -> None:
    reader, writer = pipe() if make is pipe else sockets()
    command = Command(tmp_path, *arguments, stdout=writer, stderr=writer)
    commands.append(command)
    os.close(writer)
    for _ in range(150):
        assert command.ask(BAD) == b"HTTP/1.1 400 Ba"
    assert command.ask(GOOD) == b"HTTP/1.1 200 OK"
    assert command.stop() == 0
    os.close(reader)


@pytest.mark.feature
def test_what_was_dropped_is_told_when_somebody_reads_again(tmp_path: Path, commands: list[Command]) -> None:
    reader, writer = os.pipe()
    errors = tmp_path / "errors"
    with errors.open("wb") as stderr:
        # Long request lines, so that few requests are more than what may wait.
        command = Command(tmp_path, "--limit-request-line", "64K", stdout=writer, stderr=stderr.fileno())
    commands.append(command)
    os.close(writer)
    long = b"GET /" + b"x" * 60_000 + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    count = 330
    for _ in range(count):
        assert command.ask(long) == b"HTTP/1.1 200 OK"
    read = 0

    def dropped() -> int:
        found = re.findall(r"standard output takes the access log too slowly: (\d+) lines dropped", errors.read_text())
        return sum(map(int, found))

    def all_are_told() -> bool:
        nonlocal read
        if select.select([reader], [], [], 0)[0]:
            read += os.read(reader, 1 << 20).count(b"\n")
        return dropped() > 0 and read + dropped() >= count

    until(all_are_told, "more lines, or a word about those that were dropped")
    assert command.stop() == 0
    os.close(reader)


@crossed(("closed", "arguments"), ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"], WAYS)
def test_it_serves_with_closed_streams(
    tmp_path: Path, commands: list[Command], arguments: tuple[str, ...], closed: str
) -> None:
    command = Command(tmp_path, *arguments, redirected=closed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    commands.append(command)
    assert command.ask(GOOD) == b"HTTP/1.1 200 OK"
    assert command.stop() == 0


STREAMS_OF_ITS_OWN = {
    "incomplete": "class Tee:\n  def write(self, text): ...\n  def flush(self): ...\nsys.stdout = sys.stderr = Tee()\n",
    "none": "sys.stdout = sys.stderr = None\n",
    "closed": "sys.stdout.close()\nsys.stderr.close()\n",
}


@crossed(("streams", "arguments"), STREAMS_OF_ITS_OWN, WAYS)
def test_an_application_may_replace_the_streams_of_python(
    start: Start, tmp_path: Path, arguments: tuple[str, ...], streams: str
) -> None:
    (tmp_path / "main.py").write_text(
        f"import sys\n{STREAMS_OF_ITS_OWN[streams]}"
        "async def app(scope, receive, send):\n"
        "    assert scope['type'] == 'http'\n"
        "    raise LookupError('find me')\n"
    )
    server = start("main", "--port", "0", *arguments)
    assert httpx.get(server.url).status_code == 500
    assert server.stop() == 0
    assert "LookupError: find me" in server.stderr
    assert '"GET / HTTP/1.1" 500 ' in server.stdout


@pytest.mark.feature
def test_a_start_that_fails_is_told_to_a_reader_who_comes_late(tmp_path: Path) -> None:
    process = subprocess.run(
        ["sh", "-c", '"$0" -m corehttp nowhere:app --port 0 2>&1 | (sleep 1; cat)', sys.executable],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
        timeout=8 * PATIENCE,
    )
    assert "there is no module 'nowhere'" in process.stdout
