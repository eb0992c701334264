"""Who sends a request over a connection: its peer, or the client that a trusted proxy names."""

from corehttp.asgi import Headers
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.field_names import forwarding
from corehttp.protocols.peer import Peer, judge_peer


def sender_of(context: WorkerContext, peer: Peer, headers: Headers, names: list[bytes]) -> tuple[Peer, Headers]:
    """Who sends a request that came from `peer`, and its fields as the application sees them.

    `names` are those of the fields in which a proxy says what it has seen (`field_names.forwarding`). What a peer says
    that is no trusted proxy is removed, and logged.
    """
    trust = context.trust
    if trust is None:
        return peer, headers
    if trust.believes(peer):
        return judge_peer(trust, peer, names, headers)
    context.distrust.note(peer, names)
    return peer, [field for field in headers if field[0] not in names]


def sender_of_refused(context: WorkerContext, peer: Peer, head: bytes | bytearray) -> Peer:
    """Who has sent a head that is refused, as far as it can be told: for log lines only."""
    trust = context.trust
    if trust is None or not trust.believes(peer):
        return peer
    fields = lenient_fields(head)
    return judge_peer(trust, peer, forwarding(dict(fields)), fields)[0]


def lenient_fields(head: bytes | bytearray) -> Headers:
    """The fields of a head that is refused, as far as they can be told: for log lines only.

    A line that has not come in whole is none: half an address would be another client's.
    """
    lines = [line.partition(b":") for line in bytes(head).split(b"\r\n")[1:-1]]
    return [(name.lower(), value.strip(b" \t")) for name, colon, value in lines if colon]
