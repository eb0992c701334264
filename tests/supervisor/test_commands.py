"""What follows from each command in each state of the fleet, and what the operator reads of it."""

import logging
import signal

import pytest

from corehttp.supervisor.commands import MOST_WORKERS, Command, Decision, Refusal, Restart, Scale, decide
from corehttp.supervisor.events import (
    BecameReady,
    Exited,
    FleetEvent,
    ForceRequested,
    HandedOn,
    ReloadRequested,
    ReopenRequested,
    Resized,
    RestartRequested,
    RetireRequested,
    Spawned,
    StopRequested,
    UpgradeEnded,
    UpgradeRequested,
    UpgradeStarted,
)
from corehttp.supervisor.fleet import Fleet, Stop
from corehttp.supervisor.observe import observe
from corehttp.supervisor.report import Report
from corehttp.supervisor.signals import COMMANDS

READY: list[FleetEvent] = [Spawned(1, 0, 1), Spawned(2, 1, 1), BecameReady(1), BecameReady(2)]
STATES: dict[str, list[FleetEvent]] = {
    "it starts": [],
    "it serves": READY,
    "one worker serves": [*READY, Resized(1)],
    "a reload goes on": [*READY, ReloadRequested()],
    "an upgrade goes on": [*READY, UpgradeStarted(77)],
    "an upgrade has failed": [*READY, UpgradeStarted(77), UpgradeEnded()],
    "it stops": [*READY, StopRequested()],
    "it stops before it has served": [StopRequested()],
    "its start has failed": [Spawned(1, 0, 1), Exited(1, 1, 0.0)],
    "it was handed on": [*READY, HandedOn()],
    "it is killed": [*READY, ForceRequested()],
}
STOP, FORCE, RELOAD, UPGRADE = StopRequested(), ForceRequested(), ReloadRequested(), UpgradeRequested()
IGNORED = Refusal("ignored during the stop")
LAST = Refusal("ignored, the last worker stays")
UNREADY = Refusal("ignored, the workers are not ready yet")
TWICE = Refusal("ignored, a new supervisor (pid 77) is starting already")
NO_FILES = Refusal("ignored, nothing here uses it without --log-file or --access-log-file")
STOPPING = (STOP, FORCE, FORCE, IGNORED, IGNORED, IGNORED, IGNORED, NO_FILES)
# For each state what follows from stop, interrupt, force, reload, grow, shrink, upgrade, reopen.
TABLE: dict[str, tuple[Decision, ...]] = {
    "it starts": (STOP, STOP, FORCE, RELOAD, Resized(3), Resized(1), UNREADY, NO_FILES),
    "it serves": (STOP, STOP, FORCE, RELOAD, Resized(3), Resized(1), UPGRADE, NO_FILES),
    "one worker serves": (STOP, STOP, FORCE, RELOAD, Resized(2), LAST, UPGRADE, NO_FILES),
    "a reload goes on": (STOP, STOP, FORCE, RELOAD, Resized(3), Resized(1), UPGRADE, NO_FILES),
    "an upgrade goes on": (STOP, STOP, FORCE, RELOAD, Resized(3), Resized(1), TWICE, NO_FILES),
    "an upgrade has failed": (STOP, STOP, FORCE, RELOAD, Resized(3), Resized(1), UPGRADE, NO_FILES),
    "it stops": STOPPING,
    "it stops before it has served": STOPPING,
    "its start has failed": STOPPING,
    "it was handed on": STOPPING,
    "it is killed": STOPPING,
}


def fleet_in(state: str) -> Fleet:
    fleet = Fleet(2)
    for event in STATES[state]:
        observe(fleet, event, 100.0)
    return fleet


@pytest.mark.parametrize("command", Command)
@pytest.mark.parametrize("state", STATES)
def test_what_follows_from_a_command(state: str, command: Command) -> None:
    fleet = fleet_in(state)
    before = repr(fleet)
    assert decide(fleet, command) == TABLE[state][list(Command).index(command)]
    assert repr(fleet) == before, "deciding has changed something"


@pytest.mark.parametrize("state", STATES)
def test_log_files_can_be_opened_anew_at_any_time(state: str) -> None:
    fleet = fleet_in(state)
    fleet.has_log_files = True
    decision = decide(fleet, Command.REOPEN)
    assert decision == ReopenRequested()
    before = repr(fleet)
    observe(fleet, ReopenRequested(), 200.0)
    assert repr(fleet) == before


def test_process_1_is_not_replaced_by_another_supervisor() -> None:
    fleet = fleet_in("it serves")
    fleet.replaceable = False
    refused = Refusal("ignored, process 1 cannot be replaced; replace the container instead")
    assert decide(fleet, Command.UPGRADE) == refused


@pytest.mark.parametrize("state", STATES)
def test_a_stop_that_has_begun_stays_as_it_is_when_it_is_asked_for_again(state: str) -> None:
    fleet = fleet_in(state)
    stop, since, code = fleet.stop, fleet.stop_since, fleet.exit_code
    decision = decide(fleet, Command.STOP)
    assert not isinstance(decision, Refusal)
    observe(fleet, decision, 200.0)
    if stop is Stop.NO:
        assert (fleet.stop, fleet.stop_since) == (Stop.GRACEFUL, 200.0)
    else:
        assert (fleet.stop, fleet.stop_since, fleet.exit_code) == (stop, since, code)


