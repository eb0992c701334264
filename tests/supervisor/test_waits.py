"""When an operator's wait is over, and how."""

import pytest

from corehttp.ipc.messages import LeaveReason
from corehttp.supervisor.events import (
    BecameReady,
    Exited,
    FleetEvent,
    Resized,
    RestartRequested,
    SlotOpened,
    Spawned,
    StopRequested,
    ToldToLeave,
)
from corehttp.supervisor.fleet import Fleet
from corehttp.supervisor.history import History
from corehttp.supervisor.observe import observe
from corehttp.supervisor.waits import Done, Failed, ReloadWait, RestartWait, ScaleWait, Wait

SINCE = 100.0


class Life:
    """A fleet of two workers that serve, and its history."""

    def __init__(self) -> None:
        self.fleet, self.history = Fleet(2), History(0.0)
        self.see(Spawned(1, 0, 1), Spawned(2, 1, 1), BecameReady(1), BecameReady(2), now=1.0)

    def see(self, *events: FleetEvent, now: float = SINCE + 1) -> None:
        for event in events:
            observe(self.fleet, event, now)

    def outcome(self, wait: Wait) -> Done | Failed | None:
        return wait.outcome(self.fleet, self.history)

    def text(self, wait: Wait) -> str:
        return wait.progress(self.fleet).text


@pytest.fixture
def life() -> Life:
    return Life()


def test_a_reload_ends_as_the_history_says(life: Life) -> None:
    life.history.reload_began(2, 0.0)
    wait = ReloadWait(2)
    assert life.outcome(wait) is None
    assert life.text(wait) == "0 of 2 are of generation 2"
    life.see(Spawned(3, 0, 2), BecameReady(3))
    assert life.text(wait) == "1 of 2 are of generation 2"
    life.history.reload_ended(ok=True, now=1.0)
    assert life.outcome(wait) == Done("all workers are of generation 2")


def test_a_reload_fails_for_its_reason_or_for_another_one(life: Life) -> None:
    life.history.reload_began(2, 0.0)
    life.history.reload_ended(ok=False, now=1.0, reason="no such module")
    assert life.outcome(ReloadWait(2)) == Failed("no such module")
    life.history.reload_began(3, 2.0)
    assert life.outcome(ReloadWait(2)) == Failed("another reload has begun")
    assert life.outcome(ReloadWait(3)) is None
    life.see(StopRequested())
    assert life.outcome(ReloadWait(3)) == Failed("the service stops")


def test_more_workers_are_there_once_they_serve(life: Life) -> None:
    wait = ScaleWait(3, SINCE)
    life.see(Resized(3), SlotOpened(2), Spawned(3, 2, 1))
    assert (life.outcome(wait), life.text(wait)) == (None, "2 of 3 serve")
    life.see(BecameReady(3))
    assert life.outcome(wait) == Done("3 workers")


def test_fewer_workers_are_there_once_the_others_have_ended(life: Life) -> None:
    wait = ScaleWait(1, SINCE)
    life.see(Resized(1), ToldToLeave(2, LeaveReason.SLOT_CLOSES))
    assert (life.outcome(wait), life.text(wait)) == (None, "1 of 1 serve, 1 to leave")
    life.see(Exited(2, 0, 0.0))
    assert life.outcome(wait) == Done("1 worker")


def test_a_worker_that_fails_ends_the_wait_and_one_that_failed_before_does_not(life: Life) -> None:
    wait = ScaleWait(3, SINCE)
    life.see(Resized(3), SlotOpened(2), Spawned(3, 2, 1), Exited(3, 3, 0.0), now=SINCE - 1)
    assert life.outcome(wait) is None
    life.see(Spawned(4, 2, 1), Exited(4, 3, 0.0))
    life.history.worker_ended(4, 2, "crash", "exit 3", 0.0)
    assert life.outcome(wait) == Failed(
        "worker 3 cannot be started (exit 3); the log says why. The service tries it again"
    )


def test_another_number_and_a_stop_end_the_wait(life: Life) -> None:
    life.see(Resized(4))
    assert life.outcome(ScaleWait(3, SINCE)) == Failed("the number of workers was changed again, to 4")
    life.see(StopRequested())
    assert life.outcome(ScaleWait(4, SINCE)) == Failed("the service stops")
    assert life.outcome(RestartWait({1: 0}, SINCE)) == Failed("the service stops")


def test_a_worker_is_replaced_when_its_successor_serves_and_it_leaves(life: Life) -> None:
    wait = RestartWait({1: 0, 2: 1}, SINCE)
    life.see(RestartRequested((1, 2)), Spawned(3, 0, 1), BecameReady(3))
    assert (life.outcome(wait), life.text(wait)) == (None, "0 of 2 are replaced")
    life.see(ToldToLeave(1, LeaveReason.REPLACED))
    assert (life.outcome(wait), life.text(wait)) == (None, "1 of 2 are replaced")
    life.see(Exited(1, 0, 0.0), Spawned(4, 1, 1), BecameReady(4), ToldToLeave(2, LeaveReason.REPLACED))
    assert life.outcome(wait) == Done("2 workers replaced")


def test_a_successor_that_fails_or_is_not_wanted_ends_the_wait(life: Life) -> None:
    life.see(RestartRequested((1,)), Spawned(3, 0, 1), Exited(3, 3, 0.0))
    assert life.outcome(RestartWait({1: 0}, SINCE)) == Failed(
        "worker 1 cannot be started; the log says why. The service tries it again"
    )
    life.see(Resized(1))
    assert life.outcome(RestartWait({2: 1}, SINCE)) == Failed("worker 2 is not wanted any more")
