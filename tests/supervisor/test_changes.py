"""How the fleet changes while it serves: reloads, resizes, replacements, templates. One sentence at a time."""

import pytest

from corehttp.errors import ExitCode
from corehttp.ipc.messages import LeaveReason
from corehttp.supervisor.actions import (
    AbandonReload,
    CloseSlot,
    Dump,
    Exit,
    FinishReload,
    Kill,
    LoadTemplate,
    OpenSlot,
    RefuseConnections,
    Rescue,
    RetireTemplate,
    Spawn,
    Steer,
    Terminate,
)
from corehttp.supervisor.deadlines import next_deadline
from corehttp.supervisor.events import (
    Beat,
    BecameReady,
    DrainFinished,
    Exited,
    FleetEvent,
    HandedOn,
    Refusing,
    ReloadAbandoned,
    ReloadFinished,
    ReloadRequested,
    Rescued,
    Resized,
    RetireRequested,
    SlotClosed,
    SlotFailed,
    SlotOpened,
    Spawned,
    SpawnFailed,
    Steered,
    StoppedAccepting,
    StopRequested,
    TemplateGone,
    TemplateReady,
    TemplateRetired,
    TemplateStarted,
    ToldToLeave,
    WasDumped,
    WasKilled,
    WasLate,
)
from corehttp.supervisor.fleet import Fleet, FleetLimits, Strategy
from corehttp.supervisor.observe import observe
from corehttp.supervisor.plan import plan

LIMITS = FleetLimits(graceful=30.0, lifespan=10.0, startup=60.0, healthcheck=30.0, settle=1.0, margin=1.0)
NOBODY = frozenset[int]()
STOP, REPLACED, CLOSES = LeaveReason.STOP, LeaveReason.REPLACED, LeaveReason.SLOT_CLOSES


def tell(fleet: Fleet, *events: FleetEvent, now: float = 0.0) -> None:
    for event in events:
        observe(fleet, event, now)


def serving(size: int = 2, **details: object) -> Fleet:
    """A fleet whose workers 1 … size are ready since time 0."""
    fleet = Fleet(size, LIMITS, **details)  # type: ignore[arg-type]
    for index in range(size):
        tell(fleet, Spawned(index + 1, index, 1), BecameReady(index + 1))
    return fleet


def preloading(size: int = 1) -> Fleet:
    """The same, forked from a template."""
    fleet = Fleet(size, LIMITS, preload=True)
    tell(fleet, TemplateStarted(1), TemplateReady(1))
    for index in range(size):
        tell(fleet, Spawned(index + 1, index, 1), BecameReady(index + 1))
    assert plan(fleet, 0.0) == []
    return fleet


# Reload.


def test_a_reload_goes_slot_by_slot() -> None:
    fleet = serving(2)
    tell(fleet, ReloadRequested())
    assert plan(fleet, 0.0) == [Spawn(0, 2)]
    tell(fleet, Spawned(3, 0, 2))
    assert plan(fleet, 0.0) == []
    tell(fleet, BecameReady(3))
    assert plan(fleet, 0.0) == [Terminate(1, REPLACED), Spawn(1, 2)]
    tell(fleet, ToldToLeave(1, REPLACED), Spawned(4, 1, 2), BecameReady(4))
    assert plan(fleet, 0.0) == [Terminate(2, REPLACED)]
    tell(fleet, ToldToLeave(2, REPLACED), StoppedAccepting(1), StoppedAccepting(2))
    assert plan(fleet, 0.0) == [FinishReload(2)]
    tell(fleet, ReloadFinished(2))
    assert plan(fleet, 0.0) == []


@pytest.mark.parametrize(
    "last", [StoppedAccepting(2), DrainFinished(2), Exited(2, 0, 0.0)], ids=lambda event: type(event).__name__
)
def test_a_reload_is_not_over_while_an_old_worker_may_still_accept(last: FleetEvent) -> None:
    fleet = serving(2)
    tell(fleet, ReloadRequested(), Spawned(3, 0, 2), BecameReady(3), ToldToLeave(1, REPLACED), StoppedAccepting(1))
    tell(fleet, Spawned(4, 1, 2), BecameReady(4), ToldToLeave(2, REPLACED))
    assert plan(fleet, 0.0) == []
    tell(fleet, last)
    assert plan(fleet, 0.0) == [FinishReload(2)]


