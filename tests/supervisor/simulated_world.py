"""A world for the supervisor's loop in which nothing is real: clock, signals, processes and sockets are simulated.

What goes over a channel is real: messages are encoded and parsed as they are between processes. Time passes only while
the loop waits, and jumps from event to event. While `troubles` is set, workers fail, crash, hang, lie or do not leave,
and calls raise OSError, at random.
"""

import contextlib
import errno
import heapq
import os
import random
import select
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from signal import SIGCHLD, SIGKILL, SIGSEGV, SIGTERM

from corehttp.config import Config
from corehttp.errors import ExitCode, StartupError
from corehttp.ipc import messages
from corehttp.ipc.balance import Load
from corehttp.ipc.codec import dump
from corehttp.ipc.message_stream import Parser, encode
from corehttp.ipc.messages import ALLOWED_OF_CHILD, FROM_CHILD, FromChild, FromSupervisor, LeaveReason
from corehttp.ipc.polling import Flushable
from corehttp.ipc.scoreboard import Scoreboard
from corehttp.log_rotation import RotationRule
from corehttp.sockets.address_choice import AddressRule
from corehttp.sockets.endpoint import Endpoint, endpoints
from corehttp.supervisor.inheritance import Inheritance
from corehttp.supervisor.processes import TEMPLATE, WATCHER

FIRST_FD = 1 << 20  # descriptors that are only numbers: no real one is as high
FIRST_PID = 1 << 23  # above what Linux gives to a process


@dataclass(eq=False)
class Process:
    """A process that is only a number, and what it is about to do."""

    pid: int
    channel: "SimulatedChannel | None"  # None: a new supervisor
    started: float
    is_template: bool = False
    is_watcher: bool = False
    watches_since: int = 0  # nanoseconds since the epoch
    writer: int = -1  # a new supervisor's end of the pipe over which it answers
    generation: int = 0
    row: int = -1
    forks_at: float = 0.0  # when a template has forked all that it was asked for: one worker after the other
    accepts: bool = False
    leads: bool = False
    stubborn: bool = False  # it does not leave when told to
    silent: tuple[float, float] = (0.0, 0.0)  # from when until when its event loop is blocked
    dying: bool = False  # its end is certain and near
    code: int | None = None  # it has ended

    def say(self, message: FromChild) -> None:
        """Send a message to the supervisor, unless the process has ended."""
        if self.code is None and self.channel is not None:
            self.channel.incoming += encode(message)


class SimulatedChannel:
    """Both ends of a channel in one object. The methods are those of the supervisor's end."""

    def __init__(self, world: "SimulatedWorld") -> None:
        self._world = world
        self._fd = world.new_fd()
        self._parser = Parser(FROM_CHILD, ALLOWED_OF_CHILD)
        self.incoming = bytearray()  # from the child
        self.unheard: list[tuple[FromSupervisor, Sequence[int]]] = []  # for a child that does not exist yet
        self.process: Process | None = None
        self.lost: OSError | None = None
        self.congested = False  # whether the child does not read for a while
        self.has_room = False  # whether a congested channel can be flushed

    @property
    def readable(self) -> bool:
        return bool(self.incoming) or self._is_gone

    @property
    def _is_gone(self) -> bool:
        return self.process is not None and self.process.code is not None

    def fileno(self) -> int:
        return self._fd

    def send(self, message: FromSupervisor, fds: Sequence[int] = ()) -> bool:
        assert self._fd >= 0, "something is sent over a closed channel"
        assert len(encode(message)) > 4
        if self._is_gone and self.lost is None:
            self.lost = BrokenPipeError(errno.EPIPE, "gone")
        elif self._world.happens(0.003) and self.lost is None:
            self.lost = OSError(errno.ETOOMANYREFS, "too many")
        if self.lost is not None:
            return False
        self.unheard.append((message, fds))
        if self._world.happens(0.02) and not self.congested:
            self.congested = True
            if self.process is not None and self.process.is_template:
                self._world.late_forks += 1
            self._world.later(self._world.chance.uniform(0, 1), self._make_room)
        self._world.deliver(self)
        return True

    def _make_room(self) -> None:
        self.has_room = True

    def flush(self) -> None:
        assert self.congested, "a channel is flushed that is not congested"
        self.congested = self.has_room = False
        self._world.deliver(self)

    def expect(self, kind: type[FromChild]) -> None:
        self._parser.expect(kind)

    def receive(self) -> tuple[list[FromChild], bool]:
        if self._fd < 0:
            return [], True
        self._parser.feed(bytes(self.incoming))
        self.incoming.clear()
        received: list[FromChild] = []
        while (message := self._parser.take()) is not None:
            received.append(message)
        return received, self._is_gone

    def close(self) -> None:
        """Close the supervisor's end, with which its process ends at once if it still runs."""
        self._fd = -1
        self.lost = self.lost or BrokenPipeError(errno.EPIPE, "closed")
        if self.process is not None:
            self._world.processes.end_soon(self.process, -SIGKILL)


