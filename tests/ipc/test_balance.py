"""Who takes a connection, and how many are too many."""

import random

import pytest

from corehttp.ipc.balance import AT_ONCE, Load, excess, target


def loads(*connections: int, limit: int = 0) -> list[Load]:
    return [Load(slot, count, limit) for slot, count in enumerate(connections)]


def test_the_worker_with_the_fewest_connections_is_chosen() -> None:
    assert target(loads(5, 2, 9), own_slot=3) == 1


def test_of_equals_the_next_one_is_chosen_so_that_not_all_choose_the_same() -> None:
    others = [Load(slot, 0) for slot in (0, 2, 3)]
    assert target(others, own_slot=1) == 2
    assert target([Load(slot, 0) for slot in (0, 1, 2)], own_slot=3) == 0


def test_nobody_is_chosen_who_is_full_or_hangs() -> None:
    assert target([Load(0, 10, limit=10), Load(1, 3, alive=False)], own_slot=2) is None
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
