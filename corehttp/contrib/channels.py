"""A channel layer for Django Channels: workers of one service share groups, without Redis.

In the settings of Django:

    CHANNEL_LAYERS = {"default": {"BACKEND": "corehttp.contrib.channels.BusChannelLayer"}}

Groups, and channels of consumers (with a "!" in their names), are those of all workers, with `--bus` of all machines.
A channel without a "!" is heard in the process alone that sends to it. Delivery is that of `corehttp.bus`: at most
once. Needs channels 4 or later.
"""

import asyncio
import logging
import secrets
import string
from itertools import count

from corehttp import bus, membership
from corehttp.asgi import Unchecked
from corehttp.bus import Subscription
from corehttp.contrib.pieces import Assembly, cut
from corehttp.ipc.codec import dump, load

try:
    from channels.exceptions import ChannelFull
    from channels.layers import InMemoryChannelLayer
except ImportError as error:
    raise ImportError("corehttp.contrib.channels needs the package channels") from error

logger = logging.getLogger("corehttp.error")

QUEUE = 16_384  # the most pieces of messages that wait for this worker


class BusChannelLayer(InMemoryChannelLayer):  # type: ignore[misc]
    """A channel layer that uses `corehttp.bus`, with the options of InMemoryChannelLayer.

    Layers share their groups if they have the same `topic`. A message is a dict with texts as keys, of None, bool, int
    of 64 bits, float, str, bytes, list, tuple and dict, and at most 16 MiB; anything else is a ValueError of the
    sender.
    """

    def __init__(self, topic: str = "channels", **options: Unchecked) -> None:
        super().__init__(**options)
        self.channel_capacity = self.compile_capacities(options.get("channel_capacity") or {})
        self._topic = topic
        self._sender = b""  # made in the process that uses it, since a process may be forked after this object is made
        self._numbers = count()
        self._listening: asyncio.Task[None] | None = None

    @property
    def _node(self) -> str:
        """What the names of this process's own channels have before the "!"."""
        return self._sender.hex()[:16]

    async def new_channel(self, prefix: str = "specific") -> str:
        """Return the name of a new channel that is heard in this process."""
        await self._begin()
        name = "".join(secrets.choice(string.ascii_letters) for _ in range(12))
        return f"{prefix.rstrip('.')}.{self._node}!{name}"

    async def send(self, channel: str, message: dict[str, object]) -> None:
        """Send a message to a channel of any worker. Raises ChannelFull if it is one of this process that is full."""
        self.require_valid_channel_name(channel)
        if self._is_elsewhere(channel):
            await self._tell("send", channel, message)
        else:
            await super().send(channel, message)

    async def receive(self, channel: str) -> dict[str, object]:
        """Wait for the next message of a channel of this process, and return it."""
        await self._begin()
        message: dict[str, object] = await super().receive(channel)
        return message

    async def group_add(self, group: str, channel: str) -> None:
        """Add a channel of any worker to a group."""
        await self._begin()
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        if self._is_elsewhere(channel):
            await self._tell("group_add", group, channel)
        else:
            await super().group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        """Remove a channel of any worker from a group."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        if self._is_elsewhere(channel):
            await self._tell("group_discard", group, channel)
        else:
            await super().group_discard(group, channel)

    async def group_send(self, group: str, message: dict[str, object]) -> None:
        """Send a message to all channels of a group, in all workers. A channel that is full does not get it."""
        assert isinstance(message, dict), "Message is not a dict"
        self.require_valid_group_name(group)
        await self._tell("group_send", group, message)

    async def flush(self) -> None:
        """Forget all messages and groups, in all workers."""
        await super().flush()
        await self._tell("flush")

    async def close(self) -> None:
        """Stop to listen to other workers."""
        listening, self._listening = self._listening, None
        if listening is not None and listening.get_loop() is asyncio.get_running_loop():
            listening.cancel()
            await asyncio.wait([listening])

    def _is_elsewhere(self, channel: str) -> bool:
        """Whether a channel belongs to another process."""
        name, mark, _ = channel.partition("!")
        return bool(mark) and name.rpartition(".")[2] != self._node

    async def _begin(self) -> None:
        """Listen to other workers in the running loop from now on, if this process does not yet."""
        loop, listening = asyncio.get_running_loop(), self._listening
        if listening is not None and listening.get_loop() is loop and not listening.done():
            return
        self._sender = self._sender or secrets.token_bytes(16)
        subscription = bus.subscribe(self._topic, max_queue=QUEUE)
        await subscription.__aenter__()
        self._listening = loop.create_task(self._listen(subscription), name="the channel layer of corehttp")

    async def _listen(self, subscription: Subscription) -> None:
        """Act on what all workers tell, this one included."""
        assembly = Assembly()
        try:
            async for piece in subscription:
                if piece.lost:
                    logger.warning("channels: %d messages of other workers, or more, are lost", piece.lost)
                whole = assembly.add(piece.data)
                if whole is not None:
                    await self._obey(whole)
        finally:
            await subscription.__aexit__()

    async def _obey(self, told: bytes) -> None:
        """Do here what a worker has told all. A failure is logged; nothing is raised."""
        try:
            match load(told):
                case ("group_send", str(group), dict(message)):
                    await super().group_send(group, message)
                case ("send", str(channel), dict(message)) if not self._is_elsewhere(channel):
                    await super().send(channel, message)
                case ("group_add", str(group), str(channel)) if not self._is_elsewhere(channel):
                    await super().group_add(group, channel)
                case ("group_discard", str(group), str(channel)) if not self._is_elsewhere(channel):
                    await super().group_discard(group, channel)
                case ("flush",):
                    await super().flush()
                case _:
                    pass  # for another worker, or none of ours
        except ChannelFull:
            logger.debug("channels: a channel is full: what another worker has sent to it is dropped")
        except Exception as error:
            logger.warning("channels: a message of another worker is dropped: %s", ascii(error))

    async def _tell(self, *words: object) -> None:
        """Tell all workers something, this one included. Raises ValueError for what cannot be sent."""
        self._sender = self._sender or secrets.token_bytes(16)
        content = dump(words)
        load(content)  # raises ValueError for keys that are no text
        for piece in cut(self._sender, next(self._numbers), content):
            if membership.current.loop in (None, asyncio.get_running_loop()):
                await bus.publish(self._topic, piece)
            else:  # a loop that `async_to_sync` has made in a thread
                await asyncio.to_thread(bus.publish_from_thread, self._topic, piece)
