"""Those to which connections report what happens on them: the access log, and the worker's ledger."""

from collections.abc import Callable
from typing import Protocol

# One line of the access log: the client's address, the method, the target as it was sent, the HTTP version, the status,
# the bytes of the response's body that were sent, and the milliseconds from the request's head to the response's end.
AccessRecord = tuple[str, str, str, str, int, int, float]


class AccessSink(Protocol):
    """Where requests and WebSockets that have ended are noted for the access log."""

    records: list[AccessRecord]  # of requests that have ended, in order; who appends to it calls `arm` unless `armed`
    armed: bool  # whether the sink will look at `records` soon, without another call of `arm`

    def arm(self) -> None:
        """Tell the sink that there are new `records`."""
        ...

    def websocket_closed(
        self, client: str, path: str, code: int, counts: tuple[int, int, int, int], seconds: float
    ) -> None:
        """Note that a WebSocket has ended with the close `code`, after so many `seconds`.

        `counts` are the messages received and sent, and the bytes received and sent.
        """
        ...


class Ledger(Protocol):
    """Where a worker notes what it does, in memory that other processes can read even after the worker has died."""

    connections: float  # how many connections are open
    taken_over: float  # how many connections other workers have passed on to this one
    websockets: float  # how many WebSockets have not ended

    @property
    def begin(self) -> Callable[[float, bytes, bytes], None]:
        """Note that a request begins to run now: the time (seconds, monotonic), its method and its path."""
        ...

    @property
    def pause(self) -> Callable[[], None]:
        """Note that the request of the last `begin` does not run any more: it has ended, or it waits."""
        ...

    def enter(self, now: float, method: bytes, path: bytes) -> int:
        """Note a request that waits, since `now` (seconds, monotonic); answers its place in the ledger."""
        ...

    def leave(self, place: int) -> None:
        """Note that the request in this place has ended."""
        ...
