"""Timers, in real time, since that is their matter: those of the loop's timers, and of the kernel's where there are."""

import asyncio
import sys
import time

import pytest

from corehttp.worker.timers import LoopTimer, make_timer
from tests.kit.connections import descriptors, on_both_loops
from tests.kit.descriptors import no_free_descriptor

if sys.platform == "linux" and sys.version_info >= (3, 13):
    from corehttp.worker.timers import KernelTimer

    MAKERS = [LoopTimer, KernelTimer]
else:
    MAKERS = [LoopTimer]
SHORT, LONG, PATIENCE = 0.02, 0.2, 30  # seconds

either = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
Make = type[LoopTimer]


class Fired:
    """A timer, and when it has fired: seconds since it was made."""

    def __init__(self, make: Make) -> None:
        self._began = time.monotonic()
        self.at: list[float] = []
        self.timer = make(asyncio.get_running_loop(), self._fire)
        self._fired = asyncio.Event()

    def _fire(self) -> None:
        self.at.append(time.monotonic() - self._began)
        self._fired.set()

    async def first(self) -> None:
        """Wait until it has fired, however busy the machine is."""
        await asyncio.wait_for(self._fired.wait(), PATIENCE)


@on_both_loops
@either
async def test_a_timer_fires_once_and_not_before_its_time(make: Make) -> None:
    fired = Fired(make)
    fired.timer.set(SHORT)
    await fired.first()
    await asyncio.sleep(LONG)
    [at] = fired.at
    assert at >= SHORT * 0.9
    fired.timer.close()


@on_both_loops
@either
@pytest.mark.parametrize("due", [False, True], ids=["before it is due", "when it is due"])
async def test_the_time_that_was_set_last_counts(make: Make, due: bool) -> None:
    fired = Fired(make)
    fired.timer.set(SHORT)
    if due:
        time.sleep(2 * SHORT)  # noqa: ASYNC251
    fired.timer.set(60)
    await asyncio.sleep(LONG)
    assert fired.at == []
    fired.timer.set(SHORT)
    await fired.first()
    assert len(fired.at) == 1
    fired.timer.close()


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
    Fired(make).timer.close()
    before = descriptors()
    fired = Fired(make)
    fired.timer.set(SHORT)
    fired.timer.close()
    fired.timer.close()
    fired.timer.set(SHORT)
    await asyncio.sleep(2 * SHORT)
    assert fired.at == []
    assert descriptors() == before


@on_both_loops
async def test_without_a_descriptor_a_timer_is_one_of_the_loop() -> None:
    rang = asyncio.Event()
    with no_free_descriptor():
        timer = make_timer(asyncio.get_running_loop(), rang.set)
    timer.set(SHORT)
    await asyncio.wait_for(rang.wait(), PATIENCE)
    timer.close()
