"""Why a worker should go."""

import random

from corehttp.worker.retirement import SAMPLES, Retirement, rss

CHANCE = random.Random(1).random
MIB = 2**20


def test_without_limits_a_worker_stays() -> None:
    assert Retirement(chance=CHANCE).cause(10**9, 1e9, 2**50) is None


def test_requests_and_age_are_causes_and_are_said_once() -> None:
    one = Retirement(max_requests=100, chance=CHANCE)
    assert one.cause(99, 0, 0) is None
    assert one.cause(103, 0, 0) == "it has begun 103 requests (--limit-max-requests)"
    assert one.cause(200, 0, 0) is None
    other = Retirement(max_age=60.0, chance=CHANCE)
    assert other.cause(0, 59.9, 0) is None
    assert other.cause(0, 60.0, 0) == "it is 60 s old (--worker-max-age)"


def test_jitter_is_added_and_differs() -> None:
    def last(one: Retirement) -> int:
        return next(count for count in range(1000) if one.cause(count, 0, 0))

    drawn = {last(Retirement(max_requests=100, max_requests_jitter=50, chance=CHANCE)) for _ in range(20)}
    assert len(drawn) > 5
    assert min(drawn) >= 100
    assert max(drawn) <= 150


def test_a_peak_of_memory_is_no_cause_but_staying_there_is() -> None:
    one = Retirement(max_rss=100 * MIB, chance=CHANCE)
    sizes = [101, 101, 99, *[101] * (SAMPLES - 1)]
    assert [one.cause(0, 0, size * MIB) for size in sizes] == [None] * len(sizes)
    assert one.cause(0, 0, 101 * MIB) == "it holds 101 MiB of memory (--worker-max-rss)"


def test_the_memory_of_this_process_can_be_seen() -> None:
    assert MIB < rss() < 100_000 * MIB
