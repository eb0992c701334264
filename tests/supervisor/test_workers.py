"""What the supervisor says to its workers and templates, and what becomes of one that cannot be told."""

import errno
import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from corehttp.ipc.channel import Channel
from corehttp.ipc.mailbox import Mailbox, make_mailbox
from corehttp.ipc.message_stream import LIMIT
from corehttp.ipc.messages import VERSION, Boot, Seat
from corehttp.ipc.scoreboard import Scoreboard
from corehttp.shortage import shortage
from corehttp.supervisor import processes
from corehttp.supervisor.templates import Template, Templates
from corehttp.supervisor.workers import Member, Workers
from tests.supervisor.simulated_world import SimulatedWorld

BOOT = Boot(VERSION, {}, "/", [], [], Seat(0, 0, (0,), False))
TOO_LARGE = Boot(VERSION, {"header": ["x" * LIMIT]}, "/", [], [])


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
    workers.forked(member, process.pid)
    assert process.wait(60) == -signal.SIGTERM
    ours.close()
    theirs.close()


def test_one_that_has_ended_already_says_why_by_its_end(workers: Workers, process: "subprocess.Popen[bytes]") -> None:
    ours, theirs = Channel.pair()
    theirs.close()
    assert workers.join(Member(1, 0, 1, process.pid, ours, 0), BOOT, [0]) is None
    assert process.poll() is None
    ours.close()


def test_a_worker_whose_boot_message_is_too_large_ends_at_once(
    workers: Workers, process: "subprocess.Popen[bytes]"
) -> None:
    ours, theirs = Channel.pair()
    error = workers.join(Member(1, 0, 1, process.pid, ours, 0), TOO_LARGE, [0])
    assert error is not None
    assert re.fullmatch(r"a message of \d+ bytes; at most \d+ are allowed", shortage(error))
    assert process.wait(60) == -signal.SIGKILL
    ours.close()
    theirs.close()


def test_a_template_whose_boot_message_is_too_large_leaves_no_process() -> None:
    world = SimulatedWorld(random.Random(1), 1, 0.0)
    world.troubles = False
    templates = Templates(world.processes)
    with pytest.raises(OSError, match="at most"):
        templates.load(1, TOO_LARGE, "application:app")
    assert all(process.dying for process in world.processes.alive)


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


def test_an_operators_message_goes_to_the_mailboxes_of_workers_that_serve(workers: Workers) -> None:
    pairs = [make_mailbox() for _ in range(3)]
    channels = [Channel.pair() for _ in pairs]
    for number, ((_, writer), (ours, _)) in enumerate(zip(pairs, channels, strict=True)):
        member = Member(number, 0, 1, 0, ours, 0, writer, serves=number > 0)
        assert workers.join(member, BOOT, []) is None
    assert workers.mailboxes(10) == [writer.fileno() for _, writer in pairs]
    assert workers.mailboxes(2) == [writer.fileno() for _, writer in pairs[1:]]
    pairs[2][0].close()  # a worker that is just ending
    assert workers.publish(b"news") == (1, 2)
    assert Mailbox(pairs[1][0]).take() == (b"news", None)
    with pytest.raises(BlockingIOError):
        Mailbox(pairs[0][0]).take()
    for reader, writer in pairs:
        reader.close()
        writer.close()
    for ours, theirs in channels:
        ours.close()
        theirs.close()
