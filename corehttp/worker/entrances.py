"""What a worker has at its endpoints: their entrances, TLS, and what makes the protocols of connections."""

import functools
import socket
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from corehttp.protocols.context import WorkerContext
from corehttp.protocols.entrance import Entrance
from corehttp.sockets.endpoint import ListeningSocket, numbered
from corehttp.tls.settings import tls_settings
from corehttp.windows import AF_UNIX
from corehttp.worker.adoptions import MakeProtocol
from corehttp.worker.connection_protocols import Entrances, make_protocol

if TYPE_CHECKING:
    from corehttp.config import Config
    from corehttp.worker.siblings import Siblings
    from corehttp.worker.tls import WorkerTls


def entrances_of(config: "Config", sockets: Iterable[socket.socket] = ()) -> Entrances:
    """Return the entrances of the endpoints that the options give, of which these are the `sockets`."""
    served = numbered(config, sockets)
    return {number: Entrance(number, endpoint.scheme, endpoint.redirects) for number, endpoint in served}


def worker_tls(config: "Config", context: WorkerContext, siblings: "Siblings | None") -> "WorkerTls | None":
    """Return what a worker has for endpoints that speak TLS, None if the options want none; raises StartupError."""
    settings = tls_settings(config)
    if settings is None:
        return None
    from corehttp.worker.tls import WorkerTls  # imported here, since a service in cleartext does without

    return WorkerTls(settings, context, siblings)


def protocol_maker(
    config: "Config", context: WorkerContext, tls: "WorkerTls | None", sockets: Sequence[socket.socket]
) -> MakeProtocol:
    """Return what makes the protocols of the connections that come in through these sockets.

    If some of them are to redirect, the application of `context` does so from now on.
    """
    entrances = entrances_of(config, sockets)
    if any(entrance.redirects for entrance in entrances.values()):
        from corehttp.worker.redirects import Redirects  # imported here, since few services need it

        context.app = Redirects(context.app, _https_port(config, sockets))
    if tls is not None:
        return functools.partial(tls.make_protocol, entrances)
    return functools.partial(make_protocol, context, entrances)


def _https_port(config: "Config", sockets: Sequence[socket.socket]) -> int:
    """Return the first port of all workers on which TLS is spoken; that of https if there is none.

    There is none on a unix socket, for example. A port of one worker alone is not for everybody.
    """
    served = dict(numbered(config, sockets))
    for sock in sockets:
        endpoint = served.get(sock.endpoint if isinstance(sock, ListeningSocket) else 0)
        if endpoint is None or endpoint.scheme != "https" or endpoint.is_each_workers:
            continue
        if sock.family != AF_UNIX:
            return int(sock.getsockname()[1])
    return 443
