"""Start, signal and reap processes: with `interpreters` the only caller of exec, kill and waitpid.

The module implements `world.Processes`.
"""

import contextlib
import os
import signal
import socket
from collections.abc import Iterable

from corehttp.ipc.channel import Channel, ChildEnd, SupervisorEnd
from corehttp.ipc.mailbox import MailboxWriter, make_mailbox
from corehttp.ipc.stack_area import SIGNAL
from corehttp.supervisor import interpreters

WORKER = interpreters.WORKER
TEMPLATE = "corehttp.worker.template"
ADMIN = "corehttp.admin.process"
WATCHER = "corehttp.watching.process"
UNKNOWN = 1 << 16  # stands for the exit code of a process whose code somebody else in this process has taken


def spawn(module: str, title: str) -> tuple[int, SupervisorEnd]:
    """Start `main` of a module of this package in a fresh interpreter, and return its pid and our end of its channel.

    That process may have been started before (`interpreters.launch`). It inherits no other descriptor than its own end.
    `title` is what `ps` shows for it. Raises OSError.
    """
    pid, ours = interpreters.launch(module, title)
    return pid, Channel.to_child(ours)


start = interpreters.start


def pair() -> tuple[SupervisorEnd, ChildEnd]:
    """Return our end and the child's of a new channel, for a process that another one forks. Raises OSError."""
    return Channel.pair()


def mailbox() -> tuple[socket.socket, MailboxWriter]:
    """Return both ends of a new mailbox: the worker's own, and the one for all others. Raises OSError."""
    return make_mailbox()


def terminate(pid: int) -> None:
    """Ask the process to leave (SIGTERM). One that has ended is left alone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def dump(pid: int) -> None:
    """Have a worker write the stacks of its threads to the log (SIGUSR2; see `worker.watchdog.install_dump`)."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGUSR2)


def tell_stacks(pid: int) -> None:
    """Have a worker write its stacks into shared memory (`worker.stacks`). A process that has ended is left alone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, SIGNAL)


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


def finish(pid: int) -> None:
    """End a child at once (SIGKILL), and reap it. Waits until the kernel has ended it."""
    kill(pid)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


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


def exit_status(code: int) -> str:
    """Return in a word how a process ended: the signal's name, or `exit` with the exit code."""
    if code >= 0:
        return "unknown" if code == UNKNOWN else f"exit {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


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
    """Return the number behind `oom_kill` in a file of a control group; 0 if there is none."""
    with contextlib.suppress(OSError, ValueError), open(path) as events:
        for line in events:
            key, _, count = line.partition(" ")
            if key == "oom_kill":
                return int(count)
    return 0


def _reap_orphans(ours: set[int]) -> None:
    """Reap processes that others have left to this one, up to the first that has ended and is one of `ours`."""
    with contextlib.suppress(ChildProcessError, AttributeError):
        while True:
            # WNOWAIT only looks: the exit code of one of `ours` is left for `reap` to return.
            info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if info is None or info.si_pid in ours:
                return
            os.waitpid(info.si_pid, os.WNOHANG)
