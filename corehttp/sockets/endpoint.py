"""An endpoint: what a service listens on. A service has one for each --bind, or the one of the other options."""

import socket
from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING, assert_never

from corehttp.bind_option import (
    AbstractPlace,
    ActivatedPlace,
    InheritedPlace,
    Place,
    TCPPlace,
    UnixPlace,
    WorkerPlace,
    bind_address,
    places,
)
from corehttp.records import record, replaced

if TYPE_CHECKING:
    from corehttp.config import Config


class EndpointKind(Enum):
    """How the sockets of an endpoint come to be."""

    TCP = "tcp"  # they are bound to a port, one for each address of a host
    UNIX = "unix"  # one socket is bound to a path
    ABSTRACT = "abstract"  # one socket is bound to a name of Linux's abstract namespace (unix(7))
    ACTIVATED = "activated"  # systemd has made them, and may listen on them too
    INHERITED = "inherited"  # the program that started this one has made one socket, and may listen on it too


@record
class Endpoint:
    """What a service listens on. The backlog is not a part of it, since a reload can change that.

    Other processes of the service know an endpoint by its number. At the start that is its position in
    `endpoints(config)`; one that a reload adds gets another number, and each keeps its own while it is there.
    """

    kind: EndpointKind
    host: str = ""  # TCP: the name or address of the host; empty for all addresses of the machine
    port: int = 0  # TCP: the port; 0 for any that is free
    path: str = ""  # unix: the path
    permissions: str = ""  # unix: the permissions of the path, an octal number
    owner: str = ""  # unix: the owner of the path, as --uds-owner has it; empty: the user that binds
    name: str = ""  # abstract: the name; activated: that of the sockets, empty for all
    descriptor: int = -1  # inherited: the number of the descriptor
    is_each_workers: bool = False  # TCP: whether each slot has a port of its own, from the one after `port` on
    scheme: str = "http"  # that of the requests that come in through it: https if it speaks TLS
    redirects: bool = False  # whether every request is sent to https (--redirect-http)

    @property
    def place(self) -> "Endpoint":
        """The endpoint without what a reload can change while its sockets stay."""
        return replaced(self, scheme="http", redirects=False)

    @property
    def is_partable(self) -> bool:
        """Whether each worker can have sockets of its own on the same port, by SO_REUSEPORT (socket(7)).

        If not, all share the same sockets, unless each has a port of its own.
        """
        return self.kind is EndpointKind.TCP and not self.is_each_workers

    @property
    def is_anothers(self) -> bool:
        """Whether the sockets belong to the program that has started the service, and may be listened on after it."""
        return self.kind in (EndpointKind.INHERITED, EndpointKind.ACTIVATED)


class ListeningSocket(socket.socket):
    """A socket of an endpoint; `endpoint` is the number of that among the endpoints of the service.

    `position` is that of the endpoint among those that the options of this process give, as far as that was told; else
    None. `is_anothers` says whether it belongs to the program that has started the service, and may be listened on
    after it. `is_temporary` says whether the options of this process do not name the endpoint: a reload that is under
    way removes it in the end, and its sockets are shut while this process serves.
    """

    __slots__ = ("endpoint", "is_anothers", "is_temporary", "position")

    position: int | None

    def __init__(
        self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None, endpoint: int = 0
    ) -> None:
        super().__init__(family, type, proto, fileno)
        self.endpoint = endpoint
        self.is_anothers = False
        self.is_temporary = False
        self.position = None


def endpoints(config: "Config") -> tuple[Endpoint, ...]:
    """Return the endpoints that the options of a service give, each at the position of its number."""
    served = [_endpoint(place, config) for place in places(vars(config))]
    count = len(served) - len(config.redirect_http)
    scheme = "https" if config.ssl_certfile else "http"
    own = (replaced(endpoint, scheme=scheme) for endpoint in served[:count])
    return (*own, *(replaced(endpoint, redirects=True) for endpoint in served[count:]))


def numbers(sockets: Iterable[socket.socket], count: int) -> list[int]:
    """Return the numbers of the `count` endpoints that the options give, in their order, as their sockets tell.

    An endpoint whose sockets do not tell has its position as its number, as all have at the start of a service.
    """
    told = {sock.position: sock.endpoint for sock in sockets if isinstance(sock, ListeningSocket)}
    return [told.get(position, position) for position in range(count)]


def numbered(config: "Config", sockets: Iterable[socket.socket]) -> Iterable[tuple[int, Endpoint]]:
    """Return the endpoints that the options give, of which these are the `sockets`, each with its number."""
    served = endpoints(config)
    return zip(numbers(sockets, len(served)), served, strict=True)


def own_endpoints(config: "Config", sockets: Iterable[socket.socket]) -> frozenset[int]:
    """Return the numbers of the endpoints where each worker has a port of its own; `sockets` are those of one."""
    return frozenset(number for number, endpoint in numbered(config, sockets) if endpoint.is_each_workers)


def address_options(config: "Config") -> tuple[object, ...]:
    """Return what the options say of where a service listens; services with equal ones can share their sockets."""
    address = (config.host, config.port, config.uds, config.fd, config.socket)
    if config.redirect_http:
        return (*address, tuple(map(bind_address, config.bind)), tuple(map(bind_address, config.redirect_http)))
    return (*address, tuple(map(bind_address, config.bind))) if config.bind else address


def _endpoint(place: Place, config: "Config") -> Endpoint:
    """Return the endpoint of a place where the service listens."""
    match place:
        case WorkerPlace(host, port):
            return Endpoint(EndpointKind.TCP, host=host, port=port, is_each_workers=True)
        case TCPPlace(host, port):
            return Endpoint(EndpointKind.TCP, host=host, port=port)
        case UnixPlace(path):
            return Endpoint(EndpointKind.UNIX, path=path, permissions=config.uds_permissions, owner=config.uds_owner)
        case AbstractPlace(name):
            return Endpoint(EndpointKind.ABSTRACT, name=name)
        case InheritedPlace(descriptor):
            return Endpoint(EndpointKind.INHERITED, descriptor=descriptor)
        case ActivatedPlace(name):
            return Endpoint(EndpointKind.ACTIVATED, name=name)
        case _:
            assert_never(place)
