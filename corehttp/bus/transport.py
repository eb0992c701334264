"""The contracts of what takes messages to other workers: a `Mesh` on this machine, a `Fleet` to all others."""

import asyncio
from collections.abc import Iterator
from typing import Protocol

# Whether a peer has taken a frame; a future where that is not known yet, which is done within a second.
Sent = bool | asyncio.Future[bool]


class OtherWorker(Protocol):
    """Another worker that messages can be sent to."""

    @property
    def worker(self) -> int:
        """The number of the worker, from 1, which its successor inherits."""

    @property
    def number(self) -> int:
        """The number of the process, which no other one of the service ever gets: a successor has a higher one."""

    @property
    def leads(self) -> bool:
        """Whether the worker leads, as far as is known."""

    def request(self, number: int, name: bytes, data: bytes, *, for_leader: bool) -> Sent:
        """Send a request; `name` are the bytes of its topic. What becomes of it comes with the same number."""


class Transport(Protocol):
    """The way to all other workers. No call waits."""

    def publish(self, topic: str, name: bytes, data: bytes, sender: int) -> tuple[int, list[asyncio.Future[bool]]]:
        """Send a message to all other workers; `name` are the bytes of its topic.

        Returns how many have taken it, and for each of which that is not known yet a future.
        """

    def others(self) -> Iterator[OtherWorker]:
        """Return the other workers that can be asked, each once, beginning with another one at each call."""

    def read_mailbox(self) -> bool:
        """Act on what senders have left for this worker that it does not know yet.

        Returns False if nothing can come any more.
        """

    def descriptors(self) -> list[int]:
        """Return the descriptors of all channels."""

    def close(self) -> None:
        """End all channels. A second call does nothing."""


class MachineLink(Protocol):
    """The way to the workers of all other machines. No call waits."""

    @property
    def fault(self) -> str:
        """Why a message that was to go out may not have done so."""

    def publish(self, topic: str, name: bytes, data: bytes, sender: int, *, tell: bool) -> Sent:
        """Send a message to all other machines; `name` are the bytes of its topic.

        Returns whether it goes out, as far as is known: with `tell` a future where that is not certain yet. Without,
        there is a future only where too much waits already, so that the sender does.
        """


NO_ANSWER = "no answer"  # the text of a WireError for what took too long


class WireError(Exception):
    """What machines are connected by has failed; the text says how."""


class Wire(Protocol):
    """One connection to what takes each message to all machines. Every method but two raises WireError."""

    async def open(self) -> None:
        """Connect, and begin to receive; to be called first, once. It takes a bounded time."""

    async def publish(self, envelopes: list[bytes]) -> None:
        """Send these to all machines, in their order; they are taken when it returns. It takes a bounded time."""

    async def receive(self) -> bytes:
        """Wait for what comes in next, and return it: of this machine, too."""

    async def ping(self) -> None:
        """Ask whether the other end is still there, and wait for its answer, for a bounded time."""

    def descriptors(self) -> list[int]:
        """Return the descriptors of the connection. Raises nothing."""

    async def close(self) -> None:
        """End the connection at once. Raises nothing; a second call does nothing."""


async def delivered(sent: Sent) -> bool:
    """Wait until it is known whether a peer has taken a frame, and return it."""
    return sent if isinstance(sent, bool) else await sent
