"""The worker processes: what the supervisor knows of each, how it talks to them, and what it says about them."""

import logging
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

from corehttp.errors import ExitCode
from corehttp.ipc import messages
from corehttp.ipc.channel import FDS_AT_ONCE, Channel
from corehttp.ipc.messages import LeaveReason
from corehttp.ipc.scoreboard import Scoreboard
from corehttp.supervisor import processes

logger = logging.getLogger("corehttp.supervisor")


@dataclass(slots=True)
class Member:
    """One worker process."""

    worker: int
    slot: int
    generation: int
    pid: int  # 0: its template has not forked it yet
    channel: Channel
    row: int  # of the scoreboard
    serves: bool = False  # it has been told to accept
    last_words: str = ""  # why it could not start, or was ended
    unwanted: bool = False  # it is to end as soon as it is forked
    deaf_looks: int = 0  # so often it was seen that nothing more can be said to it

    def __str__(self) -> str:
        return f"worker {self.slot + 1} (pid {self.pid})" if self.pid else f"worker {self.slot + 1}"


class Crew:
    """All of them, by their number in the fleet."""

    def __init__(self, board: Scoreboard) -> None:
        self._board = board
        self._members: dict[int, Member] = {}
        self._oom_kills = processes.oom_kills()

    def __iter__(self) -> Iterator[Member]:
        return iter(tuple(self._members.values()))

    def __getitem__(self, worker: int) -> Member:
        return self._members[worker]

    def by_pid(self) -> dict[int, Member]:
        return {member.pid: member for member in self._members.values() if member.pid}

    def unborn(self, generation: int | None = None) -> list[Member]:
        """Those that their template has not forked yet, of one generation or of all; the first one first."""
        return [m for m in self._members.values() if not m.pid and generation in (None, m.generation)]

    def join(self, member: Member, boot: dict[str, object], fds: list[int]) -> OSError | None:
        """A process was started: tell it what to serve. With the message go descriptors (see `worker_process.run`).

        Answers why it cannot be told, unless it has ended already: then it says so itself. It is to end then.
        """
        self._members[member.worker] = member
        boot = {**boot, "version": messages.VERSION, "slot": member.slot, "row": member.row}
        member.channel.send(messages.BOOT, boot, fds=fds)
        error = member.channel.lost
        if error is None or isinstance(error, ConnectionError):
            return None
        if member.pid:
            processes.kill(member.pid)
        member.unwanted = True
        return error

    def serve(self, member: Member, inboxes: dict[int, int]) -> None:
        """Its sockets listen: let it accept, and pass connections to others."""
        member.serves = True
        self.tell_inboxes(member, inboxes)
        member.channel.send(messages.SERVE)

    def tell_inboxes(self, member: Member, inboxes: dict[int, int]) -> None:
        """Give it the way to the others, unless it is still starting: then whatever it gets would end it."""
        slots = list(inboxes)
        while member.serves and slots:
            some, slots = slots[:FDS_AT_ONCE], slots[FDS_AT_ONCE:]
            member.channel.send(messages.INBOXES, tuple(some), fds=[inboxes[slot] for slot in some])

    def leave(self, member: Member, why: LeaveReason) -> None:
        """Tell it to leave; one that is still starting ends at once."""
        if member.serves and member.channel.send(messages.LEAVE, why.value):
            return
        if member.pid:
            processes.terminate(member.pid)  # which is a way to tell one that hears nothing, too
        else:
            member.unwanted = True

    def born(self, member: Member, pid: int) -> None:
        """Its template has forked it."""
        member.pid = pid
        if member.unwanted:
            processes.terminate(pid)

    def newly_deaf(self) -> list[Member]:
        """Workers to which nothing can be said any more, two looks in a row: then it is not because they end."""
        lost = [member for member in self._members.values() if member.channel.lost]
        for member in lost:
            member.deaf_looks += 1
        return [member for member in lost if member.deaf_looks == 2]

    def dismiss(self, member: Member) -> None:
        """It has ended."""
        row = self._board.row(member.row)
        logger.debug(
            "%s had begun %d requests; of its connections %d were handed over and %d taken over",
            *(member, row.requests, row.handed_over, row.taken_over),
        )
        del self._members[member.worker]
        member.channel.close()
        self._board.release(member.row)

    def account(self, member: Member, code: int) -> tuple[int, int]:
        """How many requests a worker that has ended with this code answered and cut since it was told to leave.

        What was in flight in one that was killed is cut.
        """
        row = self._board.row(member.row)
        cut = int(row.cut)
        if code not in (ExitCode.CLEAN, ExitCode.DRAIN):
            cut = max(cut, len(row.in_flight(time.monotonic())) + int(row.websockets))
        return int(row.answered), cut

    def in_flight(self, member: Member, now: float) -> str:
        """The requests and WebSockets that it has, or had when it ended, for a log line."""
        row = self._board.row(member.row)
        shown = [f"{request.method} {request.path} ({request.age:.1f} s)" for request in row.in_flight(now)]
        if row.websockets:
            shown.append(f"{row.websockets:.0f} WebSocket{'' if row.websockets == 1 else 's'}")
        return ", in flight: " + ", ".join(shown) if shown else ""

    def memory_saved(self) -> str:
        """What preloading saves, for a log line."""
        figures = [processes.saved_by_fork(member.pid) for member in self._members.values() if member.serves]
        saved, charged = (sum(column) / len(figures) / 2**20 for column in zip(*figures, strict=True))
        return f"preload: on average a worker is charged with {charged:.1f} MiB and saves {saved:.1f} MiB"

    def describe_exit(self, code: int) -> str:
        """How one ended, in words."""
        oom = False
        if code == -signal.SIGKILL:
            now = processes.oom_kills()
            oom, self._oom_kills = now > self._oom_kills, now
        return processes.describe_exit(code, oom)

    def kill_all(self) -> None:
        for pid in self.by_pid():
            processes.kill(pid)
