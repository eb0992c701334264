"""What the log says of a worker's end."""

import os
import signal

import pytest

from corehttp.supervisor.processes import UNKNOWN, describe_exit, is_child, reap


@pytest.mark.parametrize(
    ("code", "oom", "text"),
    [
        (0, False, "exited with code 0"),
        (7, False, "exited with code 7"),
        (-signal.SIGKILL, False, "was killed by SIGKILL"),
        (-signal.SIGSEGV, False, "was killed by SIGSEGV"),
        (-signal.SIGKILL, True, "was killed by SIGKILL: its control group ran out of memory"),
        (-63, False, "was killed by signal 63"),
        (UNKNOWN, False, "has ended, and something else in this process has taken its exit code"),
    ],
)
def test_an_exit_is_told_in_words(code: int, oom: bool, text: str) -> None:
    assert describe_exit(code, oom) == text


def test_a_process_is_a_child_until_it_is_reaped_and_then_never_waited_for() -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(writer)
        os.read(reader, 1)
        os._exit(7)
    os.close(reader)
    assert is_child(pid)
    assert reap([pid], orphans=False) == []
    os.close(writer)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert is_child(pid)
    assert reap([pid], orphans=False) == [(pid, 7)]
    assert not is_child(pid)
    assert reap([pid], orphans=False) == [(pid, UNKNOWN)], "somebody else in this process has reaped it"


@pytest.mark.parametrize(
    "pid", [os.getppid(), os.getpid(), 1, 2**22 - 1], ids=["our parent", "we", "process 1", "nobody"]
)
def test_what_is_no_child_is_told_from_one(pid: int) -> None:
    assert not is_child(pid)
