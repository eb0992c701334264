"""A chat with python-socketio: what a client says reaches all clients of its room, whichever worker each has."""

import os

import socketio  # type: ignore[import-untyped]

from corehttp.contrib.socketio import BusManager

# A client that polls waits in the server for so many seconds at most: a worker that leaves answers it then.
PING_INTERVAL = float(os.environ.get("PING_INTERVAL", "25"))

sio = socketio.AsyncServer(async_mode="asgi", client_manager=BusManager(), ping_interval=PING_INTERVAL)
app = socketio.ASGIApp(sio)


@sio.event  # type: ignore[untyped-decorator]
async def join(sid: str, room: str) -> int:
    await sio.enter_room(sid, room)
    return os.getpid()


@sio.event  # type: ignore[untyped-decorator]
async def say(sid: str, room: str, what: object) -> None:
    await sio.emit("said", what, room=room)


@sio.event  # type: ignore[untyped-decorator]
async def ask(sid: str, other: str, question: str) -> object:
    """Ask a client of any worker, and return its answer."""
    return await sio.call("question", question, to=other, timeout=30)


@sio.event  # type: ignore[untyped-decorator]
async def put_out(sid: str, other: str) -> None:
    await sio.disconnect(other)
