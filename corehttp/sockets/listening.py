"""Listening sockets: bind, adopt, accept, refuse new connections, unlink. Sockets only, no event loop."""

import array
import contextlib
import errno
import os
import select
import socket
import stat
import struct
import sys
from collections.abc import Sequence
from itertools import chain

from corehttp.config import Config
from corehttp.errors import StartupError
from corehttp.shortage import shortage

# asm-generic/socket.h; not in the socket module
SO_ATTACH_FILTER = 26
SO_DETACH_FILTER = 27
SO_ATTACH_REUSEPORT_CBPF = 51
SO_DETACH_REUSEPORT_BPF = 68
# The connection has failed before it was accepted, and is gone (accept(2), "Error handling").
PEER_FAILED = frozenset(
    number
    for number, name in errno.errorcode.items()
    if name
    in {"ECONNABORTED", "EPROTO", "ENOPROTOOPT", "ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH", "ENONET"}
)
# Classic BPF over the TCP header (kernel docs, networking/filter): drop a segment with SYN set, keep all others.
_NO_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


def bind(config: Config, slots: int, *, reuseport: bool) -> list[list[socket.socket]]:
    """The sockets to listen on: for each slot a list, one socket for each address.

    With `reuseport` every slot has its own sockets, else all share one set. Nothing listens yet: a client is refused
    until a worker is ready. Raises StartupError that says what is in the way.
    """
    if config.fd is not None:
        return [[_adopt(config.fd)]] * slots
    if config.uds is not None:
        return [[_bind_unix(config.uds, config.uds_permissions)]] * slots
    first = _bind_addresses(config.host, config.port)
    if not reuseport:
        return [first] * slots
    bound = [first]
    try:
        while len(bound) < slots:
            bound.append(bind_beside(first))
    except BaseException:
        for sock in chain.from_iterable(bound):
            sock.close()
        raise
    return bound


def bind_beside(others: list[socket.socket]) -> list[socket.socket]:
    """Sockets on the same addresses, to share them by SO_REUSEPORT (socket(7)); raises StartupError."""
    bound: list[socket.socket] = []
    try:
        for sock in others:
            # Switched on only when it is needed: bound without it, the port was ours alone, and another server is
            # refused even if it shares ports.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.append(_bind_beside(sock))
    except BaseException:
        for sock in bound:
            sock.close()
        raise
    return bound


def url(sock: socket.socket) -> str:
    """Where a client finds the socket."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{name}"
    host, port = name[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def listen(sock: socket.socket, backlog: int) -> None:
    """Listen, or listen on with another backlog; raises StartupError.

    Only now the port may be bound again while old connections of ours linger on it: connections inherit SO_REUSEADDR
    when they are accepted, and one in TIME-WAIT without it keeps the port busy. It is not set when the port is bound,
    for then another server could bind it too until we listen.

    The socket may have had another owner, and what that one left on it must keep nobody out.
    """
    let_in(sock)
    try:
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.listen(backlog)
    except OSError as error:
        raise StartupError(f"cannot listen on {url(sock)}: {shortage(error)}") from error


def let_in(sock: socket.socket) -> None:
    """Undo `refuse_new` of a TCP socket, whoever did it: a filter stays on a socket as long as anybody has it."""
    if sock.family != socket.AF_UNIX and sys.platform == "linux":
        with contextlib.suppress(OSError):  # there is none
            sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


def refuse_new(sock: socket.socket) -> None:
    """From now on no connection joins the socket's queue, while those in it can still be accepted.

    A TCP client's SYN is dropped, so it tries again and is refused once the socket is closed; without this, what came
    in between the last accept and the close would be reset. A unix socket is unlinked, which refuses at once.
    """
    if sock.family == socket.AF_UNIX:
        unlink(sock)
    elif sys.platform == "linux":
        with contextlib.suppress(OSError):
            _attach(sock, SO_ATTACH_FILTER, _NO_SYN)


def is_remote(sock: socket.socket) -> bool:
    """Whether clients reach the socket over a network, where a handshake takes its time (unlike on the loopback)."""
    return sock.family != socket.AF_UNIX and not sock.getsockname()[0].startswith(("127.", "::1", "::ffff:127."))


def steer(sock: socket.socket, chosen: Sequence[int] | None) -> bool:
    """Let new connections reach only some of the sockets that share a port; None: all. Answers whether that was done.

    `sock` is any of them; `chosen` are positions, in the order in which they began to listen, but that the last one
    takes the place of one that has ended (the kernel's reuseport_add_sock and reuseport_detach_sock).
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
    """Classic BPF (kernel docs, networking/filter): one of the positions at random.

    Not by a hash of the client, which would send the SYN that a client repeats to a socket that is steered around.
    """
    steps = [(0x20, 0, 0, 0xFFFFF000 + 56), (0x94, 0, 0, len(positions))]  # A = random (SKF_AD_RANDOM) % length
    for index, position in enumerate(positions):
        steps += [(0x15, 0, 1, index), (0x06, 0, 0, position)]
    return [*steps, (0x06, 0, 0, positions[0])]


def _attach(sock: socket.socket, option: int, steps: Sequence[tuple[int, int, int, int]]) -> None:
    code = array.array("B", b"".join(struct.pack("HBBI", *step) for step in steps))
    sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("HP", len(steps), code.buffer_info()[0]))


