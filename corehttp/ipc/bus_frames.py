"""The frames that workers send each other, and their bytes: one frame is one message of a socket. Pure.

Every frame begins with the version of this form, since workers of an older release may serve beside new ones. What
comes in is input: it is held to a size, to the kinds that are known and to the form of each.
"""

import struct

from corehttp.errors import MessageTooLargeError

VERSION = 1
DATA_LIMIT = 64 * 1024  # the most bytes of the data of a message
TOPIC_LIMIT = 255  # the most bytes of a topic in UTF-8
FRAME_LIMIT = DATA_LIMIT + TOPIC_LIMIT + 32  # the most bytes of a frame

OPERATOR = 0  # the sender of what an operator publishes; workers are numbered from 1

# What has become of a request.
ANSWERED, NOBODY, DROPPED, NOT_LEADING = range(4)

_HELLO, _PUBLISH, _REQUEST, _REPLY, _LEADS = range(1, 6)
_START = struct.Struct("!BB")  # VERSION, kind
_HELLO_FORM = struct.Struct("!BBQII?")
_PUBLISH_FORM = struct.Struct("!BBIIB")  # …, sender, lost, bytes of the topic
_LOST = struct.calcsize("!BBI")  # where a Publish says how many were lost
_REQUEST_FORM = struct.Struct("!BBQ?B")  # …, number of the request, for a leader alone, bytes of the topic
_REPLY_FORM = struct.Struct("!BBQB")  # …, number of the request, what has become of it
_LEADS_FORM = struct.Struct("!BB?")
_MOST_LOST = (1 << 32) - 1


class FrameError(ValueError):
    """What has come in is no frame of this version. The text says what it is instead."""


class Hello:
    """Who is at the other end of a channel: the first frame in each direction."""

    __slots__ = ("generation", "leads", "number", "worker")

    def __init__(self, number: int, worker: int, generation: int, leads: bool) -> None:
        self.number = number  # of the process, which no other worker process of the service ever gets
        self.worker = worker  # of the worker, from 1, which its successor inherits
        self.generation = generation
        self.leads = leads  # whether it is the leader


class Publish:
    """A message for all who subscribe to its topic."""

    __slots__ = ("data", "lost", "sender", "topic")

    def __init__(self, topic: str, data: bytes, sender: int, lost: int) -> None:
        self.topic = topic
        self.data = data
        self.sender = sender  # the worker that has published it, or OPERATOR
        self.lost = lost  # how many messages of this topic before it were lost on this channel


class RequestFrame:
    """A message that one subscriber is to reply to."""

    __slots__ = ("data", "for_leader", "number", "topic")

    def __init__(self, number: int, topic: str, data: bytes, for_leader: bool) -> None:
        self.number = number  # which the reply repeats
        self.topic = topic
        self.data = data
        self.for_leader = for_leader  # whether a worker that does not lead is to refuse it


class ReplyFrame:
    """What has become of a request."""

    __slots__ = ("data", "number", "outcome")

    def __init__(self, number: int, outcome: int, data: bytes) -> None:
        self.number = number
        self.outcome = outcome
        self.data = data


class Leads:
    """The sender leads from now on, or does not any more."""

    __slots__ = ("leads",)

    def __init__(self, leads: bool) -> None:
        self.leads = leads


Frame = Hello | Publish | RequestFrame | ReplyFrame | Leads


def checked_topic(topic: str) -> bytes:
    """Return the bytes of a topic. Raises TypeError for what is no text, ValueError for one that cannot be sent."""
    if not isinstance(topic, str):
        raise TypeError(f"a topic is text, not {type(topic).__name__}")
    try:
        name = topic.encode()
    except UnicodeEncodeError:
        raise ValueError("a topic must be valid Unicode, without surrogates") from None
    if not 0 < len(name) <= TOPIC_LIMIT:
        raise ValueError(f"a topic of {len(name)} bytes; it must have 1 to {TOPIC_LIMIT} in UTF-8")
    return name


