"""Messages between the workers of a service: publish and subscribe, and requests with replies.

    from corehttp import bus

    await bus.publish("cache", b"user:1")
    async with bus.subscribe("cache") as messages:
        async for message in messages:
            ...

A message goes to every worker, this one included, at most once, and those of one sender come in the order in which they
were sent. It is at most 64 KiB of bytes, with a topic of 1 to 255 bytes in UTF-8. Without a supervisor, embedded and in
tests, there is one worker, and everything works alike. With `--bus` there are the workers of other machines, too.
docs/workers.md says what is promised and what is not.

All functions but `publish_from_thread` are called in the worker's event loop.
"""

import asyncio
import json
from typing import get_args

from corehttp.asgi import Unchecked
from corehttp.bus.hub import Scope
from corehttp.bus.hubs import hub, main_loop
from corehttp.bus.message import Gap, Message, encode_json
from corehttp.bus.subscription import QUEUE, Subscription
from corehttp.errors import BusDownError, MessageError, MessageTooLargeError, NoReplyError
from corehttp.ipc.bus_frames import checked_data, checked_topic

__all__ = [
    "BusDownError",
    "Gap",
    "Message",
    "MessageError",
    "MessageTooLargeError",
    "NoReplyError",
    "Scope",
    "Subscription",
    "publish",
    "publish_from_thread",
    "publish_json",
    "request",
    "request_json",
    "subscribe",
]

Data = bytes | bytearray | memoryview


async def publish(topic: str, data: Data, *, scope: Scope = "auto") -> int:
    """Send a message to all workers of the service; return how many of this machine, this one included, have taken it.

    A worker that reads too slowly is waited for, at most a second; then it does not get the message, and is not
    counted. With `--bus` the message goes to the workers of other machines too: if `scope` is "auto", as far as Redis
    is there; if it is "fleet", the call waits for Redis, and raises BusDownError if other machines may not get the
    message; the workers of this machine have it then. If it is "local", the message stays on this machine. Raises
    TypeError or ValueError for what cannot be sent, and MessageTooLargeError for more than 64 KiB.
    """
    name, content = checked_topic(topic), checked_data(data)
    if scope not in get_args(Scope):
        raise ValueError(f"scope must be 'auto', 'local' or 'fleet', not {scope!r}")
    return await hub().publish(topic, name, content, scope)


async def publish_json(topic: str, value: Unchecked, *, scope: Scope = "auto") -> int:
    """Send the JSON of a value, as `publish` does. Raises as `publish` and json.dumps do."""
    return await publish(topic, encode_json(value), scope=scope)


def publish_from_thread(topic: str, data: Data, *, scope: Scope = "auto") -> int:
    """Send a message as `publish` does, from a thread that is not the event loop's; it waits for the result.

    Raises as `publish` does, and RuntimeError in the thread of the event loop, and where no event loop has used this
    module yet.
    """
    loop = main_loop()
    return asyncio.run_coroutine_threadsafe(publish(topic, data, scope=scope), loop).result()


def subscribe(*topics: str, max_queue: int = QUEUE, gaps: bool = False) -> Subscription:
    """Return the messages of these topics as an asynchronous context manager; within it iterate over what it returns.

    The messages begin when the context is entered, and end with it. At most `max_queue` of them wait, and 8 MiB of
    data: beyond that the oldest are dropped, and `lost` of the next one says how many. With `gaps`, a `Gap` comes at
    once where messages of other machines may be missing (`--bus`); without, `lost` of the next message is 1 or more
    then. Raises TypeError or ValueError for no topic, and for one that cannot be.
    """
    for topic in topics:
        checked_topic(topic)
    if not topics or len(set(topics)) < len(topics):
        raise ValueError("subscribe() takes the topics, each once: subscribe('cache')")
    if type(max_queue) is not int or max_queue < 1:
        raise ValueError(f"max_queue must be a whole number, 1 or more, not {max_queue!r}")
    return Subscription(topics, max_queue, lambda begun: hub().subscribe(begun), gaps=gaps)


async def request(topic: str, data: Data, *, to: int | str = "any", timeout: float = 5.0) -> bytes:  # noqa: ASYNC109
    """Send a message to one worker, which replies with `message.reply`, and return its reply.

    `to` is "any" for a worker that subscribes to the topic, each in turn and this one last; "leader"; or the number of
    a worker. Raises TimeoutError if there is no reply after `timeout` seconds, and NoReplyError as soon as it is known
    that there will be none: since nobody subscribes there, or the worker that was asked has ended. Then the request may
    have been carried out all the same. Also raises as `publish` does.
    """
    name, content = checked_topic(topic), checked_data(data)
    if not (to in ("any", "leader") or (type(to) is int and to >= 1)):
        raise ValueError(f"to must be 'any', 'leader' or the number of a worker, not {to!r}")
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            return await hub().request(topic, name, content, to)
    except TimeoutError:
        if not limit.expired():
            raise
        raise TimeoutError(f"no reply to {topic!r} within {timeout:g} s") from None


async def request_json(
    topic: str,
    value: Unchecked,
    *,
    to: int | str = "any",
    timeout: float = 5.0,  # noqa: ASYNC109
) -> Unchecked:
    """Send the JSON of a value as `request` does, and return the value that the reply is the JSON of.

    Raises as `request`, json.dumps and json.loads do.
    """
    return json.loads(await request(topic, encode_json(value), to=to, timeout=timeout))
