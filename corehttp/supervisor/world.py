"""What the supervisor needs of the operating system, as contracts. `operating_system` has the real implementation."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from corehttp.ipc.balance import Load
from corehttp.ipc.messages import FromChild, FromSupervisor
from corehttp.ipc.polling import DescriptorPoller, Flushable
from corehttp.log_rotation import RotationRule
from corehttp.sockets.endpoint import Endpoint
from corehttp.supervisor.inheritance import Inheritance

if TYPE_CHECKING:
    from corehttp.sockets.address_choice import AddressRule


class ChildChannel(Flushable, Protocol):
    """The supervisor's end of the channel to a child process. No call waits."""

    @property
    def lost(self) -> OSError | None:
        """Why nothing can be sent any more: the child is gone, or does not read. None while something can be sent."""

    @property
    def congested(self) -> bool:
        """Whether messages wait to be sent: `flush` is to be called when the descriptor can be written."""

    def fileno(self) -> int:
        """The number of the descriptor; -1 once the channel is closed."""

    def send(self, message: FromSupervisor, fds: Sequence[int] = ()) -> bool:
        """Send a message, with copies of these descriptors, now or by a later `flush`.

        Returns False if the channel is lost. Raises ValueError for a message that is too large.
        """

    def flush(self) -> object:
        """Send what waits, as far as the child takes it."""

    def expect(self, kind: type[FromChild]) -> None:
        """Allow the child one more message of a kind."""

    def receive(self) -> tuple[list[FromChild], bool]:
        """Return the messages that have come in, and whether the child's end is closed.

        Raises GarbledError if the child has sent something else.
        """

    def close(self) -> None:
        """Close this end. A second call does nothing."""


class UndeliveredEnd(Protocol):
    """The child's end of a channel, while it is still in the hands of the supervisor."""

    def fileno(self) -> int:
        """The number of the descriptor."""

    def close(self) -> None:
        """Close the supervisor's copy of the child's end."""


class MailboxWriter(Protocol):
    """The end of a worker's mailbox into which messages are put."""

    def fileno(self) -> int:
        """The number of the descriptor."""

    def put(self, message: bytes) -> bool:
        """Put a message in. Does not wait. Returns False if there is no room, or the worker is gone."""

    def close(self) -> None:
        """Close this end. A second call does nothing."""


class SlotSockets(Protocol):
    """The listening sockets and the inbox of each slot, by the slot's number. They outlive the workers."""

    @property
    def urls(self) -> str:
        """Where clients find the service, for a log line."""

    @property
    def shared(self) -> bool:
        """Whether all slots have the same listening sockets."""

    def lend(self, lent: bool) -> None:
        """Record whether another supervisor has the sockets too. While it has, they are closed but never shut down."""

    def let_in(self) -> None:
        """Remove what a former owner of the sockets may have attached to them to keep clients out."""

    def bequeath(self, ready: int, address: tuple[object, ...]) -> Inheritance:
        """Return what another supervisor needs to adopt all open slots.

        `ready` is the descriptor over which it reports that it has; `address` is what the options say of the address.
        """

    def fds(self, slot: int) -> list[int]:
        """The descriptors of the slot's listening sockets."""

    def endpoints(self, slot: int) -> tuple[int, ...]:
        """For each of the slot's listening sockets the number of its endpoint, in the order of `fds`."""

    def inbox(self, slot: int) -> int:
        """The descriptor from which the slot's worker takes connections that others pass to it."""

    def inboxes(self) -> dict[int, int]:
        """For each open slot the descriptor through which its worker is passed connections."""

    def listeners(self) -> list[tuple[str, int]]:
        """Return where clients find the service, each with how many connections wait there, as far as is known."""

    def is_cut_off(self, slot: int) -> bool:
        """Whether the slot's inbox was shut down, so that its worker is passed nothing any more."""

    def renew_inbox(self, slot: int) -> None:
        """Give the slot a new inbox. What is in the old one is lost. Raises OSError."""

    def waiting(self, slot: int) -> int:
        """How many connections wait to be accepted on the slot's sockets, as far as the kernel tells."""

    def listen(self, slot: int, backlog: int) -> None:
        """Let clients connect to the slot's sockets. Raises StartupError."""

    def open(self, slot: int) -> None:
        """Bind sockets for a slot that is new or was closed. Raises StartupError."""

    def close(self, slot: int) -> None:
        """Close the slot's sockets for good, and forward what is in its inbox to another slot."""

    @property
    def served(self) -> Mapping[int, Endpoint]:
        """All endpoints that the slots have sockets of, by their numbers."""

    def add_endpoint(self, endpoint: Endpoint) -> int:
        """Bind the sockets of another endpoint for all open slots, and return its number. Raises StartupError."""

    def arrange(self, numbers: Sequence[int]) -> None:
        """Record that the options name the endpoints with these numbers, in this order, and no others."""

    def describe(self, said: Mapping[int, Endpoint]) -> None:
        """Record what the options say of endpoints, by their numbers, that keep their sockets."""

    def refuse_endpoint(self, number: int) -> None:
        """Let no new connection into the accept queues of an endpoint. Those in them can still be accepted."""

    def close_endpoint(self, number: int) -> None:
        """Close the sockets of an endpoint for good; workers that have them stop listening there."""

    def close_all(self) -> None:
        """Close everything, and remove the path of a Unix socket."""

    def steer(self, away: frozenset[int]) -> bool:
        """Keep new connections from the sockets of these slots. Returns whether the kernel does so."""

    def tie(self, rule: "AddressRule | None") -> None:
        """Have the kernel give new connections to the slots that their clients' addresses prefer, as a rule says.

        None: it is to choose as it likes, among those that new connections are not kept from.
        """

    def refuse_new(self) -> None:
        """Let no new connection into the accept queues. What waits in them can still be accepted."""


