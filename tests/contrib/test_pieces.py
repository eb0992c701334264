"""Messages that are larger than one of the bus."""

import pytest

from corehttp.contrib import pieces
from corehttp.contrib.pieces import SIZE_LIMIT, Assembly, cut
from corehttp.ipc.bus_frames import DATA_LIMIT

ONE, OTHER = b"1" * 16, b"2" * 16


@pytest.mark.parametrize("size", [0, 1, DATA_LIMIT - 24, DATA_LIMIT - 23, DATA_LIMIT * 3])
def test_a_message_of_any_size_comes_out_as_it_went_in(size: int) -> None:
    message, assembly = bytes(index % 251 for index in range(size)), Assembly()
    parts = list(cut(ONE, 7, message))
    assert all(len(part) <= DATA_LIMIT for part in parts)
    assert [assembly.add(part) for part in parts] == [None] * (len(parts) - 1) + [message]


def test_the_pieces_of_several_messages_may_be_mixed() -> None:
    assembly, large = Assembly(), b"x" * DATA_LIMIT
    first, second, third = (list(cut(*whose, large)) for whose in ((ONE, 1), (ONE, 2), (OTHER, 1)))
    mixed = [part for parts in zip(first, second, third, strict=True) for part in parts]
    assert [assembly.add(part) for part in mixed] == [None] * 3 + [large] * 3


def test_a_message_of_which_a_piece_is_missing_is_dropped() -> None:
    assembly = Assembly()
    first, _, third = cut(ONE, 1, b"x" * DATA_LIMIT * 2)
    assert [assembly.add(part) for part in (first, third, third)] == [None] * 3
    assert not assembly._begun
    assert assembly._held == 0


def test_what_is_held_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "HELD_LIMIT", 3 * DATA_LIMIT)
    assembly = Assembly()
    for number in range(10):
        assembly.add(next(cut(ONE, number, b"x" * DATA_LIMIT * 2)))
    assert len(assembly._begun) == 3


@pytest.mark.parametrize("garbage", [b"", b"x", b"x" * 23, ONE + bytes(6) + b"\0\0", ONE + b"\0\0\0\1\0\5\0\2"])
def test_what_is_no_piece_is_dropped(garbage: bytes) -> None:
    assert Assembly().add(garbage) is None


def test_a_message_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="it may have 16777216 at most"):
        list(cut(ONE, 1, bytes(SIZE_LIMIT + 1)))
