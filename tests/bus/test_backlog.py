"""The messages that wait for one subscriber."""

from corehttp.bus.backlog import Backlog


class Letter:
    def __init__(self, data: bytes = b"", lost: int = 0) -> None:
        self.data = data
        self.lost = lost


def test_messages_come_out_in_the_order_in_which_they_went_in() -> None:
    backlog: Backlog[Letter] = Backlog(10, 100)
    letters = [Letter(b"%d" % number) for number in range(3)]
    assert [backlog.put(letter) for letter in letters] == [[], [], []]
    assert [backlog.take() for _ in range(4)] == [*letters, None]


def test_the_oldest_are_dropped_and_the_next_one_counts_them() -> None:
    backlog: Backlog[Letter] = Backlog(2, 100)
    letters = [Letter() for _ in range(5)]
    dropped = [letter for added in letters for letter in backlog.put(added)]
    assert dropped == letters[:3]
    assert backlog.take() is letters[3]
    assert letters[3].lost == 3
    assert letters[4].lost == 0


def test_what_a_dropped_message_had_counted_is_not_forgotten() -> None:
    backlog: Backlog[Letter] = Backlog(1, 100)
    backlog.put(Letter(lost=4))
    last = Letter(lost=1)
    backlog.put(last)
    assert last.lost == 6


def test_messages_are_bounded_by_their_bytes_too() -> None:
    backlog: Backlog[Letter] = Backlog(10, 100)
    backlog.put(Letter(b"x" * 60))
    assert len(backlog.put(Letter(b"x" * 60))) == 1
    assert len(backlog) == 1


def test_one_message_is_kept_whatever_its_size() -> None:
    backlog: Backlog[Letter] = Backlog(10, 100)
    large = Letter(b"x" * 1000)
    assert backlog.put(large) == []
    assert backlog.take() is large
    assert backlog.put(Letter(b"x" * 100)) == []  # the bytes of the large one count no more


def test_what_is_missing_before_the_next_message_counts_as_one() -> None:
    backlog: Backlog[Letter] = Backlog(10, 100)
    backlog.put(Letter())
    backlog.miss()
    backlog.miss()
    letters = [Letter(lost=2), Letter()]
    for letter in letters:
        backlog.put(letter)
    assert [letter.lost for letter in letters] == [3, 0]
    assert backlog.newest is letters[1]