def told(caplog: pytest.LogCaptureFixture, state: str, number: signal.Signals) -> list[str]:
    """What is logged of a signal, each line with its level."""
    fleet = fleet_in(state)
    command = COMMANDS[number]
    caplog.clear()
    Report(fleet, "http://a", 0.0).command(number.name, command, decide(fleet, command), 100.0)
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


@pytest.mark.parametrize(
    ("state", "number", "lines"),
    [
        ("it serves", signal.SIGTERM, ["INFO SIGTERM: finishing what is in flight, for at most 30 s"]),
        ("it serves", signal.SIGINT, ["INFO SIGINT: finishing what is in flight, for at most 30 s"]),
        ("it serves", signal.SIGQUIT, ["WARNING SIGQUIT: all workers are killed"]),
        ("it serves", signal.SIGHUP, ["INFO SIGHUP: reloading"]),
        ("it serves", signal.SIGTTIN, ["INFO SIGTTIN: from 2 to 3 workers"]),
        ("it serves", signal.SIGTTOU, ["INFO SIGTTOU: from 2 to 1 workers"]),
        ("it serves", signal.SIGUSR2, []),
        ("one worker serves", signal.SIGTTOU, ["WARNING SIGTTOU: ignored, the last worker stays"]),
        (
            "it serves",
            signal.SIGUSR1,
            ["WARNING SIGUSR1: ignored, nothing here uses it without --log-file or --access-log-file"],
        ),
        ("it starts", signal.SIGUSR2, ["WARNING SIGUSR2: ignored, the workers are not ready yet"]),
        ("it stops", signal.SIGTERM, []),
        ("it stops", signal.SIGINT, ["WARNING interrupted again: all workers are killed"]),
        ("it stops", signal.SIGQUIT, ["WARNING SIGQUIT: all workers are killed"]),
        ("it stops", signal.SIGHUP, ["WARNING SIGHUP: ignored during the stop"]),
        ("it stops", signal.SIGTTIN, ["WARNING SIGTTIN: ignored during the stop"]),
        ("it stops", signal.SIGTTOU, ["WARNING SIGTTOU: ignored during the stop"]),
        ("it stops", signal.SIGUSR2, ["WARNING SIGUSR2: ignored during the stop"]),
        ("its start has failed", signal.SIGUSR2, ["WARNING SIGUSR2: ignored during the stop"]),
    ],
)
def test_what_the_operator_reads_of_a_signal(
    caplog: pytest.LogCaptureFixture, state: str, number: signal.Signals, lines: list[str]
) -> None:
    caplog.set_level(logging.INFO, "corehttp.supervisor")
    assert told(caplog, state, number) == lines


def test_a_signal_without_a_meaning_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    report = Report(Fleet(1), "http://a", 0.0)
    for number in (signal.SIGUSR1, signal.SIGALRM, signal.SIGUSR1):
        report.unused_signal(number)
    assert [record.getMessage() for record in caplog.records] == [
        "SIGUSR1: ignored, nothing here uses it",
        "SIGALRM: ignored, nothing here uses it",
    ]


def test_every_command_has_its_signal() -> None:
    assert sorted(command.value for command in COMMANDS.values()) == sorted(command.value for command in Command)


@pytest.mark.parametrize(
    ("command", "decision"),
    [
        (Scale(5), Resized(5)),
        (Scale(2), Resized(2)),
        (Scale(2, relative=True), Resized(4)),
        (Scale(-1, relative=True), Resized(1)),
        (Scale(-2, relative=True), LAST),
        (Scale(0), LAST),
        (Scale(-1), LAST),
        (Scale(MOST_WORKERS), Resized(MOST_WORKERS)),
        (Scale(MOST_WORKERS + 1), Refusal("ignored, there can be 1000 workers at most")),
        (Restart(), RestartRequested((1, 2))),
        (Restart(1), RestartRequested((2,))),
        (Restart(2), Refusal("ignored, there is no worker 3")),
    ],
)
def test_what_follows_from_a_number_of_workers_and_from_a_restart(command: Scale | Restart, decision: Decision) -> None:
    assert decide(fleet_in("it serves"), command) == decision


@pytest.mark.parametrize("command", [Scale(3), Restart()])
@pytest.mark.parametrize("state", [state for state, row in TABLE.items() if row is STOPPING])
def test_a_service_that_stops_is_neither_resized_nor_restarted(state: str, command: Scale | Restart) -> None:
    assert decide(fleet_in(state), command) == IGNORED


def test_only_workers_that_serve_can_be_restarted() -> None:
    assert decide(fleet_in("it starts"), Restart()) == Refusal("ignored, no worker serves yet")
    assert decide(fleet_in("it starts"), Restart(0)) == Refusal("ignored, worker 1 does not serve")


def test_a_restart_makes_workers_due_and_keeps_an_older_reason() -> None:
    fleet = fleet_in("it serves")
    observe(fleet, RetireRequested(1, "it is old"), 100.0)
    observe(fleet, RestartRequested((1, 2, 99)), 100.0)
    assert [worker.retire for worker in fleet.workers.values()] == ["it is old", "an operator has asked for it"]
    assert all(map(fleet.is_due, fleet.workers.values()))


def test_what_the_operator_reads_of_a_restart_and_of_a_number(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "corehttp.supervisor")
    fleet = fleet_in("it serves")
    report = Report(fleet, "http://a", 0.0)
    for command in (Restart(), Scale(2), Scale(3)):
        report.command("corehttp", command, decide(fleet, command), 100.0)
    assert [record.getMessage() for record in caplog.records] == [
        "corehttp: replacing worker 1, 2",
        "corehttp: 2 workers already",
        "corehttp: from 2 to 3 workers",
    ]
