"""What the supervisor knows of its workers, slots and templates, and what it is to have. Data only. Pure.

All times are in seconds, monotonic, unless they are durations.
"""

from dataclasses import dataclass, field
from enum import Enum

from corehttp.errors import ExitCode
from corehttp.ipc.messages import LeaveReason


class WorkerPhase(Enum):
    """Where a worker is in its life, which only goes forward."""

    STARTING = "starting"  # its process runs, and its application is not ready yet
    READY = "ready"  # it serves
    DRAINING = "draining"  # it was told to leave, and finishes what is in flight
    CLOSING = "closing"  # nothing is in flight any more, and the lifespan shutdown of its application runs
    KILLED = "killed"  # SIGKILL was sent


class Stop(Enum):
    """Whether and how everything is to end."""

    NO = "no"
    GRACEFUL = "graceful"
    FORCED = "forced"


class Strategy(Enum):
    """Which of two workers in a slot goes first when one replaces the other."""

    START_FIRST = "start-first"
    STOP_FIRST = "stop-first"


class TemplatePhase(Enum):
    """The life of a process from which workers are forked."""

    LOADING = "loading"
    READY = "ready"
    ENDING = "ending"  # told to end


@dataclass(frozen=True, slots=True)
class FleetLimits:
    """How long things may take, in seconds."""

    graceful: float = 30.0  # how long requests in flight may take when a worker leaves
    lifespan: float = 10.0  # how long the lifespan shutdown may take after that
    exit: float = 10.0  # how long the application's exit handlers and threads may take after that
    startup: float = 60.0  # how long a worker or a template may take to become ready; 0: no limit
    healthcheck: float = 30.0  # how long an event loop may be blocked; 0: no limit
    shutdown_delay: float = 0.0  # how long workers serve on at a stop
    settle: float = 1.0  # how long handshakes under way get between steering clients away from a slot and its end
    margin: float = 1.0  # how far a worker may exceed a limit that it keeps itself, before it is killed
    backoff_first: float = 0.5  # how long the second failure in a row delays the next start
    backoff_cap: float = 30.0  # the longest such delay, without its jitter
    good_life: float = 30.0  # how long a worker must serve for its death to count as the first one again
    crash_loop: float = 120.0  # how long all slots may do nothing but fail; 0: for ever


@dataclass(slots=True)
class WorkerRecord:
    """What is known of one worker process."""

    id: int  # its number, which no other worker of this fleet ever gets
    slot: int
    generation: int
    phase: WorkerPhase
    since: float  # when its phase began
    beat: float = 0.0  # when its event loop is last known to have run
    why: LeaveReason | None = None  # why it was told to leave; None if it was not
    retire: str | None = None  # why it wants to be replaced; None if it does not
    hung_at: float | None = None  # when its event loop was found blocked; None if it was not
    late: bool = False  # whether it was killed because it had not become ready in time
    accepts: bool = (
        False  # whether it may still accept connections; one that was told to leave may not have read that yet
    )


@dataclass(slots=True)
class SlotRecord:
    """A place for one worker, and how its occupants have fared."""

    failures: int = 0  # how many workers and starts in a row have failed
    retry_at: float = 0.0  # the earliest time for the next start of a worker
    failing_since: float | None = None  # when the failures in a row began; None if there are none
    open: bool = True  # whether the slot has listening sockets
    served: bool = False  # whether it has had a ready worker, so that its sockets listen
    steered_at: float | None = None  # since when new connections are kept from its sockets; None if they are not
    closes_at: float | None = (
        None  # when its sockets are closed although its worker may still have them; None: they are not
    )


@dataclass(slots=True)
class TemplateRecord:
    """A process that has loaded the application for one generation of workers, or is about to."""

    generation: int
    phase: TemplatePhase
    since: float


@dataclass(slots=True)
class Fleet:
    """The fleet that is wanted and the one that is known, as `observe` records both."""

    size: int  # how many workers are wanted
    limits: FleetLimits = field(default_factory=FleetLimits)
    strategy: Strategy = Strategy.START_FIRST
    parallel: int = 1  # in how many slots a reload replaces workers at once
    preload: bool = False  # whether workers are forked from templates
    generation: int = 1  # the generation that serves
    latest: int = 1  # the newest generation that there is
    rollout: int | None = None  # the generation that a reload brings in; None if there is no reload
    broken: bool = False  # whether a worker or the template of that generation has failed
    stop_requested_at: float | None = None  # when somebody asked for a stop, or handed the service on
    forced: bool = False  # whether somebody asked that all workers be killed
    start_failed_at: float | None = None  # when a worker or a template failed before every slot had had a ready worker
    overran: bool = False  # whether a worker had to be killed, or to cut requests, during the stop
    handed_on: bool = False  # whether another supervisor has the sockets too, so that a stop leaves them open
    booted: bool = False  # whether every slot has had a ready worker
    refusing: bool = False  # whether new connections are refused
    away: frozenset[int] = frozenset()  # the slots that new connections are kept from
    rescued: frozenset[int] = frozenset()  # the slots whose waiting connections are given to the workers of others
    workers: dict[int, WorkerRecord] = field(default_factory=dict)
    slots: list[SlotRecord] = field(default_factory=list)
    templates: dict[int, TemplateRecord] = field(default_factory=dict)  # by generation
    template_failures: int = 0  # how many templates in a row have failed since the first start
    template_retry_at: float = 0.0  # the earliest time for the next start of a template

    def __post_init__(self) -> None:
        self.slots = [SlotRecord() for _ in range(self.size)]

    @property
    def stop(self) -> Stop:
        """Whether and how everything is to end. A failure at the first start ends everything too."""
        if self.forced:
            return Stop.FORCED
        return Stop.NO if self.stop_since == float("inf") else Stop.GRACEFUL

    @property
    def stop_since(self) -> float:
        """When the stop began (seconds, monotonic); infinity if there is none."""
        times = (self.start_failed_at, self.stop_requested_at)
        return next((time for time in times if time is not None), float("inf"))

    @property
    def exit_code(self) -> ExitCode:
        """The exit code that tells how everything ended, if it ended now."""
        if self.forced:
            return ExitCode.FORCED
        if self.start_failed_at is not None:
            return ExitCode.STARTUP
        return ExitCode.DRAIN if self.overran else ExitCode.CLEAN

    @property
    def wanted(self) -> int:
        """The generation that new workers are of."""
        return self.generation if self.rollout is None else self.rollout

    def occupants(self, slot: int) -> list[WorkerRecord]:
        """The workers of a slot that serve or are about to."""
        return [
            w for w in self.workers.values() if w.slot == slot and w.phase in (WorkerPhase.STARTING, WorkerPhase.READY)
        ]

    def ready(self, slot: int | None = None) -> list[WorkerRecord]:
        """The workers that serve, of one slot or of all."""
        return [w for w in self.workers.values() if w.phase is WorkerPhase.READY and slot in (None, w.slot)]

    def takes_in(self) -> list[WorkerRecord]:
        """The workers that accept connections, as far as is known."""
        return [worker for worker in self.ready() if worker.accepts and worker.hung_at is None]

    def is_due(self, worker: WorkerRecord) -> bool:
        """Whether a worker is to be replaced."""
        return worker.generation < self.wanted or worker.retire is not None or worker.hung_at is not None
