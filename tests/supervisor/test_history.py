"""What operators are told of the past of a service."""

import pytest

from corehttp.ipc.counters import EXITS, ROOM, Counters, ServiceCounters
from corehttp.ipc.messages import LeaveReason
from corehttp.supervisor.events import Beat, BecameReady, FleetEvent, Spawned, ToldToLeave, WasDumped
from corehttp.supervisor.fleet import Fleet, WorkerPhase, WorkerRecord
from corehttp.supervisor.history import History, LastExit, Reload, exit_cause
from corehttp.supervisor.observe import observe

BEGUN = "it has begun 9 requests (--limit-max-requests)"


def worker(
    why: LeaveReason | None = None, *, retire: str | None = None, hung_at: float | None = None, late: bool = False
) -> WorkerRecord:
    return WorkerRecord(1, 0, 1, WorkerPhase.DRAINING, 0.0, why=why, retire=retire, hung_at=hung_at, late=late)


@pytest.mark.parametrize(
    ("record", "stopping", "out_of_memory", "cause"),
    [
        (worker(), False, False, "crash"),
        (worker(), True, False, "stop"),
        (worker(), False, True, "oom"),
        (worker(late=True), False, False, "timeout"),
        (worker(LeaveReason.REPLACED, hung_at=1.0), False, False, "hang"),
        (worker(LeaveReason.REPLACED), False, False, "reload"),
        (worker(LeaveReason.SLOT_CLOSES), False, False, "scale"),
        (worker(LeaveReason.STOP), True, False, "stop"),
        (
            worker(LeaveReason.REPLACED, retire=BEGUN),
            *2 * (False,),
            "max_requests",
        ),
        (worker(LeaveReason.REPLACED, retire="it is 9 s old (--worker-max-age)"), False, False, "max_age"),
        (worker(LeaveReason.REPLACED, retire="it holds 9 MiB of memory (--worker-max-rss)"), False, False, "max_rss"),
        (worker(LeaveReason.REPLACED, retire="an operator has asked for it"), False, False, "restart"),
        (worker(LeaveReason.REPLACED, retire="nothing can be said to it"), False, False, "fault"),
    ],
)
def test_why_a_worker_has_ended(record: WorkerRecord, stopping: bool, out_of_memory: bool, cause: str) -> None:
    assert exit_cause(record, stopping=stopping, out_of_memory=out_of_memory) == cause
    assert cause in EXITS, "it has a place on the scoreboard"


def ended_because(*events: FleetEvent, worker: int) -> str:
    """Why a worker of a fleet with one slot is said to have ended after these events."""
    fleet = Fleet(1)
    for event in (Spawned(1, 0, 1), BecameReady(1), *events):
        observe(fleet, event, 1.0)
    return exit_cause(fleet.workers[worker], stopping=False, out_of_memory=False)


def test_a_blocked_loop_that_runs_again_makes_no_end_a_reload() -> None:
    """Neither that of the worker itself once it is replaced, nor that of a successor which is not needed any more."""
    hung, replaced, runs = WasDumped(1), Spawned(2, 0, 1), Beat(1, 9.0)
    leave = ToldToLeave(1, LeaveReason.REPLACED)
    assert ended_because(hung, replaced, BecameReady(2), leave, runs, worker=1) == "hang"
    assert ended_because(hung, replaced, runs, ToldToLeave(2, LeaveReason.REPLACED), worker=2) == "hang"
    assert ended_because(hung, runs, leave, worker=1) == "reload"
    assert ended_because(Spawned(2, 0, 2), ToldToLeave(2, LeaveReason.REPLACED), worker=2) == "reload"


def test_reloads_are_counted_by_how_they_ended() -> None:
    history = History(0.0)
    history.reload_ended(ok=True, now=0.0)
    assert history.reload is None, "no reload was going on"
    history.reload_began(2, 1.0)
    history.reload_refused("a wrong port", 2.0)
    assert history.reload == Reload(2, 1.0)
    history.reload_began(3, 3.0)
    history.reload_ended(ok=True, now=4.0)
    history.reload_ended(ok=False, now=5.0)
    assert history.reload == Reload(3, 3.0, 4.0, ok=True)
    assert history.reloads == {True: 1, False: 2}
    history.reload_refused("a wrong port", 6.0)
    assert history.reload == Reload(0, 6.0, 6.0, ok=False, reason="a wrong port")


def test_starts_and_exits_are_those_of_a_slot() -> None:
    history = History(0.0)
    history.worker_began(1, 0, 1.0)
    history.worker_began(2, 1, 2.0)
    assert (history.began_at(1), history.began_at(3)) == (1.0, None)
    history.worker_ended(1, 0, "crash", "SIGKILL", 3.0)
    history.worker_began(3, 0, 4.0)
    assert history.starts == {0: 2, 1: 1}
    assert history.exits == {0: LastExit("crash", "SIGKILL", 3.0)}
    assert history.exit_causes == {"crash": 1}
    assert history.began_at(1) is None


def test_what_was_counted_is_shown_to_others() -> None:
    history = History(0.0)
    assert history.counters() == ServiceCounters()
    for worker, cause in enumerate(("crash", "oom", "crash")):
        history.worker_began(worker, worker % 2, 1.0)
        history.worker_ended(worker, worker % 2, cause, "SIGKILL", 2.0)
    history.reload_began(2, 3.0)
    history.reload_ended(ok=True, now=4.0)
    history.reload_began(3, 5.0)
    assert history.counters() == ServiceCounters({"crash": 2, "oom": 1}, 3, 1, 0, False, 4.0)
    history.reload_ended(ok=False, now=6.0, reason="a fault")
    assert history.counters() == ServiceCounters({"crash": 2, "oom": 1}, 3, 1, 1, True, 4.0)
    history.reload_refused("a wrong port", 7.0)
    assert history.counters().reloads_failed == 2


def test_errors_and_times_are_those_of_the_last_seconds() -> None:
    history = History(0.0)
    assert history.recent(1) is None
    for second in range(8):
        counters = Counters({("GET", 500): 10 * second, ("GET", 200): 1}, aborted={"client": 5 * second})
        history.count(1, 0, float(second), counters.pack().ljust(ROOM, b"\0"))
    found = history.recent(1)
    assert found is not None
    counters, seconds = found
    assert (counters.errors, counters.responses, counters.aborted["client"], seconds) == (50, 50, 25, 5.0)
    history.worker_ended(1, 0, "crash", "SIGKILL", 9.0)
    assert history.recent(1) is None


def test_a_rate_is_that_of_the_last_seconds() -> None:
    history = History(0.0)
    assert history.requests_per_second(1) is None
    history.count(1, 0, 0.0)
    assert history.requests_per_second(1) is None
    history.count(1, 50, 1.0)
    assert history.requests_per_second(1) == 50
    for second in range(2, 8):
        history.count(1, 50, float(second))
    assert history.requests_per_second(1) == 0
    history.count(1, 20, 8.0)
    assert history.requests_per_second(1) == 0, "a count that goes back is none"
    history.worker_ended(1, 0, "crash", "SIGKILL", 9.0)
    assert history.requests_per_second(1) is None
