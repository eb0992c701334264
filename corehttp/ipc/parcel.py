"""What a worker is told of a connection that another process hands to it, and its bytes. Pure.

The bytes are a version, numbers and sizes, and then the client's host and the bytes that were read. What a PROXY header
has told stands between the two, in another version of the form. They are one message of `handover`, with which the
descriptor goes; if many bytes were read, these go in a file. What comes in is input: bytes that are not exactly of this
form are refused.
"""

import math
import struct
from typing import NamedTuple

# The version of this form, since two workers of one service may run different releases of this package.
VERSION = 1
ANNOUNCED_VERSION = 2  # that of the form with what a PROXY header has told
HELD_LIMIT = 1 << 20  # the most bytes of `held`: more than a connection reads before it looks at a request
INLINE = 1 << 14  # the most of them that go with the parcel, which has to fit into a socket's buffer; more go in a file
HOST_LIMIT = 64  # the most bytes of a client's host: an IPv6 address with its zone is no longer than this
SERVER_LIMIT = 108  # the most bytes of the server's host or path: as long as the path of a unix socket may be (unix(7))
_IN_FILE = (1 << 16) - 1  # stands in the place of the size of `held` if that goes in a file

# The version, the end of the time, the endpoint, the port of the client, and the sizes of its host and of `held`.
_FORM = struct.Struct("<BdHHBH")
_FORM_SIZE = _FORM.size
_pack, _unpack, _isfinite = _FORM.pack, _FORM.unpack_from, math.isfinite
# What was told, as flags, the port of the server, and the size of its host or path, which follows.
_TOLD = struct.Struct("<BHB")
_OVER_TLS, _HAS_SERVER, _HAS_PORT = 1, 2, 4  # the flags
LIMIT = _FORM_SIZE + HOST_LIMIT + _TOLD.size + SERVER_LIMIT + INLINE  # the most bytes of a parcel


class Parcel(NamedTuple):
    """One connection that is handed to another worker. A tuple, since one is made at each end for each connection."""

    descriptor: int  # the descriptor of the socket in this process
    # The end of its keep-alive time in seconds, monotonic (clock_gettime(2): the same in all processes).
    keep_until: float
    endpoint: int = 0  # the number of the endpoint through which the client has come
    # The address and port of the client if a proxy, which is the socket's peer, has told them; None: those of the peer.
    client: tuple[str, int] | None = None
    held: bytes = b""  # what was read from the socket and is not answered yet, at most HELD_LIMIT bytes
    # Whether the proxy's PROXY header was read; what follows, it has told as it has the client.
    announced: bool = False
    # The address and port that the client has connected to, or a path and None; None: those of the socket.
    server: tuple[str, int | None] | None = None
    over_tls: bool = False  # whether the client speaks TLS with the proxy


def encode(parcel: Parcel) -> bytes:
    """Return the bytes of a parcel, without its descriptor, and without `held` if that has more than INLINE bytes.

    Raises ValueError for a parcel beyond the limits.
    """
    _, keep_until, endpoint, client, held, announced, _, _ = parcel
    try:
        if not (held or client or announced):  # 0.1 us of 0.3 less for most of them (timeit)
            return _pack(VERSION, keep_until, endpoint, 0, 0, 0)
        host, port = client or ("", 0)
        name, told = host.encode("ascii"), _encode_told(parcel) if announced else b""
        size = len(held)
        if len(name) > HOST_LIMIT or size > HELD_LIMIT:
            raise ValueError("a parcel is too large")
        if size > INLINE:
            held, size = b"", _IN_FILE
        form = _pack(ANNOUNCED_VERSION if announced else VERSION, keep_until, endpoint, port, len(name), size)
    except struct.error as error:
        raise ValueError(f"a parcel has a number out of range: {error}") from error
    return form + name + told + held


def decode(data: bytes, descriptor: int, filed: bytes | None = None) -> Parcel:
    """Return the parcel of a descriptor that came with these bytes. Raises ValueError for bytes that are no parcel.

    `filed` is the content of the file that came with them; None if none came.
    """
    if len(data) < _FORM_SIZE:
        raise ValueError("too few bytes for a parcel")
    version, keep_until, endpoint, port, host_size, held_size = _unpack(data)
    announced = version == ANNOUNCED_VERSION
    if not (version == VERSION or announced) or not _isfinite(keep_until):
        raise ValueError("a parcel of another version, or without an end of its time")
    # What follows is 0.4 us (`benchmarks.spreading --only cost`), in vain for a connection that was not read.
    if len(data) == _FORM_SIZE and not (host_size or held_size or port) and filed is None and not announced:
        return Parcel(descriptor, keep_until, endpoint)
    if (held_size == _IN_FILE) is (filed is None):
        raise ValueError("a parcel without the file that it tells of, or with another one")
    end = _FORM_SIZE + host_size
    server, over_tls, end = _decode_told(data, end) if announced else (None, False, end)
    whole = end + held_size if filed is None else end
    fits = held_size <= INLINE if filed is None else INLINE < len(filed) <= HELD_LIMIT
    if not fits or host_size > HOST_LIMIT or len(data) != whole:
        raise ValueError("a parcel of another size than it says")
    host = data[_FORM_SIZE : _FORM_SIZE + host_size].decode("ascii")
    if not host.isprintable() or (port and not host):
        raise ValueError("a parcel with a client that has no address")
    return Parcel(
        descriptor,
        keep_until,
        endpoint,
        (host, port) if host else None,
        data[end:] if filed is None else filed,
        announced,
        server,
        over_tls,
    )


def _encode_told(parcel: Parcel) -> bytes:
    """Return the bytes of what a PROXY header has told, without the client. Raises ValueError beyond the limits."""
    host, port = parcel.server or ("", None)
    flags = _OVER_TLS * parcel.over_tls | _HAS_SERVER * (parcel.server is not None) | _HAS_PORT * (port is not None)
    name = host.encode(errors="surrogateescape")
    if len(name) > SERVER_LIMIT:
        raise ValueError("a parcel is too large")
    try:
        return _TOLD.pack(flags, port or 0, len(name)) + name
    except struct.error as error:
        raise ValueError(f"a parcel has a number out of range: {error}") from error


def _decode_told(data: bytes, at: int) -> tuple[tuple[str, int | None] | None, bool, int]:
    """Return the server that a PROXY header has told, whether the client speaks TLS, and where that ends.

    It begins at `at`. Raises ValueError for anything that `_encode_told` does not write.
    """
    begin = at + _TOLD.size
    if len(data) < begin:
        raise ValueError("too few bytes for a parcel with what a PROXY header has told")
    flags, port, size = _TOLD.unpack_from(data, at)
    end = begin + size
    has_server, has_port = bool(flags & _HAS_SERVER), bool(flags & _HAS_PORT)
    means_nothing = (port and not has_port) or (not has_server and (has_port or size))
    if flags > 7 or means_nothing or size > SERVER_LIMIT or len(data) < end:
        raise ValueError("a parcel with a server that has no address")
    host = data[begin:end].decode(errors="surrogateescape")
    return ((host, port if has_port else None) if has_server else None), bool(flags & _OVER_TLS), end
