"""What the parts of an HTTP/1.1 connection are to each other: all that they ask of one another and report.

A connection has `Turns`, and these have a `Reader` and a `Writer`. Each object sets its own attributes alone, except
that the connection sets the `deadline` of its turns, and the `transport` of their writer.
"""

from typing import Protocol

from corehttp.protocols.contracts import HandOver
from corehttp.protocols.exchange import Exchange
from corehttp.protocols.http1.inflow import Inflow
from corehttp.protocols.http1.refusal import PeerFields
from corehttp.protocols.http1.semantics import Intent
from corehttp.protocols.http1.state import ConnectionStage
from corehttp.protocols.peer_socket import Watch
from corehttp.protocols.tally import Tally

# Requests that were read and are not begun, in order, and what their heads ask for.
Queue = list[tuple[Exchange, Intent]]


class BodySource(Protocol):
    """Where the bodies of requests come from."""

    @property
    def inflow(self) -> Inflow | None:
        """Whether the client is read; None if it is, and nothing is awaited of it."""
        ...

    def last_response(self, exchange: Exchange | None) -> None:
        """Read no request after that of `exchange`, if it is still read: its response ends the connection."""
        ...

    def pace(self) -> None:
        """Read on, or pause, as fits what was taken of what has come."""
        ...


class WriterHost(Protocol):
    """The turns of a connection, as its writer sees them."""

    @property
    def current(self) -> Exchange | None:
        """The exchange whose response is being written; None between two responses."""
        ...

    @property
    def intent(self) -> Intent:
        """What the head of the current request asks for."""
        ...

    @property
    def reader(self) -> BodySource:
        """What reads the bodies of requests."""
        ...

    @property
    def has_more(self) -> bool:
        """Whether anything of a further request was read."""
        ...

    def response_written(self, exchange: Exchange, tally: Tally | None) -> None:
        """Go on after the whole response of the exchange. `tally` counts it; None: it is counted, or nobody looks."""
        ...

    def end(self) -> None:
        """End the connection, and send what is written."""
        ...

    def set_deadline(self) -> None:
        """Find out anew when to look at the connection again."""
        ...

    def look_soon(self) -> None:
        """Look at the connection again soon, since something waits for its client."""
        ...


class ReaderHost(Protocol):
    """The turns of a connection, as its reader sees them."""

    @property
    def current(self) -> Exchange | None:
        """The exchange whose response is being written; None between two responses."""
        ...

    @property
    def queue(self) -> Queue:
        """The requests that were read and are not begun; the reader adds to them."""
        ...

    def take(self, exchange: Exchange, intent: Intent) -> None:
        """Begin a request that was read whole, with all its body, or let it wait behind those before it."""
        ...

    def advance(self) -> None:
        """Begin what was read, if it can be begun; called after all that has come at once was read."""
        ...

    def refuse(self, status: int, reason: str, head: bytes | bytearray = b"", fields: PeerFields = ()) -> None:
        """Stop reading, and refuse the request that is being read once those before it are answered.

        `head` has the fault in it, unless a body has. The answer has `fields` beside the usual ones.
        """
        ...

    def end_unwanted(self, exchange: Exchange) -> None:
        """End the connection, after the current response at the latest: too much comes of a body that nobody wants."""
        ...

    def move(self, hand_over: HandOver, held: bytes) -> bool:
        """Give the connection to another worker with the bytes `held`; see `TurnsHost.move`."""
        ...

    def rest(self) -> None:
        """Begin the time that the client has until its next request, if the connection is idle."""
        ...

    def set_deadline(self) -> None:
        """Find out anew when to look at the connection again: something is timed that was not before."""
        ...


class TurnsHost(Protocol):
    """The connection, as its turns see it."""

    @property
    def stage(self) -> ConnectionStage:
        """Whether requests are served on the connection."""
        ...

    @property
    def half_closed(self) -> Watch | None:
        """Watches the client, once it may have closed its side."""
        ...

    def pass_on(self, hand_over: HandOver) -> bool:
        """Give the connection to another worker if it is idle; returns whether another worker has it now."""
        ...

    def move(self, hand_over: HandOver, held: bytes) -> bool:
        """Give the connection to another worker with the bytes `held`, which were read of a request that is not begun.

        Answers whether another worker has it now. To be called while nothing is in flight, and all that was written is
        sent.
        """
        ...

    def end(self, *, linger: bool) -> None:
        """End the connection and send what is written; with `linger` read on for a while."""
        ...

    def switch(self) -> None:
        """Leave the transport to the protocol that the last request asks for, or refuse it."""
        ...
