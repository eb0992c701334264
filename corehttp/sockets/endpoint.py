"""An endpoint: what a service listens on. A service has one or more; the options give one."""

import socket
from dataclasses import dataclass
from enum import Enum

from corehttp.config import Config


class EndpointKind(Enum):
    """How the sockets of an endpoint come to be."""

    TCP = "tcp"  # bound to a port, on each address of a host
    UNIX = "unix"  # bound to a path
    INHERITED = "inherited"  # made by the program that started this one, which may listen on it too


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a service listens on. How many clients may wait there is not said here: a reload can change that."""

    kind: EndpointKind
    host: str = ""  # of a TCP endpoint: a name or an address; empty for all addresses of the machine
    port: int = 0  # of a TCP endpoint; 0 for any that is free
    path: str = ""  # of a unix endpoint
    permissions: str = ""  # of the path of a unix endpoint, an octal number
    descriptor: int = -1  # of an inherited endpoint

    @property
    def is_partable(self) -> bool:
        """Whether each worker can have sockets of its own there, by SO_REUSEPORT (socket(7)); else all share them."""
        return self.kind is EndpointKind.TCP


class ListeningSocket(socket.socket):
    """A socket of an endpoint, which it knows by its number among those of the service."""

    __slots__ = ("endpoint",)

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        super().__init__(family, type, proto, fileno)
        self.endpoint = 0


def endpoints(config: Config) -> tuple[Endpoint, ...]:
    """Return what the options of a service say that it listens on."""
    if config.fd is not None:
        return (Endpoint(EndpointKind.INHERITED, descriptor=config.fd),)
    if config.uds is not None:
        return (Endpoint(EndpointKind.UNIX, path=config.uds, permissions=config.uds_permissions),)
    return (Endpoint(EndpointKind.TCP, host=config.host, port=config.port),)
