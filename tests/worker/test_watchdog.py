"""The heartbeat of an event loop, and what is said when something blocks it; in real time, since that is its matter."""

import asyncio
import logging
import time

import pytest

from corehttp.moments import BEAT
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from corehttp.worker.watchdog import Watchdog
from corehttp.worker.wiring import RUNS
from tests.kit.fakes import Client, make_context

WARN = 0.5  # seconds
PATIENCE = 60.0  # seconds: more than a busy machine holds up a loop


async def watched(warn: float, seconds: float) -> list[float]:
    beats: list[float] = []
    watchdog = Watchdog(asyncio.get_running_loop(), beats.append, warn, RUNS)
    watchdog.start()
    await asyncio.sleep(0)
    time.sleep(seconds)  # noqa: ASYNC251
    await asyncio.sleep(2 * BEAT)
    watchdog.stop()
    return beats


def reports(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "corehttp.error"]


def seconds(report: str, beginning: str) -> float:
    """The number behind the beginning of a report."""
    assert report.startswith(beginning)
    return float(report.removeprefix(beginning).split()[0])


async def test_a_blocked_loop_is_reported_once_with_its_stack_and_again_when_it_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        beats = await watched(WARN, 4 * WARN)
    first, last = reports(caplog)
    assert seconds(first, "the event loop is blocked for ") >= WARN
    assert "time.sleep(seconds)" in first
    assert seconds(last, "the event loop runs again after ") >= 4 * WARN
    assert len(beats) >= 2


async def test_a_pause_below_the_limit_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    await watched(PATIENCE, WARN)
    assert reports(caplog) == []


async def test_without_a_limit_it_only_beats(caplog: pytest.LogCaptureFixture) -> None:
    beats = await watched(0.0, 2 * WARN)
    assert len(beats) >= 2
    assert reports(caplog) == []


async def test_the_request_that_blocks_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        time.sleep(4 * WARN)  # noqa: ASYNC251

    watchdog = Watchdog(asyncio.get_running_loop(), lambda now: None, WARN, RUNS)
    watchdog.start()
    await asyncio.sleep(0)
    client = Client(make_context(app, HttptoolsParser))
    await client.send(b"GET /culprit HTTP/1.1\r\nhost: a\r\n\r\n")
    watchdog.stop()
    assert any("by GET /culprit, in" in report for report in reports(caplog))
