"""The work of each tick, and what the clock says between two."""

import logging
import time

import pytest

from corehttp.protocols.clock import Clock
from corehttp.worker.ticker import WOBBLE, Ticker
from tests.kit.fakes import ManualTimers


def started(ticker: Ticker) -> ManualTimers:
    timers = ManualTimers()
    ticker.start(timers)
    return timers


def test_a_clock_does_its_work_when_it_starts_and_with_each_tick_until_it_stops() -> None:
    clock = Clock()
    ticker = Ticker(clock)
    ticks: list[float] = []
    ticker.each_tick("a list", ticks.append)
    ticker.each_tick("a list", ticks.append)
    timers = started(ticker)
    assert len(ticks) == 2
    timers.fire()
    assert len(ticks) == 4
    ticker.stop()
    assert timers.set == []
    assert len(ticks) == 4


def test_between_two_ticks_it_is_as_late_as_it_will_be_at_the_next_so_that_nothing_is_due_too_soon() -> None:
    clock = Clock()
    ticker = Ticker(clock)
    ticks: list[float] = []
    ticker.each_tick("a list", ticks.append)
    ((pause, _),) = started(ticker).set
    assert clock.now == pytest.approx(ticks[0] - WOBBLE + pause)


def test_the_next_tick_comes_right_after_the_next_full_second() -> None:
    ((delay, _),) = started(Ticker(Clock())).set
    assert 0.001 <= delay <= 1.001


def test_work_that_fails_keeps_neither_the_next_work_nor_the_next_tick_from_coming(
    error_log: list[logging.LogRecord],
) -> None:
    def fail(now: float) -> None:
        raise LookupError("no such thing")

    clock = Clock()
    ticker = Ticker(clock)
    ticks: list[float] = []
    ticker.each_tick("a failure", fail)
    ticker.each_tick("a list", ticks.append)
    timers = started(ticker)
    timers.fire()
    timers.fire()
    assert len(ticks) == 3
    (record,) = error_log
    assert record.getMessage().startswith("a failure failed")
    assert record.exc_info is not None


def test_whatever_ends_a_tick_the_next_one_comes() -> None:
    def leave(now: float) -> None:
        raise SystemExit(7)

    clock = Clock()
    ticker = Ticker(clock)
    timers = ManualTimers()
    ticker.each_tick("an end", leave)
    with pytest.raises(SystemExit):
        ticker.start(timers)
    assert len(timers.set) == 1


def test_the_time_of_deadlines_stands_still_while_the_loop_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    clock = Clock()
    ticker = Ticker(clock)
    timers = started(ticker)
    ((pause, _),) = timers.set
    due = clock.now
    assert (clock.monotonic, due) == (100 + pause, 100 + pause)
    now += pause + 20  # it comes twenty seconds late
    timers.fire()
    ((pause, _),) = timers.set
    assert clock.ticked == pytest.approx(due + WOBBLE)
    assert clock.lost == pytest.approx(20)
    assert clock.monotonic == pytest.approx(now + pause)
    assert clock.now == pytest.approx(now + pause - 20)
    now += pause + WOBBLE / 2  # that is punctual
    timers.fire()
    assert clock.lost == pytest.approx(20)
