"""What the supervisor knows: workers, slots, events, and the actions it can take. Data only. Pure."""

from dataclasses import dataclass, field
from enum import Enum

from corehttp.errors import ExitCode


class Phase(Enum):
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


class Why(Enum):
    """Why a worker is to leave."""

    STOP = "stop"  # everything ends
    REPLACED = "replaced"  # another worker has its slot, or will have it
    SLOT_CLOSES = "slot closes"  # fewer workers are wanted
    ORPHANED = "orphaned"  # the supervisor is gone; another one may serve on the same sockets


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
class Limits:
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
class Worker:
    """One process."""

    id: int  # never used again
    slot: int
    generation: int
    phase: Phase
    since: float  # when it came into its phase
    beat: float = 0.0  # when its event loop was last known to run
    why: Why | None = None  # it is to leave
    retire: str | None = None  # why it wants to be replaced
    hung_at: float | None = None  # its event loop was found blocked then, and has not run since
    late: bool = False  # it was killed because it did not become ready
    accepts: bool = False  # connections, as far as is known: one that was told to leave may not have heard it yet


@dataclass(slots=True)
class Slot:
    """A place for one worker, and how its occupants have fared."""

    failures: int = 0  # deaths in a row
    retry_at: float = 0.0  # no successor before
    failing_since: float | None = None
    open: bool = True  # its listening sockets are
    served: bool = False  # it has had a ready worker, so its sockets listen
    steered_at: float | None = None  # since when new connections do not reach its sockets
    closes_at: float | None = None  # its sockets are shut then, even if its worker has not let go of them


@dataclass(slots=True)
class Template:
    """A process that has loaded the application for one generation of workers, or is about to."""

    generation: int
    phase: TemplatePhase
    since: float


@dataclass(slots=True)
class Fleet:
    """The wanted fleet and the known one."""

    size: int
    limits: Limits = field(default_factory=Limits)
    strategy: Strategy = Strategy.START_FIRST
    parallel: int = 1  # slots that a reload has in transition at once
    preload: bool = False  # workers are forked from templates
    generation: int = 1  # that serves
    latest: int = 1
    rollout: int | None = None  # the generation that is taking over
    broken: bool = False  # a worker or the template of that generation has failed
    stop: Stop = Stop.NO
    stop_since: float = 0.0
    handed_on: bool = False  # another supervisor has the sockets too: at a stop they are left to it
    exit_code: ExitCode = ExitCode.CLEAN
    booted: bool = False  # every slot has had a ready worker
    refusing: bool = False  # new connections are refused
    away: frozenset[int] = frozenset()  # slots that new connections do not reach
    rescued: frozenset[int] = frozenset()  # slots without a worker: what waits there is given to others
    workers: dict[int, Worker] = field(default_factory=dict)
    slots: list[Slot] = field(default_factory=list)
    templates: dict[int, Template] = field(default_factory=dict)  # by generation
    template_failures: int = 0
    template_retry_at: float = 0.0

    def __post_init__(self) -> None:
        self.slots = [Slot() for _ in range(self.size)]

    @property
    def wanted(self) -> int:
        """The generation that new workers are of."""
        return self.generation if self.rollout is None else self.rollout

    def occupants(self, slot: int) -> list[Worker]:
        """The workers of a slot that serve or are about to."""
        return [w for w in self.workers.values() if w.slot == slot and w.phase in (Phase.STARTING, Phase.READY)]

    def ready(self, slot: int | None = None) -> list[Worker]:
        """The workers that serve, of one slot or of all."""
        return [w for w in self.workers.values() if w.phase is Phase.READY and slot in (None, w.slot)]

    def takes_in(self) -> list[Worker]:
        """The workers that accept connections, as far as is known."""
        return [worker for worker in self.ready() if worker.accepts and worker.hung_at is None]

    def is_due(self, worker: Worker) -> bool:
        """Whether a worker is to be replaced."""
        return worker.generation < self.wanted or worker.retire is not None or worker.hung_at is not None


# Events: what has happened.


@dataclass(frozen=True, slots=True)
class Spawned:
    worker: int
    slot: int
    generation: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """No process could be had; `worker` is the one that was to be forked, if that was under way."""

    slot: int
    generation: int
    jitter: float
    worker: int | None = None


@dataclass(frozen=True, slots=True)
class BecameReady:
    worker: int


@dataclass(frozen=True, slots=True)
class StoppedAccepting:
    """The worker has emptied its accept queue and closed its copy of the sockets."""

    worker: int


@dataclass(frozen=True, slots=True)
class Drained:
    """Nothing is in flight in the worker any more; its lifespan shutdown begins."""

    worker: int


@dataclass(frozen=True, slots=True)
class Told:
    """The worker was told to leave."""

    worker: int
    why: Why


@dataclass(frozen=True, slots=True)
class WasKilled:
    worker: int


@dataclass(frozen=True, slots=True)
class Exited:
    """The worker has ended; `code` is its exit code, or minus the signal. `jitter` is a random number in [0, 1)."""

    worker: int
    code: int
    jitter: float


