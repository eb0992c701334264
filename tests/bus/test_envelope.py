"""What machines send each other, as bytes."""

import pytest

from corehttp.bus.envelope import (
    ENVELOPE_LIMIT,
    Delivery,
    Missing,
    encode_delivery,
    encode_missing,
    open_envelope,
)
from corehttp.ipc.bus_frames import DATA_LIMIT, TOPIC_LIMIT, FrameError, encode_leads, encode_publish

HERE, THERE = 1, (1 << 64) - 1
FRAME = encode_publish(b"cache", b"user:1", 3, lost=2)


def test_a_message_comes_out_as_it_went_in_with_its_machine() -> None:
    found = open_envelope(encode_delivery(THERE, FRAME), HERE)
    assert isinstance(found, Delivery)
    message = found.message
    assert (found.node, message.topic, message.data, message.sender, message.lost) == (THERE, "cache", b"user:1", 3, 2)


def test_the_largest_message_fits() -> None:
    raw = encode_delivery(THERE, encode_publish(b"t" * TOPIC_LIMIT, b"x" * DATA_LIMIT, 1))
    assert len(raw) <= ENVELOPE_LIMIT
    assert isinstance(open_envelope(raw, HERE), Delivery)


def test_what_this_machine_has_sent_itself_is_an_echo_whatever_it_is() -> None:
    for raw in (encode_delivery(HERE, FRAME), encode_missing(HERE), encode_delivery(HERE, b"?")):
        assert open_envelope(raw, HERE) is None


def test_a_machine_says_that_messages_of_it_are_missing() -> None:
    found = open_envelope(encode_missing(THERE), HERE)
    assert isinstance(found, Missing)
    assert found.node == THERE


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"hello",
        b"\x02" + encode_delivery(THERE, FRAME)[1:],  # another version
        b"\x01\x09" + encode_delivery(THERE, FRAME)[2:],  # an unknown kind
        encode_delivery(THERE, b""),
        encode_delivery(THERE, FRAME[:8]),
        encode_delivery(THERE, encode_leads(leads=True)),  # a frame that is no message
        encode_delivery(THERE, encode_publish(b"t", b"x" * (DATA_LIMIT + 1), 1)),
        encode_delivery(THERE, encode_publish(b"\xff", b"", 1)),  # a topic that is no text
        encode_delivery(THERE, b"x" * ENVELOPE_LIMIT),
        encode_missing(THERE) + b"more",
    ],
)
def test_what_no_service_has_sent_is_refused(raw: bytes) -> None:
    with pytest.raises(FrameError):
        open_envelope(raw, HERE)


def test_every_cut_of_a_message_is_refused_or_another_message() -> None:
    raw = encode_delivery(THERE, FRAME)
    for end in range(len(raw)):
        try:
            found = open_envelope(raw[:end], HERE)
        except FrameError:
            continue
        assert isinstance(found, Delivery)
        assert b"user:1".startswith(found.message.data)
