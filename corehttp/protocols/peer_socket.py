"""What the kernel knows of a connection's peer: whether it is gone, what it has not taken, what was not read of it.

A client that has closed its side of a connection may still be there to read the response. A FIN does not tell, since
both shutdown(SHUT_WR) and a client that ends send one. But the client's kernel answers data for a socket that is closed
with a reset (RFC 9293, 3.10.7.1). A unix socket shows by itself that the other end is closed.
"""

import _socket
import asyncio
import contextlib
import socket
import struct
import sys
from asyncio.trsock import TransportSocket

from corehttp.protocols.tls_session import beneath
from corehttp.windows import MSG_DONTWAIT, POLLIN, poll

if sys.platform != "win32":
    import fcntl
    import termios

# Plain numbers: members of an enum take longer to compare and to combine.
_INET, _INET6 = int(socket.AF_INET), int(socket.AF_INET6)
_SOCK_STREAM, _TCP, _SHUT_WR = int(socket.SOCK_STREAM), int(socket.IPPROTO_TCP), int(socket.SHUT_WR)
# Sends what is not to leave in a segment of its own; 0 where the kernel cannot be told.
_MORE = int(getattr(socket, "MSG_MORE", 0)) | MSG_DONTWAIT if sys.platform == "linux" else 0

KEEPALIVE = 15  # seconds between two probes by the kernel (TCP_KEEPINTVL, tcp(7))


class Watch:
    """Watches a connection whose client has closed its side."""

    __slots__ = ("_probed", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._probed = False  # whether `probe` was called

    def probe(self, harmless: bytes) -> bool:
        """Make a client that is gone show it: write `harmless`, which it may ignore, and have the kernel send probes.

        Only the first call does anything; answers whether this one was.
        """
        if self._probed:
            return False
        self._probed = True
        if harmless:
            self._transport.write(harmless)
        sock = self._transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(OSError, AttributeError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE)
        return True

    def is_gone(self) -> bool:
        """Whether the client has closed or reset the connection, which the event loop has stopped reading."""
        if sys.platform == "linux":
            return _is_true_of(self._transport, 0)
        sock = self._transport.get_extra_info("socket")
        if sock is None:
            return False
        with contextlib.suppress(OSError):  # not poll(2), which may say so of one closed side, too
            return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        return False


def descriptor(transport: asyncio.Transport) -> int:
    """Return the descriptor of the transport's socket; -1 if it has none any more, or never had one.

    uvloop closes the socket of a closing transport as soon as nothing is left to be written, but goes on to name its
    descriptor; asyncio closes it in the loop's next turn, and then names none.
    """
    transport = beneath(transport)
    sock = transport.get_extra_info("socket")
    if sock is None:
        return -1
    tells = isinstance(sock, TransportSocket)
    return -1 if transport.is_closing() and not tells and not transport.get_write_buffer_size() else int(sock.fileno())


def reset_on_close(transport: asyncio.Transport) -> None:
    """Make the close of a TCP connection a reset (socket(7), SO_LINGER), unless it is closed already."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6) and descriptor(transport) >= 0:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def end_our_side(transport: asyncio.Transport) -> None:
    """Send a FIN and read on; close a transport that cannot do that. Never raises.

    One over TLS cannot: it sends close_notify, and what it reads from then on is thrown away until the client has
    closed its side, too.
    write_eof() raises OSError on asyncio if the client has reset the connection unnoticed, and RuntimeError on uvloop
    if the connection is lost; then the transport is aborted.
    """
    try:
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()
    except (OSError, RuntimeError):
        transport.abort()


def close_idle(transport: asyncio.Transport) -> None:
    """Close a connection on which nothing is under way, at once: over TLS the client's close_notify is not awaited.

    What is written and not sent is still sent.
    """
    transport.close()
    lower = beneath(transport)
    if lower is not transport and not transport.get_write_buffer_size():
        lower.close()


def write_last(transport: asyncio.Transport, data: bytes) -> None:
    """Write the last bytes of a connection; over TCP our FIN goes out in the same segment if the kernel takes them all.

    The transport is to be closed then. It writes what the kernel does not take, and everything over TLS, on a unix
    socket and where the kernel cannot be told to wait for the FIN (send(2), MSG_MORE). Raises what the transport's
    `write` does. A segment for the FIN alone takes 3.5 of the 12 us in which Linux sends a small response and closes
    the connection, and 10 % of `benchmarks.peers --workload close`.
    """
    sent = 0
    if _MORE and not transport.get_write_buffer_size() and not transport.is_closing():
        sock = transport.get_extra_info("socket") if transport.get_extra_info("ssl_object") is None else None
        if sock is not None and (number := sock.fileno()) >= 0:
            sent = _send_with_end(number, data)
    if sent < len(data):
        transport.write(data[sent:])


def _send_with_end(descriptor: int, data: bytes) -> int:
    """Send bytes over a connection, and its FIN in the last segment of all of them; return how many were sent.

    None are sent over a connection that is not TCP.
    """
    sent = 0
    # The C type takes half the time of a `socket.socket`, and asks the kernel for the family (-1). A transport's socket
    # would look that up in an enum, which takes 0.5 us.
    try:
        lent = _socket.socket(-1, _SOCK_STREAM, _TCP, descriptor)
    except OSError:
        return 0
    try:
        if lent.family != _INET and lent.family != _INET6:
            return 0
        if lent.gettimeout() is not None:  # as the application may have set for all its sockets: it would wait
            lent.setblocking(False)
        sent = lent.send(data, _MORE)
        if sent == len(data):
            lent.shutdown(_SHUT_WR)
    except OSError:
        pass  # nobody is there any more, or not all can be sent now: the transport finds that out
    finally:
        lent.detach()
    return sent


def unsent(transport: asyncio.Transport) -> int:
    """Return how many bytes were written that the kernel has not taken, those of TLS included."""
    lower = beneath(transport)
    size = transport.get_write_buffer_size()
    return size if lower is transport else size + lower.get_write_buffer_size()


def untaken(transport: asyncio.Transport) -> int:
    """Return how many bytes were written that the client's system has not acknowledged.

    They are in the transport's buffer and, on Linux, in the kernel's. A client takes nothing while both this number and
    that of the bytes written stand still. The latter may stand still though a client reads steadily, since a socket
    takes more only when a third of its buffer is free, which may be a megabyte. A transport that is closing still sends
    what it has, until its connection is lost.
    """
    size = unsent(transport)
    sock = transport.get_extra_info("socket")
    number = -1 if sock is None else sock.fileno()
    if number >= 0 and sys.platform == "linux":
        queued = fcntl.ioctl(number, termios.TIOCOUTQ, bytes(4))  # SIOCOUTQ: tcp(7), unix(7)
        size += int.from_bytes(queued, sys.byteorder)
    return size


def has_unread(transport: asyncio.Transport) -> bool:
    """Whether the kernel has something of the client that was not read: bytes, or the end of its side (poll(2))."""
    return _is_true_of(transport, POLLIN)


def _is_true_of(transport: asyncio.Transport, events: int) -> bool:
    """Whether poll(2) reports one of `events` for the transport's socket, or an error, or the end of both sides."""
    with contextlib.suppress(OSError, ValueError):  # raised if the transport has no descriptor any more
        asked = poll()
        asked.register(descriptor(transport), events)
        return bool(asked.poll(0))
    return False
