"""Which workers a key prefers, and which cookies are ours."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corehttp.ipc.rendezvous import DIGEST_SIZE, digest, preference, slot_of, token
from corehttp.ipc.scoreboard import ROWS

SECRET, OTHER = b"s" * 32, b"t" * 32
SLOTS = st.sets(st.integers(0, ROWS - 1), min_size=1, max_size=12).map(lambda slots: tuple(sorted(slots)))
DIGESTS = st.binary(min_size=DIGEST_SIZE, max_size=DIGEST_SIZE)


@given(DIGESTS, SLOTS)
def test_a_key_prefers_every_slot_once(key: bytes, slots: tuple[int, ...]) -> None:
    assert sorted(preference(key, slots)) == sorted(slots)


@given(DIGESTS, SLOTS, st.data())
def test_a_slot_that_goes_changes_nothing_for_keys_that_prefer_another(
    key: bytes, slots: tuple[int, ...], data: st.DataObject
) -> None:
    gone = data.draw(st.sampled_from(slots))
    before = preference(key, slots)
    after = preference(key, tuple(slot for slot in slots if slot != gone))
    assert after == tuple(slot for slot in before if slot != gone)


@pytest.mark.parametrize("count", [2, 3, 4, 8, 32])
def test_keys_are_spread_evenly(count: int) -> None:
    keys = 1000 * count
    firsts = Counter(preference(digest(SECRET, b"key %d" % n), tuple(range(count)))[0] for n in range(keys))
    assert len(firsts) == count
    assert 850 < min(firsts.values()) <= max(firsts.values()) < 1150  # of 1000 each, +- 5 standard deviations


def test_without_the_secret_nobody_knows_what_a_key_prefers() -> None:
    assert digest(SECRET, b"key") != digest(OTHER, b"key")


@given(st.integers(0, ROWS - 1))
def test_a_cookie_of_ours_names_its_slot(slot: int) -> None:
    value = token(SECRET, slot)
    assert slot_of(SECRET, value, ROWS) == slot
    assert value.startswith(b"%d." % (slot + 1)), "it shows the number of the worker"


@given(st.one_of(st.binary(max_size=40), st.from_regex(rb"[0-9]{1,5}\.[0-9a-f]{24}", fullmatch=True)))
def test_a_cookie_that_is_made_up_is_none(value: bytes) -> None:
    assert slot_of(SECRET, value, ROWS) is None


def test_a_cookie_of_another_service_or_for_another_slot_is_none() -> None:
    assert slot_of(SECRET, token(OTHER, 1), ROWS) is None
    assert slot_of(SECRET, b"3" + token(SECRET, 1)[1:], ROWS) is None
    assert slot_of(SECRET, token(SECRET, 4), 4) is None
    assert slot_of(SECRET, b"0" + token(SECRET, 1), ROWS) is None
