"""The worker processes: what the supervisor knows of each one, and how it talks to them."""

import logging
import signal
from collections.abc import Iterator
from dataclasses import dataclass

from corehttp.errors import ExitCode
from corehttp.ipc.channel import FDS_AT_ONCE
from corehttp.ipc.messages import Boot, Inboxes, Leave, LeaveReason, Serve
from corehttp.ipc.scoreboard import Scoreboard
from corehttp.supervisor.processes import describe_exit
from corehttp.supervisor.world import ChildChannel, Processes

logger = logging.getLogger("corehttp.supervisor")


@dataclass(slots=True)
class Member:
    """One worker process."""

    worker: int  # its number in the fleet
    slot: int
    generation: int
    pid: int  # 0: its template has not forked it yet
    channel: ChildChannel
    row: int  # its row of the scoreboard
    serves: bool = False  # whether it has been told to accept connections
    last_words: str = ""  # why it could not start, or was ended
    unwanted: bool = False  # whether it is to end as soon as its template has forked it
    deaf_looks: int = 0  # how many health checks have found its channel lost

    def __str__(self) -> str:
        return f"worker {self.slot + 1} (pid {self.pid})" if self.pid else f"worker {self.slot + 1}"


class Workers:
    """All worker processes, by their number in the fleet."""

    def __init__(self, processes: Processes, board: Scoreboard) -> None:
        self._processes = processes
        self._board = board
        self._members: dict[int, Member] = {}
        self._oom_kills = processes.oom_kills()

    def __iter__(self) -> Iterator[Member]:
        """Go through a copy, so that a worker may be removed meanwhile."""
        return iter(tuple(self._members.values()))

    def __getitem__(self, worker: int) -> Member:
        return self._members[worker]

    def unborn(self, generation: int | None = None) -> list[Member]:
        """The workers that their template has not forked yet, of one generation or of all, in the order of request."""
        return [m for m in self._members.values() if not m.pid and generation in (None, m.generation)]

    def join(self, member: Member, boot: Boot, fds: list[int]) -> OSError | None:
        """Add a worker whose process was started, and tell it what to serve.

        `fds` are the descriptors that go with the boot message (see `worker.process.run`). Returns why the worker
        cannot be told, and ends it then; None if it was told, or has ended already, since its own end says why.
        """
        self._members[member.worker] = member
        member.channel.send(boot, fds)
        error = member.channel.lost
        if error is None or isinstance(error, ConnectionError):
            return None
        if member.pid:
            self._processes.kill(member.pid)
        member.unwanted = True
        return error

    def serve(self, member: Member, inboxes: dict[int, int]) -> None:
        """Let a worker accept, now that its sockets listen, and pass connections to others through their inboxes."""
        member.serves = True
        self.tell_inboxes(member, inboxes)
        member.channel.send(Serve())

    def tell_inboxes(self, member: Member, inboxes: dict[int, int]) -> None:
        """Give a worker the descriptors of these slots' inboxes, unless it is still starting.

        A worker that starts waits for Serve alone, and ends at any other message. It gets all inboxes with `serve`.
        """
        slots = list(inboxes)
        while member.serves and slots:
            some, slots = slots[:FDS_AT_ONCE], slots[FDS_AT_ONCE:]
            member.channel.send(Inboxes(tuple(some)), [inboxes[slot] for slot in some])

    def leave(self, member: Member, why: LeaveReason) -> None:
        """Tell a worker to leave. One that is still starting ends at once."""
        if member.serves and member.channel.send(Leave(why)):
            return
        if member.pid:
            self._processes.terminate(member.pid)  # also understood by one whose channel is lost
        else:
            member.unwanted = True

    def born(self, member: Member, pid: int) -> None:
        """Record that the worker's template has forked it."""
        member.pid = pid
        if member.unwanted:
            self._processes.terminate(pid)

    def newly_deaf(self) -> list[Member]:
        """The workers whose channel this health check finds lost for the second time.

        At the first time a worker may just be ending, which its exit will tell.
        """
        lost = [member for member in self._members.values() if member.channel.lost]
        for member in lost:
            member.deaf_looks += 1
        return [member for member in lost if member.deaf_looks == 2]

    def dismiss(self, member: Member) -> None:
        """Forget a worker that has ended, and free what was its own."""
        row = self._board.row(member.row)
        logger.debug(
            "%s had begun %d requests; of its connections %d were handed over and %d taken over",
            *(member, row.requests, row.handed_over, row.taken_over),
        )
        del self._members[member.worker]
        member.channel.close()
        self._board.release(member.row)

    def account(self, member: Member, code: int, now: float) -> tuple[int, int]:
        """How many requests a worker that has ended with this code answered and cut since it was told to leave.

        What was in flight in a worker that was killed is cut.
        """
        row = self._board.row(member.row)
        cut = int(row.cut)
        if code not in (ExitCode.CLEAN, ExitCode.DRAIN):
            cut = max(cut, len(row.in_flight(now)) + int(row.websockets))
        return int(row.answered), cut

    def in_flight(self, member: Member, now: float) -> str:
        """The requests and WebSockets that a worker has, or had when it ended, for a log line."""
        row = self._board.row(member.row)
        shown = [f"{request.method} {request.path} ({request.age:.1f} s)" for request in row.in_flight(now)]
        if row.websockets:
            shown.append(f"{row.websockets:.0f} WebSocket{'' if row.websockets == 1 else 's'}")
        return ", in flight: " + ", ".join(shown) if shown else ""

    def memory_saved(self) -> str:
        """What `--preload` saves on average, for a log line."""
        figures = [self._processes.saved_by_fork(member.pid) for member in self._members.values() if member.serves]
        saved, charged = (sum(column) / len(figures) / 2**20 for column in zip(*figures, strict=True))
        return f"preload: on average a worker is charged with {charged:.1f} MiB and saves {saved:.1f} MiB"

    def describe_exit(self, code: int) -> str:
        """Say how a worker ended, for a log line; `code` is its exit code, or minus the signal.

        A SIGKILL is blamed on a lack of memory if the kernel has killed for that since the last one.
        """
        oom_killed = False
        if code == -signal.SIGKILL:
            kills = self._processes.oom_kills()
            oom_killed, self._oom_kills = kills > self._oom_kills, kills
        return describe_exit(code, oom_killed)
