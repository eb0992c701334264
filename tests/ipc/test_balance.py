"""Who takes a connection, and how many are too many."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corehttp.ipc.balance import AT_ONCE, Load, excess, target, transfers


def loads(*connections: int, limit: int = 0) -> list[Load]:
    return [Load(slot, count, limit) for slot, count in enumerate(connections)]


def test_the_worker_with_the_fewest_connections_is_chosen() -> None:
    assert target(loads(5, 2, 9), own_slot=3) == 1


def test_of_equals_the_next_one_is_chosen_so_that_not_all_choose_the_same() -> None:
    others = [Load(slot, 0) for slot in (0, 2, 3)]
    assert target(others, own_slot=1) == 2
    assert target([Load(slot, 0) for slot in (0, 1, 2)], own_slot=3) == 0


def test_of_workers_with_as_many_connections_the_one_with_the_least_to_do_is_chosen() -> None:
    assert target([Load(0, 4, running=2), Load(1, 4, running=1), Load(2, 5)], own_slot=3) == 1
    assert target([Load(0, 4, reported=0.5), Load(1, 4, reported=0.2)], own_slot=3) == 1


def test_nobody_is_chosen_who_is_full_or_hangs_or_wants_nothing_new() -> None:
    assert target([Load(0, 10, limit=10), Load(1, 3, alive=False), Load(3, 0, reported=1.0)], own_slot=2) is None
    assert target([], own_slot=0) is None


@pytest.mark.parametrize(
    ("own", "others", "surplus"),
    [(40, (0,), 20), (10, (10, 10), 0), (14, (10, 10), 0), (3, (0,), 0), (1000, (0, 0), AT_ONCE), (0, (50,), 0)],
)
def test_only_what_is_clearly_too_much_is_passed_on(own: int, others: tuple[int, ...], surplus: int) -> None:
    assert excess(loads(*others), own) == surplus


def test_there_is_no_surplus_without_somebody_to_take_it() -> None:
    assert excess([], 100) == 0
    assert excess([Load(0, 0, alive=False)], 100) == 0


@pytest.mark.parametrize("seed", range(50))
def test_passing_on_evens_out_and_then_comes_to_rest(seed: int) -> None:
    chance = random.Random(seed)
    limit = chance.choice([0, 60])
    counts = [chance.randint(0, 60) for _ in range(chance.randint(2, 8))]
    for _ in range(100):
        moved = 0
        for slot in range(len(counts)):
            others = [Load(other, count, limit) for other, count in enumerate(counts) if other != slot]
            for _ in range(excess(others, counts[slot])):
                others = [Load(other, count, limit) for other, count in enumerate(counts) if other != slot]
                chosen = target(others, slot)
                assert chosen is not None
                counts[slot] -= 1
                counts[chosen] += 1
                moved += 1
        if not moved:
            break
    else:
        pytest.fail("connections go to and fro")
    mean = sum(counts) / len(counts)
    assert max(counts) <= mean * 1.25 + 2
    assert not limit or max(counts) <= limit


COUNTS = st.lists(st.integers(0, 60), min_size=2, max_size=8)


def fewest_moves(counts: list[int]) -> int:
    """How many connections have to move until no worker has two more than another."""
    each, rest = divmod(sum(counts), len(counts))
    most_first = sorted(counts, reverse=True)
    return sum(max(0, count - each - (place < rest)) for place, count in enumerate(most_first))


def after_all_have_decided(counts: list[int], seen: list[list[int]]) -> tuple[list[int], int]:
    """What all have when each has passed on what it should by what it has `seen` of others; and how many have moved."""
    after, moves = list(counts), 0
    for slot, own in enumerate(counts):
        others = [Load(other, count) for other, count in enumerate(seen[slot]) if other != slot]
        for taker, count in transfers(others, slot, own):
            after[slot] -= count
            after[taker] += count
            moves += count
    return after, moves


@given(COUNTS)
def test_workers_that_decide_at_the_same_time_are_even_at_once_with_the_fewest_moves(counts: list[int]) -> None:
    after, moves = after_all_have_decided(counts, [counts] * len(counts))
    assert max(after) - min(after) <= 1
    assert moves == fewest_moves(counts)
    assert after_all_have_decided(after, [after] * len(after)) == (after, 0)


@given(COUNTS, st.randoms(use_true_random=True))
def test_workers_that_see_older_numbers_are_even_soon_and_then_nothing_moves(
    counts: list[int], chance: random.Random
) -> None:
    """Each number of another worker is of now or of one round before, at random; all decide at the same time."""
    before, now, moved, rounds = counts, counts, 0, 0
    while True:
        seen = [[chance.choice(pair) for pair in zip(before, now, strict=True)] for _ in now]
        before, (now, moves) = now, after_all_have_decided(now, seen)
        moved += moves
        rounds += 1
        assert min(now) >= 0
        if not moves and max(now) - min(now) <= 1:
            break
        assert rounds <= 24  # 12 was the most in 30,000 runs
    assert moved <= 4 * fewest_moves(counts) + 8  # 3.1 times the fewest was the most


@given(COUNTS, st.integers(1, 70))
def test_no_worker_is_given_more_than_its_limit(counts: list[int], limit: int) -> None:
    own, *others = counts
    given_to = dict(transfers(loads(own, *others, limit=limit)[1:], 0, own))
    for slot, count in given_to.items():
        assert counts[slot] + count <= limit
    assert sum(given_to.values()) <= own


def test_who_is_blocked_or_wants_nothing_new_neither_gets_connections_nor_counts() -> None:
    others = [Load(1, 0, alive=False), Load(2, 4), Load(3, 0, reported=1.0)]
    assert transfers(others, 0, 8) == [(2, 2)]
    assert transfers(others[:1], 0, 8) == []


def test_a_worker_passes_on_a_bounded_number_at_once() -> None:
    assert transfers([Load(1, 0)], 0, 1000) == [(1, AT_ONCE)]


def test_a_difference_of_one_is_left_alone() -> None:
    assert transfers(loads(4, 3, 3)[1:], 0, 4) == []
    assert transfers(loads(5, 3, 3)[1:], 0, 5) == [(1, 1)]
