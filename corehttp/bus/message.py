"""A message as a subscriber gets it."""

import json
from collections.abc import Callable

from corehttp.asgi import Unchecked
from corehttp.bus.transport import Sent, delivered
from corehttp.ipc.bus_frames import ANSWERED, DROPPED, checked_data

Answer = Callable[[int, bytes], Sent]  # sends what has become of a request, and its reply


class Message:
    """A message that was published, or a request, which expects a reply."""

    __slots__ = ("_answer", "data", "lost", "node", "sender", "topic")

    def __init__(
        self, topic: str, data: bytes, sender: int, lost: int = 0, answer: Answer | None = None, node: str = ""
    ) -> None:
        self.topic = topic
        self.data = data  # at most 64 KiB
        self.sender = sender  # the number of the worker that has sent it, from 1; 0: an operator, with `corehttp send`
        self.lost = lost  # how many messages for this subscriber are missing directly before this one
        self.node = node  # which other machine the worker is on, a name of 16 characters; "" for this one
        self._answer = answer

    def __repr__(self) -> str:
        kind = "request" if self.expects_reply else "message"
        sender = f"worker {self.sender}" if self.sender else "an operator"
        sender += f" of machine {self.node}" if self.node else ""
        return f"<{kind} {self.topic!r} of {sender}: {len(self.data)} bytes>"

    @property
    def expects_reply(self) -> bool:
        """Whether it is a request that nobody has replied to yet."""
        return self._answer is not None

    def json(self) -> Unchecked:
        """Return the value that `data` is the JSON of. Raises ValueError if it is none."""
        return json.loads(self.data)

    async def reply(self, data: bytes | bytearray | memoryview) -> None:
        """Reply to a request, once. The reply is lost if the worker that has asked is gone, or waits no more.

        Raises RuntimeError if no reply is expected, TypeError if `data` are no bytes, and MessageTooLargeError.
        """
        content = checked_data(data)
        answer, self._answer = self._answer, None
        if answer is None:
            raise RuntimeError(f"nobody waits for a reply to this message of the topic {self.topic!r}")
        await delivered(answer(ANSWERED, content))

    async def reply_json(self, value: Unchecked) -> None:
        """Reply to a request with the JSON of a value. Raises as `reply` and json.dumps do."""
        await self.reply(encode_json(value))

    def drop(self) -> None:
        """Tell who has sent a request that no subscriber gets it. Does nothing for any other message."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer(DROPPED, b"")


class Gap(Message):
    """What a subscriber that asks for gaps gets where messages of other machines may be missing, any number of them.

    It has no topic, no data and no sender. `lost` counts what was dropped for this subscriber before it.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("", b"", 0)

    def __repr__(self) -> str:
        return "<gap: messages of other machines may be missing>"


def encode_json(value: Unchecked) -> bytes:
    """Return a value as JSON in UTF-8. Raises TypeError or ValueError for what JSON cannot say."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
