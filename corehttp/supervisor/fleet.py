"""What the supervisor knows: workers, slots, events, and the actions it can take. Data only. Pure."""

from dataclasses import dataclass, field
from enum import Enum

from corehttp.errors import ExitCode
from corehttp.ipc.messages import LeaveReason


class WorkerPhase(Enum):
    """A worker's life."""

    STARTING = "starting"  # spawned, its application is not ready
    READY = "ready"  # it serves
    DRAINING = "draining"  # told to leave; it finishes what is in flight
    CLOSING = "closing"  # drained; the application's lifespan shutdown runs
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
    """Times in seconds."""

    graceful: float = 30.0  # for requests in flight when a worker leaves
    lifespan: float = 10.0  # for the lifespan shutdown after that
    exit: float = 10.0  # for the application's exit handlers and threads after that
    startup: float = 60.0  # until a worker or a template is ready; 0: no limit
    healthcheck: float = 30.0  # that an event loop may be blocked; 0: no limit
    shutdown_delay: float = 0.0  # that workers serve on at a stop
    settle: float = 1.0  # between steering clients away from a slot and its end, for handshakes under way
    margin: float = 1.0  # beyond a limit that the worker itself keeps, before it is killed
    backoff_first: float = 0.5
    backoff_cap: float = 30.0
    good_life: float = 30.0  # after which a death counts as the first one again
    crash_loop: float = 120.0  # of nothing but failures; 0: never give up


@dataclass(slots=True)
class WorkerRecord:
    """One process."""

    id: int  # never used again
    slot: int
    generation: int
    phase: WorkerPhase
    since: float  # when it came into its phase
    beat: float = 0.0  # when its event loop was last known to run
    why: LeaveReason | None = None  # it is to leave
    retire: str | None = None  # why it wants to be replaced
    hung_at: float | None = None  # its event loop was found blocked then, and has not run since
    late: bool = False  # it was killed because it did not become ready
    accepts: bool = False  # connections, as far as is known: one that was told to leave may not have heard it yet


@dataclass(slots=True)
class SlotRecord:
    """A place for one worker, and how its occupants have fared."""

    failures: int = 0  # deaths in a row
    retry_at: float = 0.0  # no successor before
    failing_since: float | None = None
    open: bool = True  # its listening sockets are
    served: bool = False  # it has had a ready worker, so its sockets listen
    steered_at: float | None = None  # since when new connections do not reach its sockets
    closes_at: float | None = None  # its sockets are shut then, even if its worker has not let go of them


@dataclass(slots=True)
class TemplateRecord:
    """A process that has loaded the application for one generation of workers, or is about to."""

    generation: int
    phase: TemplatePhase
    since: float


@dataclass(slots=True)
class Fleet:
    """The wanted fleet and the known one."""

    size: int
    limits: FleetLimits = field(default_factory=FleetLimits)
    strategy: Strategy = Strategy.START_FIRST
    parallel: int = 1  # slots that a reload has in transition at once
    preload: bool = False  # workers are forked from templates
    generation: int = 1  # that serves
    latest: int = 1
    rollout: int | None = None  # the generation that is taking over
    broken: bool = False  # a worker or the template of that generation has failed
    stop_requested_at: float | None = None  # when somebody asked for a stop, or handed the service on
    forced: bool = False  # whether somebody asked that all workers be killed
    start_failed_at: float | None = None  # when a worker or a template failed before every slot had had a ready worker
    overran: bool = False  # whether a worker had to be killed, or to cut requests, during the stop
    handed_on: bool = False  # another supervisor has the sockets too: at a stop they are left to it
    booted: bool = False  # every slot has had a ready worker
    refusing: bool = False  # new connections are refused
    away: frozenset[int] = frozenset()  # slots that new connections do not reach
    rescued: frozenset[int] = frozenset()  # slots without a worker: what waits there is given to others
    workers: dict[int, WorkerRecord] = field(default_factory=dict)
    slots: list[SlotRecord] = field(default_factory=list)
    templates: dict[int, TemplateRecord] = field(default_factory=dict)  # by generation
    template_failures: int = 0
    template_retry_at: float = 0.0

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
