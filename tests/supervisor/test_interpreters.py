"""An interpreter that is started before it is needed becomes the process that is wanted, or leaves no trace."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from corehttp.supervisor import interpreters
from corehttp.supervisor.interpreters import WORKER, end_early, launch, start_early
from corehttp.supervisor.processes import is_child
from tests.kit.process_facts import until_gone


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The pids of all interpreters that are started, which are ended in the end."""
    pids: list[int] = []
    start = interpreters.start

    def noted(argv: list[str], environment: dict[str, str], fds: list[int], blocked: list[int]) -> int:
        pids.append(start(argv, environment, fds, blocked))
        return pids[-1]

    monkeypatch.setattr(interpreters, "start", noted)
    yield pids
    end_early()
    for pid in pids:
        if is_child(pid):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_what_was_started_early_is_given_away_once(started: list[int]) -> None:
    start_early(WORKER, "main:app")
    assert len(started) == 1
    pid, end = launch(WORKER, "main:app")
    assert [pid] == started
    other, others_end = launch(WORKER, "main:app")
    assert started == [pid, other]
    end.close()
    others_end.close()


@pytest.mark.parametrize(
    ("change", "title"),
    [
        (lambda: None, "other:app"),
        (lambda: os.environ.update(NEWS="1"), "main:app"),
        (lambda: os.environ.pop("OLD"), "main:app"),
    ],
    ids=["another title", "a new variable", "a variable that is gone"],
)
def test_another_one_is_started_where_something_has_changed_that_a_process_keeps_from_its_start(
    started: list[int], monkeypatch: pytest.MonkeyPatch, change: Callable[[], object], title: str
) -> None:
    monkeypatch.setenv("OLD", "1")
    monkeypatch.setenv("NEWS", "0")
    start_early(WORKER, "main:app")
    change()
    pid, end = launch(WORKER, title)
    end.close()
    assert started == [started[0], pid]
    assert not is_child(started[0]), "it was ended, and reaped"


def test_another_program_leaves_it_as_it_is(started: list[int]) -> None:
    start_early(WORKER, "main:app")
    other, others_end = launch("corehttp.watching.process", "watcher")
    others_end.close()
    pid, end = launch(WORKER, "main:app")
    end.close()
    assert started == [pid, other]


@pytest.mark.parametrize("reaped", [False, True], ids=["a zombie", "reaped by another part of the program"])
def test_one_that_has_ended_is_not_given_away(started: list[int], reaped: bool) -> None:
    start_early(WORKER, "main:app")
    [first] = started
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | (0 if reaped else os.WNOWAIT))
    pid, end = launch(WORKER, "main:app")
    end.close()
    assert pid != first
    assert not is_child(first)


def test_one_that_nobody_wants_is_ended(started: list[int]) -> None:
    start_early(WORKER, "main:app")
    end_early()
    assert not is_child(started[0])
    end_early()


def test_what_cannot_be_started_is_told_when_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    start_early(WORKER, "main:app")
    with pytest.raises(FileNotFoundError):
        launch(WORKER, "main:app")


KILLED = """
import os, signal
from corehttp.supervisor import interpreters
start = interpreters.start
interpreters.start = lambda *given, **named: print(pid := start(*given, **named), flush=True) or pid
interpreters.start_early(interpreters.WORKER, "main:app")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_one_whose_supervisor_is_killed_ends_by_itself_and_says_nothing() -> None:
    # `run` returns when nobody has the pipes any more, so it waits for the interpreter as well.
    run = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False, timeout=60)
    assert (run.returncode, run.stderr) == (-signal.SIGKILL, "")
    until_gone(int(run.stdout))
