"""The supervisor's policy, one sentence at a time. Time is a number; there is no process."""

import pytest

from corehttp.errors import ExitCode
from corehttp.ipc.messages import LeaveReason
from corehttp.moments import NEVER
from corehttp.supervisor.actions import CloseSlot, Exit, Kill, RefuseConnections, Rescue, Spawn, Steer, Terminate
from corehttp.supervisor.deadlines import backoff, next_deadline
from corehttp.supervisor.events import (
    BecameReady,
    DrainFinished,
    Exited,
    FleetEvent,
    ForceRequested,
    Refusing,
    ReloadRequested,
    SlotClosed,
    Spawned,
    SpawnFailed,
    StoppedAccepting,
    StopRequested,
    ToldToLeave,
    WasKilled,
)
from corehttp.supervisor.fleet import Fleet, FleetLimits, Stop, WorkerPhase
from corehttp.supervisor.observe import observe
from corehttp.supervisor.plan import plan

LIMITS = FleetLimits(graceful=30.0, lifespan=10.0, exit=6.0, startup=0.0, healthcheck=0.0, margin=1.0)
AWAY = Steer(frozenset({0}))  # new clients do without the first worker for the moment
RESCUE = Rescue(frozenset({0}))  # and those that wait for it are given to others
STOP, REPLACED = LeaveReason.STOP, LeaveReason.REPLACED


def tell(fleet: Fleet, *events: FleetEvent, now: float = 0.0) -> None:
    for event in events:
        observe(fleet, event, now)


def serving(size: int = 2, limits: FleetLimits = LIMITS) -> Fleet:
    """A fleet whose workers 1 … size are ready since time 0."""
    fleet = Fleet(size, limits)
    for index in range(size):
        tell(fleet, Spawned(index + 1, index, 1), BecameReady(index + 1))
    return fleet


def test_every_slot_gets_a_worker_at_the_start() -> None:
    assert plan(Fleet(3, LIMITS), 0.0) == [Spawn(0, 1), Spawn(1, 1), Spawn(2, 1)]


def test_asked_twice_the_plan_is_the_same() -> None:
    fleet = Fleet(2, LIMITS)
    assert plan(fleet, 0.0) == plan(fleet, 0.0)


def test_a_fleet_that_serves_needs_nothing_and_has_no_deadline() -> None:
    fleet = serving()
    assert plan(fleet, 1e6) == []
    assert next_deadline(fleet, 1.0) == NEVER


def test_a_worker_that_starts_is_waited_for_without_a_limit() -> None:
    fleet = Fleet(1, LIMITS)
    tell(fleet, Spawned(1, 0, 1))
    assert plan(fleet, 1e6) == []


def test_a_dead_worker_is_replaced_at_once() -> None:
    fleet = serving()
    tell(fleet, Exited(1, -9, 0.5), now=5.0)
    assert plan(fleet, 5.0) == [Spawn(0, 1), AWAY, RESCUE]


def test_the_second_death_in_a_row_waits_and_the_deadline_says_how_long() -> None:
    fleet = serving()
    tell(fleet, Exited(1, 1, 0.0), Spawned(3, 0, 1), BecameReady(3), Exited(3, 1, 0.0), now=5.0)
    assert plan(fleet, 5.0) == [AWAY, RESCUE]
    assert next_deadline(fleet, 5.0) == 5.5
    assert plan(fleet, 5.5) == [Spawn(0, 1), AWAY, RESCUE]


def test_a_good_life_makes_the_next_death_the_first_again() -> None:
    fleet = serving()
    for worker in range(3, 6):
        tell(fleet, Exited(worker - 2 if worker == 3 else worker - 1, 1, 0.0), Spawned(worker, 0, 1), now=1.0)
        tell(fleet, BecameReady(worker), now=1.0)
    assert fleet.slots[0].failures == 3
    tell(fleet, Exited(5, 1, 0.0), now=31.0)
    assert fleet.slots[0].failures == 1
    assert plan(fleet, 31.0) == [Spawn(0, 1), AWAY, RESCUE]


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0), (1, 0), (2, 0.5), (3, 1), (4, 2), (7, 16), (8, 30), (9, 30), (10_000, 30)]
)
def test_backoff_doubles_up_to_its_cap(failures: int, seconds: float) -> None:
    assert backoff(failures, LIMITS, 0.0) == seconds
    assert backoff(failures, LIMITS, 1.0) == seconds * 1.25