class Connection(socket.socket):
    """An accepted connection; its family and type are plain attributes.

    An event loop asks for them several times, and a socket's properties look each up in an enum: that is a third of
    what connecting it to a transport costs.
    """

    __slots__ = ("family", "keep_until", "type")

    family: socket.AddressFamily
    type: socket.SocketKind
    keep_until: float | None  # of one that another worker has passed on: seconds, monotonic; None: it is new


class AcceptQueue:
    """The connections that wait on a listening socket, which is its own from now on."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._family = sock.family
        # asyncio switches off Nagle's algorithm only where it finds this.
        self._protocol = 0 if sock.family == socket.AF_UNIX else socket.IPPROTO_TCP
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def fileno(self) -> int:
        return self._sock.fileno()

    def waits(self) -> bool:
        """Whether somebody waits. An accept in vain, which makes a socket first, takes eight times as long."""
        return bool(self._poll.poll(0))

    def take(self) -> Connection:
        """The first one that waits; raises OSError as accept(2) does."""
        fd, _ = self._sock._accept()  # type: ignore[attr-defined]  # what socket.accept() calls before it makes a plain socket
        connection = Connection(self._family, socket.SOCK_STREAM, self._protocol, fd)
        connection.family = self._family
        connection.type = socket.SOCK_STREAM
        connection.keep_until = None
        return connection

    def close(self) -> None:
        self._sock.close()


def count_waiting(sock: socket.socket) -> int:
    """How many connections wait on a listening socket to be accepted; 0 where the kernel does not tell.

    Linux says so in the field tcpi_unacked of TCP_INFO (tcp_diag does the same with it).
    """
    if sys.platform != "linux" or sock.family == socket.AF_UNIX:
        return 0
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)
    except OSError:
        return 0
    return int(struct.unpack_from("I", info, 24)[0]) if len(info) >= 28 else 0


def shut(sock: socket.socket) -> None:
    """Stop the socket from listening for everybody who holds it; what waits in its queue is reset."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def unlink(sock: socket.socket) -> None:
    """Remove a unix socket's path, if we bound it and nobody has put another socket there."""
    if sock.family == socket.AF_UNIX and sock.fileno() >= 0:
        forget(sock.getsockname())


def own_path(sock: socket.socket) -> None:
    """The path of this unix socket, which another process has bound, is ours from now on."""
    if sock.family == socket.AF_UNIX:
        with contextlib.suppress(OSError):
            _bound_inodes[sock.getsockname()] = os.stat(sock.getsockname()).st_ino


def forget(path: str) -> None:
    """Remove the path of a unix socket that we bound, if it still is ours."""
    inode = _bound_inodes.pop(path, None)
    if inode is not None:
        with contextlib.suppress(OSError):
            if os.stat(path).st_ino == inode:
                os.unlink(path)


# Of the unix sockets that this process has bound: a worker, which inherits them, leaves their paths alone.
_bound_inodes: dict[str, int] = {}


def _bind_addresses(host: str, port: int) -> list[socket.socket]:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise StartupError(f"host {host!r} is not an address of this machine, nor a name of one: {error}") from error
    sockets: list[socket.socket] = []
    addresses = dict.fromkeys((family, address) for family, _, _, _, address in found)
    for family, address in addresses:
        if port == 0 and sockets:
            # One port for all addresses: the one that the first was given.
            address = (address[0], sockets[0].getsockname()[1], *address[2:])
        try:
            sockets.append(_bind_alone(socket.AddressFamily(family), address))
        except OSError as error:
            if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL) and len(addresses) > 1:
                continue  # a name with an IPv6 address on a machine without IPv6
            for sock in sockets:
                sock.close()
            raise _bind_failed(error, address) from error
    if not sockets:
        raise StartupError(f"no address of host {host!r} can be bound")
    return sockets