class Rescuer(Protocol):
    """Gives the connections that wait in slots without a worker to the workers of other slots."""

    @property
    def paused(self) -> bool:
        """Whether nobody has room, so that `look_again` is to be called after a while."""

    def rescue(self, wanted: frozenset[int]) -> None:
        """Give away what waits in these slots from now on, and a last time what waits in the slots of before."""

    def finish(self, slot: int) -> None:
        """Give away what waits in this slot a last time. Its sockets and its inbox may be closed after that."""

    def look_again(self) -> None:
        """Go on after a pause."""

    def close(self) -> None:
        """Stop for good, and close the connections that nobody has taken."""


class LogRotation(Protocol):
    """Rotates log files."""

    def look(self) -> bool:
        """Rotate the files that are too large; returns whether there was one. Raises nothing."""


class Processes(Protocol):
    """Starts, signals and reaps processes. The module `processes` is one.

    A signal to a process that has ended does nothing.
    """

    def spawn(self, module: str, title: str) -> tuple[int, ChildChannel]:
        """Start `main` of a module in a fresh interpreter. Returns its pid and our end of its channel. Raises OSError.

        `title` is what `ps` shows.
        """

    def pair(self) -> tuple[ChildChannel, UndeliveredEnd]:
        """Return both ends of a new channel, for a worker that a template forks. Raises OSError."""

    def mailbox(self) -> tuple[UndeliveredEnd, MailboxWriter]:
        """Return both ends of a new mailbox: the worker's own, and the one for all others. Raises OSError."""

    def start(self, argv: list[str], environment: dict[str, str], fds: Iterable[int]) -> int:
        """Start a program that inherits these descriptors by their numbers, and return its pid. Raises OSError."""

    def kill(self, pid: int) -> None:
        """End the process at once (SIGKILL)."""

    def finish(self, pid: int) -> None:
        """End a child at once (SIGKILL), and reap it."""

    def terminate(self, pid: int) -> None:
        """Ask the process to leave (SIGTERM)."""

    def dump(self, pid: int) -> None:
        """Have a worker write the stacks of its threads to the log (SIGUSR2)."""

    def tell_stacks(self, pid: int) -> None:
        """Have a worker write its stacks into the area of the scoreboard for them (`ipc.stack_area`)."""

    def reap(self, pids: Iterable[int], *, orphans: bool) -> list[tuple[int, int]]:
        """Return those of these processes that have ended, with their exit codes (minus the signal if one ended them).

        `orphans`: reap processes as well that others have left to this one.
        """

    def adopt_orphans(self, wanted: bool) -> None:
        """Become the parent of the processes that children leave behind, or stop to. Raises OSError."""

    def is_child(self, pid: int) -> bool:
        """Whether the process is a child of this one that has not been reaped; it may have ended."""

    def is_stopped(self, pid: int) -> bool:
        """Whether a signal or a debugger has stopped the process."""

    def oom_kills(self) -> int:
        """How many processes of this control group the kernel has killed so far for want of memory."""

    def saved_by_fork(self, pid: int) -> tuple[int, int]:
        """Bytes that a forked process shares with its template, and bytes that it is charged with."""


class Leftovers(Protocol):
    """Processes that the application has left running, and that are to end."""

    def __bool__(self) -> bool:
        """Whether there is one."""

    def terminate(self) -> None:
        """Send SIGTERM to those that have not ended."""

    def kill(self) -> None:
        """Send SIGKILL to those that have not ended."""

    def close(self) -> None:
        """Look after the processes no more; log those that had to be told to end."""


class World(DescriptorPoller, Protocol):
    """Time, chance, signals, descriptors, processes and sockets: everything outside the supervisor's own memory.

    Times are in seconds, monotonic.
    """

    @property
    def pid(self) -> int:
        """The process id of the supervisor."""

    @property
    def parent(self) -> int:
        """The process id of the parent of the supervisor; another one once that has ended."""

    @property
    def processes(self) -> Processes:
        """What starts, signals and reaps processes."""

    @property
    def slots(self) -> SlotSockets:
        """The sockets of all slots."""

    def now(self) -> float:
        """The time now."""

    def wall_clock(self) -> float:
        """The time of the calendar (seconds since the epoch)."""

    def jitter(self) -> float:
        """A random number in [0, 1)."""

    def entered(self) -> AbstractContextManager[None]:
        """Receive signals while the context is entered; a process that the program forks then inherits nothing."""

    def wait(self, seconds: float | None) -> list[tuple[int, Callable[[], object]]]:
        """Wait until a watched descriptor is ready or a signal comes in, for so many seconds at most (None: no limit).

        Returns the descriptors that are ready, each with what is to be called for it.
        """

    def signals(self) -> list[int]:
        """Return the numbers of the signals that have come in since the last call, in their order."""

    def end_leftovers(self, ours: Collection[int]) -> None:
        """End what descends from the workers and is not detached, except these processes. Waits for the end."""

    def left_by(self, worker: int, ours: Collection[int]) -> Leftovers:
        """Return what the worker with this process id has left running, which has ended, except what is detached.

        The processes `ours`, which live, and what descends from them are not among it.
        """

    def rotation(self, rule: RotationRule) -> LogRotation:
        """Return what rotates the log files of a rule."""

    def rescuer(self, loads: Callable[[], list[Load]], keep_alive: Callable[[], float]) -> Rescuer:
        """Return what gives waiting connections to the workers in `loads()`.

        `keep_alive()`: seconds that a connection may be idle.
        """
