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


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds."""

    graceful: float = 30.0  # for requests in flight at a stop
    lifespan: float = 10.0  # for the lifespan shutdown after that
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


@dataclass(slots=True)
class Slot:
    """A place for one worker, and how its occupants have fared."""

    failures: int = 0  # deaths in a row
    retry_at: float = 0.0  # no successor before
    failing_since: float | None = None
    open: bool = True  # its listening sockets are
    closes_at: float | None = None  # its sockets are shut then, even if its worker has not let go of them


@dataclass(slots=True)
class Fleet:
    """The wanted fleet and the known one."""

    size: int
    limits: Limits = field(default_factory=Limits)
    generation: int = 1
    stop: Stop = Stop.NO
    exit_code: ExitCode = ExitCode.CLEAN
    booted: bool = False  # every slot has had a ready worker
    refusing: bool = False  # new connections are refused
    workers: dict[int, Worker] = field(default_factory=dict)
    slots: list[Slot] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.slots = [Slot() for _ in range(self.size)]

    def occupants(self, slot: int) -> list[Worker]:
        """The workers of a slot that serve or are about to."""
        return [w for w in self.workers.values() if w.slot == slot and w.phase in (Phase.STARTING, Phase.READY)]

    def ready(self) -> list[Worker]:
        """The workers that serve."""
        return [worker for worker in self.workers.values() if worker.phase is Phase.READY]


# Events: what has happened.


@dataclass(frozen=True, slots=True)
class Spawned:
    worker: int
    slot: int
    generation: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    slot: int
    jitter: float


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
    """SIGTERM was sent to the worker."""

    worker: int


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
)


# Actions: what is to be done.


@dataclass(frozen=True, slots=True)
class Spawn:
    slot: int
    generation: int


@dataclass(frozen=True, slots=True)
class Terminate:
    worker: int


@dataclass(frozen=True, slots=True)
class Kill:
    worker: int


@dataclass(frozen=True, slots=True)
class RefuseConnections:
    """Let no new connection into the accept queues; what waits in them is still served."""


@dataclass(frozen=True, slots=True)
class CloseSlot:
    """Close the slot's sockets for good."""

    slot: int


@dataclass(frozen=True, slots=True)
class Exit:
    code: ExitCode


Action = Spawn | Terminate | Kill | RefuseConnections | CloseSlot | Exit
