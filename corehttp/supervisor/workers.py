"""The worker processes: what the supervisor knows of each one, and how it talks to them."""

import errno
import logging
import signal
from collections.abc import Iterator, Sequence

from corehttp.errors import ExitCode
from corehttp.ipc.channel import FDS_AT_ONCE
from corehttp.ipc.messages import Boot, FromSupervisor, Inboxes, Lead, Leave, LeaveReason, Serve, StepDown, SteppedDown
from corehttp.ipc.scoreboard import Scoreboard
from corehttp.records import mutable_record
from corehttp.supervisor.world import ChildChannel, MailboxWriter, Processes
from corehttp.text import counted

logger = logging.getLogger("corehttp.supervisor")


@mutable_record
class Member:
    """What the supervisor needs to talk to one worker process and to end it."""

    worker: int  # its number in the fleet
    slot: int
    generation: int
    pid: int  # 0: its template has not forked it yet
    channel: ChildChannel
    row: int  # its row of the scoreboard
    mailbox: MailboxWriter | None = None  # where messages are put for it
    serves: bool = False  # whether it has been told to accept connections
    last_words: str = ""  # why it could not start, or why it was killed, as was logged; empty if nothing was
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
        """Iterate over a copy, so that a worker may be removed meanwhile."""
        return iter(tuple(self._members.values()))

    def __getitem__(self, worker: int) -> Member:
        return self._members[worker]

    def mailboxes(self, most: int) -> list[int]:
        """Return the descriptors through which messages are put for the workers that there are, `most` of them."""
        found = [member.mailbox.fileno() for member in self._members.values() if member.mailbox is not None]
        return found[-most:]

    def publish(self, frame: bytes) -> tuple[int, int]:
        """Put a message into the mailboxes of all workers that have begun to serve.

        Returns how many had room for it, and how many they are.
        """
        boxes = [member.mailbox for member in self._members.values() if member.serves and member.mailbox is not None]
        return sum(box.put(frame) for box in boxes), len(boxes)

    def unforked(self, generation: int | None = None) -> list[Member]:
        """Return the workers that their template was asked to fork and has not forked yet, in the order of asking.

        Those of one generation, or of all.
        """
        return [m for m in self._members.values() if not m.pid and generation in (None, m.generation)]

    def join(self, member: Member, boot: Boot, fds: list[int]) -> OSError | None:
        """Add a worker whose process was started, and tell it what to serve.

        `fds` are the descriptors that go with the boot message (see `worker.process.run`). Returns why the worker
        cannot be told, and ends it then; None if it was told, or has ended already, since its own end says why.
        """
        self._members[member.worker] = member
        error: OSError | None
        try:
            member.channel.send(boot, fds)
            error = member.channel.lost
        except ValueError as too_large:  # the configuration or the import path is beyond all measure
            error = OSError(errno.EMSGSIZE, str(too_large))
        if error is None or isinstance(error, ConnectionError):
            return None
        if member.pid:
            self._processes.kill(member.pid)
        member.unwanted = True
        return error

    def serve(self, member: Member, inboxes: dict[int, int]) -> None:
        """Let a worker accept, now that its sockets listen, and pass connections to others through their inboxes.

        Others pass it connections from now on, however long it takes until it runs. So no slot is without a worker for
        them when the worker before this one is told to leave, which has to be done after this.
        """
        member.serves = True
        self._board.row(member.row).told = 1
        self.tell_inboxes(member, inboxes)
        _tell(member, Serve())

    def tell_inboxes(self, member: Member, inboxes: dict[int, int]) -> None:
        """Give a worker the descriptors of these slots' inboxes, unless it is still starting.

        A worker that starts waits for Serve alone, and ends at any other message. It gets all inboxes with `serve`.
        """
        slots = list(inboxes)
        while member.serves and slots:
            some, slots = slots[:FDS_AT_ONCE], slots[FDS_AT_ONCE:]
            _tell(member, Inboxes(tuple(some)), [inboxes[slot] for slot in some])

    def leave(self, member: Member, why: LeaveReason) -> None:
        """Tell a worker to leave. One that is still starting ends at once."""
        if member.serves and _tell(member, Leave(why)):
            return
        if member.pid:
            self._processes.terminate(member.pid)  # also understood by one whose channel is lost
        else:
            member.unwanted = True

    def appoint(self, member: Member) -> None:
        """Tell a worker that it leads."""
        _tell(member, Lead())
        logger.debug("%s leads", member)

    def depose(self, member: Member) -> None:
        """Tell a worker that leads to step down."""
        member.channel.expect(SteppedDown)
        _tell(member, StepDown())

    def forked(self, member: Member, pid: int) -> None:
        """Record that the worker's template has forked it."""
        member.pid = pid
        if member.unwanted:
            self._processes.terminate(pid)

    def newly_deaf(self) -> list[Member]:
        """Count a health check, and return the workers whose channel it finds lost for the second time.

        At the first time a worker may just be ending, which its exit will tell.
        """
        lost = [member for member in self._members.values() if member.channel.lost]
        for member in lost:
            member.deaf_looks += 1
        return [member for member in lost if member.deaf_looks == 2]

    def dismiss(self, member: Member) -> None:
        """Forget a worker that has ended, close its channel and free its row of the scoreboard."""
        row = self._board.row(member.row)
        logger.debug(
            "%s had begun %d requests; of its connections %d were handed over and %d taken over",
            member,
            row.requests,
            row.handed_over,
            row.taken_over,
        )
        del self._members[member.worker]
        member.channel.close()
        if member.mailbox is not None:
            member.mailbox.close()
        self._board.release(member.row)

    def account(self, member: Member, code: int, now: float) -> tuple[int, int]:
        """Return how many requests a worker has answered and how many it has cut since it was told to leave.

        `code` is its exit code. What was in flight in a worker that has not ended by itself counts as cut.
        """
        row = self._board.row(member.row)
        cut = int(row.cut)
        if code not in (ExitCode.CLEAN, ExitCode.DRAIN):
            cut = max(cut, len(row.in_flight(now)) + int(row.websockets))
        return int(row.answered), cut

    def in_flight(self, member: Member, now: float) -> str:
        """Return the requests and WebSockets that a worker has, or had when it ended, as a part of a log line."""
        row = self._board.row(member.row)
        shown = [f"{request.method} {request.path} ({request.age:.1f} s)" for request in row.in_flight(now)]
        if row.websockets:
            shown.append(counted(int(row.websockets), "WebSocket"))
        return ", in flight: " + ", ".join(shown) if shown else ""

    def memory_saved(self) -> str:
        """Return what `--preload` saves on average, as a log line."""
        figures = [self._processes.saved_by_fork(member.pid) for member in self._members.values() if member.serves]
        saved, charged = (sum(column) / len(figures) / 2**20 for column in zip(*figures, strict=True))
        return f"preload: on average a worker is charged with {charged:.1f} MiB and saves {saved:.1f} MiB"

    def ran_out_of_memory(self, code: int) -> bool:
        """Whether a lack of memory is to blame for the end of a worker; `code` is its exit code, or minus the signal.

        It is for a SIGKILL, if the kernel has killed for that since the last one. To be asked once for each end.
        """
        if code != -signal.SIGKILL:
            return False
        kills = self._processes.oom_kills()
        before, self._oom_kills = self._oom_kills, kills
        return kills > before


def _tell(member: Member, message: FromSupervisor, fds: Sequence[int] = ()) -> bool:
    """Send a worker a message, unless its channel is lost, or closed since the worker was killed; returns whether."""
    return member.channel.lost is None and member.channel.send(message, fds)
