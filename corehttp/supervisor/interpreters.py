"""Start interpreters for the processes of a service; one may be started before the supervisor has a use for it.

The first worker takes an interpreter and its imports, which need nothing of the supervisor. With a CPU for each of them
both import at the same time: the command starts an interpreter as soon as it has read its options (`start_early`), and
the supervisor gets it by the first `launch` of the same program. This module imports little, so that it comes first.
From the exec of the command to the first answer: 166 ms, without it 192 (CPython 3.13 built without optimisation, two
CPUs, one worker).

A fork of the command would do without a second interpreter, whose start alone takes 11 ms. But what an application
forks, and runs no program in, would then have the environment of the command, in which there is no `mark`.
"""

import contextlib
import functools
import os
import signal
import socket
import sys
from collections.abc import Iterable

from corehttp import unused_signals
from corehttp.records import record

WORKER = "corehttp.worker.process"
MARK = "COREHTTP_SUPERVISOR"  # the variable that marks the processes of a service

_LAUNCH = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "worker", "launch.py")


@record
class _Program:
    """What an interpreter is started for. Where two are equal, one process can take the place of the other."""

    module: str
    title: str
    environment: dict[str, str]


@record
class _Started:
    """An interpreter that waits for its first message, or will do so when it has imported its modules."""

    program: _Program
    pid: int
    end: socket.socket  # the supervisor's end of its channel


_early: list[_Started] = []  # at most one


def launch(module: str, title: str) -> tuple[int, socket.socket]:
    """Return the pid of a fresh interpreter that runs `main` of a module, and our end of its channel's stream socket.

    That is the one of `start_early` if that was for the same module, with the same title and environment, and has not
    ended. One for the same module that cannot be used is ended. The process inherits no other descriptor than its own
    end. `title` is what `ps` shows. Raises OSError.
    """
    program = _program(module, title)
    if _early and _early[0].program.module == module:
        early = _early.pop()
        if early.program == program and not _has_ended(early.pid):
            return early.pid, early.end
        _end(early)
    started = _launch(program)
    return started.pid, started.end


def start_early(module: str, title: str) -> None:
    """Start the interpreter that the next `launch` of the module is going to return; does nothing if that fails.

    The user, the file mode mask and the inheritable descriptors are to stay as they are until then. The interpreter
    waits for its first message. If this process ends before, however that is, it ends by itself and says nothing.
    """
    with contextlib.suppress(OSError):  # `launch` says what is wrong
        _early.append(_launch(_program(module, title)))


def end_early() -> None:
    """End the interpreter of `start_early` if nobody has got it from `launch`; waits until the kernel has ended it."""
    while _early:
        _end(_early.pop())


@functools.cache
def mark() -> dict[str, str]:
    """Return a variable that marks a process and all its descendants as those of this supervisor.

    It goes into the environment of the process, where others can read it (proc(5), /proc/pid/environ).
    """
    return {MARK: f"{os.getpid()}-{os.urandom(8).hex()}"}


def interpreter_flags() -> list[str]:
    """Return the options of the interpreter with which this process was started, such as -O and -X dev.

    Those in the environment, such as PYTHONOPTIMIZE, are inherited with it.
    """
    first = sys.orig_argv[1:2]  # options come before the program, be that a file, -m or -c
    if first in ([], ["-m"], ["-c"]) or not first[0].startswith("-"):
        return []
    import subprocess  # imported here, since it takes 3 ms

    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return flags


def start(argv: list[str], environment: dict[str, str], fds: Iterable[int], blocked: Iterable[int] = ()) -> int:
    """Start a program that inherits these descriptors by their numbers, and return its pid. Raises OSError.

    `blocked` are the signals that are blocked in it.
    """
    # If source and target are the same, dup2 only clears the close-on-exec flag (posix_spawn(3)).
    actions = [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in dict.fromkeys(fds)]
    return os.posix_spawn(argv[0], argv, environment, file_actions=actions, setsigmask=blocked)


def _program(module: str, title: str) -> _Program:
    """Return a program as a process would have it that is started now."""
    return _Program(module, title, {**os.environ, **mark()})


def _launch(program: _Program) -> _Started:
    """Start a fresh interpreter. Raises OSError."""
    ours, theirs = socket.socketpair()
    try:
        words = [*interpreter_flags(), "-P", _LAUNCH, program.module, str(theirs.fileno()), program.title]
        # A signal that the process is going to ignore stays blocked until it does (`worker.process.heed_signals`).
        # Ctrl-C, for example, is sent to the whole foreground group.
        blocked = [signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, *unused_signals.unused([signal.SIGTERM])]
        pid = start([sys.executable, *words], program.environment, [theirs.fileno()], blocked=blocked)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return _Started(program, pid, ours)


def _has_ended(pid: int) -> bool:
    """Whether a child has ended; if it has, it is reaped."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:  # something else in this process has reaped it
        return True


def _end(started: _Started) -> None:
    """End an interpreter at once (SIGKILL), and reap it."""
    started.end.close()
    if not _has_ended(started.pid):
        os.kill(started.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(started.pid, 0)
