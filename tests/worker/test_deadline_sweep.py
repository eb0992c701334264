"""Connections that are late are looked at, whatever becomes of them meanwhile; and never too many at once."""

import asyncio
import logging
import socket

import pytest

from corehttp.moments import NEVER
from corehttp.protocols.clock import Clock
from corehttp.worker.deadline_sweep import BATCH, Sweep
from tests.kit.connections import on_both_loops
from tests.kit.fakes import NOW, WALL, fixed_clock

MANY = 10 * BATCH + 1

READ = 2  # turns of the loop, in which all is read that has come


class Connection:
    """Is late at its deadline, and then a second later again."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.expired: list[float] = []  # at which deadlines
        self.cuts = 0

    def expire(self) -> None:
        self.expired.append(self.deadline)
        self.deadline += 1

    def cut(self) -> None:
        self.cuts += 1


@pytest.fixture
def clock() -> Clock:
    return fixed_clock()


async def tick(clock: Clock, sweep: Sweep) -> None:
    """A second later, when what has come was read."""
    clock.update(clock.now + 1, WALL)
    sweep(clock.now)
    for _ in range(READ):
        await asyncio.sleep(0)


async def test_who_is_late_expires_and_who_is_not_does_not(clock: Clock) -> None:
    late, just, early = (Connection(NOW + seconds) for seconds in (0.5, 1, 1.1))
    sweep = Sweep(asyncio.get_running_loop(), clock, {late, just, early})
    await tick(clock, sweep)
    assert (late.expired, just.expired, early.expired) == ([NOW + 0.5], [NOW + 1], [])


async def test_many_expire_in_batches_with_turns_of_the_loop_between_them(clock: Clock) -> None:
    connections = {Connection(NOW) for _ in range(MANY)}
    sweep = Sweep(asyncio.get_running_loop(), clock, connections)
    await tick(clock, sweep)
    expired = [sum(len(each.expired) for each in connections)]
    while expired[-1] < MANY:
        await asyncio.sleep(0)
        expired.append(sum(len(each.expired) for each in connections))
    assert expired == [*range(BATCH, MANY, BATCH), MANY]


async def test_who_is_lost_or_in_time_again_when_its_turn_comes_does_not_expire(clock: Clock) -> None:
    connections = {Connection(NOW) for _ in range(MANY)}
    sweep = Sweep(asyncio.get_running_loop(), clock, connections)
    await tick(clock, sweep)
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
    await tick(clock, sweep)
    await tick(clock, sweep)
    for _ in range(MANY):
        await asyncio.sleep(0)
    assert sorted(each.expired for each in connections) == [[NOW]] * (MANY - BATCH) + [[NOW, NOW + 1]] * BATCH


@on_both_loops
async def test_nobody_is_judged_before_what_has_come_was_read(clock: Clock) -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    connections = [Connection(NOW), Connection(NOW)]
    sweep = Sweep(loop, clock, connections)
    with ours, theirs:

        def read() -> None:  # as a connection does whose client was in time
            ours.recv(1)
            connections[0].deadline = NEVER

        loop.add_reader(ours, read)
        theirs.send(b"a")  # the loop has not looked since
        await tick(clock, sweep)
        loop.remove_reader(ours)
    assert [each.expired for each in connections] == [[], [NOW]]


async def test_one_that_fails_is_cut_and_the_others_expire(clock: Clock, error_log: list[logging.LogRecord]) -> None:
    class Failing(Connection):
        def expire(self) -> None:
            raise LookupError("no such thing")

    class Stubborn(Failing):
        def cut(self) -> None:
            raise OSError("no end")

    failing, stubborn, others = Failing(NOW), Stubborn(NOW), [Connection(NOW) for _ in range(MANY)]
    sweep = Sweep(asyncio.get_running_loop(), clock, [failing, *others[BATCH:], stubborn, *others[:BATCH]])
    for _ in range(3):
        await tick(clock, sweep)
        for _ in range(MANY):
            await asyncio.sleep(0)
    assert failing.cuts == 1
    assert all(len(each.expired) == 3 for each in others)
    assert [record.exc_info[0] for record in error_log if record.exc_info] == [LookupError, OSError]
