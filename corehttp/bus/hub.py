"""The messages of one worker: who subscribes here, and what is sent to whom."""

import asyncio
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

from corehttp.bus.calls import GONE, UNSENT, Calls, Outcome
from corehttp.bus.message import Answer, Message
from corehttp.bus.subscription import Subscription
from corehttp.bus.transport import MachineLink, OtherWorker, Sent, Transport, delivered
from corehttp.errors import BusDownError, NoReplyError
from corehttp.ipc.bus_frames import ANSWERED, DROPPED, NOBODY, NOT_LEADING
from corehttp.membership import Membership

AT_ONCE = 32  # how many messages are published before the event loop gets a turn
LOOK = 0.02  # seconds between two looks for a leader while there is none

# Why there is no reply.
_WHY = {
    NOBODY: "nobody subscribes to that topic",
    DROPPED: "its subscriber has too much to do, or has ended",
    GONE: "the worker that was asked has ended",
    UNSENT: "the worker that was asked does not take it",
    NOT_LEADING: "the worker that was asked does not lead",
}

Scope = Literal["auto", "local", "fleet"]  # how far a message goes; see `corehttp.bus.publish`


class Hub:
    """Takes messages to the subscribers of this worker, and to other workers.

    Those of this machine are reached over `transport`, those of others over `machines`; either may be None.
    """

    def __init__(self, membership: Membership) -> None:
        self.membership = membership
        self.process = os.getpid()
        self.calls = Calls()
        self.transport: Transport | None = None
        self.machines: MachineLink | None = None
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._published = 0

    def subscribe(self, subscription: Subscription) -> Callable[[], None]:
        """Let a subscription get messages from now on; return what ends that."""
        for topic in subscription.topics:
            self._subscriptions.setdefault(topic, []).append(subscription)
        return partial(self._unsubscribe, subscription)

    def _unsubscribe(self, subscription: Subscription) -> None:
        for topic in subscription.topics:
            subscribed = self._subscriptions[topic]
            subscribed.remove(subscription)
            if not subscribed:
                del self._subscriptions[topic]

    async def publish(self, topic: str, name: bytes, data: bytes, scope: Scope = "auto") -> int:
        """Send a message to all workers, this one included, and return how many of this machine have taken it.

        Raises BusDownError if `scope` is "fleet" and other machines do not get it.
        """
        self._published += 1
        if not self._published % AT_ONCE:
            await asyncio.sleep(0)  # a sender that never pauses must not keep the loop to itself
        own, taken = self.membership.worker, 1
        self.deliver(topic, data, own, 0)
        unknown: list[asyncio.Future[bool]] = []
        if self.transport is not None:
            others, unknown = self.transport.publish(topic, name, data, own)
            taken += others
        sent: Sent = scope != "fleet"
        if self.machines is not None and scope != "local":
            sent = self.machines.publish(topic, name, data, own, tell=scope == "fleet")
        for future in unknown:
            taken += await future
        if sent is not True and not await delivered(sent) and scope == "fleet":
            why = "the service has no --bus" if self.machines is None else self.machines.fault
            raise BusDownError(f"the message {topic!r} has reached this machine, and others may not get it: {why}")
        return taken

    def deliver(self, topic: str, data: bytes, sender: int, lost: int, node: str = "") -> None:
        """Give a message to all who subscribe to its topic in this worker; before it `lost` others were lost.

        `node` names the machine of the sender if that is another one.
        """
        for subscription in self._subscriptions.get(topic, ()):
            subscription.put(Message(topic, data, sender, lost, node=node))

    def miss(self) -> None:
        """Tell all subscribers of this worker that messages of other machines may be missing."""
        for subscription in {each for subscribed in self._subscriptions.values() for each in subscribed}:
            subscription.miss()

    def ask_here(self, topic: str, data: bytes, sender: int, answer: Answer) -> bool:
        """Give a request to one who subscribes to its topic in this worker, in turn; returns False if nobody does."""
        subscribed = self._subscriptions.get(topic)
        if not subscribed:
            return False
        chosen = subscribed.pop(0)
        subscribed.append(chosen)
        chosen.put(Message(topic, data, sender, 0, answer))
        return True

    async def request(self, topic: str, name: bytes, data: bytes, to: int | str) -> bytes:
        """Return the reply of a worker, however long it takes; `to` is "any", "leader" or the number of a worker.

        Raises NoReplyError if there will be none. While there is no leader, it waits for one.
        """
        if to == "leader":
            return await self._request_of_leader(topic, name, data)
        outcome = None
        for other in self._candidates(to):
            outcome, reply = await self._ask(other, topic, name, data)
            if outcome == ANSWERED:
                return reply
            if outcome == GONE:
                break  # it may have been carried out, so nobody else is asked
        raise NoReplyError(
            f"no reply to {topic!r}: " + (f"there is no worker {to}" if outcome is None else _WHY[outcome])
        )

    async def _request_of_leader(self, topic: str, name: bytes, data: bytes) -> bytes:
        """Return the reply of the leader. Raises NoReplyError."""
        while True:
            for other in self._leaders():
                outcome, reply = await self._ask(other, topic, name, data, for_leader=True)
                if outcome == ANSWERED:
                    return reply
                if outcome != NOT_LEADING:
                    raise NoReplyError(f"no reply to {topic!r}: {_WHY[outcome]}")
            await asyncio.sleep(LOOK)

    async def _ask(
        self, other: OtherWorker | None, topic: str, name: bytes, data: bytes, *, for_leader: bool = False
    ) -> Outcome:
        """Ask another worker, or this one (None), and return what becomes of the request."""
        if other is not None:
            return await self.calls.ask(other, name, data, for_leader=for_leader)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def answer(outcome: int, reply: bytes) -> bool:
            if not future.done():
                future.set_result((outcome, reply))
            return True

        return await future if self.ask_here(topic, data, self.membership.worker, answer) else (NOBODY, b"")

    def _candidates(self, to: int | str) -> Iterator[OtherWorker | None]:
        """Yield the workers that may answer, in the order in which they are to be asked; None is this one.

        Of several processes with the number `to`, while one replaces the other, it is the newest.
        """
        others = self._others()
        if to == "any":
            yield from others
            yield None
            return
        named = [other for other in others if other.worker == to]
        newest = max(named, key=lambda other: other.number, default=None)
        own = self.membership
        if newest is not None and not (own.worker == to and own.number > newest.number):
            yield newest
        elif own.worker == to:
            yield None

    def _leaders(self) -> Iterator[OtherWorker | None]:
        """Yield the workers that lead as far as is known, which are none or one; None is this one."""
        if self.membership.leads:
            yield None
        yield from (other for other in self._others() if other.leads)

    def _others(self) -> list[OtherWorker]:
        return [] if self.transport is None else list(self.transport.others())
