"""Waiting for descriptors, over real ones."""

import socket

from corehttp.ipc.channel import Channel
from corehttp.ipc.messages import VERSION, Boot
from corehttp.supervisor.poller import Poller

BOOT = Boot(VERSION, {"filling": "x" * 20_000}, "/", [], [])


def test_a_channel_that_is_congested_is_flushed_as_the_child_reads() -> None:
    ours, theirs = Channel.pair()
    poller = Poller()
    poller.watch_channel(ours, lambda: None)
    sent = 0
    while not ours.congested:
        assert ours.send(BOOT)
        sent += 1
    assert poller.wait(0) == [], "the loop would be kept busy by a child that does not read"
    received = len(theirs.receive()[0])
    while due := poller.wait(0):
        for fd, act in due:
            assert fd == ours.fileno()
            act()
        received += len(theirs.receive()[0])
    assert received == sent
    assert not ours.congested
    assert poller.wait(0) == [], "a channel with nothing to send is still waited for"
    poller.forget(ours.fileno())
    ours.close()
    theirs.close()


def test_what_is_forgotten_is_not_waited_for() -> None:
    poller = Poller()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        poller.watch(ours.fileno(), lambda: None)
        assert poller.descriptors() == [ours.fileno()]
        theirs.sendall(b"x")
        assert [fd for fd, _ in poller.wait(0)] == [ours.fileno()]
        poller.forget(ours.fileno())
        poller.forget(ours.fileno())
        assert poller.wait(0) == []
        assert poller.descriptors() == []


def test_the_end_of_the_other_side_is_told_as_something_to_read() -> None:
    poller = Poller()
    ours, theirs = socket.socketpair()
    with ours:
        heard: list[str] = []
        poller.watch(ours.fileno(), lambda: heard.append("its end"))
        theirs.close()
        for _, act in poller.wait(0):
            act()
        poller.forget(ours.fileno())
    assert heard == ["its end"]