def test_a_reload_takes_as_many_slots_at_once_as_it_may() -> None:
    fleet = serving(3, parallel=2)
    tell(fleet, ReloadRequested())
    assert plan(fleet, 0.0) == [Spawn(0, 2), Spawn(1, 2)]


def test_an_old_worker_that_still_drains_does_not_hold_up_the_reload() -> None:
    fleet = serving(2)
    tell(fleet, ReloadRequested(), Spawned(3, 0, 2), BecameReady(3), ToldToLeave(1, REPLACED))
    assert plan(fleet, 0.0) == [Spawn(1, 2)]


def test_stop_first_makes_room_before_it_starts_the_successor() -> None:
    fleet = serving(2, strategy=Strategy.STOP_FIRST)
    tell(fleet, ReloadRequested())
    assert plan(fleet, 0.0) == [Terminate(1, REPLACED)]
    tell(fleet, ToldToLeave(1, REPLACED), Steered(frozenset({0})))
    assert plan(fleet, 0.0) == [Rescue(frozenset({0}))]
    tell(fleet, Rescued(frozenset({0})))
    assert plan(fleet, 0.0) == []
    tell(fleet, Exited(1, 0, 0.0))
    assert plan(fleet, 0.0) == [Spawn(0, 2)]


@pytest.mark.parametrize(
    "failure",
    [
        (Spawned(3, 0, 2), Exited(3, 3, 0.0)),
        (Spawned(3, 0, 2), WasKilled(3)),
        (Spawned(3, 0, 2), BecameReady(3), Exited(3, -11, 0.0)),
        (SpawnFailed(0, 2, 0.0),),
    ],
    ids=["cannot start", "starts too slowly", "crashes", "no process to be had"],
)
def test_the_first_failure_ends_a_reload(failure: tuple[FleetEvent, ...]) -> None:
    fleet = serving(2)
    tell(fleet, ReloadRequested(), *failure)
    assert plan(fleet, 0.0) == [AbandonReload(2)]
    tell(fleet, ReloadAbandoned(2))
    assert plan(fleet, 0.0) == [], "the old workers are not touched"


def test_a_failed_reload_leaves_no_mark_on_a_slot_whose_worker_lives() -> None:
    fleet = serving(1)
    tell(fleet, ReloadRequested(), Spawned(2, 0, 2), Exited(2, 3, 0.0), ReloadAbandoned(2))
    assert fleet.slots[0].failures == 0


def test_after_a_failure_midway_new_workers_stay_and_the_empty_slot_gets_the_old_generation() -> None:
    fleet = serving(2, strategy=Strategy.STOP_FIRST)
    tell(fleet, ReloadRequested(), ToldToLeave(1, REPLACED), Exited(1, 0, 0.0), Spawned(3, 0, 2), BecameReady(3))
    tell(fleet, ToldToLeave(2, REPLACED), Exited(2, 0, 0.0), Spawned(4, 1, 2), Exited(4, 3, 0.0), ReloadAbandoned(2))
    assert Spawn(1, 1) in plan(fleet, 0.0)
    assert Terminate(3, REPLACED) not in plan(fleet, 0.0)


def test_the_others_that_were_starting_leave_when_a_reload_fails() -> None:
    fleet = serving(2, parallel=2)
    tell(fleet, ReloadRequested(), Spawned(3, 0, 2), Spawned(4, 1, 2), Exited(3, 3, 0.0), ReloadAbandoned(2))
    assert plan(fleet, 0.0) == [Terminate(4, REPLACED)]


def test_a_second_reload_takes_the_place_of_one_that_is_under_way() -> None:
    fleet = serving(1)
    tell(fleet, ReloadRequested(), Spawned(2, 0, 2), ReloadRequested())
    assert plan(fleet, 0.0) == [Terminate(2, REPLACED), Spawn(0, 3)]
    tell(fleet, ToldToLeave(2, REPLACED), Spawned(3, 0, 3), Exited(2, -15, 0.0))
    assert plan(fleet, 0.0) == [], "the one that was told to end has not failed"


def test_a_reload_after_a_failed_one_is_a_new_generation() -> None:
    fleet = serving(1)
    tell(fleet, ReloadRequested(), Spawned(2, 0, 2), Exited(2, 3, 0.0), ReloadAbandoned(2), ReloadRequested())
    assert plan(fleet, 0.0) == [Spawn(0, 3)]


