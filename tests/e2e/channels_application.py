"""Workers that share groups through the channel layer.

/wait        joins the group, and answers with the first message that comes
/tell/TEXT   sends TEXT to the group, in a thread with an event loop of its own, as a view that is no coroutine may
/waiting     how many requests wait in all workers
"""

import asyncio
import json

from corehttp import bus, worker
from corehttp.asgi import Receive, Scope, Send
from corehttp.contrib.channels import BusChannelLayer

layer = BusChannelLayer()


async def wait() -> object:
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    message = await layer.receive(channel)
    await layer.group_discard("room", channel)
    return [worker.id, message["text"]]


async def count() -> None:
    async with bus.subscribe("waiting") as questions:
        async for question in questions:
            await question.reply_json(len(layer.groups.get("room", {})))


async def answer(path: str) -> object:
    if path == "/wait":
        return await wait()
    if path == "/waiting":
        return [await bus.request_json("waiting", None, to=number, timeout=30) for number in (1, 2)]
    text = path.rpartition("/")[2]
    await asyncio.to_thread(lambda: asyncio.run(layer.group_send("room", {"type": "told", "text": text})))
    return None


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        counting = asyncio.create_task(count())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        counting.cancel()
        await layer.close()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = json.dumps(await answer(scope["path"])).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