def test_a_process_that_cannot_be_had_is_tried_again_with_backoff() -> None:
    fleet = serving()
    tell(fleet, Exited(1, 1, 0.0), SpawnFailed(0, 1, 0.0), now=1.0)
    assert plan(fleet, 1.0) == [AWAY, RESCUE]
    assert plan(fleet, 1.5) == [Spawn(0, 1), AWAY, RESCUE]


def test_a_failure_at_the_first_boot_stops_everything_with_exit_code_3() -> None:
    fleet = Fleet(2, LIMITS)
    tell(fleet, Spawned(1, 0, 1), Spawned(2, 1, 1), BecameReady(2), Exited(1, 3, 0.0))
    assert plan(fleet, 0.0) == [RefuseConnections()]
    tell(fleet, Refusing())
    assert plan(fleet, 0.0) == [Terminate(2, STOP), CloseSlot(0)]
    tell(fleet, ToldToLeave(2, STOP), SlotClosed(0), DrainFinished(2), Exited(2, 0, 0.0))
    assert plan(fleet, 0.0) == [CloseSlot(1)]
    tell(fleet, SlotClosed(1))
    assert plan(fleet, 0.0) == [Exit(ExitCode.STARTUP)]


def test_a_stop_refuses_connections_before_any_worker_is_told() -> None:
    fleet = serving()
    tell(fleet, StopRequested())
    assert plan(fleet, 0.0) == [RefuseConnections()]
    tell(fleet, Refusing())
    assert plan(fleet, 0.0) == [Terminate(1, STOP), Terminate(2, STOP)]


def test_a_slot_is_closed_when_its_worker_has_emptied_the_queue() -> None:
    fleet = serving()
    tell(fleet, StopRequested(), Refusing(), ToldToLeave(1, STOP), ToldToLeave(2, STOP), StoppedAccepting(1))
    assert plan(fleet, 0.0) == [CloseSlot(0)]


def test_a_slot_whose_worker_hangs_is_closed_after_a_second() -> None:
    fleet = serving(1)
    tell(fleet, StopRequested(), Refusing(), ToldToLeave(1, STOP))
    assert plan(fleet, 0.9) == []
    assert next_deadline(fleet, 0.0) == 1.0
    assert plan(fleet, 1.0) == [CloseSlot(0)]


def test_a_worker_that_does_not_drain_in_time_is_killed_and_the_exit_code_says_so() -> None:
    fleet = serving(1)
    tell(fleet, StopRequested(), Refusing(), SlotClosed(0), ToldToLeave(1, STOP))
    assert plan(fleet, 30.9) == []
    assert plan(fleet, 31.0) == [Kill(1)]
    tell(fleet, WasKilled(1), now=31.0)
    assert plan(fleet, 31.0) == []
    tell(fleet, Exited(1, -9, 0.0), now=31.0)
    assert plan(fleet, 31.0) == [Exit(ExitCode.DRAIN)]


def test_a_drained_worker_gets_the_time_of_its_lifespan_shutdown_and_of_its_exit_handlers() -> None:
    fleet = serving(1)
    tell(fleet, StopRequested(), Refusing(), SlotClosed(0), ToldToLeave(1, STOP))
    tell(fleet, DrainFinished(1), now=30.0)
    assert plan(fleet, 46.9) == []
    assert plan(fleet, 47.0) == [Kill(1)]


def test_a_worker_that_had_to_cut_requests_makes_the_exit_code_5() -> None:
    fleet = serving(1)
    tell(fleet, StopRequested(), Refusing(), SlotClosed(0), ToldToLeave(1, STOP))
    tell(fleet, DrainFinished(1), Exited(1, ExitCode.DRAIN, 0.0))
    assert plan(fleet, 0.0) == [Exit(ExitCode.DRAIN)]


def test_a_clean_stop_ends_with_exit_code_0() -> None:
    fleet = serving(1)
    tell(fleet, StopRequested(), Refusing(), SlotClosed(0), ToldToLeave(1, STOP), DrainFinished(1), Exited(1, 0, 0.0))
    assert plan(fleet, 0.0) == [Exit(ExitCode.CLEAN)]


def test_no_worker_is_replaced_during_a_stop() -> None:
    fleet = serving()
    tell(fleet, StopRequested(), Refusing(), Exited(1, 1, 0.0))
    assert Spawn(0, 1) not in plan(fleet, 0.0)