def test_a_worker_that_crashes_during_a_reload_is_replaced_by_a_new_one() -> None:
    fleet = serving(2)
    tell(fleet, ReloadRequested(), Spawned(3, 0, 2), Exited(2, -9, 0.0))
    assert Spawn(1, 2) in plan(fleet, 0.0)


def test_a_reload_before_the_service_is_complete_starts_it_anew() -> None:
    fleet = Fleet(1, LIMITS)
    tell(fleet, Spawned(1, 0, 1), ReloadRequested())
    assert plan(fleet, 0.0) == [Terminate(1, REPLACED), Spawn(0, 2)]
    tell(fleet, ToldToLeave(1, REPLACED), Spawned(2, 0, 2), Exited(1, -15, 0.0), Exited(2, 3, 0.0))
    assert plan(fleet, 0.0) == [RefuseConnections()], "nothing serves that could be kept"


def test_a_stop_in_the_midst_of_a_reload_is_acted_on_at_once() -> None:
    fleet = serving(1)
    tell(fleet, ReloadRequested(), Spawned(2, 0, 2), StopRequested(), Refusing())
    assert plan(fleet, 0.0) == [Terminate(1, STOP), Terminate(2, STOP)]


# Resize.


def test_growing_opens_slots_one_after_the_other() -> None:
    fleet = serving(1)
    tell(fleet, Resized(3))
    assert plan(fleet, 0.0) == [OpenSlot(1)]
    tell(fleet, SlotOpened(1))
    assert plan(fleet, 0.0) == [OpenSlot(2), Spawn(1, 1)]


def test_a_slot_that_cannot_be_had_is_tried_again_later() -> None:
    fleet = serving(1)
    tell(fleet, Resized(2), SlotFailed(1, 0.0), now=5.0)
    assert plan(fleet, 5.0) == []
    assert next_deadline(fleet, 5.0) == 5.5
    assert plan(fleet, 5.5) == [OpenSlot(1)]


def test_shrinking_steers_clients_away_before_the_worker_leaves() -> None:
    fleet = serving(2)
    tell(fleet, Resized(1))
    assert plan(fleet, 5.0) == [Steer(frozenset({1}))]
    tell(fleet, Steered(frozenset({1})), now=5.0)
    assert plan(fleet, 5.9) == []
    assert next_deadline(fleet, 5.0) == 6.0
    assert plan(fleet, 6.0) == [Terminate(2, CLOSES)]
    tell(fleet, ToldToLeave(2, CLOSES), Rescued(frozenset({1})), now=6.0)
    assert plan(fleet, 6.0) == []
    tell(fleet, StoppedAccepting(2), now=6.0)
    assert plan(fleet, 6.0) == [CloseSlot(1)]
    tell(fleet, SlotClosed(1), now=6.0)
    assert plan(fleet, 6.0) == [Steer(NOBODY)]


def test_a_slot_that_is_wanted_again_before_it_closed_gets_a_new_worker() -> None:
    fleet = serving(2)
    tell(fleet, Resized(1), Steered(frozenset({1})), ToldToLeave(2, CLOSES), StoppedAccepting(2), Resized(2))
    assert plan(fleet, 0.0) == [Spawn(1, 1), Rescue(frozenset({1}))]


def test_a_slot_that_closes_is_not_closed_over_those_who_wait_if_its_worker_crashed() -> None:
    fleet = serving(2)
    tell(fleet, Resized(1), Steered(frozenset({1})), Exited(2, -9, 0.0))
    assert plan(fleet, 0.0) == [Spawn(1, 1), Rescue(frozenset({1}))]


def test_the_only_worker_that_serves_does_not_leave_for_a_shrink() -> None:
    fleet = serving(2)
    tell(fleet, Resized(1), Exited(1, -9, 0.0))
    assert plan(fleet, 20.0) == [Spawn(0, 1), Rescue(frozenset({0}))]


def test_the_last_that_serves_does_not_leave_though_clients_were_steered_away_before() -> None:
    fleet = serving(2)
    tell(fleet, Resized(1), Steered(frozenset({1})), Exited(1, -9, 0.0))
    assert not [action for action in plan(fleet, 20.0) if isinstance(action, Terminate)]


