"""How an idle connection goes from a worker that leaves, whatever protocol it speaks."""

from corehttp.protocols.contracts import Connection, Departure


def leave_if_idle(connection: Connection, now: float, departure: Departure) -> None:
    """Pass a connection on if it is idle, or close it when it has been idle for long enough; `now` is monotonic."""
    if connection.idle:
        waited = departure.has_waited(connection, now)
        if departure.hand_over is not None and connection.pass_on(departure.hand_over):
            return
        if waited:
            connection.close()
