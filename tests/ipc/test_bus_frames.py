"""The frames that workers send each other."""

import random

import pytest

from corehttp.errors import MessageTooLargeError
from corehttp.ipc import bus_frames as frames
from corehttp.ipc.bus_frames import (
    DATA_LIMIT,
    FRAME_LIMIT,
    FrameError,
    Hello,
    Leads,
    Publish,
    ReplyFrame,
    RequestFrame,
    decode,
)


def test_a_message_comes_out_as_it_went_in() -> None:
    found = decode(frames.encode_publish("Größe".encode(), b"\0data", 3, 7))
    assert isinstance(found, Publish)
    assert (found.topic, found.data, found.sender, found.lost) == ("Größe", b"\0data", 3, 7)


def test_the_largest_message_fits_a_frame() -> None:
    raw = frames.encode_publish(b"t" * 255, b"x" * DATA_LIMIT, 1)
    assert len(raw) <= FRAME_LIMIT
    found = decode(raw)
    assert isinstance(found, Publish)
    assert len(found.data) == DATA_LIMIT


def test_a_request_and_its_reply_come_out_as_they_went_in() -> None:
    asked, replied = decode(frames.encode_request(9, b"t", b"q", True)), decode(frames.encode_reply(9, 0, b"a"))
    assert isinstance(asked, RequestFrame)
    assert isinstance(replied, ReplyFrame)
    assert (asked.number, asked.topic, asked.data, asked.for_leader) == (9, "t", b"q", True)
    assert (replied.number, replied.outcome, replied.data) == (9, frames.ANSWERED, b"a")


def test_who_somebody_is_comes_out_as_it_went_in() -> None:
    found, leads = decode(frames.encode_hello(Hello(1 << 40, 4, 2, True))), decode(frames.encode_leads(False))
    assert isinstance(found, Hello)
    assert isinstance(leads, Leads)
    assert (found.number, found.worker, found.generation, found.leads) == (1 << 40, 4, 2, True)
    assert not leads.leads


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "no frame"),
        (b"\x01", "no frame"),
        (b"\x02\x02" + bytes(20), "of version 2, not 1"),
        (b"\x01\x63", "unknown kind, 99"),
        (b"\x01\x01\0", "no frame"),
        (b"\x01\x02\0\0\0\0\0\0\0\0\0", "wrong details"),  # without a topic
        (b"\x01\x02\0\0\0\0\0\0\0\0\x05ab", "wrong details"),  # a topic that is longer than the frame
        (b"\x01\x02\0\0\0\0\0\0\0\0\x01\xff", "not UTF-8"),
        (b"\x01\x04\0\0\0\0\0\0\0\0\x09", "wrong details"),
        (bytes(FRAME_LIMIT + 1), "at once"),
        (b"\x01\x02\0\0\0\0\0\0\0\0\x01t" + bytes(DATA_LIMIT + 1), "wrong details"),
    ],
)
def test_what_is_no_frame_is_refused_with_what_it_is(raw: bytes, why: str) -> None:
    with pytest.raises(FrameError, match=why):
        decode(raw)


def test_garbage_raises_nothing_else() -> None:
    chance = random.Random(1)
    for _ in range(5000):
        raw = b"\x01" + bytes([chance.randrange(8)]) + chance.randbytes(chance.randrange(40))
        try:
            decode(raw)
        except FrameError:
            continue


@pytest.mark.parametrize("topic", ["", "x" * 256, "é" * 128, "\ud800"])
def test_a_topic_that_cannot_be_sent_is_refused(topic: str) -> None:
    with pytest.raises(ValueError, match="a topic"):
        frames.checked_topic(topic)


def test_what_is_no_text_is_no_topic() -> None:
    with pytest.raises(TypeError, match="a topic is text, not bytes"):
        frames.checked_topic(b"cache")  # type: ignore[arg-type]


def test_data_beyond_the_limit_are_refused() -> None:
    assert frames.checked_data(bytearray(DATA_LIMIT)) == bytes(DATA_LIMIT)
    with pytest.raises(MessageTooLargeError, match="65537 bytes; it may have 65536"):
        frames.checked_data(bytes(DATA_LIMIT + 1))


def test_data_that_are_no_bytes_are_refused() -> None:
    with pytest.raises(TypeError, match="are bytes, not str; for others use JSON"):
        frames.checked_data("text")  # type: ignore[arg-type]


def test_a_count_of_lost_messages_has_a_bound() -> None:
    found = decode(frames.encode_publish(b"t", b"", 1, 1 << 40))
    assert isinstance(found, Publish)
    assert found.lost == (1 << 32) - 1
