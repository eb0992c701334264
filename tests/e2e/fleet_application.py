"""Workers that talk to those of other machines.

/publish/TEXT        publishes TEXT, and answers how many workers of this machine have taken it
/publish/TEXT/SCOPE  the same with a scope; answers the text of BusDownError if that is raised
/received            what each worker of this machine has received so far, by the numbers of the workers: the text,
                     with "@" if it came from another machine, or "gap"
/chatter             has this worker publish numbers from now on, 200 a second or so
/faults              what this worker has heard of numbers: how many, how many gaps, and what was wrong about them
/fork                forks a process that ends with this one, and answers its id
/flood/COUNT         publishes so many numbers with scope "fleet", and answers how many failed
"""

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import AsyncIterator
from typing import NoReturn

from corehttp import bus
from tests.kit.json_app import json_app

WORKERS = int(os.environ.get("FLEET_WORKERS", "2"))

received: list[str] = []
chattering: list[asyncio.Task[None]] = []


class Heard:
    """The numbers that processes publish in a row: none comes twice, and none is missing unless there was a gap."""

    def __init__(self) -> None:
        self.count = self.gaps = 0
        self.faults: list[str] = []
        self._last: dict[int, int] = {}  # for each process, its last number
        self._forgiven: set[int] = set()  # of which processes numbers may be missing

    def take(self, message: bus.Message) -> None:
        if isinstance(message, bus.Gap) or message.lost:
            self.gaps += 1
            self._forgiven = set(self._last)
        if isinstance(message, bus.Gap):
            return
        self.count += 1
        pid, number = message.json()
        last = self._last.get(pid, number - 1)
        if number <= last or (number > last + 1 and pid not in self._forgiven):
            self.faults.append(f"{number} of {pid} after {last}")
        self._last[pid] = number
        self._forgiven.discard(pid)


heard = Heard()


async def hear_numbers() -> None:
    async with bus.subscribe("number", gaps=True) as messages:
        async for message in messages:
            heard.take(message)


async def chatter() -> None:
    for number in itertools.count():
        await bus.publish_json("number", [os.getpid(), number])
        await asyncio.sleep(0.005)


async def receive_texts() -> None:
    async with bus.subscribe("text", gaps=True) as messages:
        async for message in messages:
            if isinstance(message, bus.Gap):
                received.append("gap")
            else:
                lost = f" after {message.lost} lost" if message.lost else ""
                received.append(message.data.decode() + ("@" if message.node else "") + lost)


async def tell_what_was_received() -> None:
    async with bus.subscribe("received") as messages:
        async for message in messages:
            await message.reply_json(received)


def outlive(parent: int) -> NoReturn:
    """End this process, which was forked, when its parent has ended."""
    while os.getppid() == parent:
        time.sleep(0.05)
    os._exit(0)


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[None]:
    tasks = [asyncio.create_task(work()) for work in (receive_texts, hear_numbers, tell_what_was_received)]
    await asyncio.sleep(0)
    yield
    await bus.publish("text", b"bye")
    for task in tasks + chattering:
        task.cancel()
    await asyncio.wait(tasks)


async def answer(path: str) -> object:
    match path.split("/")[1:]:
        case ["publish", text]:
            return await bus.publish("text", text.encode())
        case ["publish", text, ("auto" | "local" | "fleet") as scope]:
            try:
                return await bus.publish("text", text.encode(), scope=scope)
            except bus.BusDownError as error:
                return str(error)
        case ["chatter"]:
            chattering.append(asyncio.create_task(chatter()))
            return None
        case ["faults"]:
            return [heard.count, heard.gaps, heard.faults]
        case ["fork"]:
            return os.fork() or outlive(os.getppid())
        case ["flood", count]:
            sent = [bus.publish("text", b"%d" % number, scope="fleet") for number in range(int(count))]
            outcomes = await asyncio.gather(*sent, return_exceptions=True)
            return sum(isinstance(outcome, bus.BusDownError) for outcome in outcomes)
        case _:
            return {
                number: await bus.request_json("received", None, to=number, timeout=30)
                for number in range(1, WORKERS + 1)
            }


app = json_app(listening, answer)
