"""How a request that has ended is noted for the access log."""

from time import monotonic

from corehttp.protocols.exchange import Exchange
from corehttp.protocols.observers import AccessSink


def record(access: AccessSink, exchange: Exchange, status: int) -> None:
    """Note that `exchange` has ended; `status` is that of its response or refusal, 0 without one."""
    milliseconds = (monotonic() - exchange.started_at) * 1000
    access.records.append(
        (exchange.peer.name, exchange.method, exchange.target, exchange.version, status, exchange.sent, milliseconds)
    )
    if not access.armed:
        access.arm(exchange)
