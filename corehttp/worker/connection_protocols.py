"""Make the protocol of a connection: of a new one, or of one that another worker has handed over."""

import asyncio
import logging

from corehttp.ipc.parcel import Parcel
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.entrance import Entrance, Origin, origin_of
from corehttp.protocols.http1.connection import HTTP1Connection
from corehttp.worker.held_bytes import HeldBytes

logger = logging.getLogger("corehttp.error")

Entrances = dict[int, Entrance]  # the entrance of each endpoint, by the number of that


def make_protocol(
    context: WorkerContext,
    entrances: Entrances,
    endpoint: int,
    parcel: Parcel | None = None,
    origin: Origin | None = None,
) -> asyncio.Protocol:
    """Return the protocol of a connection in cleartext, as `adoptions.MakeProtocol` says.

    Of an endpoint that the options do not give, which a program may have added to the service, nothing else is known
    than its number.
    """
    entrance = entrances.get(endpoint)
    if entrance is None:
        entrance = entrances[endpoint] = Entrance(endpoint)
    count_arrival(context, parcel)
    if parcel is None:
        return HTTP1Connection(context, entrance=entrance, origin=origin)
    # If the PROXY header was read here, the time of the parcel was for the header alone.
    keep_until = parcel.keep_until if origin is None else None
    if origin is None:
        origin = origin_of(parcel)
    connection = HTTP1Connection(context, keep_until, entrance, settled=bool(parcel.held), origin=origin)
    return HeldBytes(connection, parcel.held, context.tally) if parcel.held else connection


def count_arrival(context: WorkerContext, parcel: Parcel | None) -> None:
    """Count a connection that is to have its protocol: one that was accepted, or taken over in a parcel."""
    if parcel is None:
        if context.tally is not None:
            context.tally.accepted += 1
    elif context.ledger is not None:
        context.ledger.taken_over += 1
        logger.debug("a connection was taken over")