@dataclass
class ChildEnd:
    """The child's end of a channel, as far as the supervisor holds it."""

    fd: int

    def fileno(self) -> int:
        return self.fd

    def close(self) -> None:
        pass


@dataclass
class SimulatedMailbox:
    """The end of a mailbox into which messages are put."""

    fd: int
    messages: list[bytes] = field(default_factory=list)

    def fileno(self) -> int:
        return self.fd

    def put(self, message: bytes) -> bool:
        self.messages.append(message)
        return True

    def close(self) -> None:
        self.fd = -1


class SimulatedLeftovers:
    """What a worker has left running: nothing, unless `running` is set; `done` is what was done to it."""

    def __init__(self, *, running: bool = False) -> None:
        self.running = running
        self.done: list[str] = []

    def __bool__(self) -> bool:
        return self.running

    def terminate(self) -> None:
        self.done.append("terminate")

    def kill(self) -> None:
        self.done.append("kill")

    def close(self) -> None:
        self.done.append("close")


class SimulatedRotation:
    """Implements `world.LogRotation`; the files are too large when the test says so."""

    def __init__(self, rule: RotationRule) -> None:
        self.rule = rule
        self.too_large = False
        self.looks = 0

    def look(self) -> bool:
        self.looks += 1
        found, self.too_large = self.too_large, False
        return found


