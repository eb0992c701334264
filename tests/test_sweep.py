"""Connections that are late are looked at, whatever becomes of them meanwhile; and never too many at once."""

import asyncio

import pytest

from corehttp.clock import Clock
from corehttp.sweep import BATCH, Sweep
from tests.fakes import NOW, WALL, fixed_clock

MANY = 10 * BATCH + 1


class Connection:
    """Is late at its deadline, and then a second later again."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.expired: list[float] = []  # at which deadlines

    def expire(self) -> None:
        self.expired.append(self.deadline)
        self.deadline += 1


@pytest.fixture
def clock() -> Clock:
    return fixed_clock()


def tick(clock: Clock, sweep: Sweep) -> None:
    """A second later."""
    clock.update(clock.now + 1, WALL)
    sweep(clock.now)


async def test_who_is_late_expires_and_who_is_not_does_not(clock: Clock) -> None:
    late, just, early = (Connection(NOW + seconds) for seconds in (0.5, 1, 1.1))
    sweep = Sweep(asyncio.get_running_loop(), clock, {late, just, early})
    tick(clock, sweep)
    assert (late.expired, just.expired, early.expired) == ([NOW + 0.5], [NOW + 1], [])


async def test_many_expire_in_batches_with_turns_of_the_loop_between_them(clock: Clock) -> None:
    connections = {Connection(NOW) for _ in range(MANY)}
    sweep = Sweep(asyncio.get_running_loop(), clock, connections)
    tick(clock, sweep)
    expired = [sum(len(each.expired) for each in connections)]
    while expired[-1] < MANY:
        await asyncio.sleep(0)
        expired.append(sum(len(each.expired) for each in connections))
    assert expired == [*range(BATCH, MANY, BATCH), MANY]


async def test_who_is_lost_or_in_time_again_when_its_turn_comes_does_not_expire(clock: Clock) -> None:
    connections = {Connection(NOW) for _ in range(MANY)}
    sweep = Sweep(asyncio.get_running_loop(), clock, connections)
    tick(clock, sweep)
    lost, again, *others = (each for each in connections if not each.expired)
    connections.remove(lost)
    again.deadline = NOW + 2
    for _ in range(MANY):
        await asyncio.sleep(0)
    assert lost.expired == again.expired == []
    assert all(each.expired == [NOW] for each in others)


async def test_what_is_left_at_the_next_tick_expires_once(clock: Clock) -> None:
    connections = {Connection(NOW) for _ in range(MANY)}
    sweep = Sweep(asyncio.get_running_loop(), clock, connections)
    tick(clock, sweep)
    tick(clock, sweep)
    for _ in range(MANY):
        await asyncio.sleep(0)
    assert sorted(each.expired for each in connections) == [[NOW]] * (MANY - BATCH) + [[NOW, NOW + 1]] * BATCH


async def test_one_that_fails_does_not_keep_the_others_from_expiring(clock: Clock) -> None:
    class Failing(Connection):
        def expire(self) -> None:
            raise LookupError("no such thing")

    reported: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    connections = {Connection(NOW) for _ in range(MANY)}
    sweep = Sweep(loop, clock, connections)
    tick(clock, sweep)
    waiting = next(each for each in connections if not each.expired)
    waiting.__class__ = Failing
    for _ in range(MANY):
        await asyncio.sleep(0)
    assert len(reported) == 1
    tick(clock, sweep)
    for _ in range(MANY):
        await asyncio.sleep(0)
    assert all(each.expired for each in connections if each is not waiting)
