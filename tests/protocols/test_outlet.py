"""What is written may wait for its client for a limited time; with a transport and times that the test sets."""

import asyncio

from corehttp.protocols.limits import MINIMUM_RATE
from corehttp.protocols.outlet import Outlet, has_left
from tests.kit.fakes import NOW, FakeTransport

STALL = 60.0  # seconds


def outlet_with(waiting: int) -> tuple[Outlet, FakeTransport]:
    """Return an outlet that watches from NOW on, and its transport in which so many bytes wait."""
    transport = FakeTransport()
    transport.buffered = waiting
    return Outlet(transport, STALL, NOW), transport


def test_a_client_that_takes_nothing_stalls_after_the_time_it_has() -> None:
    outlet, _ = outlet_with(1000)
    assert not outlet.is_stalled(NOW + STALL - 1)
    assert outlet.is_stalled(NOW + STALL)


def test_what_a_client_takes_gains_it_time_by_the_minimum_rate() -> None:
    outlet, transport = outlet_with(100_000)
    transport.buffered -= 10 * MINIMUM_RATE
    assert not outlet.is_stalled(NOW + 30)
    assert not outlet.is_stalled(NOW + STALL + 9)
    assert outlet.is_stalled(NOW + STALL + 10)


def test_no_amount_taken_gains_more_than_the_time_of_a_stall() -> None:
    outlet, transport = outlet_with(10**9)
    transport.buffered = 1
    assert not outlet.is_stalled(NOW + 10)
    assert not outlet.is_stalled(NOW + 10 + STALL - 1)
    assert outlet.is_stalled(NOW + 10 + STALL)


def test_a_client_that_has_taken_all_has_its_whole_time_again() -> None:
    outlet, transport = outlet_with(10)
    transport.buffered = 0
    assert not outlet.is_stalled(NOW + STALL - 1)
    transport.buffered = 10
    assert not outlet.is_stalled(NOW + STALL)
    assert outlet.is_stalled(NOW + 2 * STALL - 1)


def test_a_slow_file_does_not_make_its_client_a_slow_one() -> None:
    outlet, transport = outlet_with(0)
    for step in range(1, 10):
        transport.buffered = 5  # what was handed over since the last look; what waited then is taken
        assert not outlet.is_stalled(NOW + step * STALL / 2, handed=5 * step)


def test_what_goes_past_the_transport_counts_as_what_goes_through_it() -> None:
    outlet, transport = outlet_with(20_000)
    assert not outlet.is_stalled(NOW + 30, handed=10 * MINIMUM_RATE)  # as much is taken, since no more waits
    assert not outlet.is_stalled(NOW + STALL + 9, handed=10 * MINIMUM_RATE)
    assert outlet.is_stalled(NOW + STALL + 10, handed=10 * MINIMUM_RATE)
    assert transport.writes == []


def test_something_new_that_is_sent_gives_the_client_its_whole_time() -> None:
    outlet, _ = outlet_with(1000)
    outlet.watch(STALL, NOW + STALL - 1)
    assert not outlet.is_stalled(NOW + 2 * STALL - 2)
    assert outlet.is_stalled(NOW + 2 * STALL - 1)


async def test_all_that_wait_go_on_when_they_are_released() -> None:
    outlet, _ = outlet_with(1000)
    waiting = [asyncio.ensure_future(outlet.writable()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(one.done() for one in waiting)
    outlet.release()
    await asyncio.gather(*waiting)


async def test_one_that_is_cancelled_leaves_the_others_waiting() -> None:
    outlet, _ = outlet_with(1000)
    first, second = asyncio.ensure_future(outlet.writable()), asyncio.ensure_future(outlet.writable())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert first.cancelled()
    assert not second.done()
    outlet.release()
    await second


async def test_who_waits_after_a_release_waits_for_the_next_one() -> None:
    outlet, _ = outlet_with(1000)
    outlet.release()
    waiting = asyncio.ensure_future(outlet.writable())
    await asyncio.sleep(0)
    assert not waiting.done()
    outlet.release()
    await waiting


def test_a_connection_that_lingers_has_left_once_nothing_waits_in_its_transport() -> None:
    _, transport = outlet_with(1)
    assert not has_left(transport)
    transport.buffered = 0
    assert has_left(transport)
