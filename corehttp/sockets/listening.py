"""Listening sockets: bind or adopt them, listen, shut them. Sockets only, no event loop."""

import contextlib
import errno
import socket
from collections.abc import Iterable
from itertools import chain

from corehttp.errors import StartupError
from corehttp.shortage import shortage
from corehttp.sockets import unix_path
from corehttp.sockets.endpoint import Endpoint, EndpointKind, ListeningSocket
from corehttp.sockets.steering import let_in


def bind(endpoints: Iterable[Endpoint], slots: int, *, reuseport: bool) -> list[list[ListeningSocket]]:
    """Bind or adopt the sockets of some endpoints: return a list for each slot, with one socket for each address.

    With `reuseport` every slot has its own sockets where an endpoint can be parted; all share the others. Nothing
    listens yet: a client is refused until a worker is ready. Raises StartupError that says what is in the way.
    """
    bound: list[list[ListeningSocket]] = [[] for _ in range(slots)]
    try:
        for number, endpoint in enumerate(endpoints):
            first = _bind_endpoint(endpoint)
            for sock in first:
                sock.endpoint = number
            bound[0] += first
            for own in bound[1:]:
                own += bind_beside(first) if reuseport and endpoint.is_partable else first
    except BaseException:
        for sock in chain.from_iterable(bound):
            unix_path.unlink(sock)
            sock.close()
        raise
    return bound


def bind_beside(others: Iterable[ListeningSocket]) -> list[ListeningSocket]:
    """Bind sockets to the same addresses, to share them by SO_REUSEPORT (socket(7)); raises StartupError."""
    bound: list[ListeningSocket] = []
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


def is_remote(sock: socket.socket) -> bool:
    """Whether clients reach the socket over a network, where a handshake takes its time (unlike on the loopback)."""
    return sock.family != socket.AF_UNIX and not sock.getsockname()[0].startswith(("127.", "::1", "::ffff:127."))


def shut(sock: socket.socket) -> None:
    """Stop the socket from listening for everybody who holds it; what waits in its queue is reset."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def _bind_endpoint(endpoint: Endpoint) -> list[ListeningSocket]:
    match endpoint.kind:
        case EndpointKind.TCP:
            return _bind_addresses(endpoint.host, endpoint.port)
        case EndpointKind.UNIX:
            return [_bind_unix(endpoint.path, endpoint.permissions)]
        case EndpointKind.INHERITED:
            return [_adopt(endpoint.descriptor)]


def _bind_addresses(host: str, port: int) -> list[ListeningSocket]:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise StartupError(f"host {host!r} is not an address of this machine, nor a name of one: {error}") from error
    sockets: list[ListeningSocket] = []
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


def _bind_alone(family: socket.AddressFamily, address: tuple[object, ...]) -> ListeningSocket:
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


def _bound(family: int, address: tuple[object, ...] | str, *options: int) -> ListeningSocket:
    sock = ListeningSocket(family, socket.SOCK_STREAM)
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


def _bind_beside(sock: ListeningSocket) -> ListeningSocket:
    """Bind another socket of the endpoint to the same port, to share it by SO_REUSEPORT (socket(7))."""
    try:
        beside = _bound(sock.family, sock.getsockname(), socket.SO_REUSEPORT, socket.SO_REUSEADDR)
    except OSError as error:
        raise _bind_failed(error, sock.getsockname()) from error
    beside.endpoint = sock.endpoint
    return beside


def _bind_unix(path: str, permissions: str) -> ListeningSocket:
    unix_path.make_room(path)
    try:
        sock = _bound(socket.AF_UNIX, path)
        unix_path.own(path)
    except OSError as error:
        raise StartupError(f"uds {path} cannot be bound: {shortage(error)}") from error
    try:
        # Nobody can connect meanwhile, as the socket does not listen yet. Not by umask(2) around bind(2): that would
        # change what other threads of this process create.
        unix_path.permit(path, permissions)
    except BaseException:
        sock.close()
        unix_path.forget(path)
        raise
    return sock


def _adopt(fd: int) -> ListeningSocket:
    try:
        sock = ListeningSocket(fileno=fd)
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
