"""Standard streams that are closed: nothing else takes their numbers, and nothing of ours is written elsewhere."""

import ast
import itertools
import os
import pty
import socket
import subprocess
import sys
from pathlib import Path

import pytest

CLOSED = [fds for count in (1, 2, 3) for fds in itertools.combinations((0, 1, 2), count)]


def run(script: str, closed: tuple[int, ...], report: int) -> None:
    """Run the script in a process in which these are closed; it can write to the descriptor `report`."""
    redirected = " ".join(f"{fd}>&-" for fd in closed)
    subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {report} {redirected}', sys.executable, script],
        pass_fds=[report],
        input=b"",
        check=True,
    )


@pytest.mark.parametrize("closed", CLOSED)
def test_what_was_closed_leads_nowhere_and_is_no_socket_later(closed: tuple[int, ...]) -> None:
    reader, writer = os.pipe()
    script = (
        "import os, socket, sys\n"
        "from corehttp.standard_streams import open_standard_streams, output\n"
        "open_standard_streams()\n"
        "sock = socket.socket()\n"
        "print('to nobody'); print('to nobody', file=sys.stderr); sys.stdin.fileno()\n"
        "null = os.stat('/dev/null')\n"
        "nowhere = [fd for fd in range(3) if os.path.samestat(os.fstat(fd), null)]\n"
        "inherited = [fd for fd in nowhere if os.get_inheritable(fd)]\n"
        "absent = [fd for fd in (1, 2) if output(fd) is None]\n"
        "os.write(int(sys.argv[1]), repr((nowhere, inherited, absent, sock.fileno() > 2)).encode())\n"
    )
    run(script, closed, writer)
    expected = (list(closed), list(closed), [fd for fd in closed if fd], True)
    assert os.read(reader, 1000).decode() == repr(expected)
    os.close(reader)
    os.close(writer)


def test_a_number_that_the_program_has_used_for_something_else_is_left_alone() -> None:
    reader, writer = os.pipe()
    script = (
        "import os, sys\n"
        "data, mine = os.pipe()\n"
        "mine == 1 or os._exit(9)\n"
        "from corehttp.worker.access_log import AccessLog\n"
        "from corehttp.standard_streams import open_standard_streams\n"
        "open_standard_streams()\n"
        "from tests.kit.fakes import ManualTimers\n"
        "log = AccessLog('text', 'worker 1', ManualTimers())\n"
        "log.records.append(('-', 'GET', '/', '1.1', 200, 0, 1.0)); log.flush()\n"
        "os.set_blocking(data, False)\n"
        "try: seen = os.read(data, 100)\n"
        "except BlockingIOError: seen = b'nothing'\n"
        "os.write(int(sys.argv[1]), seen)\n"
    )
    run(script, (0, 1), writer)
    assert os.read(reader, 1000) == b"nothing"
    os.close(reader)
    os.close(writer)


def led(stdout: int, **env: str) -> dict[str, str]:
    """Where a process with this standard output says that it leads."""
    reader, writer = os.pipe()
    script = (
        "import os, sys\n"
        "from corehttp.standard_streams import destination, open_standard_streams\n"
        "open_standard_streams()\n"
        "os.write(int(sys.argv[1]), repr(destination(1)).encode())\n"
    )
    command = [sys.executable, "-c", script, str(writer)]
    subprocess.run(command, stdout=stdout, pass_fds=[writer], check=True, env={**os.environ, **env})
    os.close(writer)
    with open(reader) as answer:
        found = ast.literal_eval(answer.read())
    assert isinstance(found, dict)
    return found


def test_where_a_standard_stream_leads(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        assert led(file.fileno()) == {"kind": "file", "path": str(tmp_path / "file")}
    assert led(subprocess.DEVNULL) == {"kind": "nothing"}
    ours, theirs = pty.openpty()
    assert led(theirs) == {"kind": "terminal", "path": os.ttyname(theirs)}
    one, other = socket.socketpair()
    assert led(other.fileno()) == {"kind": "socket"}
    journal = os.fstat(other.fileno())
    assert led(other.fileno(), JOURNAL_STREAM=f"{journal.st_dev}:{journal.st_ino}")["kind"] == "journal"
    reader, writer = os.pipe()
    assert led(writer) == {"kind": "pipe"}
    for fd in (ours, theirs, reader, writer):
        os.close(fd)
    one.close()
    other.close()