def _bind_alone(family: socket.AddressFamily, address: tuple[object, ...]) -> socket.socket:
    """Bind so that no other server can have the port.

    Without SO_REUSEADDR first: with it, another that has bound but does not listen yet would go unnoticed. Only if
    that fails, with it, for the port may be busy with nothing but the old connections of a server that has ended.
    """
    try:
        return _bound(family, address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
    return _bound(family, address, socket.SO_REUSEADDR)


def _bound(family: int, address: tuple[object, ...] | str, *options: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        for option in options:
            sock.setsockopt(socket.SOL_SOCKET, option, 1)
        if family == socket.AF_INET6:
            # Each address has its own socket, whatever the machine's default is.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        if socket.SO_REUSEADDR in options:
            # It has done its work. Left on, it would let another server bind the port until we listen.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except BaseException:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _bind_beside(sock: socket.socket) -> socket.socket:
    """Another socket on the same port, to share it by SO_REUSEPORT (socket(7))."""
    try:
        return _bound(sock.family, sock.getsockname(), socket.SO_REUSEPORT, socket.SO_REUSEADDR)
    except OSError as error:
        raise _bind_failed(error, sock.getsockname()) from error


def permit(path: str, permissions: str) -> None:
    """Give a unix socket's path its permissions, octal: to connect, one must be allowed to write (unix(7)).

    Raises StartupError.
    """
    try:
        os.chmod(path, int(permissions, 8))
    except OSError as error:
        raise StartupError(
            f"uds {path} cannot be given the permissions {permissions} (--uds-permissions): {shortage(error)}"
        ) from error


def _bind_unix(path: str, permissions: str) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise StartupError(f"uds {path} exists and is not a socket; choose another path")
        if _is_taken(path):
            raise StartupError(f"uds {path} is in use by another server; stop it or choose another path")
        os.unlink(path)  # nobody listens: left behind by a server that was killed
    try:
        sock = _bound(socket.AF_UNIX, path)
        _bound_inodes[path] = os.stat(path).st_ino
    except OSError as error:
        raise StartupError(f"uds {path} cannot be bound: {shortage(error)}") from error
    try:
        # Nobody can connect meanwhile, as the socket does not listen yet. Not by umask(2) around bind(2): that would
        # change what other threads of this process create.
        permit(path, permissions)
    except BaseException:
        sock.close()
        forget(path)
        raise
    return sock


def _is_taken(path: str) -> bool:
    """Whether a process has a socket on `path`, be it that it listens or is still about to."""
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe.setblocking(False)
    try:
        probe.connect(path)
    except BlockingIOError:
        return True  # its queue is full
    except OSError:
        return _is_bound(path)
    finally:
        probe.close()
    return True


def _is_bound(path: str) -> bool:
    """Whether the kernel knows a unix socket by this path (proc(5), /proc/net/unix); False where it does not tell."""
    names = {path, os.path.abspath(path)}
    try:
        with open("/proc/net/unix", errors="surrogateescape") as table:
            return any(line.rstrip("\n").split(" ")[-1] in names for line in table)
    except OSError:
        return False


def _adopt(fd: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise StartupError(f"fd {fd} is not a socket that this process has inherited: {error.strerror}") from error
    if sock.type != socket.SOCK_STREAM:
        sock.detach()
        raise StartupError(f"fd {fd} must be a stream socket")
    sock.setblocking(False)
    return sock


def _bind_failed(error: OSError, address: tuple[object, ...]) -> StartupError:
    host, port = address[:2]
    match error.errno:
        case errno.EADDRINUSE:
            return StartupError(f"port {port} on {host} is in use; stop the other server or choose another --port")
        case errno.EACCES:
            return StartupError(f"port {port} on {host} needs privileges; choose a --port of 1024 or more")
        case errno.EADDRNOTAVAIL:
            return StartupError(f"{host} is not an address of this machine; choose another --host")
        case _:
            return StartupError(f"{host} port {port} cannot be bound: {shortage(error)}")