def test_a_forced_stop_kills_at_once_and_ends_with_130() -> None:
    fleet = serving()
    tell(fleet, StopRequested(), Refusing(), ToldToLeave(1, STOP), ForceRequested())
    assert plan(fleet, 0.0) == [Kill(1), Kill(2)]
    tell(fleet, WasKilled(1), WasKilled(2))
    assert plan(fleet, 0.0) == []
    tell(fleet, Exited(1, -9, 0.0), Exited(2, -9, 0.0))
    assert plan(fleet, 0.0) == [Exit(ExitCode.FORCED)]


def test_a_stop_during_the_boot_is_clean() -> None:
    fleet = Fleet(1, LIMITS)
    tell(fleet, Spawned(1, 0, 1), StopRequested(), Refusing(), SlotClosed(0), ToldToLeave(1, STOP), Exited(1, -15, 0.0))
    assert plan(fleet, 0.0) == [Exit(ExitCode.CLEAN)]


def test_an_old_generation_stays_until_its_successor_is_ready() -> None:
    fleet = serving(1)
    tell(fleet, ReloadRequested())
    assert plan(fleet, 0.0) == [Spawn(0, 2)]
    tell(fleet, Spawned(2, 0, 2))
    assert plan(fleet, 0.0) == []
    tell(fleet, BecameReady(2))
    assert plan(fleet, 0.0) == [Terminate(1, REPLACED)]


def test_a_ready_message_that_crosses_the_terminate_does_not_bring_a_worker_back() -> None:
    fleet = Fleet(1, LIMITS)
    tell(fleet, Spawned(1, 0, 1), StopRequested(), Refusing(), ToldToLeave(1, STOP), BecameReady(1))
    assert fleet.workers[1].phase is WorkerPhase.DRAINING


def test_when_all_slots_keep_failing_everything_ends_with_exit_code_4() -> None:
    fleet = serving(2)
    tell(fleet, Exited(1, 1, 0.0), Exited(2, 1, 0.0), now=10.0)
    for second in range(11, 130, 5):
        tell(fleet, Spawned(second * 2, 0, 1), Spawned(second * 2 + 1, 1, 1), now=float(second))
        tell(fleet, BecameReady(second * 2), BecameReady(second * 2 + 1), now=float(second))
        assert Exit(ExitCode.CRASH_LOOP) not in plan(fleet, float(second))
        tell(fleet, Exited(second * 2, 1, 0.0), Exited(second * 2 + 1, 1, 0.0), now=float(second))
    assert plan(fleet, 130.0) == [Exit(ExitCode.CRASH_LOOP)]


def test_one_worker_that_lives_well_keeps_the_service_up() -> None:
    fleet = serving(2)
    for second in range(0, 1000, 5):
        tell(fleet, Exited(100 + second - 5 if second else 1, 1, 0.0), now=float(second))
        tell(fleet, Spawned(100 + second, 0, 1), BecameReady(100 + second), now=float(second))
        assert Exit(ExitCode.CRASH_LOOP) not in plan(fleet, float(second))


def test_a_crash_loop_limit_of_0_never_gives_up() -> None:
    fleet = serving(1, FleetLimits(startup=0.0, healthcheck=0.0, crash_loop=0.0))
    tell(fleet, Exited(1, 1, 0.0), now=1.0)
    assert plan(fleet, 1e9) == [Spawn(0, 1)]


def test_a_crash_loop_ends_the_workers_that_are_left_first() -> None:
    fleet = serving(1)
    tell(fleet, Exited(1, 1, 0.0), now=0.0)
    tell(fleet, Spawned(2, 0, 1), now=119.0)
    assert plan(fleet, 120.0) == [Kill(2)]
    tell(fleet, WasKilled(2), now=120.0)
    assert plan(fleet, 120.0) == []
    assert next_deadline(fleet, 120.0) == NEVER


def test_what_an_unknown_worker_says_is_ignored() -> None:
    fleet = serving(1)
    tell(fleet, BecameReady(9), DrainFinished(9), StoppedAccepting(9))
    tell(fleet, ToldToLeave(9, STOP), WasKilled(9), Exited(9, 0, 0.0))
    assert plan(fleet, 0.0) == []
    assert fleet.stop is Stop.NO
