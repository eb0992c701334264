"""Listening sockets: bind or adopt them, let them listen, shut them down. No event loop is needed."""

import contextlib
import errno
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from corehttp.errors import StartupError
from corehttp.loopback import is_loopback
from corehttp.privileges import Privileged
from corehttp.shortage import shortage
from corehttp.sockets import unix_path
from corehttp.sockets.activation import Activation
from corehttp.sockets.endpoint import Endpoint, EndpointKind, ListeningSocket
from corehttp.sockets.steering import let_in
from corehttp.windows import AF_UNIX, EXCLUSIVE, FORBIDDEN_PORT

_FAMILIES = (socket.AF_INET, socket.AF_INET6, AF_UNIX)
_LAST_PORT = 65535
_NUMERIC = frozenset("0123456789abcdefABCDEF.:")  # what a numeric address is written with


def bind(
    endpoints: Iterable[Endpoint],
    slots: int,
    *,
    reuseport: bool,
    first: int = 0,
    own: Sequence[int] | None = None,
    privileged: Privileged = contextlib.nullcontext,
) -> list[list[ListeningSocket]]:
    """Bind or adopt the sockets of some endpoints, and return those of each slot: one for each address.

    The endpoints are numbered from `first` on; `own` are the numbers of the slots, by default those from 0 on.
    With `reuseport` every slot has sockets of its own where an endpoint can be parted; of other endpoints all slots
    have the same. Ports are bound, and paths are given to their owners, in the context `privileged()`; all else is done
    outside, so that the sockets belong to the user that the process acts as. Nothing listens yet, so that clients are
    refused until a worker is ready. Raises StartupError, which says what is in the way.
    """
    activation = Activation()
    bound: list[list[ListeningSocket]] = [[] for _ in range(slots)]
    try:
        for number, endpoint in enumerate(endpoints, first):
            if endpoint.is_each_workers:
                for slot, sockets in zip(own or range(slots), bound, strict=True):
                    sockets += bind_own(endpoint, number, slot, privileged)
                continue
            first_ones = _bind_endpoint(endpoint, activation, privileged)
            for sock in first_ones:
                sock.endpoint, sock.is_anothers = number, endpoint.is_anothers
            bound[0] += first_ones
            for sockets in bound[1:]:
                sockets += bind_beside(first_ones, privileged) if reuseport and endpoint.is_partable else first_ones
    except BaseException:
        release(bound)
        raise
    return bound


def bind_own(
    endpoint: Endpoint, number: int, slot: int, privileged: Privileged = contextlib.nullcontext
) -> list[ListeningSocket]:
    """Bind the sockets that a slot alone has of an endpoint of which each has a port of its own.

    `number` is that of the endpoint. Raises StartupError.
    """
    port = endpoint.port + slot + 1
    if port > _LAST_PORT:
        raise StartupError(f"worker {slot + 1} can have no port of its own after {endpoint.port}: the last is 65535")
    sockets = _bind_addresses(endpoint.host, port, privileged)
    for sock in sockets:
        sock.endpoint = number
    return sockets


def bind_slot(
    slot: int, others: Iterable[ListeningSocket], endpoints: Mapping[int, Endpoint], *, parting: bool
) -> list[ListeningSocket]:
    """Return the sockets of one more slot, while another one has the `others`; both may share some of them.

    The endpoints are by their numbers. With `parting` the slot gets sockets of its own where an endpoint can be parted.
    Raises StartupError; then nothing stays bound.
    """
    known = list(others)
    own: list[ListeningSocket] = []
    try:
        for number in dict.fromkeys(sock.endpoint for sock in known):
            endpoint, beside = endpoints[number], [sock for sock in known if sock.endpoint == number]
            if endpoint.is_each_workers:
                own += bind_own(endpoint, number, slot)
            else:
                own += bind_beside(beside) if parting and endpoint.is_partable else beside
    except StartupError:
        for sock in set(own) - set(known):
            sock.close()
        raise
    return own


def release(bound: Iterable[Iterable[ListeningSocket]]) -> None:
    """Close sockets that `bind` has returned and that are not to be used, and remove the paths of unix sockets."""
    for sock in chain.from_iterable(bound):
        unix_path.unlink(sock)
        sock.close()


