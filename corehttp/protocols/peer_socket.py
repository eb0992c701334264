"""A client that has closed its side of a connection: is it still there to read the response?

A FIN alone does not say: `shutdown(SHUT_WR)` sends one, and so does a client that is gone. Its kernel tells them
apart: data for a socket that nobody has any more is answered with a reset (RFC 9293, 3.10.7.1). A unix socket shows it
by itself.
"""

import asyncio
import contextlib
import fcntl
import select
import socket
import struct
import sys
import termios
from asyncio.trsock import TransportSocket

KEEPALIVE = 15  # seconds between two probes of the kernel (tcp(7)), where we have nothing harmless to send


class Watch:
    """Watches one connection of which the client has closed its side."""

    __slots__ = ("_probed", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._probed = False

    def probe(self, harmless: bytes) -> bool:
        """Make a client that is gone show it: once, and then leave it to the kernel; answers whether it did."""
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
        """Whether the client has closed or reset all of it. An event loop does not tell: it has stopped reading."""
        if sys.platform == "linux":
            return _is_true_of(self._transport, 0)
        sock = self._transport.get_extra_info("socket")
        if sock is None:
            return False
        with contextlib.suppress(OSError):  # elsewhere poll(2) may say the same of one half
            return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        return False


def descriptor(transport: asyncio.Transport) -> int:
    """The descriptor of its socket; -1: it has none any more, or never had one.

    uvloop closes the socket of a closing transport as soon as nothing is left to be written, and does not tell; that of
    asyncio is open until the loop's next turn.
    """
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
    """Send a FIN and read on; where that cannot be, close. Never raises.

    write_eof() does for a client that has reset the connection unnoticed (asyncio: OSError), and for one that is lost
    (uvloop: RuntimeError); nothing is left to end there.
    """
    try:
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()
    except (OSError, RuntimeError):
        transport.abort()


def untaken(transport: asyncio.Transport) -> int:
    """How many bytes were written that the client's system has not acknowledged.

    They are in the transport's buffer and, on Linux, in the kernel's. A client takes nothing while both this and the
    number of bytes written stand still. The latter alone may do so with a client that reads steadily: a socket takes
    more when a third of its buffer is free, and that may be a megabyte. A transport that is closing still sends what it
    has, until its connection is lost.
    """
    size = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    number = -1 if sock is None else sock.fileno()
    if number >= 0 and sys.platform == "linux":
        queued = fcntl.ioctl(number, termios.TIOCOUTQ, bytes(4))  # SIOCOUTQ: tcp(7), unix(7)
        size += int.from_bytes(queued, sys.byteorder)
    return size


def has_unread(transport: asyncio.Transport) -> bool:
    """Whether the kernel has something of the client that nobody has read: bytes, or the end of its side (poll(2))."""
    return _is_true_of(transport, select.POLLIN)


def _is_true_of(transport: asyncio.Transport, events: int) -> bool:
    """Whether poll(2) tells one of these of its socket, or an error, or the end of both sides."""
    with contextlib.suppress(OSError, ValueError):  # it has no descriptor any more
        asked = select.poll()
        asked.register(descriptor(transport), events)
        return bool(asked.poll(0))
    return False
