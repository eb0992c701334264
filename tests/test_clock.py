"""The Date line, and the work of each tick."""

import logging
import time

import pytest

from corehttp.clock import WOBBLE, Clock, http_date
from tests.fakes import FakeAlarms


@pytest.mark.parametrize(
    ("wall", "date"),
    [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (784111777, "Sun, 06 Nov 1994 08:49:37 GMT"),  # the example of RFC 9110, 5.6.7
        (784111777.999, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (951782400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (1709251199, "Thu, 29 Feb 2024 23:59:59 GMT"),
        (1709251200, "Fri, 01 Mar 2024 00:00:00 GMT"),
        (1767225599, "Wed, 31 Dec 2025 23:59:59 GMT"),
        (1767225600, "Thu, 01 Jan 2026 00:00:00 GMT"),
        (4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        (1775455145, "Mon, 06 Apr 2026 05:59:05 GMT"),
    ],
)
def test_a_date_is_an_imf_fixdate(wall: float, date: str) -> None:
    assert http_date(wall) == date


def test_the_lines_follow_the_time() -> None:
    clock = Clock(server=b"corehttp", fields=((b"x-a", b"b"), (b"x-c", b"d")))
    clock.update(5.0, 784111777)
    assert clock.now == 5.0
    assert clock.lines == (b"server: corehttp\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nx-a: b\r\nx-c: d\r\n")
    clock.update(6.0, 784111778)
    assert clock.now == 6.0
    assert clock.lines == (b"server: corehttp\r\ndate: Sun, 06 Nov 1994 08:49:38 GMT\r\nx-a: b\r\nx-c: d\r\n")


@pytest.mark.parametrize(
    ("date", "server", "lines"),
    [
        (False, False, b"server: s\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nx-a: b\r\n"),
        (True, False, b"server: s\r\nx-a: b\r\n"),
        (False, True, b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\nx-a: b\r\n"),
        (True, True, b"x-a: b\r\n"),
    ],
)
def test_a_response_with_its_own_date_or_server_gets_the_other_lines(date: bool, server: bool, lines: bytes) -> None:
    clock = Clock(server=b"s", fields=((b"x-a", b"b"),))
    clock.update(0.0, 0.0)
    assert clock.lines_without(date=date, server=server) == lines


def test_date_and_server_can_be_left_out() -> None:
    clock = Clock(date=False)
    clock.update(0.0, 0.0)
    assert clock.lines == b""


def started(clock: Clock) -> FakeAlarms:
    alarms = FakeAlarms()
    clock.start(alarms)
    return alarms


def test_a_clock_does_its_work_when_it_starts_and_with_each_tick_until_it_stops() -> None:
    clock = Clock()
    ticks: list[float] = []
    clock.each_tick("a list", ticks.append)
    clock.each_tick("a list", ticks.append)
    alarms = started(clock)
    assert len(ticks) == 2
    alarms.ring()
    assert len(ticks) == 4
    clock.stop()
    assert alarms.set == []
    assert len(ticks) == 4


def test_between_two_ticks_it_is_as_late_as_it_will_be_at_the_next_so_that_nothing_is_due_too_soon() -> None:
    clock = Clock()
    ticks: list[float] = []
    clock.each_tick("a list", ticks.append)
    ((pause, _),) = started(clock).set
    assert clock.now == pytest.approx(ticks[0] - WOBBLE + pause)


def test_the_next_tick_comes_right_after_the_next_full_second() -> None:
    ((delay, _),) = started(Clock()).set
    assert 0.001 <= delay <= 1.001


def test_work_that_fails_keeps_neither_the_next_work_nor_the_next_tick_from_coming(
    error_log: list[logging.LogRecord],
) -> None:
    def fail(now: float) -> None:
        raise LookupError("no such thing")

    clock = Clock()
    ticks: list[float] = []
    clock.each_tick("a failure", fail)
    clock.each_tick("a list", ticks.append)
    alarms = started(clock)
    alarms.ring()
    alarms.ring()
    assert len(ticks) == 3
    (record,) = error_log
    assert record.getMessage().startswith("a failure failed")
    assert record.exc_info is not None


def test_whatever_ends_a_tick_the_next_one_comes() -> None:
    def leave(now: float) -> None:
        raise SystemExit(7)

    clock = Clock()
    alarms = FakeAlarms()
    clock.each_tick("an end", leave)
    with pytest.raises(SystemExit):
        clock.start(alarms)
    assert len(alarms.set) == 1


def test_the_time_of_deadlines_stands_still_while_the_loop_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    clock = Clock()
    alarms = started(clock)
    ((pause, _),) = alarms.set
    due = clock.now
    assert (clock.monotonic, due) == (100 + pause, 100 + pause)
    now += pause + 20  # it comes twenty seconds late
    alarms.ring()
    ((pause, _),) = alarms.set
    assert clock.ticked == pytest.approx(due + WOBBLE)
    assert clock.lost == pytest.approx(20)
    assert clock.monotonic == pytest.approx(now + pause)
    assert clock.now == pytest.approx(now + pause - 20)
    now += pause + WOBBLE / 2  # that is punctual
    alarms.ring()
    assert clock.lost == pytest.approx(20)
