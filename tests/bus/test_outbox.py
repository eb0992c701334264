"""The frames that wait until a peer takes them."""

from corehttp.bus.outbox import BYTES, COUNT, PATIENCE, TOPICS, Outbox
from corehttp.ipc.bus_frames import Publish, decode, encode_publish


class Slip:
    """Where it is noted whether a frame was taken."""

    def __init__(self) -> None:
        self.taken: bool | None = None

    def done(self) -> bool:
        return self.taken is not None

    def set_result(self, result: bool, /) -> None:
        self.taken = result


def message(data: bytes = b"") -> bytes:
    return encode_publish(b"t", data, 1)


def lost_in(frame: bytes) -> int:
    found = decode(frame)
    assert isinstance(found, Publish)
    return found.lost


def test_frames_are_sent_in_their_order_and_that_is_noted() -> None:
    outbox, slips = Outbox(), [Slip(), Slip()]
    for number, slip in enumerate(slips):
        assert outbox.add(message(b"%d" % number), "t", 0.0, slip)
    assert outbox.first == message(b"0")
    outbox.sent_first()
    assert (slips[0].taken, slips[1].taken, len(outbox)) == (True, None, 1)
    assert outbox.first == message(b"1")


def test_what_has_waited_for_a_second_is_lost_and_the_next_message_says_so() -> None:
    outbox, slips = Outbox(), [Slip(), Slip(), Slip()]
    for number, slip in enumerate(slips):
        outbox.add(message(), "t", number / 10, slip)
    assert outbox.deadline == PATIENCE
    assert outbox.expire(PATIENCE + 0.15) == 2
    assert [slip.taken for slip in slips] == [False, False, None]
    assert lost_in(outbox.first) == 2
    outbox.sent_first()
    assert outbox.stamped(message(), "t") == message()


def test_all_messages_can_be_given_up_at_once_and_other_frames_stay() -> None:
    outbox, slips = Outbox(), [Slip(), Slip(), Slip()]
    outbox.add(message(), "t", 0.0, slips[0])
    outbox.add(b"no message", None, 0.0, slips[1])
    outbox.add(message(), "t", 0.0, slips[2])
    outbox.lose_messages()
    assert [slip.taken for slip in slips] == [False, None, False]
    assert (outbox.first, outbox.size, len(outbox)) == (b"no message", 10, 1)
    assert lost_in(outbox.stamped(message(), "t")) == 2


def test_each_topic_counts_its_own_losses() -> None:
    outbox = Outbox()
    outbox.lose("a")
    outbox.lose("a")
    outbox.lose(None)  # a frame that is no message
    assert lost_in(outbox.stamped(message(), "a")) == 2
    assert lost_in(outbox.stamped(message(), "t")) == 0
    outbox.told("a")
    assert lost_in(outbox.stamped(message(), "a")) == 0


def test_frames_are_bounded_by_their_number_and_their_bytes() -> None:
    outbox = Outbox()
    added = [outbox.add(message(), "t", 0.0, Slip()) for _ in range(COUNT + 1)]
    assert added == [True] * COUNT + [False]
    large = Outbox()
    assert large.add(b"x" * BYTES, None, 0.0, Slip())
    assert not large.add(b"x", None, 0.0, Slip())


def test_a_message_that_was_too_much_is_told_by_the_first_one_that_comes_behind_it() -> None:
    outbox, told = Outbox(), []
    for _ in range(COUNT + 2):
        outbox.add(message(), "t", 0.0, Slip())
    for _ in range(2):
        told.append(lost_in(outbox.first))
        outbox.sent_first()
    outbox.add(message(), "t", 0.0, Slip())
    outbox.add(message(), "t", 0.0, Slip())
    outbox.add(message(), "t", 0.0, Slip())  # again too much
    while len(outbox):
        told.append(lost_in(outbox.first))
        outbox.sent_first()
    told.append(lost_in(outbox.stamped(message(), "t")))
    assert told == [0] * COUNT + [2, 0, 1]
    outbox.told("t")
    assert outbox.stamped(message(), "t") == message()


def test_what_is_given_up_takes_along_what_was_lost_before_it() -> None:
    outbox = Outbox()
    for _ in range(COUNT + 1):
        outbox.add(message(), "t", 0.0, Slip())
    outbox.sent_first()
    outbox.add(message(), "t", 0.5, Slip())  # says that one is missing
    assert outbox.expire(PATIENCE) == COUNT - 1
    assert lost_in(outbox.first) == COUNT
    outbox.lose_messages()
    assert lost_in(outbox.stamped(message(), "t")) == COUNT + 1


def test_the_topics_that_are_counted_are_bounded() -> None:
    outbox = Outbox()
    for number in range(TOPICS + 1):
        outbox.lose(f"topic {number}")
    assert lost_in(outbox.stamped(message(), "topic 0")) == 0
    assert lost_in(outbox.stamped(message(), "topic 1")) == 1


def test_the_end_of_a_peer_is_the_end_of_all_that_waits_for_it() -> None:
    outbox, slip, done = Outbox(), Slip(), Slip()
    done.set_result(True)
    outbox.add(message(), "t", 0.0, slip)
    outbox.add(message(), "t", 0.0, done)
    outbox.clear()
    assert (slip.taken, done.taken, len(outbox)) == (False, True, 0)


def test_a_frame_that_is_taken_out_says_what_was_lost_and_its_result_is_noted_by_who_took_it() -> None:
    outbox, slip = Outbox(), Slip()
    outbox.lose("t")
    outbox.add(message(b"x" * 100), "t", 0.0, slip)
    frame, result = outbox.take_first()
    assert (lost_in(frame), result, slip.taken, len(outbox)) == (1, slip, None, 0)
    assert outbox.add(b"x" * BYTES, None, 0.0, Slip()), "the bytes of what was taken out count no more"
    assert outbox.stamped(message(), "t") == message()
