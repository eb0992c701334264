"""How the fleet changes while its code is under development: old code goes first, and bad code waits for a change."""

from corehttp.ipc.messages import LeaveReason
from corehttp.supervisor.actions import AbandonReload, Exit, FinishReload, Kill, RefuseConnections, Spawn, Terminate
from corehttp.supervisor.commands import Command, Refusal, decide
from corehttp.supervisor.deadlines import next_deadline
from corehttp.supervisor.events import (
    BecameReady,
    Exited,
    FleetEvent,
    ForceRequested,
    ReloadAbandoned,
    ReloadFinished,
    ReloadRequested,
    Spawned,
    SpawnFailed,
    StopRequested,
    ToldToLeave,
    WasKilled,
)
from corehttp.supervisor.fleet import Fleet, FleetLimits, Strategy
from corehttp.supervisor.observe import observe
from corehttp.supervisor.plan import plan

LIMITS = FleetLimits(graceful_replaced=0.5, startup=60.0, healthcheck=float("inf"), margin=1.0, crash_loop=0.0)
REPLACED = LeaveReason.REPLACED


def tell(fleet: Fleet, *events: FleetEvent, now: float = 0.0) -> None:
    for event in events:
        observe(fleet, event, now)


def started(size: int = 1) -> Fleet:
    """A fleet whose workers 1 … size are starting."""
    fleet = Fleet(size, LIMITS, development=True, strategy=Strategy.STOP_FIRST, parallel=1000)
    tell(fleet, *(Spawned(index + 1, index, 1) for index in range(size)))
    return fleet


def serving(size: int = 1) -> Fleet:
    """The same, and they are ready."""
    fleet = started(size)
    tell(fleet, *(BecameReady(index + 1) for index in range(size)))
    assert plan(fleet, 0.0) == []
    return fleet


def spoilt() -> Fleet:
    """A fleet whose worker of generation 2 could not start."""
    fleet = serving()
    tell(fleet, ReloadRequested(), ToldToLeave(1, REPLACED), Exited(1, 0, 0.0))
    tell(fleet, Spawned(2, 0, 2), Exited(2, 3, 0.0))
    tell(fleet, ReloadAbandoned(2))
    return fleet


def test_all_workers_leave_at_once_and_each_has_its_successor_when_it_has_ended() -> None:
    fleet = serving(2)
    tell(fleet, ReloadRequested())
    assert plan(fleet, 0.0) == [Terminate(1, REPLACED), Terminate(2, REPLACED)]
    tell(fleet, ToldToLeave(1, REPLACED), ToldToLeave(2, REPLACED))
    assert plan(fleet, 0.0) == []
    tell(fleet, Exited(2, 0, 0.0))
    assert plan(fleet, 0.0) == [Spawn(1, 2)]
    tell(fleet, Spawned(3, 1, 2), Exited(1, 0, 0.0), BecameReady(3), Spawned(4, 0, 2), BecameReady(4))
    assert plan(fleet, 0.0) == [FinishReload(2)]


def test_a_worker_that_does_not_leave_is_killed_soon() -> None:
    fleet = serving()
    tell(fleet, ReloadRequested(), ToldToLeave(1, REPLACED))
    assert next_deadline(fleet, 0.0) == 1.5
    assert plan(fleet, 1.5) == [Kill(1)]


def test_code_that_cannot_start_is_not_started_again_and_ends_nothing() -> None:
    fleet = started()
    tell(fleet, Exited(1, 3, 0.0))
    assert plan(fleet, 0.0) == []
    assert plan(fleet, 1e6) == []
    tell(fleet, ReloadRequested(), now=1e6)
    assert plan(fleet, 1e6) == [Spawn(0, 2)]


def test_new_code_that_cannot_start_does_not_bring_back_the_old_code() -> None:
    fleet = serving()
    tell(fleet, ReloadRequested(), ToldToLeave(1, REPLACED), Exited(1, 0, 0.0), Spawned(2, 0, 2), Exited(2, 3, 0.0))
    assert plan(fleet, 0.0) == [AbandonReload(2)]
    tell(fleet, ReloadAbandoned(2))
    assert plan(fleet, 1e6) == []
    assert (fleet.generation, fleet.rollout) == (2, None)


def test_the_next_change_starts_mended_code_at_once() -> None:
    fleet = spoilt()
    for number in range(3, 9):  # however often the code was wrong before
        tell(fleet, ReloadRequested())
        assert plan(fleet, 0.0) == [Spawn(0, number)]
        tell(fleet, Spawned(number, 0, number), Exited(number, 3, 0.0), ReloadAbandoned(number))
    tell(fleet, ReloadRequested(), Spawned(9, 0, 9), BecameReady(9))
    assert plan(fleet, 0.0) == [FinishReload(9)]


def test_a_change_ends_a_start_that_hangs() -> None:
    fleet = started()
    tell(fleet, ReloadRequested())
    assert plan(fleet, 0.0) == [Terminate(1, REPLACED), Spawn(0, 2)]


def test_code_that_takes_too_long_to_start_waits_for_a_change() -> None:
    fleet = started()
    assert plan(fleet, 60.0) == [Kill(1)]
    tell(fleet, WasKilled(1), Exited(1, -9, 0.0), now=60.0)
    assert plan(fleet, 1e6) == []


def test_a_worker_that_dies_after_it_has_served_is_replaced() -> None:
    fleet = serving()
    tell(fleet, Exited(1, -11, 0.0))
    assert plan(fleet, 0.0) == [Spawn(0, 1)]


def test_a_process_that_cannot_be_made_is_tried_again_without_a_change() -> None:
    fleet = serving()
    tell(fleet, ReloadRequested(), ToldToLeave(1, REPLACED), Exited(1, 0, 0.0), SpawnFailed(0, 2, 0.0))
    assert plan(fleet, 10.0) == [Spawn(0, 2)]


def test_one_worker_that_cannot_start_does_not_end_the_others() -> None:
    fleet = serving(2)
    tell(fleet, ReloadRequested(), ToldToLeave(1, REPLACED), ToldToLeave(2, REPLACED))
    tell(fleet, Exited(1, 0, 0.0), Exited(2, 0, 0.0), Spawned(3, 0, 2), Spawned(4, 1, 2), Exited(3, 3, 0.0))
    assert plan(fleet, 0.0) == [AbandonReload(2)]
    tell(fleet, ReloadAbandoned(2), BecameReady(4))
    assert [action for action in plan(fleet, 0.0) if isinstance(action, Spawn | Terminate | Kill)] == []
    tell(fleet, ReloadRequested())
    assert Terminate(4, REPLACED) in plan(fleet, 0.0)


def test_a_stop_ends_a_service_whose_code_cannot_start() -> None:
    fleet = spoilt()
    tell(fleet, StopRequested())
    assert plan(fleet, 0.0) == [RefuseConnections()]
    tell(fleet, ForceRequested())
    assert isinstance(plan(fleet, 0.0)[-1], Exit)


def test_a_reload_that_has_finished_leaves_nothing_to_do() -> None:
    fleet = serving()
    tell(fleet, ReloadRequested(), ToldToLeave(1, REPLACED), Exited(1, 0, 0.0), Spawned(2, 0, 2), BecameReady(2))
    tell(fleet, ReloadFinished(2))
    assert plan(fleet, 0.0) == []


def test_no_other_supervisor_takes_over() -> None:
    refused = Refusal("ignored, with --reload a new supervisor might never be ready")
    assert decide(serving(), Command.UPGRADE) == refused
