"""What machines send each other: a message of a worker, or that some are missing, and whose it is. Pure.

What comes in is input: anybody who may use that Redis can publish there. It is held to the size and the form of the
frames between workers, `ipc.bus_frames`, since it carries one of them.
"""

import struct

from corehttp.ipc.bus_frames import FRAME_LIMIT, FrameError, Publish, decode

VERSION = 1
_MESSAGE, _GAP = 1, 2
_START = struct.Struct("!BBQ")  # VERSION, kind, node
ENVELOPE_LIMIT = FRAME_LIMIT + _START.size  # the most bytes of an envelope


class Missing:
    """Messages of a machine may be missing, of all topics."""

    __slots__ = ("node",)

    def __init__(self, node: int) -> None:
        self.node = node


class Delivery:
    """A message of a worker of another machine."""

    __slots__ = ("message", "node")

    def __init__(self, node: int, message: Publish) -> None:
        self.node = node  # the number of the service on that machine
        self.message = message


def encode_delivery(node: int, frame: bytes) -> bytes:
    """Return the bytes that bring a message from the service numbered `node`; `frame` are those of a Publish."""
    return _START.pack(VERSION, _MESSAGE, node) + frame


def encode_missing(node: int) -> bytes:
    """Return the bytes that tell others that messages of `node` are missing."""
    return _START.pack(VERSION, _GAP, node)


def open_envelope(raw: bytes, own: int) -> Delivery | Missing | None:
    """Return what these bytes are; None for an echo: what the service numbered `own` has sent itself.

    Raises FrameError for what no service of this version has sent.
    """
    if len(raw) > ENVELOPE_LIMIT:
        raise FrameError(f"more than {ENVELOPE_LIMIT} bytes at once")
    if len(raw) < _START.size:
        raise FrameError(f"{len(raw)} bytes that are no message of a service")
    version, kind, node = _START.unpack_from(raw)
    if version != VERSION:
        raise FrameError(f"a message of version {version}, not {VERSION}")
    if node == own:
        return None
    if kind == _GAP and len(raw) == _START.size:
        return Missing(node)
    message = decode(raw[_START.size :]) if kind == _MESSAGE else None
    if not isinstance(message, Publish):
        raise FrameError(f"a message of an unknown kind, {kind}")
    return Delivery(node, message)
