"""Timers, in real time, since that is their matter: those of the loop's timers, and of the kernel's where there are."""

import asyncio
import os
import resource
import sys
import time

import pytest

from corehttp.worker.timers import LoopTimer, make_timer
from tests.kit.connections import descriptors, on_both_loops

if sys.platform == "linux" and sys.version_info >= (3, 13):
    from corehttp.worker.timers import KernelTimer

    MAKERS = [LoopTimer, KernelTimer]
else:
    MAKERS = [LoopTimer]
SHORT, LONG, PATIENCE = 0.02, 0.2, 30  # seconds

either = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
Make = type[LoopTimer]


class Rung:
    """A timer, and when it has rung: seconds since it was made."""

    def __init__(self, make: Make) -> None:
        self._began = time.monotonic()
        self.at: list[float] = []
        self.timer = make(asyncio.get_running_loop(), self._ring)
        self._rang = asyncio.Event()

    def _ring(self) -> None:
        self.at.append(time.monotonic() - self._began)
        self._rang.set()

    async def first(self) -> None:
        """Wait until it has rung, however busy the machine is."""
        await asyncio.wait_for(self._rang.wait(), PATIENCE)


@on_both_loops
@either
async def test_a_timer_rings_once_and_not_before_its_time(make: Make) -> None:
    rung = Rung(make)
    rung.timer.set(SHORT)
    await rung.first()
    await asyncio.sleep(LONG)
    [at] = rung.at
    assert at >= SHORT * 0.9
    rung.timer.close()


@on_both_loops
@either
@pytest.mark.parametrize("due", [False, True], ids=["before it is due", "when it is due"])
async def test_the_time_that_was_set_last_counts(make: Make, due: bool) -> None:
    rung = Rung(make)
    rung.timer.set(SHORT)
    if due:
        time.sleep(2 * SHORT)  # noqa: ASYNC251
    rung.timer.set(60)
    await asyncio.sleep(LONG)
    assert rung.at == []
    rung.timer.set(SHORT)
    await rung.first()
    assert len(rung.at) == 1
    rung.timer.close()


@on_both_loops
@either
async def test_a_timer_that_sets_itself_ticks(make: Make) -> None:
    done = asyncio.Event()
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(1)
        if len(ticks) < 5:
            timer.set(0)
        else:
            done.set()

    timer = make(asyncio.get_running_loop(), tick)
    timer.set(0)
    await asyncio.wait_for(done.wait(), PATIENCE)
    timer.close()


@on_both_loops
@either
async def test_a_closed_timer_does_not_ring_and_leaves_no_descriptor(make: Make) -> None:
    Rung(make).timer.close()
    before = descriptors()
    rung = Rung(make)
    rung.timer.set(SHORT)
    rung.timer.close()
    rung.timer.close()
    rung.timer.set(SHORT)
    await asyncio.sleep(2 * SHORT)
    assert rung.at == []
    assert descriptors() == before


@on_both_loops
async def test_without_a_descriptor_a_timer_is_one_of_the_loop() -> None:
    rang = asyncio.Event()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        timer = make_timer(asyncio.get_running_loop(), rang.set)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    timer.set(SHORT)
    await asyncio.wait_for(rang.wait(), PATIENCE)
    timer.close()
