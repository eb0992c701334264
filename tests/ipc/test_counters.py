"""Counters as values: packed and unpacked, added, compared; and what a histogram tells."""

import math
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corehttp.ipc.counters import (
    ABORTS,
    BOUNDS,
    BUCKETS,
    EXITS,
    METHODS,
    MOST,
    OPENINGS,
    OTHER,
    PUBLISHED,
    REFUSALS,
    ROOM,
    Counters,
    Histogram,
    ServiceCounters,
    total,
)

COUNTS = st.integers(0, MOST // 16)
HISTOGRAMS = st.builds(
    Histogram, st.tuples(*[COUNTS] * BUCKETS), st.floats(0, 1e9).map(lambda seconds: math.floor(seconds) / 4)
)
REASONS = st.fixed_dictionaries(dict.fromkeys(REFUSALS, COUNTS))
OUTCOMES = st.fixed_dictionaries(dict.fromkeys(OPENINGS, COUNTS))
CAUSES = st.fixed_dictionaries(dict.fromkeys(ABORTS, COUNTS))
COUNTERS = st.builds(
    Counters,
    st.dictionaries(st.tuples(st.sampled_from(METHODS), st.integers(100, 999)), COUNTS, max_size=20),
    REASONS,
    CAUSES,
    *[COUNTS] * 7,
    blocked=st.integers(0, 10**6).map(float),
    duration=HISTOGRAMS,
    queue_time=HISTOGRAMS,
    openings=OUTCOMES,
)


def unpacked(content: bytes) -> Counters:
    return Counters.unpack(content.ljust(ROOM, b"\0"))


@given(COUNTERS)
def test_what_is_packed_comes_out_again(counters: Counters) -> None:
    assert len(counters.pack()) <= ROOM
    assert unpacked(counters.pack()) == counters


@given(st.binary(min_size=1, max_size=64))
def test_whatever_stands_in_the_memory_comes_out_as_what_can_be_true(junk: bytes) -> None:
    counters = Counters.unpack((junk * ROOM)[:ROOM])
    assert {method for method, _ in counters.requests} <= set(METHODS)
    assert all(100 <= status <= 999 for _, status in counters.requests)
    numbers: list[float] = [*counters.requests.values(), *counters.refused.values(), *counters.aborted.values()]
    numbers += counters.openings.values()
    numbers += [value for value in asdict(counters).values() if isinstance(value, int | float)]
    for histogram in (counters.duration, counters.queue_time):
        numbers += [*histogram.counts, histogram.seconds]
        assert 0 <= (histogram.quantile(0.5) or 0) <= BOUNDS[-1]
    assert all(0 <= number <= MOST and math.isfinite(number) for number in numbers)
    assert len(counters.plus(counters).pack()) <= ROOM
    service = ServiceCounters.unpack((junk * ROOM)[:ROOM])
    assert all(0 <= number <= MOST for number in [*service.exits.values(), service.starts, service.last_reload_done_at])


@given(COUNTERS, COUNTERS)
def test_what_was_added_is_the_difference(one: Counters, other: Counters) -> None:
    both = one.plus(other)
    assert both.responses == one.responses + other.responses
    assert both.since(one).plus(one) == both
    assert both.since(both).responses == 0


def test_methods_that_are_not_known_are_counted_as_one() -> None:
    counters = Counters({("GET", 200): 1, ("BREW", 418): 2, ("POUR", 418): 3})
    assert unpacked(counters.pack()).requests == {("GET", 200): 1, (OTHER, 418): 5}


def test_more_pairs_than_there_is_room_for_lose_their_method_and_status_but_not_their_count() -> None:
    pairs = {(method, status): 1 for status in range(200, 600) for method in METHODS}
    found = unpacked(Counters(pairs).pack())
    assert found.responses == len(pairs)
    assert found.requests["GET", 200] == 1
    for status_class in (2, 3, 4, 5):
        of_class = [count for (_, status), count in found.requests.items() if status // 100 == status_class]
        assert sum(of_class) == 1000


@pytest.mark.parametrize("number", [MOST + 1, 1 << 70, -1])
def test_a_number_that_cannot_be_packed_is_brought_into_bounds(number: int) -> None:
    counters = Counters({("GET", 200): number}, begun=number, blocked=math.nan)
    assert unpacked(counters.pack()).begun in (0, MOST)
    assert unpacked(counters.pack()).blocked == 0.0


def test_errors_are_what_the_service_is_to_blame_for() -> None:
    requests = {("GET", 200): 100, ("GET", 404): 50, ("GET", 500): 3, ("POST", 503): 4}
    assert Counters(requests, aborted={"client": 20, "timeout": 5, "cut": 6, "error": 7}).errors == 25


def test_a_service_is_counted_as_a_whole() -> None:
    assert total([Counters(begun=1), Counters(begun=2), Counters(begun=3)]).begun == 6
    assert total([]) == Counters()


def test_a_histogram_tells_what_took_at_most_so_long() -> None:
    counts = [0] * BUCKETS
    counts[0], counts[BOUNDS.index(0.005)], counts[BOUNDS.index(0.1)], counts[-1] = 1, 2, 3, 4
    found = Histogram(tuple(counts), 60.0)
    assert found.count == 10
    assert [bound for bound, _ in found.cumulative()] == list(PUBLISHED)
    assert dict(found.cumulative())[0.005] == 3
    assert dict(found.cumulative())[0.075] == 3
    assert dict(found.cumulative())[10.0] == 6


def test_quantiles_lie_within_their_bucket() -> None:
    counts = [0] * BUCKETS
    counts[BOUNDS.index(0.05)], counts[BOUNDS.index(1.0)] = 90, 10
    found = Histogram(tuple(counts), 1.0)
    assert found.quantile(0.0) == 0.025
    assert 0.025 < (found.quantile(0.5) or 0) < 0.05
    assert found.quantile(0.9) == 0.05
    assert 0.75 < (found.quantile(0.99) or 0) < 1.0
    assert found.quantile(1.0) == 1.0


def test_nothing_has_no_quantile_and_what_is_beyond_all_bounds_has_the_last_one() -> None:
    assert Histogram().quantile(0.5) is None
    assert Histogram((*[0] * (BUCKETS - 1), 5), 100.0).quantile(0.5) == BOUNDS[-1]


def test_every_cause_of_an_end_has_its_place() -> None:
    counters = ServiceCounters({cause: number for number, cause in enumerate(EXITS, 1)}, starts=50)
    assert ServiceCounters.unpack(counters.pack()) == counters