class SimulatedProcesses:
    """Implements `world.Processes`, and has the processes live."""

    def __init__(self, world: "SimulatedWorld") -> None:
        self._world = world
        self._last = FIRST_PID
        self.all: dict[int, Process] = {}  # those that were not reaped
        self.on_reap: Callable[[int], object] = lambda pid: None
        self._pairs: dict[int, SimulatedChannel] = {}  # by the descriptor of the child's end

    @property
    def alive(self) -> list[Process]:
        return [process for process in self.all.values() if process.code is None]

    def spawn(self, module: str, title: str) -> tuple[int, SimulatedChannel]:
        self._world.fail_at_times(0.02)
        channel = SimulatedChannel(self._world)
        process = self._begin(channel, is_template=module == TEMPLATE)
        process.is_watcher = module == WATCHER
        return process.pid, channel

    def pair(self) -> tuple[SimulatedChannel, ChildEnd]:
        self._world.fail_at_times(0.01)
        channel, end = SimulatedChannel(self._world), ChildEnd(self._world.new_fd())
        self._pairs[end.fd] = channel
        return channel, end

    def mailbox(self) -> tuple[ChildEnd, "SimulatedMailbox"]:
        self._world.fail_at_times(0.01)
        return ChildEnd(self._world.new_fd()), SimulatedMailbox(self._world.new_fd())

    def start(self, argv: list[str], environment: dict[str, str], fds: Iterable[int]) -> int:
        """Start a new supervisor, which answers over the last of these descriptors in one way or another."""
        self._world.fail_at_times(0.1)
        successor = self._begin(None)
        successor.writer = os.dup(list(fds)[-1])
        answer = self._world.chance.choice([b"+", b"+", b"-", b"?", b"", None])
        if answer is not None:
            self._world.later(self._world.chance.uniform(0.5, 5), lambda: self._answer(successor, answer))
        return successor.pid

    def kill(self, pid: int) -> None:
        self.end_soon(self.all[pid], -SIGKILL)

    def finish(self, pid: int) -> None:
        self.kill(pid)

    def terminate(self, pid: int) -> None:
        process = self.all[pid]
        if process.channel is None or not process.accepts:
            self.end_soon(process, -SIGTERM)
        elif not self._is_deaf(process):
            self._leave(process, 0.0)

    def dump(self, pid: int) -> None:
        assert self.all[pid].code is None

    def tell_stacks(self, pid: int) -> None:
        assert self.all[pid].code is None

    def reap(self, pids: Iterable[int], *, orphans: bool) -> list[tuple[int, int]]:
        ended = [self.all[pid] for pid in pids if self.all[pid].code is not None]
        for process in ended:
            self.on_reap(process.pid)
            del self.all[process.pid]
        if orphans:
            for pid in [pid for pid, process in self.all.items() if process.code is not None and pid not in pids]:
                del self.all[pid]
        return [(process.pid, process.code) for process in ended if process.code is not None]

    def adopt_orphans(self, wanted: bool) -> None:
        self._world.fail_at_times(0.01)

    def is_child(self, pid: int) -> bool:
        return pid in self.all

    def is_stopped(self, pid: int) -> bool:
        return False

    def oom_kills(self) -> int:
        return 0

    def saved_by_fork(self, pid: int) -> tuple[int, int]:
        assert pid in self.all
        return 1 << 20, 1 << 21

    def end_soon(self, process: Process, code: int) -> None:
        """End a process within some milliseconds, unless it has ended."""
        if process.code is None:
            process.dying = True
            self._world.later(self._world.chance.uniform(0, 0.01), lambda: self._end(process, code))

    def hear(self, process: Process, message: FromSupervisor, fds: Sequence[int]) -> None:
        """Do what a message asks a process for."""
        match message:
            case messages.Boot(config=config, seat=seat):
                backlog = config["backlog"]
                assert isinstance(backlog, int)
                process.generation = backlog  # see `test_simulation.Life.read`
                process.row = -1 if seat is None else seat.row
                if seat is not None and seat.mailboxes:
                    assert len(fds) == len(seat.endpoints) + 2 + seat.mailboxes
                    assert len(set(fds[-seat.mailboxes :])) == seat.mailboxes, "a mailbox is handed out twice"
                if process.is_watcher:
                    self._watch(process)
                elif process.is_template:
                    self._load(process)
                else:
                    self._boot(process)
            case messages.Serve():
                process.accepts = True
            case messages.Leave(reason) if not self._is_deaf(process):
                self._leave(process, self._world.shutdown_delay if reason is LeaveReason.STOP else 0.0)
            case messages.Lead():
                others = [other for other in self.alive if other.leads and other.code is None]
                assert not others, "two workers lead at once"
                assert process.code is not None or process.channel is not None
                process.leads = True
            case messages.StepDown() if not self._is_deaf(process):
                self._world.later(self._world.chance.choice([0.0, 0.0, 2.0]), lambda: self._step_down(process))
            case messages.WatchSince(moment):
                process.watches_since = moment
            case messages.Fork():
                channel = self._pairs.pop(fds[0])
                process.forks_at = max(process.forks_at, self._world.time) + self._world.chance.uniform(0.01, 0.1)
                self._world.later(process.forks_at - self._world.time, lambda: self._fork(process, channel))
            case _:
                pass

    def _step_down(self, worker: Process) -> None:
        worker.leads = False
        worker.say(messages.SteppedDown())

    def _is_deaf(self, process: Process) -> bool:
        start, end = process.silent
        return process.stubborn or start <= self._world.time < end

    def _begin(self, channel: SimulatedChannel | None, *, is_template: bool = False) -> Process:
        self._last += 1
        process = Process(self._last, channel, self._world.time, is_template)
        self.all[process.pid] = process
        if channel is not None:
            channel.process = process
            self._world.deliver(channel)
        return process

    def _end(self, process: Process, code: int) -> None:
        if process.code is None:
            process.code, process.accepts = code, False
            self._world.pending.append(SIGCHLD)
            if process.writer >= 0:
                os.close(process.writer)

    def _answer(self, successor: Process, answer: bytes) -> None:
        if successor.code is not None:
            return
        os.write(successor.writer, answer)
        if answer not in (b"+", b"-"):
            self._end(successor, 1)
        else:
            os.close(successor.writer)
            successor.writer = -1

    def _boot(self, worker: Process) -> None:
        """Start the application of a worker, with what becomes of it."""
        world, chance = self._world, self._world.chance
        fate = chance.random() if world.troubles else 0.99
        takes = chance.uniform(0.1, 3)
        if worker.generation in world.broken or fate < 0.05:
            world.later(takes, lambda: worker.say(messages.StartFailed("it fails", "Traceback")))
            world.later(takes, lambda: self._end(worker, ExitCode.STARTUP))
            return
        if fate < 0.07:
            return  # it never becomes ready
        world.later(takes, lambda: worker.say(messages.Ready()))
        if fate < 0.25:
            code = chance.choice([-SIGSEGV, 0])
            world.trouble(takes + chance.expovariate(1 / 20), lambda: self._end(worker, code))
        elif fate < 0.32:
            blocked = world.time + takes + chance.uniform(1, 40)
            worker.silent = (blocked, blocked + chance.choice([4, 9, 1e9]))
        elif fate < 0.40:
            world.later(takes + chance.uniform(1, 40), lambda: worker.say(messages.Retire("old")))
        elif fate < 0.45:
            worker.stubborn = True
        elif fate < 0.48:  # an operator tells it to leave
            world.trouble(takes + chance.uniform(1, 40), lambda: self._leave(worker, 0.0))
        elif fate < 0.53:
            world.trouble(chance.uniform(0, 40), lambda: self._lie(worker))

    def _watch(self, watcher: Process) -> None:
        """Watch files, of which `test_simulation.Life` says when they change, with what becomes of that."""
        chance = self._world.chance
        fate = chance.random() if self._world.troubles else 0.99
        if fate < 0.1:
            self._world.trouble(chance.uniform(0, 60), lambda: self._end(watcher, -SIGKILL))
        elif fate < 0.15:
            self._world.trouble(chance.uniform(0, 60), lambda: self._lie(watcher))

    def _load(self, template: Process) -> None:
        """Load the application into a template, with what becomes of that."""
        world, chance = self._world, self._world.chance
        fate = chance.random() if world.troubles else 0.99
        takes = chance.uniform(0.1, 3)
        if template.generation in world.broken or fate < 0.05:
            world.later(takes, lambda: template.say(messages.StartFailed("it cannot be loaded", "Traceback")))
            world.later(takes, lambda: self._end(template, ExitCode.STARTUP))
        elif fate > 0.07:
            world.later(takes, lambda: template.say(messages.Ready()))
            if fate < 0.15:
                world.trouble(chance.uniform(3, 60), lambda: self._end(template, -SIGSEGV))
            elif fate < 0.2:
                world.trouble(chance.uniform(0, 60), lambda: self._lie(template))

    def _fork(self, template: Process, channel: SimulatedChannel) -> None:
        """Fork a worker, which is the supervisor's child before the template tells so."""
        if template.code is not None or channel.fileno() < 0:
            return
        if self._world.happens(0.03):
            template.say(messages.NotForked("no room"))
            return
        worker = self._begin(channel)
        worker.generation = template.generation
        lie = self._world.happens(0.01)
        pid = self._world.chance.choice([1 << 22, template.pid]) if lie else worker.pid
        template.say(messages.Forked(pid))
        if self._world.happens(0.03):
            self._end(worker, -SIGKILL)

    def _lie(self, process: Process) -> None:
        """Send bytes that are no message, or a message that nobody has asked for."""
        if process.code is not None or process.channel is None:
            return
        chance = self._world.chance
        unknown = dump(("?",))
        garbage = [
            chance.randbytes(chance.randint(5, 40)),
            encode(messages.Forked(process.pid)),
            len(unknown).to_bytes(4, "big") + unknown,
        ]
        process.channel.incoming += chance.choice(garbage)

    def _leave(self, worker: Process, delay: float) -> None:
        """Leave as a worker does: it stops to accept, drains, and ends."""
        world, chance = self._world, self._world.chance
        if worker.code is not None or not worker.accepts:
            return

        def stop_accepting() -> None:
            worker.accepts = False
            worker.say(messages.Closed())

        drained = delay + chance.uniform(0.1, 5)
        world.later(delay + chance.uniform(0, 0.1), stop_accepting)
        world.later(drained, lambda: worker.say(messages.Drained()))
        code = chance.choice([ExitCode.CLEAN, ExitCode.CLEAN, ExitCode.DRAIN])
        world.later(delay + chance.uniform(5, 6), lambda: self._end(worker, code))


