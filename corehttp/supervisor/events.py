"""Events: what has happened to the fleet, as the supervisor's loop tells it. Data only. Pure."""

from corehttp.ipc.messages import LeaveReason
from corehttp.records import record


@record
class Spawned:
    """A process was started for a worker, or its template was asked to fork it."""

    worker: int
    slot: int
    generation: int


@record
class SpawnFailed:
    """A worker could not be started. `worker` is the one that a template was to fork, None if it was not asked yet.

    `jitter` is a random number in [0, 1).
    """

    slot: int
    generation: int
    jitter: float
    worker: int | None = None


@record
class BecameReady:
    """The worker serves from now on."""

    worker: int


@record
class StoppedAccepting:
    """The worker has emptied its accept queue and closed its copy of the listening sockets."""

    worker: int


@record
class DrainFinished:
    """Nothing is in flight in the worker any more; its lifespan shutdown begins."""

    worker: int


@record
class ToldToLeave:
    """The worker was told to leave."""

    worker: int
    why: LeaveReason


@record
class WasKilled:
    """SIGKILL was sent to the worker."""

    worker: int


@record
class Exited:
    """The worker has ended; `code` is its exit code, or minus the signal. `jitter` is a random number in [0, 1)."""

    worker: int
    code: int
    jitter: float


@record
class StopRequested:
    """An operator wants everything to end after what is in flight is finished."""


@record
class ForceRequested:
    """An operator wants everything to end at once."""


@record
class Refusing:
    """New connections are refused from now on."""


@record
class SlotClosed:
    """The slot's sockets were closed."""

    slot: int


@record
class SlotOpened:
    """The slot has new sockets."""

    slot: int


@record
class SlotFailed:
    """The sockets of a slot could not be bound. `jitter` is a random number in [0, 1)."""

    slot: int
    jitter: float


@record
class Steered:
    """New connections are kept from the sockets of these slots and no others, as far as the kernel does so."""

    away: frozenset[int]


@record
class Rescued:
    """The connections that wait in these slots, and no others, are given to the workers of other slots."""

    slots: frozenset[int]


@record
class ReloadRequested:
    """There is a new configuration, or new code: the next generation is to take over."""


@record
class ReloadAbandoned:
    """The generation does not take over; the one before serves on."""

    generation: int


@record
class ReloadFinished:
    """The generation has taken over."""

    generation: int


@record
class UpgradeRequested:
    """A new supervisor is to be started that takes over. Nothing follows for this fleet until it has: see HandedOn."""


@record
class ReopenRequested:
    """The log files are to be opened anew. Nothing follows for the fleet."""


@record
class UpgradeStarted:
    """A new supervisor was started; `pid` is its process id."""

    pid: int


@record
class UpgradeEnded:
    """The new supervisor has taken over, or has ended before it could."""


@record
class Resized:
    """`size` workers are wanted from now on; one, if `size` is less."""

    size: int


@record
class RetireRequested:
    """The worker wants to be replaced."""

    worker: int
    cause: str


@record
class RestartRequested:
    """Somebody wants these workers to be replaced, one after the other."""

    workers: tuple[int, ...]


@record
class Beat:
    """The worker's event loop ran at this time."""

    worker: int
    at: float


@record
class WasLate:
    """The supervisor itself did not run for `seconds`, so no worker can be blamed for that time."""

    seconds: float


@record
class WasDumped:
    """The stacks of the worker, whose event loop is blocked, were logged."""

    worker: int


@record
class Appointed:
    """The worker was told that it leads."""

    worker: int


@record
class LeadUntold:
    """The worker could not be told that it leads, or that it is to step down."""

    worker: int


@record
class Deposed:
    """The worker, which leads, was told to step down."""

    worker: int


@record
class StoppedLeading:
    """The worker has stepped down: nothing runs in it any more that is for the leader alone."""

    worker: int


@record
class HandedOn:
    """Another supervisor has taken over the sockets, so this one is to end and leave them open."""


@record
class TemplateStarted:
    """A process was started that loads the application of the generation."""

    generation: int


@record
class TemplateReady:
    """The template has loaded the application, and can fork workers."""

    generation: int


@record
class TemplateRetired:
    """The template was ended, or told to end."""

    generation: int


@record
class TemplateGone:
    """The template has ended, or could not be started. `jitter` is a random number in [0, 1)."""

    generation: int
    jitter: float


@record
class LoopBlocked:
    """Whether the worker's event loop has not run for so long that others take in who waits for it."""

    worker: int
    blocked: bool


# What is recorded of one worker.
WorkerEvent = (
    BecameReady
    | LoopBlocked
    | StoppedAccepting
    | DrainFinished
    | ToldToLeave
    | WasKilled
    | WasDumped
    | RetireRequested
    | Beat
    | Appointed
    | LeadUntold
    | Deposed
    | StoppedLeading
    | Exited
)

FleetEvent = (
    WorkerEvent
    | Spawned
    | SpawnFailed
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
    | UpgradeRequested
    | ReopenRequested
    | UpgradeStarted
    | UpgradeEnded
    | Resized
    | RestartRequested
    | WasLate
    | HandedOn
    | TemplateStarted
    | TemplateReady
    | TemplateRetired
    | TemplateGone
)
