"""The contracts with those to which connections report: the access log, and the worker's ledger."""

from collections.abc import Callable
from typing import Protocol

from corehttp.asgi import Scope

# One line of the access log: the client's address, the method, the target as it was sent, the HTTP version, the status,
# the bytes of the response's body that were sent, and the milliseconds from the request's head to the response's end.
AccessRecord = tuple[str, str, str, str, int, int, float]


class Logged(Protocol):
    """A request, for a sink that shows more of it than its record.

    It may have `fields`, those of the response's head. The application may have put anything there and into the scope.
    """

    @property
    def scope(self) -> Scope:
        """The scope that the application was called with."""


class AccessSink(Protocol):
    """Takes requests and WebSockets that have ended, for the access log."""

    records: list[AccessRecord]  # requests that have ended, in order; to be followed by a call of `arm` unless `armed`
    armed: bool  # whether the sink will look at `records` soon, without another call of `arm`; false if it wants each

    def arm(self, request: Logged) -> None:
        """Tell the sink that there are new `records`, the last of which is that of this request."""

    def websocket_closed(
        self, client: str, path: str, code: int, counts: tuple[int, int, int, int], seconds: float
    ) -> None:
        """Note that a WebSocket has ended with the close code `code`, `seconds` after it was opened.

        `counts` are the messages received and sent, and the bytes received and sent.
        """


class Ledger(Protocol):
    """Where a worker notes what it does, in memory that other processes can read even after the worker has died."""

    connections: float  # how many connections are open
    taken_over: float  # how many connections this worker has taken over from others
    websockets: float  # how many WebSockets have not ended

    method: str  # of the request that was named last; who calls `name` sets it
    path: bytes  # the same

    @property
    def since(self) -> "memoryview[float]":
        """One number: since when the request named last runs (seconds, monotonic); 0 if it has ended or waits."""

    @property
    def name(self) -> Callable[[bytes, bytes], None]:
        """A function that names the request that is to run, by its method and path, while `since` is 0.

        It is an attribute, so that a function of C or a partial object needs no Python frame.
        """

    def enter(self, now: float, method: bytes, path: bytes) -> int:
        """Note a request that waits, having begun at `now` (seconds, monotonic); answers its place in the ledger."""

    def leave(self, place: int) -> None:
        """Note that the request at `place` has ended."""
