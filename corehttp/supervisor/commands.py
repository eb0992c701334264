"""What an operator may ask of the supervisor, and what follows: an event, or a refusal with its reason. Pure."""

from enum import Enum
from typing import assert_never

from corehttp import bind_option
from corehttp.records import record
from corehttp.supervisor.events import (
    ForceRequested,
    ReloadRequested,
    ReopenRequested,
    Resized,
    RestartRequested,
    StopRequested,
    UpgradeRequested,
)
from corehttp.supervisor.fleet import Fleet, Stop


class Command(Enum):
    """What an operator may ask for. `signals.COMMANDS` says which signal means which command."""

    STOP = "stop"  # finish what is in flight, then end
    INTERRUPT = "interrupt"  # the same at first; when a stop has begun already, kill all workers
    FORCE = "force"  # kill all workers, then end
    RELOAD = "reload"  # read the configuration afresh, and replace the workers
    GROW = "grow"  # one worker more
    SHRINK = "shrink"  # one worker fewer
    UPGRADE = "upgrade"  # start a new supervisor that takes over
    REOPEN = "reopen"  # open log files anew that were renamed


@record
class Scale:
    """Have so many workers, or, if it is relative, so many more or fewer than are wanted now."""

    amount: int
    relative: bool = False


@record
class Restart:
    """Replace the worker of a slot, or those of all slots one after the other; each has a successor first."""

    slot: int | None = None


Asked = Command | Scale | Restart

MOST_WORKERS = bind_option.MOST_WORKERS


@record
class Refusal:
    """The outcome of a command that has no effect."""

    reason: str  # why, in words for the operator


Decision = (
    StopRequested
    | ForceRequested
    | ReloadRequested
    | Resized
    | UpgradeRequested
    | RestartRequested
    | ReopenRequested
    | Refusal
)


def decide(fleet: Fleet, command: Asked) -> Decision:
    """Return what follows from a command in this state of the fleet: an event that is to be recorded, or a refusal.

    `orders` carries it out: before a reload is recorded the configuration is read, and before an upgrade a process is
    started, and both can fail. A stop is never refused: a second one changes nothing.
    """
    match command:
        case Command.STOP:
            return StopRequested()
        case Command.INTERRUPT:
            return StopRequested() if fleet.stop is Stop.NO else ForceRequested()
        case Command.FORCE:
            return ForceRequested()
        case Command.REOPEN:
            return ReopenRequested() if fleet.has_log_files else Refusal(_NO_LOG_FILES)
        case _ if fleet.stop is not Stop.NO:
            return Refusal("ignored during the stop")
        case Command.RELOAD:
            return ReloadRequested()
        case Command.GROW:
            return Resized(fleet.size + 1)
        case Command.SHRINK:
            return Resized(fleet.size - 1) if fleet.size > 1 else Refusal("ignored, the last worker stays")
        case Scale(amount, relative):
            return _resize(fleet.size + amount if relative else amount)
        case Restart(slot):
            return _restart(fleet, slot)
        case Command.UPGRADE:
            return _decide_upgrade(fleet)
        case _:
            assert_never(command)


_NO_LOG_FILES = "ignored, nothing here uses it without --log-file or --access-log-file"


def _decide_upgrade(fleet: Fleet) -> UpgradeRequested | Refusal:
    """Decide whether a new supervisor may be started now."""
    if not fleet.booted:
        return Refusal("ignored, the workers are not ready yet")
    if fleet.successor is not None:
        return Refusal(f"ignored, a new supervisor (pid {fleet.successor}) is starting already")
    if fleet.development:
        return Refusal("ignored, with --reload a new supervisor might never be ready")
    if not fleet.replaceable:
        return Refusal("ignored, process 1 cannot be replaced; replace the container instead")
    return UpgradeRequested()


def _resize(size: int) -> Resized | Refusal:
    """Decide whether there may be so many workers."""
    if size < 1:
        return Refusal("ignored, the last worker stays")
    if size > MOST_WORKERS:
        return Refusal(f"ignored, there can be {MOST_WORKERS} workers at most")
    return Resized(size)


def _restart(fleet: Fleet, slot: int | None) -> RestartRequested | Refusal:
    """Decide which workers are to be replaced: that of one slot, or all that serve."""
    if slot is not None and slot >= fleet.size:
        return Refusal(f"ignored, there is no worker {slot + 1}")
    chosen = tuple(worker.id for worker in fleet.ready(slot) if worker.slot < fleet.size)
    if not chosen:
        return Refusal(
            "ignored, no worker serves yet" if slot is None else f"ignored, worker {slot + 1} does not serve"
        )
    return RestartRequested(chosen)
