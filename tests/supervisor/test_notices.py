"""What a service manager is told, and when: no clock, no socket."""

import pytest

from corehttp.moments import NEVER
from corehttp.supervisor.events import (
    BecameReady,
    ReloadAbandoned,
    ReloadFinished,
    ReloadRequested,
    SlotOpened,
    Spawned,
    StopRequested,
)
from corehttp.supervisor.fleet import Fleet
from corehttp.supervisor.notices import EXTEND_EVERY, STATUS_EVERY, Notices, ServiceFigures
from corehttp.supervisor.observe import observe

PID = 7
NOTHING = ServiceFigures(connections=0, successor=0)


@pytest.fixture
def fleet() -> Fleet:
    """A fleet of one worker that has just been started."""
    fleet = Fleet(1)
    observe(fleet, SlotOpened(0), 0.0)
    observe(fleet, Spawned(1, 0, 1), 0.0)
    return fleet


@pytest.fixture
def serving(fleet: Fleet) -> Fleet:
    observe(fleet, BecameReady(1), 0.0)
    return fleet


def told(notices: Notices, fleet: Fleet, now: float, figures: ServiceFigures = NOTHING) -> list[str]:
    return notices.next(fleet, figures, now).splitlines()


def begun(fleet: Fleet) -> Notices:
    """Return the notices of a service that was told to be ready."""
    notices = Notices(PID)
    notices.next(fleet, NOTHING, 1.0)
    return notices


def test_a_service_is_ready_when_all_workers_serve(fleet: Fleet) -> None:
    notices = Notices(PID)
    assert told(notices, fleet, 1.0) == ["STATUS=Starting: 0 of 1 workers ready"]
    observe(fleet, BecameReady(1), 2.0)
    assert told(notices, fleet, 2.0) == [
        *("READY=1", f"MAINPID={PID}"),
        "STATUS=Serving: 1 of 1 workers ready, 0 open connections",
    ]
    assert told(notices, fleet, 2.1) == []


def test_a_reload_is_told_with_its_time_and_its_end(serving: Fleet) -> None:
    notices = begun(serving)
    assert notices.reload_asked(5.25) == "RELOADING=1\nMONOTONIC_USEC=5250000"
    observe(serving, ReloadRequested(), 5.25)
    observe(serving, Spawned(2, 0, 2), 5.25)
    told(notices, serving, 5.3)
    observe(serving, BecameReady(2), 6.0)
    observe(serving, ReloadFinished(2), 6.0)
    assert told(notices, serving, 6.0)[:2] == ["READY=1", f"MAINPID={PID}"]


def test_a_reload_that_fails_or_is_refused_ends_for_the_manager_too(serving: Fleet) -> None:
    notices = begun(serving)
    notices.reload_asked(5.0)
    assert told(notices, serving, 5.0)[0] == "READY=1", "it was refused"
    notices.reload_asked(6.0)
    observe(serving, ReloadRequested(), 6.0)
    assert "READY=1" not in told(notices, serving, 6.0)
    observe(serving, ReloadAbandoned(2), 7.0)
    assert told(notices, serving, 7.0)[0] == "READY=1"


def test_a_reload_before_the_service_is_complete_is_a_part_of_its_start(fleet: Fleet) -> None:
    notices = Notices(PID)
    notices.next(fleet, NOTHING, 1.0)
    assert notices.reload_asked(2.0) == ""


def test_a_stop_asks_for_more_time_again_and_again(serving: Fleet) -> None:
    notices = begun(serving)
    observe(serving, StopRequested(), 10.0)
    assert told(notices, serving, 10.0, ServiceFigures(3, 0)) == [
        *("STOPPING=1", "EXTEND_TIMEOUT_USEC=15000000"),
        "STATUS=Stopping: 1 worker left, 3 open connections",
    ]
    assert notices.due() == 10.0 + EXTEND_EVERY
    assert told(notices, serving, 10.0 + EXTEND_EVERY) == ["EXTEND_TIMEOUT_USEC=15000000"]


def test_a_watchdog_hears_of_the_supervisor_in_time(serving: Fleet) -> None:
    notices = Notices(PID, watchdog=1.5)
    assert told(notices, serving, 1.0)[2] == "WATCHDOG=1"
    assert notices.due() == 2.5
    assert told(notices, serving, 2.4) == []
    assert told(notices, serving, 2.5) == ["WATCHDOG=1"]


def test_numbers_alone_are_told_now_and_then(serving: Fleet) -> None:
    notices = begun(serving)
    assert told(notices, serving, 2.0, ServiceFigures(5, 0)) == []
    later = 1.0 + STATUS_EVERY
    assert notices.due() == later
    assert told(notices, serving, later, ServiceFigures(5, 0)) == [
        "STATUS=Serving: 1 of 1 workers ready, 5 open connections"
    ]
    assert told(notices, serving, later + STATUS_EVERY, ServiceFigures(5, 0)) == []


def test_a_supervisor_that_was_succeeded_names_its_successor_and_falls_silent(serving: Fleet) -> None:
    notices = begun(serving)
    left = ServiceFigures(connections=0, successor=99)
    assert told(notices, serving, 2.0, left) == ["MAINPID=99"]
    observe(serving, StopRequested(), 3.0)
    assert told(notices, serving, 3.0, left) == []
    assert notices.due() == NEVER
