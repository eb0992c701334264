"""Which listening socket the kernel gives new connections to: none, all that share a port, or some of them.

All of it is classic BPF on the sockets themselves (kernel documentation, networking/filter), on Linux only. A program
stays on a socket as long as any process has that socket, so that whoever takes one over removes what was left on it.
"""

import array
import contextlib
import socket
import struct
import sys
from collections.abc import Sequence

from corehttp.sockets import unix_path

# asm-generic/socket.h; not in the socket module
SO_ATTACH_FILTER = 26
SO_DETACH_FILTER = 27
SO_ATTACH_REUSEPORT_CBPF = 51
SO_DETACH_REUSEPORT_BPF = 68
# Classic BPF over the TCP header (kernel docs, networking/filter): drop a segment with SYN set, keep all others.
_NO_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


def let_in(sock: socket.socket) -> None:
    """Undo `refuse_new` of a TCP socket, whichever process did it: a filter lives as long as the socket."""
    if sock.family != socket.AF_UNIX and sys.platform == "linux":
        with contextlib.suppress(OSError):  # there is none
            sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


def refuse_new(sock: socket.socket) -> None:
    """Keep new connections out of the socket's queue; those that are in it can still be accepted.

    A TCP client's SYN is dropped, so that it tries again and is refused once the socket is closed. Without this, a
    connection that comes in between the last accept and the close would be reset. The path of a unix socket is removed,
    which refuses its clients at once.
    """
    if sock.family == socket.AF_UNIX:
        unix_path.unlink(sock)
    elif sys.platform == "linux":
        with contextlib.suppress(OSError):
            _attach(sock, SO_ATTACH_FILTER, _NO_SYN)


def steer(sock: socket.socket, chosen: Sequence[int] | None) -> bool:
    """Let new connections reach only some of the sockets that share a port; returns whether the kernel does so.

    `sock` is any of these sockets; `chosen` None stands for all of them. Else it has positions: sockets are numbered in
    the order in which they began to listen, and the last one takes the number of one that has ended (the kernel's
    reuseport_add_sock and reuseport_detach_sock).
    """
    if sys.platform != "linux":
        return False
    try:
        if chosen is None:
            sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0)
        else:
            _attach(sock, SO_ATTACH_REUSEPORT_CBPF, _choose_among(chosen))
    except OSError:
        return chosen is None  # there was no program to detach
    return True


def _choose_among(positions: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """The steps of a BPF program that picks one of the positions at random.

    A hash of the client's address would not do: the SYN that a client repeats would go to the same socket again, which
    may be one that new connections are steered away from by now.
    """
    steps = [(0x20, 0, 0, 0xFFFFF000 + 56), (0x94, 0, 0, len(positions))]  # A = random (SKF_AD_RANDOM) % length
    for index, position in enumerate(positions):
        steps += [(0x15, 0, 1, index), (0x06, 0, 0, position)]
    return [*steps, (0x06, 0, 0, positions[0])]


def _attach(sock: socket.socket, option: int, steps: Sequence[tuple[int, int, int, int]]) -> None:
    code = array.array("B", b"".join(struct.pack("HBBI", *step) for step in steps))
    sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("HP", len(steps), code.buffer_info()[0]))
