"""What the supervisor knows of its workers, slots and templates, and which of them are wanted. Data only. Pure.

All times are in seconds, monotonic, unless they are durations.
"""

from enum import Enum

from corehttp.errors import ExitCode
from corehttp.ipc.messages import LeaveReason
from corehttp.records import fresh, mutable_record, record


class WorkerPhase(Enum):
    """Where a worker is in its life. The phases follow each other in this order; some may be left out."""

    STARTING = "starting"  # the process runs, and its application is not ready yet
    READY = "ready"  # the worker serves
    DRAINING = "draining"  # the worker was told to leave, and finishes what is in flight
    CLOSING = "closing"  # nothing is in flight any more, and the lifespan shutdown of the application runs
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
    """Where a template, a process from which workers are forked, is in its life."""

    LOADING = "loading"  # the application is being loaded
    READY = "ready"  # workers can be forked
    ENDING = "ending"  # the template was told to end


@record
class FleetLimits:
    """How long everything may take, in seconds."""

    graceful: float = 30.0  # how long requests in flight may take when a worker leaves
    graceful_replaced: float = 30.0  # the same where another worker takes its place
    lifespan: float = 10.0  # how long the lifespan shutdown may take after that
    exit: float = 10.0  # how long the application's exit handlers and threads may take after that
    startup: float = 60.0  # how long a worker or a template may take to become ready; 0: no limit
    healthcheck: float = 30.0  # how long an event loop may be blocked; 0: no limit
    rescue_after: float = 0.5  # how long it may be before others take in who waits to be accepted; 0: no limit
    shutdown_delay: float = 0.0  # how long workers serve on at a stop
    settle: float = 1.0  # how long handshakes under way get between steering clients away from a slot and its end
    emptying: float = 1.0  # how long a worker may take at a stop to empty its accept queue
    margin: float = 1.0  # how far a worker may exceed a limit that it keeps itself, before it is killed
    backoff_first: float = 0.5  # how long the second failure in a row delays the next start
    backoff_cap: float = 30.0  # the longest such delay, without its jitter
    good_life: float = 30.0  # how long a worker must serve for its death to count as the first one again
    crash_loop: float = 120.0  # how long all slots may do nothing but fail; 0: for ever


@mutable_record
class WorkerRecord:
    """What is known of one worker process."""

    id: int  # the number of the worker, which no other worker of this fleet ever gets
    slot: int
    generation: int
    phase: WorkerPhase
    since: float  # when its phase began
    beat: float = 0.0  # when its event loop is last known to have run
    why: LeaveReason | None = None  # why it was told to leave; None if it was not
    retire: str | None = None  # why it wants to be replaced; None if it does not
    hung_at: float | None = None  # when its event loop was found blocked; None if it was not
    left_for_hang: bool = False  # whether it was told to leave for a blocked event loop: its own or its predecessor's
    blocked: bool = False  # whether its event loop has not run for so long that others take in who waits for it
    late: bool = False  # whether it was killed because it had not become ready in time
    accepts: bool = False  # whether it may accept connections: from ready on until it says that it has stopped


@mutable_record
class SlotRecord:
    """What is known of a slot, the place of one worker and, while it is replaced, of its successor."""

    failures: int = 0  # how many workers and starts in a row have failed
    failed_at: float = 0.0  # when the last failure was
    jitter: float = 0.0  # a random number in [0, 1), by which the next start is delayed further
    failing_since: float | None = None  # when the failures in a row began; None if there are none
    open: bool = True  # whether the slot has listening sockets
    served: bool = False  # whether it has had a ready worker, so that its sockets listen
    steered_at: float | None = None  # since when new connections are kept from its sockets; None if they are not
    emptied_at: float | None = None  # when its last worker had emptied its accept queue for good; None: none has


@mutable_record
class TemplateRecord:
    """What is known of a template, a process that loads the application for one generation of workers."""

    generation: int
    phase: TemplatePhase
    since: float  # when its phase began


@mutable_record
class Fleet:
    """The fleet that is wanted and the one that is known. Only `observe` changes it, but for what options say."""

    size: int  # how many workers are wanted
    limits: FleetLimits = fresh(factory=FleetLimits)
    strategy: Strategy = Strategy.START_FIRST
    parallel: int = 1  # in how many slots a reload replaces workers at once
    preload: bool = False  # whether workers are forked from templates
    # Whether the code is under development: a reload has no way back, and after code that cannot start nothing is
    # started until the next reload.
    development: bool = False
    generation: int = 1  # the generation that serves
    latest: int = 1  # the newest generation that there is
    rollout: int | None = None  # the generation that a reload brings in; None if there is no reload
    # Whether a worker or the template of the generation `rollout` has failed; in development also whether a worker of
    # the generation that serves could not start, so that no other is started.
    broken: bool = False
    stop_requested_at: float | None = None  # when an operator asked for a stop, or another supervisor took over
    forced: bool = False  # whether an operator asked that all workers be killed
    start_failed_at: float | None = None  # when a worker or a template failed before every slot had had a ready worker
    overran: bool = False  # whether a worker had to be killed, or to cut requests, during the stop
    handed_on: bool = False  # whether another supervisor has the sockets too, so that a stop leaves them open
    booted: bool = False  # whether every slot has had a ready worker
    refused_at: float | None = None  # since when new connections are refused; None if they are not
    away: frozenset[int] = frozenset()  # the slots that new connections are kept from
    rescued: frozenset[int] = frozenset()  # the slots whose waiting connections are given to the workers of others
    workers: dict[int, WorkerRecord] = fresh(factory=dict)
    slots: list[SlotRecord] = fresh(factory=list)
    templates: dict[int, TemplateRecord] = fresh(factory=dict)  # each by its generation
    template_failures: int = 0  # how many templates in a row have failed since the first start
    template_failed_at: float = 0.0  # when the last template failed
    template_jitter: float = 0.0  # a random number in [0, 1), by which the next start is delayed further
    replaceable: bool = True  # whether another process can take the place of the supervisor, as none can of process 1
    has_log_files: bool = False  # whether log lines go to files, which can be opened anew
    leader: int | None = None  # the worker that leads, or led last and has not said that it does not any more
    deposed: bool = False  # whether the leader was told to step down
    appoint_from: float = 0.0  # when another attempt may be made to have a worker lead
    has_elder: bool = False  # whether the supervisor before this one still runs, and may have a worker that leads
    successor: int | None = None  # the process id of a new supervisor that is starting; None if there is none

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
    def wanted_generation(self) -> int:
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

    def accepting(self) -> list[WorkerRecord]:
        """The workers that accept connections, as far as is known."""
        return [w for w in self.ready() if w.accepts and w.hung_at is None and not w.blocked]

    def is_due(self, worker: WorkerRecord) -> bool:
        """Whether a worker is to be replaced."""
        return worker.generation < self.wanted_generation or worker.retire is not None or worker.hung_at is not None

    def shows_bad_code(self, failed: WorkerRecord) -> bool:
        """Whether a worker that has failed shows that the code of its generation cannot take over, or cannot start."""
        if self.development:
            started = failed.phase is not WorkerPhase.STARTING and not failed.late
            return failed.generation == self.wanted_generation and not started
        return failed.generation == self.rollout