def test_a_shrink_waits_for_the_worker_that_is_replaced_at_the_same_time() -> None:
    fleet = serving(2, strategy=Strategy.STOP_FIRST)
    tell(fleet, Resized(1), Steered(frozenset({1})), RetireRequested(1, "old"))
    assert plan(fleet, 6.0) == [Terminate(1, REPLACED)]
    tell(fleet, ToldToLeave(1, REPLACED), Exited(1, 0, 6.0), Spawned(3, 0, 1), BecameReady(3), now=6.0)
    assert Terminate(2, CLOSES) in plan(fleet, 7.0)


def test_there_is_always_a_worker() -> None:
    fleet = serving(1)
    tell(fleet, Resized(0))
    assert fleet.size == 1


# Steering.


def test_clients_are_steered_away_from_a_slot_without_a_worker() -> None:
    fleet = serving(2)
    tell(fleet, Exited(1, -9, 0.0), Spawned(3, 0, 1))
    assert plan(fleet, 0.0) == [Steer(frozenset({0})), Rescue(frozenset({0}))]
    tell(fleet, Steered(frozenset({0})), Rescued(frozenset({0})), BecameReady(3))
    assert plan(fleet, 0.0) == [Steer(NOBODY), Rescue(NOBODY)]


def test_with_nobody_who_serves_clients_wait_for_the_first_who_does_whoever_that_is() -> None:
    fleet = serving(2)
    tell(fleet, *[Exited(worker, -9, 0.0) for worker in (1, 2)], now=0.0)
    fleet.slots[1].failed_at = 20.0
    tell(fleet, Spawned(3, 0, 1))
    assert plan(fleet, 0.0) == []
    tell(fleet, BecameReady(3), now=1.0)
    assert plan(fleet, 1.0) == [Steer(frozenset({1})), Rescue(frozenset({1}))]
    tell(fleet, Steered(frozenset({1})), Rescued(frozenset({1})), now=1.0)
    assert plan(fleet, 1.0) == []


def test_a_worker_that_an_operator_has_told_to_leave_is_replaced_as_soon_as_it_accepts_no_more() -> None:
    fleet = serving(2)
    tell(fleet, StoppedAccepting(1), now=5.0)
    assert plan(fleet, 5.0) == [Spawn(0, 1), Steer(frozenset({0})), Rescue(frozenset({0}))]
    assert plan(fleet, 36.0)[-1] == Kill(1)


def test_a_stop_gives_away_once_more_what_waits_in_slots_without_a_worker_before_the_others_leave() -> None:
    fleet = serving(2)
    tell(fleet, Exited(1, -9, 0.0), Rescued(frozenset({0})), StopRequested())
    assert plan(fleet, 0.0) == [Rescue(NOBODY)]
    tell(fleet, Rescued(NOBODY))
    assert plan(fleet, 0.0) == [RefuseConnections()]


# Workers that hang, and those that want to go.


def test_a_worker_whose_loop_is_blocked_is_dumped_and_replaced_successor_first() -> None:
    fleet = serving(2)
    tell(fleet, Beat(1, 5.0), Beat(2, 30.0), now=30.0)
    assert plan(fleet, 34.9) == []
    assert next_deadline(fleet, 30.0) == 35.0
    assert plan(fleet, 35.0) == [Dump(1)]
    tell(fleet, WasDumped(1), now=35.0)
    assert plan(fleet, 35.0) == [Spawn(0, 1), Steer(frozenset({0})), Rescue(frozenset({0}))]
    tell(fleet, Spawned(3, 0, 1), BecameReady(3), now=36.0)
    assert plan(fleet, 36.0) == [Terminate(1, REPLACED)]
    tell(fleet, ToldToLeave(1, REPLACED), now=36.0)
    assert plan(fleet, 37.0) == [Kill(1)], "it has only the margin, for it hangs"


def test_a_worker_that_recovers_stays() -> None:
    fleet = serving(1)
    tell(fleet, WasDumped(1), now=30.0)
    tell(fleet, Beat(1, 31.0), now=31.0)
    assert plan(fleet, 31.0) == []


def test_one_that_recovers_after_it_was_told_to_leave_has_the_graceful_time() -> None:
    fleet = serving(1)
    tell(fleet, WasDumped(1), Spawned(2, 0, 1), BecameReady(2), ToldToLeave(1, REPLACED), now=30.0)
    tell(fleet, Beat(1, 30.5), Beat(2, 60.0), now=30.5)
    assert plan(fleet, 60.9) == []
    assert plan(fleet, 61.0) == [Kill(1)]


