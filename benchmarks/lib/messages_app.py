"""An application of two workers that measure what messages between them take.

/rate      one worker publishes without a pause: how many messages a second the other one gets, and how many it lost
/latency   one worker publishes every 2 ms: how long each message takes to the other one
/journal   worker 2 publishes numbers all the time, and its successors do: what worker 1 has got of each process
"""

import asyncio
import contextlib
import os
import time

from corehttp import bus, worker
from tests.kit.json_app import json_app

FLOOD = 200_000  # messages of 100 bytes
PINGS = 2500  # messages, one every 2 ms

flood = {"count": 0, "last": 0.0}  # how many messages have come, and when the last one did
pings: list[float] = []  # seconds that each message has taken
# Of each process how many numbers have come, the first of them, and the last that it has sent; 0: it has not ended.
journal: dict[str, list[int]] = {}


async def receive() -> None:
    async with bus.subscribe("flood", "ping", "journal", max_queue=20_000) as messages:
        async for message in messages:
            if message.topic == "flood":
                flood["count"] += 1
                flood["last"] = time.monotonic()
            elif message.topic == "ping":
                pings.append(time.monotonic() - float(message.data))
            else:
                pid, number, end = message.data.split()
                entry = journal.setdefault(pid.decode(), [0, int(number), 0])
                entry[0] += end == b"-"
                entry[2] = int(number) if end == b"end" else 0


async def tell() -> None:
    async with bus.subscribe("flood?", "pings?", "journal?", "clear") as questions:
        async for question in questions:
            if question.topic == "clear":
                flood.update(count=0, last=0.0)
                pings.clear()
            figures = {"flood?": flood, "pings?": pings, "journal?": journal, "clear": None}[question.topic]
            await question.reply_json(figures)


async def write_journal(numbers: list[int]) -> None:
    while worker.id == 2:
        await bus.publish("journal", b"%d %d -" % (os.getpid(), numbers[0] + 1))
        numbers[0] += 1
        await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def talking():  # type: ignore[no-untyped-def]
    numbers = [0]
    tasks = [asyncio.create_task(work) for work in (receive(), tell(), write_journal(numbers))]
    yield
    tasks[2].cancel()
    await asyncio.wait(tasks[2:])
    if worker.id == 2:
        await bus.publish("journal", b"%d %d end" % (os.getpid(), numbers[0]))
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def rate() -> dict[str, float]:
    other = 3 - worker.id
    await bus.request("clear", b"", to=other)
    data, began = b"x" * 100, time.monotonic()
    for _ in range(FLOOD):
        await bus.publish("flood", data)
    published = time.monotonic()
    figures, seen = {"count": 0, "last": 0.0}, -1.0
    while figures["count"] > seen:  # until no more come for a second
        seen = figures["count"]
        await asyncio.sleep(1)
        figures = await bus.request_json("flood?", None, to=other, timeout=60)
    return {
        "published a second": FLOOD / (published - began),
        "received a second": figures["count"] / (figures["last"] - began),
        "lost": FLOOD - figures["count"],
    }


async def latency() -> dict[str, float]:
    other = 3 - worker.id
    await bus.request("clear", b"", to=other)
    for _ in range(PINGS):
        await bus.publish("ping", b"%f" % time.monotonic())
        await asyncio.sleep(0.002)
    await asyncio.sleep(0.2)
    found = sorted(await bus.request_json("pings?", None, to=other))
    figures = {f"p{share:g}_ms": found[int(len(found) * share / 100)] * 1000 for share in (50, 90, 99, 99.9)}
    return {**figures, "lost": PINGS - len(found)}


async def answer(path: str) -> object:
    if path == "/rate":
        return await rate()
    if path == "/latency":
        return await latency()
    return await bus.request("journal?", b"", to=1) if path == "/journal" else b"hello"


app = json_app(talking, answer)
