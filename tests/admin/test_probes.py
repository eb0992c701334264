"""What probes are answered, as a table."""

from typing import Any

import pytest

from corehttp.admin.content import Content
from corehttp.admin.probes import BLOCKED_AFTER, SILENT, ProbeResult, live, ready, started
from corehttp.supervisor import status


def overview(*states: str, service: str = "serving", **more: Any) -> dict[str, Any]:
    """What the supervisor says of a service whose workers are in these states."""
    status = {"state": service, "workers": [{"slot": slot, "state": state} for slot, state in enumerate(states, 1)]}
    silent = [0.1 for state in states if state == "serving"]
    common = {"complete": True, "silent": silent, "ready_min_workers": 1, "healthcheck": 30.0}
    return {"status": status, **common, **more}


@pytest.mark.parametrize(
    ("told", "silent", "ok", "reason"),
    [
        (overview("serving", "serving"), 0.0, True, "the supervisor answers"),
        (overview("serving", "serving"), 0.0, True, "workers whose event loop runs: 2 of 2"),
        (overview("starting", "starting", service="starting"), 0.0, True, "workers whose event loop runs: 0 of 0"),
        (overview("blocked", "serving", silent=[99.0, 0.1]), 0.0, True, "workers whose event loop runs: 1 of 2"),
        (overview("blocked", "blocked", silent=[99.0, 30.0]), 0.0, True, "workers whose event loop runs: 0 of 2"),
        (
            overview("blocked", "blocked", silent=[99.0, 30.1]),
            0.0,
            False,
            "all 2 workers have been blocked for more than 30 s",
        ),
        (overview("blocked", silent=[99.0], healthcheck=0.0), 0.0, True, "the supervisor answers"),
        (overview("leaving", service="stopping"), 0.0, True, "the supervisor answers"),
        (None, 0.0, True, "the supervisor answers"),
        (None, SILENT, False, "the supervisor has not answered for 10 s"),
        (overview("serving"), SILENT - 0.1, True, "the supervisor answers"),
        (overview("serving"), SILENT, False, "the supervisor has not answered for 10 s"),
    ],
)
def test_a_service_is_alive_while_a_restart_would_not_help(
    told: Content | None, silent: float, ok: bool, reason: str
) -> None:
    check(live(told, silent), ok, reason)


@pytest.mark.parametrize(
    ("told", "silent", "ok", "reason"),
    [
        (overview("serving", "starting"), 0.0, True, "workers that serve: 1, needed: 1 (--ready-min-workers)"),
        (overview("serving", "blocked", ready_min_workers=2), 0.0, False, "workers that serve: 1, needed: 2"),
        (overview("serving", "paused", ready_min_workers=2), 0.0, False, "workers that serve: 1, needed: 2"),
        (overview("serving", "leaving", service="reloading"), 0.0, True, "the service is reloading"),
        (overview("serving", "serving", service="stopping"), 0.0, False, "the service is stopping"),
        (overview("serving", service="starting"), 0.0, True, "the service is starting"),
        (overview("starting", service="starting"), 0.0, False, "workers that serve: 0, needed: 1"),
        (overview(), 0.0, False, "workers that serve: 0, needed: 1"),
        (overview("serving"), 3.0, True, "the service is serving"),
        (overview("serving"), SILENT, False, "the supervisor has not answered for 10.0 s"),
        (None, 0.5, False, "the supervisor has not answered for 0.5 s"),
    ],
)
def test_a_service_is_ready_while_enough_workers_serve_and_it_does_not_stop(
    told: Content | None, silent: float, ok: bool, reason: str
) -> None:
    check(ready(told, silent), ok, reason)


@pytest.mark.parametrize(
    ("told", "ok", "reason"),
    [
        (overview("serving"), True, "all workers have been ready"),
        (overview("starting", service="reloading"), True, "all workers have been ready"),
        (
            overview("serving", "starting", service="starting", complete=False),
            False,
            "not all workers have been ready yet",
        ),
        (None, False, "the supervisor has not answered for 0.0 s"),
    ],
)
def test_a_service_has_started_once_all_workers_were_ready(told: Content | None, ok: bool, reason: str) -> None:
    check(started(told, 0.0), ok, reason)


@pytest.mark.parametrize("judge", [live, ready, started])
@pytest.mark.parametrize("told", [{}, {"status": 5}, {"status": {"workers": 5}, "silent": 5, "healthcheck": "x"}])
def test_what_makes_no_sense_is_no_reason_to_fail_in_another_way(judge: Any, told: dict[str, object]) -> None:
    assert isinstance(judge(told, 0.0), ProbeResult)


def check(verdict: ProbeResult, ok: bool, reason: str) -> None:
    assert verdict.ok is ok
    assert any(line.startswith(reason) for line in verdict.reasons), verdict.reasons


def test_an_event_loop_counts_as_blocked_when_the_status_says_so() -> None:
    assert BLOCKED_AFTER == status.BLOCKED_AFTER
