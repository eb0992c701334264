"""Mailboxes, through which workers are given channels and messages."""

import os
import socket
from collections.abc import Iterator

import pytest

from corehttp.ipc.bus_frames import FRAME_LIMIT
from corehttp.ipc.mailbox import Mailbox, MailboxWriter, adopt, adopt_channel, make_mailbox, message_pair

Ends = tuple[Mailbox, MailboxWriter]


@pytest.fixture
def ends() -> Iterator[Ends]:
    reader, writer = make_mailbox()
    mailbox = Mailbox(reader)
    yield mailbox, writer
    mailbox.close()
    writer.close()


def test_messages_come_out_whole_and_in_their_order(ends: Ends) -> None:
    mailbox, writer = ends
    assert not mailbox.has_message()
    with pytest.raises(BlockingIOError):
        mailbox.take()
    for message in (b"one", b"x" * FRAME_LIMIT):
        assert writer.put(message)
    assert mailbox.has_message()
    assert [mailbox.take(), mailbox.take()] == [(b"one", None), (b"x" * FRAME_LIMIT, None)]


def test_a_channel_goes_with_a_message(ends: Ends) -> None:
    mailbox, writer = ends
    ours, theirs = message_pair()
    assert writer.put(b"hello", theirs.fileno())
    theirs.close()
    message, fd = mailbox.take()
    channel = adopt_channel(fd)
    assert message == b"hello"
    assert channel is not None
    with ours, channel:
        assert not channel.getblocking()
        assert not channel.get_inheritable()
        channel.send(b"answer")
        assert ours.recv(100) == b"answer"


def test_what_is_no_channel_is_closed(ends: Ends) -> None:
    mailbox, writer = ends
    with socket.socket() as other, open(os.devnull) as file:
        for stranger in (other, file):
            assert writer.put(b"x", stranger.fileno())
            _, fd = mailbox.take()
            assert adopt_channel(fd) is None
            assert fd is not None
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fd)
    assert adopt_channel(None) is None


def test_a_mailbox_that_is_full_or_gone_takes_nothing(ends: Ends) -> None:
    mailbox, writer = ends
    count = 0
    while writer.put(b"x" * 1000):
        count += 1
    assert count > 10
    mailbox.close()
    assert not writer.put(b"x")


def test_an_empty_message_is_not_the_end_of_a_mailbox(ends: Ends) -> None:
    mailbox, writer = ends
    assert writer.put(b"")
    assert mailbox.take() == (b"", None)
    writer.close()
    assert mailbox.has_message()
    with pytest.raises(EOFError):
        mailbox.take()


def test_a_worker_adopts_its_mailbox_and_those_of_others(ends: Ends) -> None:
    _, writer = ends
    reader, own = make_mailbox()
    mail = adopt([os.dup(reader.fileno()), os.dup(writer.fileno())])
    reader.close()
    assert len(mail.descriptors()) == 2
    assert own.put(b"for me")
    assert mail.mailbox.take() == (b"for me", None)
    [other] = mail.take_others()
    assert mail.others == []
    other.close()
    mail.close()
    mail.close()
    own.close()
