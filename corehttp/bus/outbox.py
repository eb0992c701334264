"""The frames that wait until a peer takes them: bounded, each for a while; what is lost is counted. Pure."""

from collections import deque
from typing import NamedTuple, Protocol

from corehttp.ipc.bus_frames import with_lost

COUNT = 1024  # the most frames that wait for one peer
BYTES = 8 << 20  # the most bytes that wait for one peer
PATIENCE = 1.0  # seconds that a frame waits
TOPICS = 1024  # the most topics whose lost messages are counted for one peer


class Result(Protocol):
    """Where it is noted whether a frame was taken."""

    def done(self) -> bool:
        """Whether that is noted already, or nobody wants to know it any more."""

    def set_result(self, result: bool, /) -> object:
        """Note whether it was taken."""


class _Waiting(NamedTuple):
    """A frame that waits."""

    frame: bytes
    topic: str | None  # that of a message; None for any other frame
    until: float  # how long it waits (seconds, monotonic)
    result: Result
    lost: int  # how many messages of its topic were lost between the last one that waits before it and this one


class Outbox:
    """The frames for one peer that has no room at the moment. All times are in seconds, monotonic."""

    def __init__(self) -> None:
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        # How many messages of each topic were lost of which the peer was not told: before all of them that wait, and
        # behind these. Those in between are counted by what waits.
        self._lost_before: dict[str, int] = {}
        self._lost_behind: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def size(self) -> int:
        """How many bytes wait."""
        return self._bytes

    @property
    def deadline(self) -> float:
        """Until when the first frame waits. There must be one."""
        return self._waiting[0].until

    @property
    def first(self) -> bytes:
        """The frame that is to be sent first, as it is to be sent now. There must be one."""
        first = self._waiting[0]
        lost = first.lost + (0 if first.topic is None else self._lost_before.get(first.topic, 0))
        return with_lost(first.frame, lost) if lost else first.frame

    def stamped(self, frame: bytes, topic: str | None) -> bytes:
        """Return a frame that says how many messages of its topic were lost, if any were; none of these may wait."""
        lost = 0 if topic is None else self._lost_before.get(topic, 0) + self._lost_behind.get(topic, 0)
        return with_lost(frame, lost) if lost else frame

    def add(self, frame: bytes, topic: str | None, now: float, result: Result) -> bool:
        """Have a frame wait; `topic` is that of a message, None for any other frame. Returns False if it is too much.

        Then it counts as lost.
        """
        if len(self._waiting) >= COUNT or self._bytes + len(frame) > BYTES:
            self.lose(topic)
            return False
        lost = 0 if topic is None else self._lost_behind.pop(topic, 0)
        self._waiting.append(_Waiting(frame, topic, now + PATIENCE, result, lost))
        self._bytes += len(frame)
        return True

    def take_first(self) -> tuple[bytes, Result]:
        """Remove the first frame, and return it as it is to be sent now, with where to note whether it was taken."""
        stamped, first = self.first, self._remove_first()
        self._told_before(first.topic)
        return stamped, first.result

    def sent_first(self) -> None:
        """Note that the peer has taken the first frame."""
        self._told_before(self._finish_first(taken=True).topic)

    def told(self, topic: str | None) -> None:
        """Note that the peer has taken what `stamped` has returned for this topic."""
        if topic is not None:
            self._lost_before.pop(topic, None)
            self._lost_behind.pop(topic, None)

    def expire(self, now: float) -> int:
        """Give up the frames that have waited long enough, and return how many they were."""
        given_up = 0
        while self._waiting and self.deadline <= now:
            self._give_up(self._finish_first(taken=False))
            given_up += 1
        return given_up

    def lose_messages(self) -> None:
        """Give up all messages, however long they have waited; other frames stay."""
        waiting, self._waiting = self._waiting, deque()
        for entry in waiting:
            if entry.topic is None:
                self._waiting.append(entry)
                continue
            self._bytes -= len(entry.frame)
            self._give_up(entry)
            if not entry.result.done():
                entry.result.set_result(False)

    def clear(self) -> None:
        """Give up all frames, since the peer is gone."""
        while self._waiting:
            self._finish_first(taken=False)

    def lose(self, topic: str | None) -> None:
        """Count a message as lost that was not added, so that it comes behind all that waits."""
        if topic is not None:
            _count(self._lost_behind, topic, 1)

    def _give_up(self, entry: _Waiting) -> None:
        """Count a frame as lost that has waited before all others of its topic."""
        if entry.topic is not None:
            _count(self._lost_before, entry.topic, entry.lost + 1)

    def _told_before(self, topic: str | None) -> None:
        """Note that the peer has taken a frame that waited, which has said what was lost before it."""
        if topic is not None:
            self._lost_before.pop(topic, None)

    def _finish_first(self, *, taken: bool) -> _Waiting:
        """Remove the first frame, note whether it was taken, and return it."""
        first = self._remove_first()
        if not first.result.done():
            first.result.set_result(taken)
        return first

    def _remove_first(self) -> _Waiting:
        """Remove the first frame, and return it."""
        first = self._waiting.popleft()
        self._bytes -= len(first.frame)
        return first


def _count(lost: dict[str, int], topic: str, more: int) -> None:
    """Count so many lost messages of a topic; of more than TOPICS topics the one that came first is forgotten."""
    if topic not in lost and len(lost) >= TOPICS:
        del lost[next(iter(lost))]
    lost[topic] = lost.get(topic, 0) + more
