"""Workers that talk to each other.

/publish/TEXT   publishes TEXT, and answers how many workers have taken it
/received       what each worker has received so far, by the numbers of the workers
/byes           the process ids of the workers that worker 1 has heard in the shutdown of their lifespan
/leader         the number of the worker whose leadership body runs, as the leader itself says
/who/TO         the number and the process id of the worker that replies to a request to TO
/thread/TEXT    publishes TEXT from a thread
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

from corehttp import bus, worker
from tests.kit.json_app import json_app

WORKERS = int(os.environ.get("MESSAGES_WORKERS", "2"))

received: list[str] = []
byes: list[int] = []
leading: list[int] = []  # the number of this worker, while its leadership body runs


async def receive_texts() -> None:
    async with bus.subscribe("text") as messages:
        async for message in messages:
            received.append(message.data.decode() + (f" after {message.lost} lost" if message.lost else ""))


async def receive_byes() -> None:
    async with bus.subscribe("bye") as messages:
        async for message in messages:
            byes.append(message.json())


async def reply_to_questions() -> None:
    async with bus.subscribe("who", "received", "leading", "byes") as messages:
        async for message in messages:
            answers = {"who": [worker.id, os.getpid()], "received": received, "leading": leading, "byes": byes}
            await message.reply_json(answers[message.topic])


async def lead() -> None:
    while True:
        async with worker.leadership():
            leading.append(worker.id)
            try:
                await asyncio.Event().wait()
            finally:
                leading.clear()


@contextlib.asynccontextmanager
async def talking() -> AsyncIterator[None]:
    tasks = [asyncio.create_task(work()) for work in (receive_texts, receive_byes, reply_to_questions, lead)]
    await asyncio.sleep(0)
    yield
    # A worker that leaves can ask and be asked until here.
    assert (await bus.request_json("who", None, to=worker.id, timeout=30))[0] == worker.id
    await bus.publish_json("bye", os.getpid())
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def answer(path: str) -> object:
    _, verb, *rest = path.split("/")
    text = rest[0] if rest else ""
    if verb == "publish":
        return await bus.publish("text", text.encode())
    if verb == "thread":
        return await asyncio.to_thread(bus.publish_from_thread, "text", text.encode())
    if verb == "received":
        return {
            number: await bus.request_json("received", None, to=number, timeout=30) for number in range(1, WORKERS + 1)
        }
    if verb == "byes":
        return await bus.request_json("byes", None, to=1, timeout=30)
    if verb == "leader":
        return await bus.request_json("leading", None, to="leader", timeout=30)
    to = int(text) if text.isdigit() else text
    return await bus.request_json("who", None, to=to, timeout=30)


app = json_app(talking, answer)
