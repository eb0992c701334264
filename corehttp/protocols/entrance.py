"""How a client has come to a worker: through which endpoint, and from where, if a proxy has told that. Pure."""

from typing import NamedTuple

from corehttp.ipc.parcel import Parcel
from corehttp.protocols.peer import Client, Peer, ServerAddress, name_of
from corehttp.records import record


@record
class Entrance:
    """What all connections that come in through one endpoint of the service have in common, in any of its workers."""

    endpoint: int = 0  # its number among the endpoints of the service
    # What requests are made with, unless a trusted proxy says something else: https if the endpoint speaks TLS.
    scheme: str = "http"
    redirects: bool = False  # whether every request is sent to https (--redirect-http)


ONLY = Entrance()  # the one of a service with one endpoint, in cleartext


class Origin(NamedTuple):
    """What the proxy in front of a connection has told of it before the first request, by the PROXY protocol.

    It is told once for each connection, and goes with it to any worker that takes it over.
    """

    client: Client | None = None  # the client's address and port; None: a unix socket, or nothing is told
    server: ServerAddress | None = None  # the address that the client has connected to; None: nothing is told
    over_tls: bool = False  # whether the client speaks TLS with the proxy

    def of(self, proxy: Peer) -> Peer:
        """Return the peer of a connection on which the socket's own peer is `proxy`: that one if nothing is told."""
        if self.client is None and self.server is None:
            return proxy
        scheme = "https" if self.over_tls else proxy.scheme
        return Peer(self.client, self.server, scheme, proxy.root_path, proxy.raw_root_path, name_of(self.client))


def announced(parcel: Parcel, origin: Origin | None) -> Parcel:
    """Return a parcel with what a PROXY header has told of its connection; None: there was none."""
    if origin is None:
        return parcel
    client, server, over_tls = origin
    return parcel._replace(client=client, announced=True, server=server, over_tls=over_tls)


def origin_of(parcel: Parcel) -> Origin | None:
    """Return what a PROXY header has told of the connection in a parcel; None if none was read."""
    return Origin(parcel.client, parcel.server, parcel.over_tls) if parcel.announced else None


UNTOLD = Origin()  # of a connection whose proxy speaks for itself, as in a health check, or does not know its client