@dataclass(frozen=True, slots=True)
class StopRequested:
    pass


@dataclass(frozen=True, slots=True)
class ForceRequested:
    pass


@dataclass(frozen=True, slots=True)
class Refusing:
    """New connections are refused from now on."""


@dataclass(frozen=True, slots=True)
class SlotClosed:
    slot: int


@dataclass(frozen=True, slots=True)
class SlotOpened:
    slot: int


@dataclass(frozen=True, slots=True)
class SlotFailed:
    """The sockets of a slot could not be had."""

    slot: int
    jitter: float


@dataclass(frozen=True, slots=True)
class Steered:
    """New connections do not reach the sockets of these slots, as far as that can be had."""

    away: frozenset[int]


@dataclass(frozen=True, slots=True)
class Rescued:
    """What waits in these slots is given to the workers of others."""

    slots: frozenset[int]


@dataclass(frozen=True, slots=True)
class ReloadRequested:
    """There is a new configuration, or new code: the next generation is to take over."""


@dataclass(frozen=True, slots=True)
class ReloadAbandoned:
    generation: int


@dataclass(frozen=True, slots=True)
class ReloadFinished:
    generation: int


@dataclass(frozen=True, slots=True)
class Resized:
    """So many workers are wanted; never fewer than one."""

    size: int


@dataclass(frozen=True, slots=True)
class RetireRequested:
    """The worker wants to be replaced."""

    worker: int
    cause: str


@dataclass(frozen=True, slots=True)
class Beat:
    """The worker's event loop ran at this time."""

    worker: int
    at: float


@dataclass(frozen=True, slots=True)
class WasLate:
    """We did not run ourselves for so many seconds, so nobody else can be blamed for them."""

    seconds: float


@dataclass(frozen=True, slots=True)
class WasDumped:
    """What the worker was stuck in has been logged."""

    worker: int


@dataclass(frozen=True, slots=True)
class HandedOn:
    """Another supervisor has taken over the sockets: we are to end, and nobody is to notice."""


@dataclass(frozen=True, slots=True)
class TemplateStarted:
    generation: int


@dataclass(frozen=True, slots=True)
class TemplateReady:
    generation: int


@dataclass(frozen=True, slots=True)
class TemplateRetired:
    """The template was told to end."""

    generation: int


@dataclass(frozen=True, slots=True)
class TemplateGone:
    """It has ended, or could not be started."""

    generation: int
    jitter: float


Event = (
    Spawned
    | SpawnFailed
    | BecameReady
    | StoppedAccepting
    | Drained
    | Told
    | WasKilled
    | Exited
    | StopRequested
    | ForceRequested
    | Refusing
    | SlotClosed
    | SlotOpened
    | SlotFailed
    | Steered
    | Rescued
    | ReloadRequested
    | ReloadAbandoned
    | ReloadFinished
    | Resized
    | RetireRequested
    | Beat
    | WasLate
    | WasDumped
    | HandedOn
    | TemplateStarted
    | TemplateReady
    | TemplateRetired
    | TemplateGone
)


# Actions: what is to be done.


@dataclass(frozen=True, slots=True)
class Spawn:
    slot: int
    generation: int


@dataclass(frozen=True, slots=True)
class Leave:
    """Tell the worker to leave; one that is still starting ends at once."""

    worker: int
    why: Why


@dataclass(frozen=True, slots=True)
class Kill:
    worker: int


@dataclass(frozen=True, slots=True)
class Dump:
    """Log what the worker, whose event loop is blocked, is stuck in."""

    worker: int


@dataclass(frozen=True, slots=True)
class RefuseConnections:
    """Let no new connection into the accept queues; what waits in them is still served."""


@dataclass(frozen=True, slots=True)
class Steer:
    """Let new connections reach the sockets of all slots but these."""

    away: frozenset[int]


@dataclass(frozen=True, slots=True)
class Rescue:
    """From now on give the connections that wait in these slots, which have no worker, to the workers of others."""

    slots: frozenset[int]


@dataclass(frozen=True, slots=True)
class OpenSlot:
    """Have sockets for the slot, beside those of the others."""

    slot: int


@dataclass(frozen=True, slots=True)
class CloseSlot:
    """Close the slot's sockets for good."""

    slot: int


@dataclass(frozen=True, slots=True)
class AbandonReload:
    """The generation cannot take over: the old one goes on."""

    generation: int


@dataclass(frozen=True, slots=True)
class FinishReload:
    """The generation has taken over."""

    generation: int


@dataclass(frozen=True, slots=True)
class LoadTemplate:
    generation: int


@dataclass(frozen=True, slots=True)
class RetireTemplate:
    """End a template that is needed no more, or does not become ready."""

    generation: int


@dataclass(frozen=True, slots=True)
class Exit:
    code: ExitCode


Action = (
    Spawn
    | Leave
    | Kill
    | Dump
    | RefuseConnections
    | Steer
    | Rescue
    | OpenSlot
    | CloseSlot
    | AbandonReload
    | FinishReload
    | LoadTemplate
    | RetireTemplate
    | Exit
)