def test_no_more_than_one_worker_is_taken_for_hung_at_a_time() -> None:
    fleet = serving(2)
    assert plan(fleet, 30.0) == [Dump(1)]
    tell(fleet, WasDumped(1), now=30.0)
    assert not [action for action in plan(fleet, 30.0) if isinstance(action, Dump)]


def test_nobody_is_blamed_for_the_time_that_the_supervisor_was_late() -> None:
    fleet = serving(1)
    tell(fleet, WasLate(3600.0), now=3600.0)
    assert plan(fleet, 3600.0) == []
    assert next_deadline(fleet, 3600.0) == 3630.0


def test_a_slow_start_is_not_a_hang_but_has_its_own_limit() -> None:
    fleet = serving(1)
    tell(fleet, Exited(1, -9, 0.0), Spawned(2, 0, 1))
    assert plan(fleet, 59.0) == []
    assert plan(fleet, 60.0) == [Kill(2)]
    tell(fleet, WasKilled(2), Exited(2, -9, 0.0), now=60.0)
    assert fleet.slots[0].failures == 2


def test_a_worker_that_is_not_ready_in_time_at_the_first_boot_stops_everything() -> None:
    fleet = Fleet(1, LIMITS)
    tell(fleet, Spawned(1, 0, 1))
    assert plan(fleet, 60.0) == [Kill(1)]
    tell(fleet, WasKilled(1), Exited(1, -9, 0.0), Refusing(), SlotClosed(0), now=60.0)
    assert plan(fleet, 60.0) == [Exit(ExitCode.STARTUP)]


def test_a_worker_that_wants_to_go_is_replaced_one_at_a_time() -> None:
    fleet = serving(2)
    tell(fleet, RetireRequested(1, "old"), RetireRequested(2, "old"))
    assert plan(fleet, 0.0) == [Spawn(0, 1)]
    tell(fleet, Spawned(3, 0, 1))
    assert plan(fleet, 0.0) == []
    tell(fleet, BecameReady(3))
    assert plan(fleet, 0.0) == [Terminate(1, REPLACED), Spawn(1, 1)]


def test_a_worker_that_somebody_else_told_to_leave_is_replaced_and_has_not_failed() -> None:
    fleet = serving(1)
    tell(fleet, Exited(1, 0, 0.0))
    assert plan(fleet, 0.0) == [Spawn(0, 1)]
    assert fleet.slots[0].failures == 0


def test_a_late_supervisor_takes_no_recovered_service_for_a_crash_loop() -> None:
    fleet = serving(1)
    tell(fleet, Exited(1, -9, 0.0), Spawned(2, 0, 1), now=100.0)
    tell(fleet, BecameReady(2), now=101.0)
    tell(fleet, WasLate(200.0), now=305.0)
    assert plan(fleet, 305.0) == []


@pytest.mark.parametrize("seconds", [0.0, 500.0])
def test_a_late_supervisor_gives_a_start_its_whole_time(seconds: float) -> None:
    fleet = serving(1)
    tell(fleet, Exited(1, -9, 0.0), Spawned(2, 0, 1), now=10.0)
    tell(fleet, WasLate(seconds), now=30.0 + seconds)
    assert plan(fleet, 69.0 + seconds) == []
    assert plan(fleet, 70.0 + seconds) == [Kill(2)]


def test_a_shrink_can_complete_the_first_boot() -> None:
    fleet = Fleet(2, LIMITS)
    tell(fleet, Spawned(1, 0, 1), Spawned(2, 1, 1), BecameReady(1), Resized(1))
    assert fleet.booted
    assert Terminate(2, CLOSES) in plan(fleet, 0.0)


def test_a_worker_that_starts_beside_another_in_a_slot_that_closes_leaves_at_once() -> None:
    fleet = serving(3, parallel=3)
    tell(fleet, ReloadRequested(), Spawned(4, 0, 2), Spawned(5, 1, 2), Spawned(6, 2, 2), Resized(2))
    assert Terminate(6, CLOSES) in plan(fleet, 0.0)


def test_a_new_worker_that_wants_to_go_waits_for_the_end_of_the_reload() -> None:
    fleet = serving(2)
    tell(fleet, ReloadRequested(), Spawned(3, 0, 2), BecameReady(3), ToldToLeave(1, REPLACED), Exited(1, 0, 0.0))
    tell(fleet, RetireRequested(3, "old"))
    assert plan(fleet, 0.0) == [Spawn(1, 2)]


