"""What the operator is told of a signal: one line that is true, in every situation."""

import logging
import signal

import pytest

from corehttp.supervisor.fleet import Fleet, Stop
from corehttp.supervisor.report import Report

COMMANDS = [signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR2]


def told(caplog: pytest.LogCaptureFixture, number: signal.Signals, *, booted: bool, stop: Stop) -> list[str]:
    fleet = Fleet(2)
    fleet.booted = booted
    fleet.stop = stop
    with caplog.at_level(logging.INFO, "corehttp.supervisor"):
        Report(fleet, "http://127.0.0.1:8000").signal(number)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("number", COMMANDS)
def test_a_command_during_the_stop_is_ignored_and_told(
    caplog: pytest.LogCaptureFixture, number: signal.Signals
) -> None:
    assert told(caplog, number, booted=True, stop=Stop.GRACEFUL) == [f"{number.name}: ignored during the stop"]


@pytest.mark.parametrize("number", COMMANDS)
def test_a_command_that_is_obeyed_is_not_called_ignored(
    caplog: pytest.LogCaptureFixture, number: signal.Signals
) -> None:
    lines = told(caplog, number, booted=True, stop=Stop.NO)
    assert len(lines) == (0 if number is signal.SIGUSR2 else 1)  # the upgrade tells of itself
    assert "ignored" not in "".join(lines)


def test_an_upgrade_before_the_workers_are_ready_is_ignored_and_told(caplog: pytest.LogCaptureFixture) -> None:
    assert told(caplog, signal.SIGUSR2, booted=False, stop=Stop.NO) == [
        "SIGUSR2: ignored, the workers are not ready yet"
    ]
