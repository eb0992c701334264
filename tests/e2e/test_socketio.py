"""python-socketio over several workers, without Redis."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import socketio  # type: ignore[import-untyped]

from tests.e2e.conftest import Start
from tests.kit.redis_server import RedisServer
from tests.kit.server_process import HERE, PATIENCE

pytestmark = pytest.mark.e2e

CHAT = ("socketio_application:app", "--app-dir", str(HERE), "--port", "0", "--workers", "3")
MANY = 9  # clients: with three workers some have different ones


class Member:
    """A client in a room, with what it has heard."""

    def __init__(self) -> None:
        self.client = socketio.AsyncClient(reconnection=False)
        self.heard: asyncio.Queue[object] = asyncio.Queue()
        self.worker = 0  # the process id of its worker
        self.gone = asyncio.Event()
        self.client.on("said", self.heard.put)
        self.client.on("question", self._answer)
        self.client.on("disconnect", self._disconnected)

    async def join(self, url: str, room: str) -> None:
        await self.client.connect(url, transports=["websocket"], wait_timeout=PATIENCE)
        self.worker = await self.client.call("join", room, timeout=PATIENCE)

    async def _answer(self, question: str) -> str:
        return f"{question} {self.client.sid}"

    async def _disconnected(self, *reason: object) -> None:
        self.gone.set()


@contextlib.asynccontextmanager
async def members(url: str, count: int = MANY) -> AsyncIterator[list[Member]]:
    """Clients of at least two workers, in one room."""
    joined: list[Member] = []
    try:
        while len(joined) < count or len({member.worker for member in joined}) < 2:
            joined.append(Member())
            await joined[-1].join(url, "room")
        yield joined
    finally:
        for member in joined:
            await member.client.disconnect()


@pytest.mark.feature
async def test_what_is_said_reaches_the_clients_of_all_workers(start: Start) -> None:
    server = start(*CHAT)
    async with asyncio.timeout(PATIENCE), members(server.url) as room:
        for what in ("hello", {"n": 1}, b"\0bytes", "x" * 300_000):
            await room[0].client.emit("say", ("room", what))
            assert [await member.heard.get() for member in room] == [what] * len(room)


async def test_with_a_bus_the_clients_of_other_machines_are_in_the_room_too(start: Start, redis: RedisServer) -> None:
    one, two = (start(*CHAT, env={"COREHTTP_BUS": redis.url}) for _ in range(2))
    async with asyncio.timeout(PATIENCE), members(one.url) as here, members(two.url) as there:
        for what in ("hello", b"x" * 900_000):
            await here[0].client.emit("say", ("room", what))
            assert [await member.heard.get() for member in here + there] == [what] * len(here + there)
        sid = there[0].client.get_sid()
        assert await here[0].client.call("ask", (sid, "who?"), timeout=PATIENCE) == f"who? {there[0].client.sid}"
        assert all(member.heard.empty() for member in here + there), "nobody hears anything twice"


async def test_a_client_of_another_worker_is_asked_and_put_out(start: Start) -> None:
    server = start(*CHAT)
    async with asyncio.timeout(PATIENCE), members(server.url) as room:
        one = room[0]
        other = next(member for member in room if member.worker != one.worker)
        sid = other.client.get_sid()
        assert await one.client.call("ask", (sid, "who?"), timeout=PATIENCE) == f"who? {other.client.sid}"
        await one.client.emit("put_out", sid)
        await other.gone.wait()