def bind_beside(
    others: Iterable[ListeningSocket], privileged: Privileged = contextlib.nullcontext
) -> list[ListeningSocket]:
    """Bind a further socket beside each of these in the context `privileged()`, to share its port by SO_REUSEPORT.

    All sockets of a port must belong to the same user (socket(7)). Raises StartupError.
    """
    if sys.platform == "win32":
        raise NotImplementedError
    bound: list[ListeningSocket] = []
    try:
        for sock in others:
            # The first socket was bound without SO_REUSEPORT, so that no other server has the port, even if that one
            # shares ports. It must be on in all sockets of a port that is shared.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.append(_bind_beside(sock, privileged))
    except BaseException:
        for sock in bound:
            sock.close()
        raise
    return bound


def url(sock: socket.socket, scheme: str = "http") -> str:
    """Return where a client finds a listening socket that serves requests with this scheme, for a log line."""
    name = sock.getsockname()
    if sock.family == AF_UNIX:
        return f"unix:@{name[1:].decode(errors='replace')}" if isinstance(name, bytes) else f"unix:{name}"
    host, port = name[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def listen(sock: socket.socket, backlog: int) -> None:
    """Let a socket listen, or change the backlog of one that does. Raises StartupError.

    SO_REUSEADDR is switched on here, since accepted connections inherit it: one that is left in TIME-WAIT without it
    would keep the port busy for the next start. It is off until now, since another server could bind the port too while
    it is on and nobody listens (socket(7), ip(7)).

    A filter that a former owner of the socket may have attached is removed, so that it keeps nobody out.
    """
    let_in(sock)
    try:
        if sock.family != AF_UNIX and not EXCLUSIVE:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.listen(backlog)
    except OSError as error:
        raise StartupError(f"cannot listen on {url(sock)}: {shortage(error)}") from error


def is_remote(sock: socket.socket) -> bool:
    """Whether clients may reach a socket over a network, where handshakes take a while, unlike on the loopback."""
    return sock.family != AF_UNIX and not is_loopback(sock.getsockname()[0])


def shut(sock: socket.socket) -> None:
    """Stop a socket from listening in all processes that have it, and close it. Connections in its queue are reset."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def needs_privilege(port: int) -> bool:
    """Whether only root, or who has CAP_NET_BIND_SERVICE, may bind the port (ip(7), ip_unprivileged_port_start)."""
    first = 1024
    with contextlib.suppress(OSError, ValueError), open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as file:
        first = int(file.read())
    return 0 < port < first


def _bind_endpoint(endpoint: Endpoint, activation: Activation, privileged: Privileged) -> list[ListeningSocket]:
    """Return the sockets of an endpoint for one slot. Raises StartupError."""
    match endpoint.kind:
        case EndpointKind.TCP:
            return _bind_addresses(endpoint.host, endpoint.port, privileged)
        case EndpointKind.UNIX:
            return [_bind_unix(endpoint, privileged)]
        case EndpointKind.ABSTRACT:
            return [_bind_abstract(endpoint.name)]
        case EndpointKind.ACTIVATED:
            return [_adopt(fd, f"bind systemd:{endpoint.name}: ") for fd in activation.descriptors(endpoint.name)]
        case EndpointKind.INHERITED:
            return [_adopt(endpoint.descriptor)]


def _bind_addresses(host: str, port: int, privileged: Privileged) -> list[ListeningSocket]:
    """Bind a socket to each address of a host, all to the same port. Raises StartupError.

    An address of a family that this machine has not is left out if the host has another one.
    """
    try:
        # Text is encoded by a codec for international names, which takes 1.5 ms and 1.2 MiB to import.
        name = host.encode() if _NUMERIC.issuperset(host) else host
        found = socket.getaddrinfo(name or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise StartupError(f"host {host!r} is not an address of this machine, nor a name of one: {error}") from error
    sockets: list[ListeningSocket] = []
    addresses = dict.fromkeys((family, address) for family, _, _, _, address in found)
    for family, address in addresses:
        if port == 0 and sockets:
            # All addresses have the port that the kernel has chosen for the first one.
            address = (address[0], sockets[0].getsockname()[1], *address[2:])
        try:
            sockets.append(_bind_alone(socket.AddressFamily(family), address, privileged))
        except OSError as error:
            if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL) and len(addresses) > 1:
                continue  # for example the IPv6 address of a name on a machine without IPv6
            for sock in sockets:
                sock.close()
            raise _bind_failed(error, address) from error
    if not sockets:
        raise StartupError(f"no address of host {host!r} can be bound")
    return sockets


def _bind_alone(family: int, address: tuple[object, ...], privileged: Privileged) -> ListeningSocket:
    """Bind a socket to an address that no other server has. Raises OSError.

    First it is tried without SO_REUSEADDR: with it, a server that has bound the port and does not listen yet would go
    unnoticed. Only if that fails it is tried with it, since the port may be busy with nothing but old connections of a
    server that has ended (TIME-WAIT). Windows has another option (`windows.EXCLUSIVE`).
    """
    if EXCLUSIVE:
        return _bound(family, address, EXCLUSIVE, privileged=privileged)
    try:
        return _bound(family, address, privileged=privileged)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
    return _bound(family, address, socket.SO_REUSEADDR, privileged=privileged)


def _bound(
    family: int,
    address: tuple[object, ...] | str,
    *options: int,
    privileged: Privileged = contextlib.nullcontext,
) -> ListeningSocket:
    """Return a socket that was bound to an address with these options of SOL_SOCKET switched on. Raises OSError.

    The user that this process acts as owns the socket, also if that is another one in the context `privileged()`.
    """
    sock = ListeningSocket(family, socket.SOCK_STREAM)
    try:
        for option in options:
            sock.setsockopt(socket.SOL_SOCKET, option, 1)
        if family == socket.AF_INET6:
            # An IPv6 socket takes no IPv4 clients, whatever the default of the machine is: IPv4 has sockets of its own.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        with privileged():
            sock.bind(address)
        if socket.SO_REUSEADDR in options:
            # While it is on, another server could bind the port until this socket listens.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except BaseException:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _bind_beside(sock: ListeningSocket, privileged: Privileged) -> ListeningSocket:
    """Bind another socket to the address of this one, to share its port by SO_REUSEPORT. Raises StartupError."""
    if sys.platform == "win32":
        raise NotImplementedError
    try:
        shared = (socket.SO_REUSEPORT, socket.SO_REUSEADDR)
        beside = _bound(sock.family, sock.getsockname(), *shared, privileged=privileged)
    except OSError as error:
        raise _bind_failed(error, sock.getsockname()) from error
    beside.endpoint = sock.endpoint
    return beside


def _bind_abstract(name: str) -> ListeningSocket:
    """Bind a unix socket to a name of the abstract namespace, which every user of the machine may connect to (unix(7)).

    Raises StartupError.
    """
    try:
        return _bound(AF_UNIX, f"\0{name}")
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StartupError(f"unix:@{name} is in use; stop the other server or choose another name") from error
        raise StartupError(f"unix:@{name} cannot be bound: {shortage(error)}") from error


def _bind_unix(endpoint: Endpoint, privileged: Privileged) -> ListeningSocket:
    """Bind a unix socket to a path, and give that its permissions. Raises StartupError."""
    path = endpoint.path
    try:
        unix_path.make_room(path)
        sock = _bound(AF_UNIX, path)
        unix_path.own(path)
    except OSError as error:
        raise StartupError(f"uds {path} cannot be bound: {shortage(error)}") from error
    try:
        # No client can connect before that, since the socket does not listen yet. A umask(2) around bind(2) would do
        # the same, but also change what other threads of this process create meanwhile.
        unix_path.permit(path, endpoint.permissions, endpoint.owner, privileged)
    except BaseException:
        sock.close()
        unix_path.forget(path)
        raise
    return sock


def _adopt(fd: int, bind: str = "") -> ListeningSocket:
    """Return the socket that this process has inherited as the descriptor `fd`.

    Raises StartupError, whose text begins with `bind`.
    """
    try:
        sock = ListeningSocket(fileno=fd)
    except OSError as error:
        raise StartupError(
            f"{bind}fd {fd} is not a socket that this process has inherited: {error.strerror}"
        ) from error
    if sock.type != socket.SOCK_STREAM:
        sock.detach()
        raise StartupError(f"{bind}fd {fd} must be a stream socket")
    if sock.family not in _FAMILIES:
        sock.detach()
        raise StartupError(f"{bind}fd {fd} must be a socket of IPv4, IPv6 or a unix socket")
    sock.setblocking(False)
    return sock


def _bind_failed(error: OSError, address: tuple[object, ...]) -> StartupError:
    """Return the error for an address that cannot be bound, with what the operator can do about it."""
    host, port = address[:2]
    match error.errno:
        case errno.EADDRINUSE:
            return StartupError(f"port {port} on {host} is in use; stop the other server or choose another --port")
        case errno.EACCES:
            return StartupError(f"port {port} on {host} {FORBIDDEN_PORT}")
        case errno.EADDRNOTAVAIL:
            return StartupError(f"{host} is not an address of this machine; choose another --host")
        case _:
            return StartupError(f"{host} port {port} cannot be bound: {shortage(error)}")
