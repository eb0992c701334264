"""What the operator is told of workers that died and of a stop: one line each."""

import logging
import random

import pytest

from corehttp.errors import ExitCode
from corehttp.supervisor.events import (
    BecameReady,
    Exited,
    FleetEvent,
    ForceRequested,
    HandedOn,
    Spawned,
    StopRequested,
    TemplateGone,
    TemplateReady,
    TemplateRetired,
    TemplateStarted,
)
from corehttp.supervisor.fleet import Fleet, FleetLimits
from corehttp.supervisor.observe import observe
from corehttp.supervisor.report import Report
from corehttp.supervisor.workers import Member
from tests.supervisor.simulated_world import SimulatedChannel, SimulatedWorld


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "corehttp.supervisor")


def serving(*events: FleetEvent) -> tuple[Fleet, Report]:
    """Two workers that serve, and what has happened to them since at second 100."""
    fleet = Fleet(2, FleetLimits(crash_loop=90.0))
    for index in range(2):
        observe(fleet, Spawned(index + 1, index, 1), 0.0)
        observe(fleet, BecameReady(index + 1), 0.0)
    for event in events:
        observe(fleet, event, 100.0)
    return fleet, Report(fleet, "http://a", 0.0)


def crashes(worker: int, slot: int) -> list[FleetEvent]:
    """Three deaths in a row."""
    again: list[FleetEvent] = [Spawned(worker, slot, 1), BecameReady(worker), Exited(worker, -9, 0.0)]
    return [Exited(slot + 1, -9, 0.0), *again, *again]


@pytest.mark.parametrize(
    ("events", "waiting", "line"),
    [
        ([Exited(1, -9, 0.0)], 0, "worker 1 starts again at once"),
        (crashes(3, 0), 0, "worker 1 starts again in 1.0 s"),
        (crashes(3, 0), 7, "worker 1 starts again in 1.0 s; connections that wait for it: 7, others take them"),
        (
            [*crashes(3, 0), Exited(2, -9, 0.0)],
            7,
            "worker 1 starts again in 1.0 s; connections that wait for it: 7, whoever is ready first takes them",
        ),
    ],
)
def test_when_a_dead_worker_starts_again_and_how_many_wait(
    caplog: pytest.LogCaptureFixture, events: list[FleetEvent], waiting: int, line: str
) -> None:
    _, report = serving(*events)
    report.starts_again(0, waiting, 100.0)
    assert [record.getMessage() for record in caplog.records] == [line]


def test_a_worker_that_is_killed_at_a_forced_end_is_not_called_late(caplog: pytest.LogCaptureFixture) -> None:
    fleet, report = serving(Spawned(3, 0, 1))
    member = Member(3, 0, 1, 103, SimulatedChannel(SimulatedWorld(random.Random(1), 2, 0.0)), 0)
    report.kill(member, 170.0)
    observe(fleet, ForceRequested(), 170.0)
    report.kill(member, 170.0)
    assert [record.getMessage() for record in caplog.records] == [
        "worker 1 (pid 103) was not ready after 70 s (--timeout-worker-startup): it is killed",
        "worker 1 (pid 103) is killed while starting, after 70.0 s",
    ]


@pytest.mark.parametrize(
    "events",
    [[], [StopRequested(), Exited(1, -9, 0.0)], [Exited(1, 0, 0.0)], [Exited(1, -9, 0.0), Spawned(3, 0, 1)]],
    ids=["it lives", "everything ends", "an operator has ended it", "it does already"],
)
def test_nothing_is_said_of_a_worker_that_need_not_start_again(
    caplog: pytest.LogCaptureFixture, events: list[FleetEvent]
) -> None:
    _, report = serving(*events)
    report.starts_again(0, 5, 100.0)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("event", "code", "cut", "level", "end"),
    [
        (StopRequested(), ExitCode.CLEAN, 0, "INFO", " s: 9 requests answered meanwhile, 0 cut; exit code 0"),
        (StopRequested(), ExitCode.DRAIN, 2, "WARNING", " s: 9 requests answered meanwhile, 2 cut; exit code 5"),
        (
            HandedOn(),
            ExitCode.CLEAN,
            0,
            "INFO",
            " s: 9 requests answered meanwhile, 0 cut; exit code 0; the new supervisor serves on",
        ),
    ],
)
def test_the_last_line_of_a_stop_sums_over_the_workers(
    caplog: pytest.LogCaptureFixture, event: FleetEvent, code: ExitCode, cut: int, level: str, end: str
) -> None:
    _, report = serving(event)
    report.account(4, 0)
    report.account(5, cut)
    report.stopped(code, 101.0)
    [record] = caplog.records
    assert record.levelname == level
    assert record.getMessage().startswith("stopped after ")
    assert record.getMessage().endswith(end)


def test_a_crash_loop_is_named_with_its_option(caplog: pytest.LogCaptureFixture) -> None:
    _, report = serving()
    report.stopped(ExitCode.CRASH_LOOP, 101.0)
    [record] = caplog.records
    assert record.getMessage() == "all workers kept dying for 90 s (--crash-loop-timeout): exit code 4"


def test_of_a_failed_start_only_the_cause_is_told(caplog: pytest.LogCaptureFixture) -> None:
    _, report = serving()
    report.stopped(ExitCode.STARTUP, 101.0)
    assert caplog.records == []


LATE = "the application was not loaded after 70 s (--timeout-worker-startup): its template is killed"


@pytest.mark.parametrize(
    ("events", "blamed", "lines"),
    [
        ([], False, ["the application's template was killed by SIGSEGV before the application was loaded"]),
        ([], True, ["why"]),
        ([TemplateReady(1)], False, ["the application's template was killed by SIGSEGV"]),
        ([TemplateReady(1), StopRequested()], False, []),
        ([TemplateRetired(1)], False, []),
        ([TemplateGone(1, 0.0)], False, []),
    ],
    ids=[
        "it has said nothing",
        "it has said why",
        "it was ready",
        "everything ends",
        "it was told to end",
        "it is known already",
    ],
)
def test_a_template_that_ends_by_itself_is_told_once(
    caplog: pytest.LogCaptureFixture, events: list[FleetEvent], blamed: bool, lines: list[str]
) -> None:
    _, report = serving(TemplateStarted(1), *events)
    if blamed:
        report.blame_template(1, "why", "")
    report.template_exit(1, "was killed by SIGSEGV")
    assert [record.getMessage() for record in caplog.records] == lines


@pytest.mark.parametrize(
    ("events", "passed", "lines"),
    [([], 70.0, [LATE]), ([], 1.0, []), ([TemplateReady(1)], 70.0, []), ([StopRequested()], 70.0, [])],
    ids=["it is late", "it is needed no more", "it was ready", "everything ends"],
)
def test_a_template_that_is_ended_because_it_is_late_is_told_with_the_option(
    caplog: pytest.LogCaptureFixture, events: list[FleetEvent], passed: float, lines: list[str]
) -> None:
    fleet, report = serving(TemplateStarted(1), *events)
    report.retire_template(1, 100.0 + passed)
    observe(fleet, TemplateRetired(1), 100.0 + passed)
    report.template_exit(1, "was killed by SIGKILL")
    assert [record.getMessage() for record in caplog.records] == lines