def checked_data(data: bytes | bytearray | memoryview) -> bytes:
    """Return the data of a message as bytes. Raises TypeError for what has no bytes, and MessageTooLargeError."""
    if not isinstance(data, bytes):
        if not isinstance(data, bytearray | memoryview):
            raise TypeError(f"the data of a message are bytes, not {type(data).__name__}; for others use JSON")
        data = bytes(data)
    if len(data) > DATA_LIMIT:
        raise MessageTooLargeError(f"a message of {len(data)} bytes; it may have {DATA_LIMIT} at most")
    return data


def encode_hello(hello: Hello) -> bytes:
    """Return the bytes of a Hello."""
    return _HELLO_FORM.pack(VERSION, _HELLO, hello.number, hello.worker, hello.generation, hello.leads)


def encode_publish(name: bytes, data: bytes, sender: int, lost: int = 0) -> bytes:
    """Return the bytes of a Publish; `name` are those of the topic."""
    return _PUBLISH_FORM.pack(VERSION, _PUBLISH, sender, min(lost, _MOST_LOST), len(name)) + name + data


def with_lost(frame: bytes, lost: int) -> bytes:
    """Return the bytes of a Publish with another number of lost messages."""
    return frame[:_LOST] + min(lost, _MOST_LOST).to_bytes(4, "big") + frame[_LOST + 4 :]


def encode_request(number: int, name: bytes, data: bytes, for_leader: bool) -> bytes:
    """Return the bytes of a RequestFrame; `name` are those of the topic."""
    return _REQUEST_FORM.pack(VERSION, _REQUEST, number, for_leader, len(name)) + name + data


def encode_reply(number: int, outcome: int, data: bytes = b"") -> bytes:
    """Return the bytes of a ReplyFrame."""
    return _REPLY_FORM.pack(VERSION, _REPLY, number, outcome) + data


def encode_leads(leads: bool) -> bytes:
    """Return the bytes of a Leads."""
    return _LEADS_FORM.pack(VERSION, _LEADS, leads)


def decode(raw: bytes) -> Frame:
    """Return the frame that these bytes are. Raises FrameError."""
    if len(raw) > FRAME_LIMIT:
        raise FrameError(f"more than {FRAME_LIMIT} bytes at once")
    try:
        version, kind = _START.unpack_from(raw)
        if version != VERSION:
            raise FrameError(f"a frame of version {version}, not {VERSION}")
        return _decode(kind, raw)
    except struct.error:
        raise FrameError(f"{len(raw)} bytes that are no frame") from None
    except UnicodeDecodeError:
        raise FrameError("a topic that is not UTF-8") from None


def _decode(kind: int, raw: bytes) -> Frame:
    """Return the frame of a kind. Raises FrameError, struct.error and UnicodeDecodeError."""
    if kind == _PUBLISH:
        _, _, sender, lost, size = _PUBLISH_FORM.unpack_from(raw)
        topic, data = _named(raw, _PUBLISH_FORM.size, size)
        return Publish(topic, data, sender, lost)
    if kind == _REQUEST:
        _, _, number, for_leader, size = _REQUEST_FORM.unpack_from(raw)
        topic, data = _named(raw, _REQUEST_FORM.size, size)
        return RequestFrame(number, topic, data, for_leader)
    if kind == _REPLY:
        _, _, number, outcome = _REPLY_FORM.unpack_from(raw)
        data = raw[_REPLY_FORM.size :]
        if outcome > NOT_LEADING or len(data) > DATA_LIMIT:
            raise FrameError("a reply with wrong details")
        return ReplyFrame(number, outcome, data)
    if kind == _HELLO:
        _, _, number, worker, generation, leads = _HELLO_FORM.unpack(raw)
        return Hello(number, worker, generation, leads)
    if kind == _LEADS:
        return Leads(_LEADS_FORM.unpack(raw)[2])
    raise FrameError(f"a frame of an unknown kind, {kind}")


def _named(raw: bytes, start: int, size: int) -> tuple[str, bytes]:
    """Return the topic of `size` bytes that begins at `start`, and the data behind it. Raises FrameError."""
    end = start + size
    if not size or end > len(raw) or len(raw) - end > DATA_LIMIT:
        raise FrameError("a message with wrong details")
    return raw[start:end].decode(), raw[end:]
