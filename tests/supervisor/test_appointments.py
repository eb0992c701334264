"""Which worker leads, and when another one is named."""

from corehttp.ipc.messages import LeaveReason
from corehttp.supervisor.actions import Appoint, Depose
from corehttp.supervisor.appointments import appointments
from corehttp.supervisor.events import (
    Appointed,
    BecameReady,
    Deposed,
    Exited,
    FleetEvent,
    LeadUntold,
    ReloadRequested,
    Spawned,
    StoppedLeading,
    ToldToLeave,
    WasKilled,
)
from corehttp.supervisor.fleet import Fleet
from corehttp.supervisor.observe import observe


def fleet(*events: FleetEvent) -> Fleet:
    """A fleet of two slots, after these events, one second apart."""
    known = Fleet(2)
    happen(known, *events)
    return known


def happen(known: Fleet, *events: FleetEvent) -> None:
    for event in events:
        observe(known, event, 1.0)


STARTED = (Spawned(1, 0, 1), Spawned(2, 1, 1))
SERVING = (*STARTED, BecameReady(1), BecameReady(2))
LED = (*SERVING, Appointed(1))
# A reload has brought in a worker of the second generation.
SUCCEEDED = (*LED, ReloadRequested(), Spawned(3, 0, 2), BecameReady(3))


def test_nobody_leads_before_somebody_serves() -> None:
    assert appointments(fleet(*STARTED), 1.0) == []


def test_the_first_that_serves_leads_and_stays() -> None:
    known = Fleet(2)
    for event in (*STARTED, BecameReady(2)):
        observe(known, event, 1.0)
    assert appointments(known, 1.0) == [Appoint(2)]
    observe(known, Appointed(2), 1.0)
    observe(known, BecameReady(1), 2.0)
    assert appointments(known, 2.0) == []


def test_of_two_that_serve_equally_long_the_older_process_leads() -> None:
    assert appointments(fleet(*SERVING), 1.0) == [Appoint(1)]


def test_a_worker_of_a_newer_generation_takes_over_when_the_leader_has_stepped_down() -> None:
    known = fleet(*SUCCEEDED)
    assert appointments(known, 1.0) == [Depose(1)]
    happen(known, Deposed(1))
    assert appointments(known, 1.0) == []
    happen(known, StoppedLeading(1))
    assert appointments(known, 1.0) == [Appoint(3)]


def test_a_leader_that_does_not_step_down_is_succeeded_when_it_is_dead_and_not_when_it_is_killed() -> None:
    known = fleet(*SUCCEEDED, Deposed(1), ToldToLeave(1, LeaveReason.REPLACED), WasKilled(1))
    assert appointments(known, 1e6) == []
    happen(known, Exited(1, -9, 0.0))
    assert appointments(known, 1.0) == [Appoint(3)]


def test_a_leader_that_dies_is_succeeded_at_once() -> None:
    assert appointments(fleet(*LED, Exited(1, -11, 0.0)), 1.0) == [Appoint(2)]


def test_a_leader_that_leaves_is_told_to_step_down_even_if_nobody_succeeds_it() -> None:
    known = fleet(Spawned(1, 0, 1), BecameReady(1), Appointed(1), ToldToLeave(1, LeaveReason.STOP))
    assert appointments(known, 1.0) == [Depose(1)]
    happen(known, Deposed(1), StoppedLeading(1))
    assert appointments(known, 1.0) == []


def test_what_another_worker_says_about_leading_is_ignored() -> None:
    known = fleet(*SUCCEEDED, Deposed(1), StoppedLeading(2))
    assert (known.leader, known.deposed) == (1, True)


def test_while_the_supervisor_before_this_one_lives_nobody_leads() -> None:
    known = fleet(*SERVING)
    known.has_elder = True
    assert appointments(known, 1.0) == []
    known.has_elder = False
    assert appointments(known, 1.0) == [Appoint(1)]


def test_what_could_not_be_told_is_told_again_a_second_later() -> None:
    known = fleet(*SERVING, LeadUntold(1))
    assert appointments(known, 1.9) == []
    assert appointments(known, 2.0) == [Appoint(1)]
