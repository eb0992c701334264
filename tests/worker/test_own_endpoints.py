"""A connection that has come in over a worker's own port stays with that worker, or goes to its successor."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from corehttp.ipc import handover
from corehttp.ipc.handover import InboxQueue
from corehttp.ipc.parcel import Parcel
from corehttp.ipc.scoreboard import RowState, Scoreboard
from corehttp.worker.siblings import Siblings

SHARED, OWN = 0, 1  # the numbers of two endpoints


class Fleet:
    """The worker of slot 0 with its siblings, beside another one in slot 1 and, once asked for, its own successor."""

    def __init__(self, opened: ExitStack) -> None:
        self._opened = opened
        self._board = Scoreboard.create()
        self._boxes = [handover.pair() for _ in range(2)]
        self.siblings = Siblings(self._board, self._board.claim(0), 0, self._boxes[0][0].dup())
        opened.callback(self.siblings.close)
        self.siblings.meet(range(2), [writer.dup().detach() for _, writer in self._boxes])
        for ends in self._boxes:
            for end in ends:
                opened.callback(end.close)
        self.siblings.own_endpoints = frozenset({OWN})
        self.siblings.serving()
        self.serves(1)

    def serves(self, slot: int) -> None:
        row = self._board.row(self._board.claim(slot))
        row.state, row.beat = RowState.SERVING, time.monotonic()

    def parcel(self, endpoint: int) -> Parcel:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            self._opened.callback(end.close)
        return Parcel(ours.fileno(), time.monotonic() + 60, endpoint)

    def given(self) -> list[int]:
        """How many connections wait in the inbox of each slot."""
        counts = []
        for reader, _ in self._boxes:
            queue = InboxQueue(reader.dup())
            counts.append(0)
            while queue.waits():
                queue.take().close()
                counts[-1] += 1
            queue.close()
        return counts


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with ExitStack() as opened:
        yield Fleet(opened)


@pytest.mark.parametrize("way", [Siblings.hand_over, Siblings.hand_over_or_leave, lambda it, parcel: it.put(1, parcel)])
def test_no_other_worker_is_given_one(fleet: Fleet, way: Callable[[Siblings, Parcel], bool]) -> None:
    assert not way(fleet.siblings, fleet.parcel(OWN))
    assert fleet.given() == [0, 0]
    assert way(fleet.siblings, fleet.parcel(SHARED))
    assert fleet.given() == [0, 1]


def test_a_successor_that_serves_is_given_one(fleet: Fleet) -> None:
    fleet.serves(0)
    assert fleet.siblings.hand_over_or_leave(fleet.parcel(OWN))
    assert fleet.given() == [1, 0]
