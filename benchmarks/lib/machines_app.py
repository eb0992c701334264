"""An application that measures what messages to another machine take, which serves the same with the same `--bus`.

/rate      publishes without a pause: how many messages a second the other machine gets, and how many it loses
/latency   publishes every 2 ms: how long each message takes to the other machine and back, halved
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from corehttp import bus
from tests.kit.json_app import json_app

FLOOD = 50_000  # messages of 100 bytes
PINGS = 1500  # messages, one every 2 ms

counted: asyncio.Queue[dict[str, float]] = asyncio.Queue()  # what the other machine says of a flood
returned: asyncio.Queue[bytes] = asyncio.Queue()  # the messages that have come back


async def count_flood() -> None:
    """Tell the sender what has come of each flood that another machine sends."""
    count = 0
    async with bus.subscribe("flood", max_queue=2 * FLOOD) as messages:
        async for message in messages:
            if not message.node:
                continue
            count += 1
            if message.data == b"end":
                await bus.publish_json("counted", {"count": count})
                count = 0


async def send_back() -> None:
    """Send back what another machine sends, and note what comes back here."""
    async with bus.subscribe("there", "back", "counted") as messages:
        async for message in messages:
            if message.node and message.topic == "there":
                await bus.publish("back", message.data)
            elif message.node and message.topic == "back":
                returned.put_nowait(message.data)
            elif message.node:
                counted.put_nowait(message.json())


@contextlib.asynccontextmanager
async def talking() -> AsyncIterator[None]:
    tasks = [asyncio.create_task(work()) for work in (count_flood, send_back)]
    await asyncio.sleep(0)
    yield
    for task in tasks:
        task.cancel()


async def measure_rate() -> dict[str, float]:
    data, began = b"x" * 100, time.monotonic()
    for _ in range(FLOOD - 1):
        await bus.publish("flood", data)
    await bus.publish("flood", b"end", scope="fleet")  # fails without Redis, and there would be no answer
    count = (await counted.get())["count"]
    return {"messages a second": count / (time.monotonic() - began), "lost": FLOOD - count}


async def measure_latency() -> dict[str, float]:
    took = []
    for number in range(PINGS):
        began = time.monotonic()
        await bus.publish("there", b"%d" % number)
        await returned.get()
        took.append((time.monotonic() - began) / 2 * 1000)
        await asyncio.sleep(0.002)
    took.sort()
    return {"ms in the median": took[PINGS // 2], "ms p99": took[PINGS * 99 // 100], "ms at most": took[-1]}


async def answer(path: str) -> object:
    if path in ("/rate", "/latency"):
        return await (measure_rate if path == "/rate" else measure_latency)()
    return b"hello"


app = json_app(talking, answer)
