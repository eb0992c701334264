"""Choose to which listening sockets the kernel gives new connections: to none, all that share a port, or some of them.

This is done by classic BPF programs that are attached to the sockets (kernel documentation, networking/filter), on
Linux only. A program stays attached as long as any process has the socket, so a process that takes a socket over
removes what a former owner has left.
"""

import array
import contextlib
import socket
import struct
import sys
from collections.abc import Sequence

from corehttp.sockets import unix_path
from corehttp.windows import AF_UNIX

# From asm-generic/socket.h: the module socket does not have them.
SO_ATTACH_FILTER = 26
SO_DETACH_FILTER = 27
SO_ATTACH_REUSEPORT_CBPF = 51
SO_DETACH_REUSEPORT_BPF = 68
# A BPF program on the TCP header: drop a segment with SYN set, and keep all others.
_NO_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


def let_in(sock: socket.socket) -> None:
    """Undo `refuse_new` of a TCP socket, whichever process has called that. A unix socket is left as it is."""
    if sock.family != AF_UNIX and sys.platform == "linux":
        with contextlib.suppress(OSError):  # no filter is attached
            sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


def refuse_new(sock: socket.socket) -> None:
    """Keep new connections out of the queue of a socket. Those that are in it can still be accepted.

    The SYN of a TCP client is dropped, so that the client tries again and is refused once the socket is closed. Without
    this, a connection that comes in between the last accept and the close would be reset. The path of a unix socket is
    removed, which refuses its clients at once; a socket with an abstract name is shut down for reading, which does the
    same (unix_stream_connect in net/unix/af_unix.c).
    """
    if sock.family == AF_UNIX:
        if unix_path.is_abstract(sock):
            sock.shutdown(socket.SHUT_RD)
        unix_path.unlink(sock)
    elif sys.platform == "linux":
        with contextlib.suppress(OSError):
            _attach(sock, SO_ATTACH_FILTER, _NO_SYN)


def steer(sock: socket.socket, chosen: Sequence[int] | None) -> bool:
    """Let new connections reach only some of the sockets that share a port. Returns whether the kernel does so.

    `sock` is any of these sockets. `chosen` are the positions of those that are to get connections, or None for all.
    Positions are counted from 0 in the order in which sockets began to listen, and the last socket takes the position
    of one that has ended (reuseport_add_sock and reuseport_detach_sock in net/core/sock_reuseport.c).
    """
    if sys.platform != "linux":
        return False
    try:
        if chosen is None:
            sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0)
        else:
            _attach(sock, SO_ATTACH_REUSEPORT_CBPF, _choose_among(chosen))
    except OSError:
        return chosen is None  # then no program was attached
    return True


def choose(sock: socket.socket, steps: Sequence[tuple[int, int, int, int]]) -> bool:
    """Let a BPF program of these steps choose among the sockets that share the port of `sock`, as `_attach` takes them.

    It returns the position of the chosen socket, counted as in `steer`. Returns whether the kernel has taken it: it may
    find it too large (net.core.optmem_max), and before Linux 4.5 there are none.
    """
    if sys.platform != "linux":
        return False
    try:
        _attach(sock, SO_ATTACH_REUSEPORT_CBPF, steps)
    except OSError:
        return False
    return True


def _choose_among(positions: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """Return the steps of a BPF program that picks one of the positions at random.

    A hash of the client's address would not do: a client that repeats its SYN would reach the same socket again, from
    which new connections may be steered away by now.
    """
    # The accumulator becomes a random number (SKF_AD_RANDOM) modulo the number of positions.
    steps = [(0x20, 0, 0, 0xFFFFF000 + 56), (0x94, 0, 0, len(positions))]
    for index, position in enumerate(positions):
        steps += [(0x15, 0, 1, index), (0x06, 0, 0, position)]
    return [*steps, (0x06, 0, 0, positions[0])]


def _attach(sock: socket.socket, option: int, steps: Sequence[tuple[int, int, int, int]]) -> None:
    """Attach a BPF program to a socket by this option of SOL_SOCKET. Raises OSError.

    Each step is a `struct sock_filter`: code, jump if true, jump if false, and operand.
    """
    code = array.array("B", b"".join(struct.pack("HBBI", *step) for step in steps))
    sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("HP", len(steps), code.buffer_info()[0]))
