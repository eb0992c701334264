"""What the supervisor says to its workers and templates, and what becomes of one that cannot be told."""

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from corehttp.ipc.channel import Channel
from corehttp.ipc.messages import VERSION, Boot, Seat
from corehttp.ipc.scoreboard import Scoreboard
from corehttp.supervisor import processes
from corehttp.supervisor.templates import Template, Templates
from corehttp.supervisor.workers import Member, Workers

BOOT = Boot(VERSION, {}, "/", [], [], Seat(0, 0, 1, False))


def too_many(*args: object) -> int:
    """What sendmsg(2) says while too many descriptors are on their way between the processes of a user (unix(7))."""
    raise OSError(errno.ETOOMANYREFS, os.strerror(errno.ETOOMANYREFS))


@pytest.fixture
def workers() -> Iterator[Workers]:
    board = Scoreboard.create()
    yield Workers(processes, board)
    board.close()


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"]) as process:
        yield process
        process.kill()


def test_a_worker_that_cannot_be_told_what_to_serve_ends_at_once(
    workers: Workers, process: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = Channel.pair()
    monkeypatch.setattr(socket, "send_fds", too_many)
    error = workers.join(Member(1, 0, 1, process.pid, ours, 0), BOOT, [0])
    assert error is not None
    assert error.errno == errno.ETOOMANYREFS
    assert process.wait(60) == -signal.SIGKILL
    ours.close()
    theirs.close()


def test_one_that_is_still_to_be_forked_ends_as_soon_as_it_is(
    workers: Workers, process: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = Channel.pair()
    monkeypatch.setattr(socket, "send_fds", too_many)
    member = Member(1, 0, 1, 0, ours, 0)
    assert workers.join(member, BOOT, [0]) is not None
    workers.born(member, process.pid)
    assert process.wait(60) == -signal.SIGTERM
    ours.close()
    theirs.close()


def test_one_that_has_ended_already_says_why_by_its_end(workers: Workers, process: "subprocess.Popen[bytes]") -> None:
    ours, theirs = Channel.pair()
    theirs.close()
    assert workers.join(Member(1, 0, 1, process.pid, ours, 0), BOOT, [0]) is None
    assert process.poll() is None
    ours.close()


def test_a_template_that_cannot_be_told_to_fork_ends_and_the_fork_fails(
    process: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = Channel.pair()
    templates = Templates(processes)
    templates._templates[1] = Template(1, process.pid, ours)
    monkeypatch.setattr(socket, "send_fds", too_many)
    with pytest.raises(OSError, match=os.strerror(errno.ETOOMANYREFS)):
        templates.fork(1)
    assert process.wait(60) == -signal.SIGKILL
    ours.close()
    theirs.close()
