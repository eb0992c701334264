"""Alarms, in real time, since that is their matter: those of the loop's timers, and of the kernel's where there are."""

import asyncio
import time

import pytest

from corehttp.alarm import LoopAlarm, make_alarm
from tests.protocols.connections import descriptors, on_both_loops

MAKERS = [LoopAlarm] if make_alarm is LoopAlarm else [LoopAlarm, make_alarm]
SHORT, LONG = 0.02, 0.2  # seconds

either = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
Make = type[LoopAlarm]


class Times:
    """When it has rung, in seconds since the beginning."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.rung: list[float] = []

    def note(self) -> None:
        self.rung.append(time.monotonic() - self._began)


@on_both_loops
@either
async def test_an_alarm_rings_once_and_not_before_its_time(make: Make) -> None:
    times = Times()
    alarm = make(asyncio.get_running_loop(), times.note)
    alarm.set(SHORT)
    await asyncio.sleep(LONG)
    [rung] = times.rung
    assert rung >= SHORT * 0.9
    alarm.close()


@on_both_loops
@either
async def test_the_time_that_was_set_last_counts(make: Make) -> None:
    times = Times()
    alarm = make(asyncio.get_running_loop(), times.note)
    alarm.set(SHORT)
    alarm.set(60)
    await asyncio.sleep(LONG)
    assert times.rung == []
    alarm.set(SHORT)
    await asyncio.sleep(LONG)
    assert len(times.rung) == 1
    alarm.close()


@on_both_loops
@either
async def test_an_alarm_that_is_set_anew_when_it_is_due_waits_again(make: Make) -> None:
    times = Times()
    alarm = make(asyncio.get_running_loop(), times.note)
    alarm.set(SHORT)
    time.sleep(2 * SHORT)  # noqa: ASYNC251
    alarm.set(60)
    await asyncio.sleep(SHORT)
    assert times.rung == []
    alarm.close()


@on_both_loops
@either
async def test_an_alarm_that_sets_itself_ticks(make: Make) -> None:
    done = asyncio.Event()
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(1)
        if len(ticks) < 5:
            alarm.set(0)
        else:
            done.set()

    alarm = make(asyncio.get_running_loop(), tick)
    alarm.set(0)
    await asyncio.wait_for(done.wait(), 20)
    alarm.close()


@on_both_loops
@either
async def test_a_closed_alarm_does_not_ring_and_leaves_no_descriptor(make: Make) -> None:
    times = Times()
    loop = asyncio.get_running_loop()
    make(loop, times.note).close()
    before = descriptors()
    alarm = make(loop, times.note)
    alarm.set(SHORT)
    alarm.close()
    alarm.close()
    alarm.set(SHORT)
    await asyncio.sleep(2 * SHORT)
    assert times.rung == []
    assert descriptors() == before
