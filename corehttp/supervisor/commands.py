"""What an operator may ask of the supervisor, and what follows: an event, or a refusal with its reason. Pure."""

from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from corehttp.supervisor.events import ForceRequested, ReloadRequested, Resized, StopRequested, UpgradeRequested
from corehttp.supervisor.fleet import Fleet, Stop


class Command(Enum):
    """What is asked for, whichever way it comes in: `signals.COMMANDS` says which signal means what."""

    STOP = "stop"  # finish what is in flight, then end
    INTERRUPT = "interrupt"  # the same at first; when a stop has begun already, kill all workers
    FORCE = "force"  # kill all workers, then end
    RELOAD = "reload"  # read the configuration afresh, and replace the workers
    GROW = "grow"  # one worker more
    SHRINK = "shrink"  # one worker fewer
    UPGRADE = "upgrade"  # start a new supervisor that takes over


@dataclass(frozen=True, slots=True)
class Refusal:
    """A command has no effect; `reason` tells the operator why."""

    reason: str


Decision = StopRequested | ForceRequested | ReloadRequested | Resized | UpgradeRequested | Refusal


def decide(fleet: Fleet, command: Command) -> Decision:
    """Return what follows from a command in this state of the fleet.

    The loop records an event in the fleet, after it has done what the event needs of the operating system: a reload
    reads the configuration and fails if that is wrong, an upgrade starts a process. A stop is never refused: a second
    one changes nothing.
    """
    match command:
        case Command.STOP:
            return StopRequested()
        case Command.INTERRUPT:
            return StopRequested() if fleet.stop is Stop.NO else ForceRequested()
        case Command.FORCE:
            return ForceRequested()
        case Command.RELOAD | Command.GROW | Command.SHRINK | Command.UPGRADE if fleet.stop is not Stop.NO:
            return Refusal("ignored during the stop")
        case Command.RELOAD:
            return ReloadRequested()
        case Command.GROW:
            return Resized(fleet.size + 1)
        case Command.SHRINK:
            return Resized(fleet.size - 1) if fleet.size > 1 else Refusal("ignored, the last worker stays")
        case Command.UPGRADE:
            return UpgradeRequested() if fleet.booted else Refusal("ignored, the workers are not ready yet")
        case _:
            assert_never(command)
