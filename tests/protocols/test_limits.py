"""A peer may do nothing for a limited time, and may not be too slow for long."""

import pytest

from corehttp.moments import NEVER
from corehttp.protocols.limits import MINIMUM_RATE, Pace


def test_a_peer_that_does_nothing_is_late_when_its_time_is_over() -> None:
    assert Pace(60, 1000).due == 1060
    assert Pace(NEVER, 1000).due == NEVER


def test_moving_nothing_gains_nothing() -> None:
    pace = Pace(60, 1000)
    for now in range(1000, 1060):
        pace.moved(0, now)
    assert pace.due == 1060


@pytest.mark.parametrize("size", [MINIMUM_RATE, MINIMUM_RATE + 1, 10**9])
def test_a_peer_at_the_minimum_rate_or_above_is_never_late(size: int) -> None:
    pace = Pace(60, 1000)
    for now in range(1001, 5000):
        assert now < pace.due
        pace.moved(size, now)
    assert pace.due == 4999 + 60


@pytest.mark.parametrize("size", [1, 24, 120, 239])
def test_a_peer_below_the_minimum_rate_is_late_when_it_has_used_up_its_time(size: int) -> None:
    pace = Pace(60, 1000)
    now = 1000
    while now < pace.due:
        now += 1
        pace.moved(size, now)
    # Of each second, the part is lost for which no bytes have come.
    assert now - 1000 == pytest.approx(60 / (1 - size / MINIMUM_RATE), abs=1.01)


def test_no_progress_gains_more_than_the_whole_time() -> None:
    pace = Pace(60, 1000)
    pace.moved(10**12, 1001)
    assert pace.due == 1061
    pace.moved(10**12, 1001)
    assert pace.due == 1061


def test_a_burst_makes_up_for_the_time_before_it_and_not_for_the_time_after() -> None:
    pace = Pace(60, 1000)
    pace.moved(10 * MINIMUM_RATE, 1050)
    assert pace.due == 1070
    pace.moved(100 * MINIMUM_RATE, 1051)
    assert pace.due == 1111


def test_a_peer_that_has_kept_up_has_all_its_time_again() -> None:
    pace = Pace(60, 1000)
    pace.kept_up(1059)
    assert pace.due == 1119


def test_where_there_is_no_limit_nobody_is_late() -> None:
    pace = Pace(NEVER, 1000)
    pace.moved(1, 10**9)
    assert pace.due == NEVER
    pace.kept_up(10**9)
    assert pace.due == NEVER