# The end, otherwise.


def test_with_a_delay_workers_are_told_first_and_connections_are_refused_later() -> None:
    fleet = serving(1)
    fleet.limits = FleetLimits(shutdown_delay=10.0, graceful=30.0, margin=1.0)
    tell(fleet, StopRequested(), now=5.0)
    assert plan(fleet, 5.0) == [Terminate(1, STOP)]
    tell(fleet, ToldToLeave(1, STOP), now=5.0)
    assert plan(fleet, 5.0) == []
    assert next_deadline(fleet, 5.0) == 15.0
    assert plan(fleet, 15.0) == [RefuseConnections()]
    tell(fleet, Refusing(), SlotClosed(0), now=15.0)
    assert plan(fleet, 45.9) == []
    assert plan(fleet, 46.0) == [Kill(1)]


def test_a_supervisor_that_has_handed_on_refuses_nobody() -> None:
    fleet = serving(1)
    tell(fleet, HandedOn())
    assert plan(fleet, 0.0) == [Terminate(1, REPLACED)]
    tell(fleet, ToldToLeave(1, REPLACED), Exited(1, 0, 0.0))
    assert plan(fleet, 0.0) == [CloseSlot(0)]
    tell(fleet, SlotClosed(0))
    assert plan(fleet, 0.0) == [Exit(ExitCode.CLEAN)]


# Templates.


def test_workers_are_forked_when_the_template_is_ready() -> None:
    fleet = Fleet(1, LIMITS, preload=True)
    assert plan(fleet, 0.0) == [LoadTemplate(1)]
    tell(fleet, TemplateStarted(1))
    assert plan(fleet, 0.0) == []
    tell(fleet, TemplateReady(1))
    assert plan(fleet, 0.0) == [Spawn(0, 1)]


def test_a_template_that_fails_at_the_first_boot_stops_everything() -> None:
    fleet = Fleet(1, LIMITS, preload=True)
    tell(fleet, TemplateStarted(1), TemplateGone(1, 0.0), Refusing(), SlotClosed(0))
    assert plan(fleet, 0.0) == [Exit(ExitCode.STARTUP)]


def test_a_reload_loads_a_new_template_and_keeps_the_old_one_until_it_has_succeeded() -> None:
    fleet = preloading()
    tell(fleet, ReloadRequested())
    assert plan(fleet, 0.0) == [LoadTemplate(2)]
    tell(fleet, TemplateStarted(2), TemplateReady(2), Spawned(2, 0, 2), BecameReady(2), ToldToLeave(1, REPLACED))
    tell(fleet, StoppedAccepting(1))
    assert plan(fleet, 0.0) == [FinishReload(2)]
    tell(fleet, ReloadFinished(2))
    assert plan(fleet, 0.0) == [RetireTemplate(1)]
    tell(fleet, TemplateRetired(1), TemplateGone(1, 0.0))
    assert plan(fleet, 0.0) == []


def test_a_template_that_cannot_load_ends_the_reload() -> None:
    fleet = preloading()
    tell(fleet, ReloadRequested(), TemplateStarted(2), TemplateGone(2, 0.0))
    assert plan(fleet, 0.0) == [AbandonReload(2)]
    tell(fleet, ReloadAbandoned(2))
    assert plan(fleet, 0.0) == []


def test_a_template_that_loads_too_slowly_ends_the_reload() -> None:
    fleet = preloading()
    tell(fleet, ReloadRequested(), TemplateStarted(2))
    tell(fleet, Beat(1, 60.0), now=60.0)
    assert plan(fleet, 60.0) == [RetireTemplate(2)]
    tell(fleet, TemplateRetired(2), now=60.0)
    assert plan(fleet, 60.0) == [AbandonReload(2)]


def test_a_template_that_dies_is_loaded_again_later_while_its_workers_serve() -> None:
    fleet = preloading()
    tell(fleet, TemplateGone(1, 0.0))
    assert plan(fleet, 0.0) == []
    assert next_deadline(fleet, 0.0) == 0.5
    assert plan(fleet, 0.5) == [LoadTemplate(1)]


def test_a_stop_ends_the_templates_too() -> None:
    fleet = preloading()
    tell(fleet, StopRequested(), Refusing())
    assert plan(fleet, 0.0) == [Terminate(1, STOP), RetireTemplate(1)]
