"""The pipe between supervisor and worker, over real sockets."""

import os
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corehttp.ipc.channel import QUEUE, Channel
from corehttp.ipc.message_stream import GarbledError, Parser
from corehttp.ipc.messages import FROM_SUPERVISOR, VERSION, Boot, FromSupervisor, Inboxes, Ready, Serve, StartFailed


def boot(**config: object) -> Boot:
    return Boot(VERSION, config, "/", [], [])


def test_messages_arrive_whole_and_in_order() -> None:
    ours, theirs = Channel.pair()
    assert theirs.send(Ready())
    assert theirs.send(StartFailed("no module", "a traceback\n" * 1000))
    assert ours.receive() == ([Ready(), StartFailed("no module", "a traceback\n" * 1000)], False)
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
    theirs.send(StartFailed("why", ""))
    theirs.close()
    assert ours.receive() == ([StartFailed("why", "")], True)
    ours.close()


def test_sending_to_an_end_that_is_gone_is_no_error() -> None:
    ours, theirs = Channel.pair()
    ours.close()
    assert theirs.hung_up()
    assert theirs.send(Ready()) is False
    theirs.close()


def test_waiting_for_a_message_ends_when_the_other_end_goes() -> None:
    ours, theirs = Channel.pair()
    ours.send(boot(slot=0, header=((b"a", b"\xff"),)))
    assert theirs.wait_for_message() == boot(slot=0, header=((b"a", b"\xff"),))
    ours.close()
    with pytest.raises(EOFError):
        theirs.wait_for_message()
    theirs.close()


def test_messages_behind_the_awaited_one_are_not_lost() -> None:
    ours, theirs = Channel.pair()
    ours.send(boot())
    ours.send(Serve())
    assert theirs.wait_for_message() == boot()
    assert theirs.receive() == ([Serve()], False)
    ours.close()
    theirs.close()


def test_descriptors_come_in_the_order_in_which_they_were_sent() -> None:
    ours, theirs = Channel.pair()
    reader, writer = os.pipe()
    ours.send(boot(), [reader])
    ours.send(Inboxes((0,)), [writer, writer])
    assert theirs.receive()[0] == [boot(), Inboxes((0,))]
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
    ours.send(Inboxes((0,)), [writer])
    os.close(writer)
    assert theirs.receive() == ([Inboxes((0,))], False)
    theirs.close()
    assert os.read(reader, 1) == b"", "somebody still holds the other end"
    os.close(reader)
    ours.close()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_an_end_that_does_not_read_holds_up_nobody_and_gets_everything_later() -> None:
    ours, theirs = Channel.pair()
    reader, writer = os.pipe()
    sent = 0
    while not ours.congested:
        assert ours.send(boot(n=sent, filling="x" * 20_000), [writer])
        sent += 1
    for _ in range(3):
        assert ours.send(boot(n=sent), [writer])
        sent += 1
    os.close(writer)
    received: list[FromSupervisor] = []
    while len(received) < sent:
        ours.flush()
        received += theirs.receive()[0]
    assert not ours.congested
    assert [message.config["n"] for message in received if isinstance(message, Boot)] == list(range(sent))
    for fd in theirs.take_fds(sent):
        os.close(fd)
    assert os.read(reader, 1) == b"", "a copy of the descriptor was left behind"
    os.close(reader)
    ours.close()
    theirs.close()


# Positive: send a message with so many characters. Negative: read so many bytes at the other end. 0: flush.
STEPS = st.lists(st.integers(1, 30_000) | st.integers(-60_000, -1) | st.just(0), max_size=60)


@settings(deadline=None)
@given(STEPS)
def test_the_other_end_gets_whole_messages_in_order_however_it_reads(steps: list[int]) -> None:
    ours, theirs = Channel.pair()
    small = socket.socket(fileno=os.dup(ours.fileno()))
    small.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the least that the kernel gives
    reader = socket.socket(fileno=os.dup(theirs.fileno()))
    parser = Parser(FROM_SUPERVISOR)
    sent: list[FromSupervisor] = []

    def read(count: int) -> None:
        try:
            parser.feed(reader.recv(count, socket.MSG_DONTWAIT))
        except BlockingIOError:
            pass

    for step in steps:
        if step > 0:
            message = boot(n=len(sent), filling="x" * step)
            if ours.send(message):
                sent.append(message)
        elif step < 0:
            read(-step)
        else:
            ours.flush()
    lost = ours.lost is not None
    while ours.congested:
        ours.flush()
        read(1 << 20)
    for _ in range(100):
        read(1 << 20)
    received: list[FromSupervisor] = []
    while (next_one := parser.take()) is not None:
        received.append(next_one)
    assert received == sent[: len(received)]
    assert lost or received == sent
    for end in (small, reader, ours, theirs):
        end.close()


def test_an_end_that_never_reads_is_given_up_and_its_descriptors_are_closed() -> None:
    before = open_descriptors()
    ours, theirs = Channel.pair()
    reader, writer = os.pipe()
    for _ in range(QUEUE + 100):
        ours.send(boot(filling="x" * 20_000), [writer])
    assert ours.lost
    assert ours.send(Serve()) is False
    ours.close()
    theirs.close()
    os.close(reader)
    os.close(writer)
    assert open_descriptors() == before


def test_the_supervisor_takes_no_descriptors_from_a_child() -> None:
    ours, theirs = Channel.pair()
    before = open_descriptors()
    theirs.send(Ready(), [0] * 250)
    assert ours.receive() == ([Ready()], False)
    assert open_descriptors() == before
    ours.close()
    theirs.close()


def test_endless_bytes_are_given_up_long_before_their_end() -> None:
    ours, theirs = Channel.pair()
    flood = socket.socket(fileno=os.dup(theirs.fileno()))
    flood.setblocking(False)

    def exchange() -> None:
        while True:
            flood.send(b"x" * 50_000)
            ours.receive()

    with pytest.raises(GarbledError):
        exchange()
    flood.close()
    ours.close()
    assert ours.receive() == ([], True)
    theirs.close()


def test_descriptors_that_did_not_come_in_are_an_error_of_their_message() -> None:
    ours, theirs = Channel.pair()
    ours.send(Inboxes((0, 1)), [0])
    theirs.receive()
    with pytest.raises(OSError, match="open files"):
        theirs.take_fds(2)
    ours.close()
    theirs.close()
