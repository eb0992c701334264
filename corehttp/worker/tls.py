"""TLS in one worker: its contexts, which are renewed while it serves, and the handshakes of its connections."""

import asyncio
import functools
from typing import TYPE_CHECKING

from corehttp.ipc.parcel import Parcel
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.entrance import Entrance, Origin, origin_of
from corehttp.protocols.http1.connection import HTTP1Connection
from corehttp.protocols.tls_opening import Handshakes, TlsOpening
from corehttp.tls.settings import TlsSettings
from corehttp.worker.certificates import load, renewal
from corehttp.worker.connection_protocols import Entrances, count_arrival, make_protocol

if TYPE_CHECKING:
    from corehttp.worker.siblings import Siblings


class WorkerTls:
    """What a worker has for its endpoints that speak TLS; `look` is to be called once a second."""

    def __init__(self, settings: TlsSettings, context: WorkerContext, siblings: "Siblings | None") -> None:
        """Load the certificates; raises StartupError, which names the option and the file."""
        contexts = load(settings, siblings)
        self._context = context
        self._handshakes = Handshakes(contexts, context, settings.handshake_timeout)
        self.look = renewal(contexts, siblings).look

    def make_protocol(
        self, entrances: Entrances, endpoint: int, parcel: Parcel | None = None, origin: Origin | None = None
    ) -> asyncio.Protocol:
        """Return the protocol of a connection in cleartext or over TLS, as `adoptions.MakeProtocol` says.

        An endpoint that the options do not give speaks TLS, as all that they give do unless they redirect to https.
        """
        context = self._context
        entrance = entrances.get(endpoint)
        if entrance is None:
            entrance = entrances[endpoint] = Entrance(endpoint, "https")
        if entrance.scheme == "http":
            return make_protocol(context, entrances, endpoint, parcel, origin)
        count_arrival(context, parcel)
        if parcel is not None and origin is None:
            origin = origin_of(parcel)
        make = functools.partial(HTTP1Connection, context, None, entrance, origin=origin)
        return TlsOpening(context, self._handshakes, entrance, make, origin, settled=parcel is not None)
