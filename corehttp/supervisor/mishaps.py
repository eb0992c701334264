"""What is to be recorded of an action that was performed, or has failed; and how a fault ends one act alone."""

import logging
from collections.abc import Callable
from typing import assert_never

from corehttp.shortage import shortage
from corehttp.supervisor.actions import (
    AbandonReload,
    Action,
    CloseSlot,
    Dump,
    Exit,
    FinishReload,
    Kill,
    Leave,
    LoadTemplate,
    OpenSlot,
    RefuseConnections,
    Rescue,
    RetireTemplate,
    Spawn,
    Steer,
)
from corehttp.supervisor.events import (
    FleetEvent,
    Refusing,
    ReloadAbandoned,
    ReloadFinished,
    Rescued,
    SlotClosed,
    SlotFailed,
    SpawnFailed,
    Steered,
    TemplateGone,
    TemplateRetired,
    Told,
    WasDumped,
    WasKilled,
)

logger = logging.getLogger("corehttp.supervisor")

Doing = (
    Leave | Kill | Dump | RefuseConnections | Steer | Rescue | CloseSlot | AbandonReload | FinishReload | RetireTemplate
)


def survived(what: str, act: Callable[[], object]) -> bool:
    """Call `act`, and log what it raises as a failure of `what`. Returns whether it raised nothing."""
    try:
        act()
    except OSError as error:
        logger.error("%s has failed: %s", what, shortage(error))
    except Exception:
        logger.exception("%s has failed", what)
    else:
        return True
    return False


def done(action: Doing) -> FleetEvent:
    """Return what is to be recorded of an action that was performed."""
    match action:
        case Leave(worker, why):
            return Told(worker, why)
        case Kill(worker):
            return WasKilled(worker)
        case Dump(worker):
            return WasDumped(worker)
        case RefuseConnections():
            return Refusing()
        case Steer(away):
            return Steered(away)
        case Rescue(slots):
            return Rescued(slots)
        case CloseSlot(slot):
            return SlotClosed(slot)
        case AbandonReload(generation):
            return ReloadAbandoned(generation)
        case FinishReload(generation):
            return ReloadFinished(generation)
        case RetireTemplate(generation):
            return TemplateRetired(generation)
        case _:
            assert_never(action)


def failed(action: Action, jitter: float) -> FleetEvent:
    """Return what is to be recorded of an action that has failed; `jitter` is a random number in [0, 1).

    What makes something is tried again, with back-off. Anything else counts as done: what did not come of it has a
    deadline of its own, as a worker has that could not be told to leave.
    """
    match action:
        case Spawn(slot, generation):
            return SpawnFailed(slot, generation, jitter)
        case OpenSlot(slot):
            return SlotFailed(slot, jitter)
        case LoadTemplate(generation):
            return TemplateGone(generation, jitter)
        case Exit():
            raise AssertionError("the loop ends at Exit, which is not performed")
        case _:
            return done(action)
