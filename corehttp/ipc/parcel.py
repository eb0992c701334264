"""What a worker is told of a connection that another process hands to it, to and from bytes. Pure.

The bytes are a version, numbers, sizes and then the texts: one message of `handover`, which carries the descriptor
beside it. What comes in is input: whatever is not exactly of this form is refused.
"""

import math
import struct
from dataclasses import dataclass

VERSION = 1  # a worker and the one that hands a connection to it may run different releases of this package
HELD_LIMIT = 1 << 14  # bytes of `held`: all of a parcel has to fit into the buffer of a unix socket (212992 on Linux)
HOST_LIMIT = 64  # bytes: an IPv6 address with its zone is no longer than this

# The version, the end of the time, the endpoint, the port of the client, and the sizes of its host and of `held`.
_FORM = struct.Struct("<BdHHBH")
LIMIT = _FORM.size + HOST_LIMIT + HELD_LIMIT  # bytes of a parcel


@dataclass(slots=True)
class Parcel:
    """One connection that is handed to another worker."""

    descriptor: int  # of its socket; each process has its own number for it
    # The end of its keep-alive time in seconds, monotonic (clock_gettime(2): the same in all processes).
    keep_until: float
    endpoint: int = 0  # through which of the service's endpoints it came in, by number
    # The address and port of the client where the socket's peer is a proxy that has told them; None: the socket's.
    client: tuple[str, int] | None = None
    held: bytes = b""  # what was read from the socket and is not answered yet; at most HELD_LIMIT bytes


def encode(parcel: Parcel) -> bytes:
    """The bytes of a parcel, without its descriptor; raises ValueError for a parcel that is beyond the limits."""
    host, port = parcel.client or ("", 0)
    name = host.encode("ascii")
    if len(name) > HOST_LIMIT or len(parcel.held) > HELD_LIMIT:
        raise ValueError("a parcel is too large")
    try:
        form = _FORM.pack(VERSION, parcel.keep_until, parcel.endpoint, port, len(name), len(parcel.held))
    except struct.error as error:
        raise ValueError(f"a parcel has a number out of range: {error}") from error
    return form + name + parcel.held


def decode(data: bytes, descriptor: int) -> Parcel:
    """The parcel of a descriptor that came with these bytes; raises ValueError for bytes that are no parcel."""
    if len(data) < _FORM.size:
        raise ValueError("too few bytes for a parcel")
    version, keep_until, endpoint, port, host_size, held_size = _FORM.unpack_from(data)
    if version != VERSION or not math.isfinite(keep_until):
        raise ValueError("a parcel of another version, or without an end of its time")
    if host_size > HOST_LIMIT or held_size > HELD_LIMIT or len(data) != _FORM.size + host_size + held_size:
        raise ValueError("a parcel of another size than it says")
    host = data[_FORM.size : _FORM.size + host_size].decode("ascii")
    if not host.isprintable() or (port and not host):
        raise ValueError("a parcel with a client that has no address")
    return Parcel(
        descriptor,
        keep_until,
        endpoint,
        (host, port) if host else None,
        data[_FORM.size + host_size :],
    )
