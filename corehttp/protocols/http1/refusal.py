"""A request that is refused for what its client has sent: what it is answered, and what the log says."""

import logging
from typing import NamedTuple

from corehttp.protocols.context import WorkerContext
from corehttp.protocols.exchange import Exchange
from corehttp.protocols.http1.sender import sender_of_refused
from corehttp.protocols.http1.wire import refusal
from corehttp.protocols.peer import Peer

logger = logging.getLogger("corehttp.error")


PeerFields = tuple[tuple[bytes, bytes], ...]


class Rejection(NamedTuple):
    """The answer to a request that is refused."""

    status: int
    reason: str
    method: str  # of the request, as far as it is known
    fields: PeerFields = ()  # beside the usual ones


def refuse_head(
    context: WorkerContext,
    client: Peer,
    known: tuple[Peer, str] | None,
    status: int,
    reason: str,
    head: bytes | bytearray,
    fields: PeerFields,
) -> Rejection:
    """Refuse a request for a fault in its head, or before all of that has come.

    `client` is the client as the socket knows it, and `known` is who has sent the request and its method, if these are
    known.
    """
    if known is None:
        method, space, _ = head.partition(b" ")
        known = sender_of_refused(context, client, head), method.decode("latin-1") if space else ""
    sender, name = known
    _log(sender, status, reason)
    return Rejection(status, reason, name, fields)


def refuse_body(exchange: Exchange, status: int, reason: str) -> Rejection:
    """Refuse a request for a fault in its body, or since that comes too slowly."""
    _log(exchange.peer, status, reason)
    return Rejection(status, reason, exchange.method)


def answer(context: WorkerContext, rejection: Rejection) -> bytes:
    """Return the whole response that refuses a request, and count it."""
    status, reason, method, fields = rejection
    if context.tally is not None:
        context.tally.count_refusal(status, method)
    return refusal(status, reason, context.clock.lines, fields=fields, bodiless=method == "HEAD")


def _log(peer: Peer, status: int, reason: str) -> None:
    logger.warning("refused a request from %s: %s (%d)", peer.name, reason, status)