@dataclass
class SimulatedSlots:
    """Implements `world.SlotSockets`."""

    world: "SimulatedWorld"
    size: int
    urls: str = "http://simulated"
    shared: bool = False
    lent: bool = False
    closed: bool = False
    opened: dict[int, int] = field(default_factory=dict)  # for each open slot the descriptor of its inbox
    served: dict[int, Endpoint] = field(default_factory=lambda: dict(enumerate(endpoints(Config()))))
    rule: AddressRule | None = None  # the last one that was given

    def __post_init__(self) -> None:
        self.opened = {slot: self.world.new_fd() for slot in range(self.size)}

    def lend(self, lent: bool) -> None:
        self.lent = lent

    def let_in(self) -> None:
        pass

    def bequeath(self, ready: int, address: tuple[object, ...]) -> Inheritance:
        return Inheritance((), parting=True, inherited=False, order=(), ready=ready, address=address)

    def fds(self, slot: int) -> list[int]:
        assert slot in self.opened, "a worker gets the sockets of a closed slot"
        return [FIRST_FD]

    def endpoints(self, slot: int) -> tuple[int, ...]:
        return (0,)

    def inbox(self, slot: int) -> int:
        return self.opened[slot]

    def inboxes(self) -> dict[int, int]:
        return dict(self.opened)

    def listeners(self) -> list[tuple[str, int]]:
        return [(self.urls, 0)]

    def is_cut_off(self, slot: int) -> bool:
        return self.world.happens(0.02)

    def renew_inbox(self, slot: int) -> None:
        self.world.fail_at_times(0.1)
        self.opened[slot] = self.world.new_fd()

    def waiting(self, slot: int) -> int:
        return self.world.chance.choice([0, 3])

    def listen(self, slot: int, backlog: int) -> None:
        assert slot in self.opened, "a closed slot listens"
        if self.world.happens(0.01):
            raise StartupError("somebody else has the port")

    def open(self, slot: int) -> None:
        if self.world.happens(0.05):
            raise StartupError("no room")
        self.opened[slot] = self.world.new_fd()

    def close(self, slot: int) -> None:
        self.opened.pop(slot, None)
        self.world.fail_at_times(0.01)

    def close_all(self) -> None:
        self.opened.clear()
        self.closed = True

    def add_endpoint(self, endpoint: Endpoint) -> int:
        if self.world.happens(0.05):
            raise StartupError("somebody else has the port")
        number = max(self.served) + 1
        self.served[number] = endpoint
        return number

    def arrange(self, numbers: Sequence[int]) -> None:
        assert set(numbers) <= set(self.served)

    def describe(self, said: Mapping[int, Endpoint]) -> None:
        assert set(said) <= set(self.served)
        self.served.update(said)

    def refuse_endpoint(self, number: int) -> None:
        assert number in self.served

    def close_endpoint(self, number: int) -> None:
        del self.served[number]

    def steer(self, away: frozenset[int]) -> bool:
        self.world.fail_at_times(0.01)
        return True

    def tie(self, rule: AddressRule | None) -> None:
        assert rule is None or rule.endpoints <= set(self.served)
        self.rule = rule

    def refuse_new(self) -> None:
        self.world.fail_at_times(0.01)


