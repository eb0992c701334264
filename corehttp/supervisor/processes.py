"""Start, signal and reap processes: the only caller of exec, kill and waitpid. Implements `world.Processes`."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable

from corehttp import unused_signals
from corehttp.ipc.channel import Channel, ChildEnd, SupervisorEnd
from corehttp.supervisor.leftovers import mark

WORKER = "corehttp.worker.process"
TEMPLATE = "corehttp.worker.template"
UNKNOWN = 1 << 16  # stands for the exit code of a process whose code somebody else in this process has taken

_LAUNCH = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "worker", "launch.py")


def spawn(module: str, title: str) -> tuple[int, SupervisorEnd]:
    """Start `main` of a module of this package in a fresh interpreter, and return its pid and our end of its channel.

    The process inherits no other descriptor than its own end. `title` is what `ps` shows. Raises OSError.
    """
    ours, theirs = Channel.pair()
    try:
        flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        argv = [sys.executable, *flags, "-P", _LAUNCH, module, str(theirs.fileno()), title]
        # A signal that the process is going to ignore stays blocked until it does (`worker.process.heed_signals`).
        # Ctrl-C, for example, is sent to the whole foreground group.
        blocked = [signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, *unused_signals.unused([signal.SIGTERM])]
        pid = start(argv, {**os.environ, **mark()}, [theirs.fileno()], blocked=blocked)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return pid, ours


def pair() -> tuple[SupervisorEnd, ChildEnd]:
    """Return our end and the child's of a new channel, for a process that another one forks. Raises OSError."""
    return Channel.pair()


def start(argv: list[str], environment: dict[str, str], fds: Iterable[int], blocked: Iterable[int] = ()) -> int:
    """Start a program that inherits these descriptors by their numbers, and return its pid. Raises OSError.

    `blocked` are the signals that are blocked in it.
    """
    # If source and target are the same, dup2 only clears the close-on-exec flag (posix_spawn(3)).
    actions = [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in dict.fromkeys(fds)]
    return os.posix_spawn(argv[0], argv, environment, file_actions=actions, setsigmask=blocked)


def terminate(pid: int) -> None:
    """Ask the process to leave (SIGTERM). One that has ended is left alone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def dump(pid: int) -> None:
    """Have a worker write the stacks of its threads to the log (SIGUSR2; see `worker.watchdog.install_dump`)."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGUSR2)


def is_stopped(pid: int) -> bool:
    """Whether a signal or a debugger has stopped the process (proc(5), /proc/pid/stat)."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0] in (b"T", b"t")
    return False


def saved_by_fork(pid: int) -> tuple[int, int]:
    """Bytes that a process shares with the one it was forked from, and bytes that it is charged with.

    They come from Anonymous, Pss_Anon and Pss in proc(5), /proc/pid/smaps_rollup; zeros if that cannot be read.
    """
    sizes = {"Anonymous:": 0, "Pss_Anon:": 0, "Pss:": 0}
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            name, _, rest = line.partition(" ")
            if name in sizes:
                sizes[name] = int(rest.split()[0]) * 1024
    return sizes["Anonymous:"] - sizes["Pss_Anon:"], sizes["Pss:"]


def is_child(pid: int) -> bool:
    """Whether the process is a child of this one that has not been reaped; it may have ended (waitid(2), WNOWAIT)."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except OSError:
        return False
    return True


def kill(pid: int) -> None:
    """End the process at once (SIGKILL). One that has ended is left alone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def adopt_orphans(wanted: bool) -> None:
    """Become the parent of the processes that children leave behind, or stop to (prctl(2), PR_SET_CHILD_SUBREAPER).

    Raises OSError.
    """
    import ctypes  # imported here, since only a service with templates needs it

    if ctypes.CDLL(None, use_errno=True).prctl(36, int(wanted), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def reap(pids: Iterable[int], *, orphans: bool) -> list[tuple[int, int]]:
    """Return those of these processes that have ended, with their exit codes (minus the signal if one ended them).

    `orphans`: reap processes as well that others have left to this one, as process 1 must, and any other one after
    `adopt_orphans`.
    """
    ended: list[tuple[int, int]] = []
    for pid in pids:
        try:
            done, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            ended.append((pid, UNKNOWN))  # the program that the supervisor is a part of has reaped it
        else:
            if done:
                ended.append((pid, os.waitstatus_to_exitcode(status)))
    if orphans:
        _reap_orphans(set(pids))
    return ended


def describe_exit(code: int, oom_killed: bool = False) -> str:
    """Say how a process ended: `code` is its exit code, or minus the signal; `oom_killed` whether memory was short."""
    if code == UNKNOWN:
        return "has ended, and something else in this process has taken its exit code"
    if code >= 0:
        return f"exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if oom_killed:
        return f"was killed by {name}: its control group ran out of memory"
    return f"was killed by {name}"


def oom_kills() -> int:
    """How many processes of this control group the kernel has killed for want of memory; 0 if that is not known.

    The figure is `oom_kill` in memory.events (cgroup v2) or memory.oom_control (cgroup v1).
    """
    total = 0
    try:
        with open("/proc/self/cgroup") as groups:
            lines = groups.read().splitlines()
    except OSError:
        return 0
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            file = "memory.events" if controllers == "" else "memory.oom_control"
            root = "/sys/fs/cgroup" if controllers == "" else "/sys/fs/cgroup/memory"
            total += max(_oom_count(f"{root}{path}/{file}"), _oom_count(f"{root}/{file}"))
    return total


def _oom_count(path: str) -> int:
    with contextlib.suppress(OSError, ValueError), open(path) as events:
        for line in events:
            key, _, count = line.partition(" ")
            if key == "oom_kill":
                return int(count)
    return 0


def _reap_orphans(ours: set[int]) -> None:
    with contextlib.suppress(ChildProcessError, AttributeError):
        while True:
            # WNOWAIT only looks: the exit code of one of `ours` is left for `reap` to return.
            info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if info is None or info.si_pid in ours:
                return
            os.waitpid(info.si_pid, os.WNOHANG)
