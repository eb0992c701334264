"""A process that is forked, seen from within."""

import functools
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from corehttp import forks
from corehttp.worker import exit_limit


@pytest.fixture
def protected() -> Iterator[socket.socket]:
    """A socket that no forked process is to hold."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        end = forks.protect(lambda: [ours.fileno(), -1], signals=True)
        yield ours
        end()


def in_child(look: Callable[[], bool]) -> bool:
    """What `look` finds in a forked process."""
    pid = os.fork()
    if not pid:
        try:
            os._exit(0 if look() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def inode(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


def test_a_descriptor_is_replaced_by_one_of_which_nothing_comes(protected: socket.socket) -> None:
    before = inode(protected)
    assert in_child(lambda: inode(protected) != before and protected.recv(1) == b"")
    assert inode(protected) == before


def test_so_it_is_where_there_is_no_epoll(protected: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.delattr(select, "epoll", raising=False)
    before = inode(protected)
    assert in_child(lambda: inode(protected) != before and protected.recv(1) == b"")


def test_it_is_replaced_once_only(protected: socket.socket) -> None:
    """Its number may be that of another file of the process by the time that one forks."""

    def look() -> bool:
        number = protected.detach()
        os.close(number)
        reader, writer = socket.socketpair()
        os.dup2(reader.fileno(), number)
        writer.send(b"x")
        return in_child(lambda: os.read(number, 1) == b"x")

    assert in_child(look)


def test_nothing_is_replaced_in_a_process_of_the_server(protected: socket.socket) -> None:
    before = inode(protected)
    with forks.own():
        assert in_child(lambda: inode(protected) == before)
    assert in_child(lambda: inode(protected) != before)


def of_the_application(signum: int, frame: FrameType | None) -> None: ...


class Handler:
    __module__ = "corehttp.test"

    def __call__(self, signum: int, frame: FrameType | None) -> None: ...


@pytest.mark.parametrize(
    ("handler", "stays"),
    [
        (exit_limit._carry_on, False),
        (functools.partial(exit_limit._carry_on), False),
        (of_the_application, True),
        (Handler(), True),
        (signal.SIG_IGN, True),
    ],
)
@pytest.mark.usefixtures("protected")
def test_the_servers_handlers_go_and_others_stay(handler: Callable[[int, FrameType | None], None], stays: bool) -> None:
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        assert in_child(lambda: (signal.getsignal(signal.SIGUSR1) == handler) is stays)
        assert signal.getsignal(signal.SIGUSR1) == handler
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("protected")
def test_no_signal_stays_blocked() -> None:
    def look() -> bool:
        return not signal.pthread_sigmask(signal.SIG_BLOCK, [])

    assert in_child(look)
    assert look()