@dataclass
class SimulatedRescuer:
    """Implements `world.Rescuer`."""

    world: "SimulatedWorld"
    loads: Callable[[], list[Load]]
    keep_alive: Callable[[], float]
    paused: bool = False
    closed: bool = False

    def rescue(self, wanted: frozenset[int]) -> None:
        self.world.fail_at_times(0.01)
        assert {load.slot for load in self.loads()}.isdisjoint(wanted), "what a worker can take in is given to others"
        assert self.keep_alive() > 0
        self.paused = bool(wanted) and self.world.happens(0.2)

    def finish(self, slot: int) -> None:
        self.world.fail_at_times(0.01)

    def look_again(self) -> None:
        self.paused = self.world.happens(0.2)

    def close(self) -> None:
        self.closed = True


class SimulatedWorld:
    """Implements `world.World`. `before_wait` is called whenever the loop waits."""

    pid = FIRST_PID
    parent = FIRST_PID - 1

    def __init__(self, chance: random.Random, size: int, shutdown_delay: float) -> None:
        self.chance = chance
        self.time = 0.0
        self.troubles = True
        self.shutdown_delay = shutdown_delay
        self.broken: set[int] = set()  # generations that cannot start
        self.pending: list[int] = []  # signals
        self.held_up = 0.0  # seconds so far
        self.hold_ups = 0
        self.late_forks = 0  # how often a template has not read for up to a second what it was asked for
        self.ended_leftovers = False
        self.leftovers: dict[int, SimulatedLeftovers] = {}  # by the pid of the worker that has left them
        self.board: Scoreboard | None = None
        self.before_wait: Callable[[], object] = lambda: None
        self._fds = FIRST_FD
        self._agenda: list[tuple[float, int, bool, Callable[[], object]]] = []  # with whether it is trouble
        self._order = 0
        self._watched: dict[int, tuple[SimulatedChannel | None, Callable[[], object]]] = {}
        self.processes = SimulatedProcesses(self)
        self.slots = SimulatedSlots(self, size)

    def now(self) -> float:
        return self.time

    def wall_clock(self) -> float:
        return 1e9 + self.time

    def jitter(self) -> float:
        return self.chance.random()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        yield

    def signals(self) -> list[int]:
        pending, self.pending = self.pending, []
        return pending

    def watch(self, fd: int, on_readable: Callable[[], object]) -> None:
        self._watched[fd] = (None, on_readable)

    def watch_channel(self, channel: Flushable, on_readable: Callable[[], object]) -> None:
        assert isinstance(channel, SimulatedChannel)
        self._watched[channel.fileno()] = (channel, on_readable)

    def forget(self, fd: int) -> None:
        self._watched.pop(fd, None)

    def wait(self, seconds: float | None) -> list[tuple[int, Callable[[], object]]]:
        self.before_wait()
        deadline = float("inf") if seconds is None else self.time + seconds
        while not (due := self._ready()) and not self.pending and self.time < deadline:
            upcoming = self._agenda[0][0] if self._agenda else float("inf")
            assert min(upcoming, deadline) < float("inf"), "the loop waits for nothing"
            self.time = max(self.time, min(upcoming, deadline))
            while self._agenda and self._agenda[0][0] <= self.time:
                heapq.heappop(self._agenda)[3]()
        self._beat()
        return due

    def end_leftovers(self, ours: Collection[int]) -> None:
        self.ended_leftovers = True

    def left_by(self, worker: int, ours: Collection[int]) -> "SimulatedLeftovers":
        return self.leftovers.pop(worker, SimulatedLeftovers())

    def rotation(self, rule: RotationRule) -> "SimulatedRotation":
        return SimulatedRotation(rule)

    def rescuer(self, loads: Callable[[], list[Load]], keep_alive: Callable[[], float]) -> SimulatedRescuer:
        return SimulatedRescuer(self, loads, keep_alive)

    # What the simulation itself uses.

    def new_fd(self) -> int:
        self._fds += 1
        return self._fds

    def happens(self, probability: float) -> bool:
        """Whether a trouble of this probability happens now."""
        return self.troubles and self.chance.random() < probability

    def fail_at_times(self, probability: float) -> None:
        if self.happens(probability):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def later(self, seconds: float, act: Callable[[], object], *, is_trouble: bool = False) -> None:
        self._order += 1
        heapq.heappush(self._agenda, (self.time + seconds, self._order, is_trouble, act))

    def trouble(self, seconds: float, act: Callable[[], object]) -> None:
        """Do something later, unless it is calm by then."""
        self.later(seconds, act, is_trouble=True)

    def deliver(self, channel: SimulatedChannel) -> None:
        """Hand what the supervisor has sent to a process that exists and reads; after its end it hears nothing."""
        process = channel.process
        if process is not None and not channel.congested:
            heard, channel.unheard = channel.unheard, []
            for message, fds in heard if process.code is None else ():
                self.processes.hear(process, message, fds)

    def hold_up(self, seconds: float) -> None:
        """Let nothing run for so many seconds, the supervisor included: what was to happen meanwhile happens later."""
        self.time += seconds
        self.held_up += seconds
        self.hold_ups += 1
        self._agenda = [(at + seconds, order, trouble, act) for at, order, trouble, act in self._agenda]
        for process in self.processes.alive:
            if process.silent[1]:
                process.silent = (process.silent[0] + seconds, process.silent[1] + seconds)
            process.started += seconds
            process.forks_at += seconds

    def calm_down(self) -> None:
        """Let nothing go wrong any more."""
        self.troubles = False
        self.broken.clear()
        self._agenda = [entry for entry in self._agenda if not entry[2]]
        heapq.heapify(self._agenda)

    def _ready(self) -> list[tuple[int, Callable[[], object]]]:
        channels = [(fd, channel) for fd, (channel, _) in self._watched.items() if channel is not None]
        writable = [(fd, channel.flush) for fd, channel in channels if channel.has_room]
        return writable + [(fd, act) for fd, (channel, act) in self._watched.items() if _is_readable(fd, channel)]

    def _beat(self) -> None:
        """Have the event loop of every worker run, unless it is blocked."""
        for process in self.processes.all.values():
            start, end = process.silent
            if self.board is not None and process.row >= 0 and process.code is None and not start <= self.time < end:
                self.board.row(process.row).beat = self.time


def _is_readable(fd: int, channel: SimulatedChannel | None) -> bool:
    if channel is not None:
        return channel.readable
    poll = select.poll()  # the pipe over which a new supervisor answers is a real one
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
