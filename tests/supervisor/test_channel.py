"""The pipe between supervisor and worker, over real sockets."""

import os

import pytest

from corehttp.supervisor.channel import Channel


def test_messages_arrive_whole_and_in_order() -> None:
    ours, theirs = Channel.pair()
    assert theirs.send("ready")
    assert theirs.send("failed", "no module", "a traceback\n" * 1000)
    assert ours.receive() == ([("ready",), ("failed", "no module", "a traceback\n" * 1000)], False)
    ours.close()
    theirs.close()


def test_nothing_is_received_where_nothing_was_sent() -> None:
    ours, theirs = Channel.pair()
    assert ours.receive() == ([], False)
    assert not theirs.hung_up()
    ours.close()
    theirs.close()


def test_the_last_words_are_heard_before_the_end() -> None:
    ours, theirs = Channel.pair()
    theirs.send("failed", "why")
    theirs.close()
    assert ours.receive() == ([("failed", "why")], True)
    ours.close()


def test_sending_to_an_end_that_is_gone_is_no_error() -> None:
    ours, theirs = Channel.pair()
    ours.close()
    assert theirs.hung_up()
    assert theirs.send("ready") is False
    theirs.close()


def test_waiting_for_a_message_ends_when_the_other_end_goes() -> None:
    ours, theirs = Channel.pair()
    ours.send("boot", {"slot": 0})
    assert theirs.wait_for_message() == ("boot", {"slot": 0})
    ours.close()
    with pytest.raises(EOFError):
        theirs.wait_for_message()
    theirs.close()


def test_messages_behind_the_awaited_one_are_not_lost() -> None:
    ours, theirs = Channel.pair()
    ours.send("boot", {})
    ours.send("serve")
    assert theirs.wait_for_message() == ("boot", {})
    assert theirs.receive() == ([("serve",)], False)
    ours.close()
    theirs.close()


def test_descriptors_come_in_the_order_in_which_they_were_sent() -> None:
    ours, theirs = Channel.pair()
    reader, writer = os.pipe()
    ours.send("boot", {}, fds=[reader])
    ours.send("inboxes", (0,), fds=[writer, writer])
    assert theirs.receive()[0] == [("boot", {}), ("inboxes", (0,))]
    [first] = theirs.take_fds(1)
    second, third = theirs.take_fds(2)
    os.write(third, b"through a copy")
    assert os.read(first, 100) == b"through a copy"
    assert not os.get_inheritable(first)
    for fd in (reader, writer, first, second, third):
        os.close(fd)
    ours.close()
    theirs.close()


def test_descriptors_that_nobody_took_are_closed_with_the_channel() -> None:
    ours, theirs = Channel.pair()
    reader, writer = os.pipe()
    ours.send("inboxes", fds=[writer])
    os.close(writer)
    assert theirs.receive() == ([("inboxes",)], False)
    theirs.close()
    assert os.read(reader, 1) == b"", "somebody still holds the other end"
    os.close(reader)
    ours.close()
