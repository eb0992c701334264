"""Sticky clients as they are: python-socketio with long polling, and proxies that mix clients on pooled connections."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import httpx
import pytest
import socketio  # type: ignore[import-untyped]

from tests.e2e.conftest import Start
from tests.kit.proxies import Proxies, haproxy_config, nginx_config
from tests.kit.server_process import HERE, PATIENCE, ServerProcess

pytestmark = pytest.mark.e2e

# On a busy machine a worker may seem blocked: here it is waited for, and keeps its clients.
FOUR = ("--app-dir", str(HERE), "--port", "0", "--no-access-log", "--workers", "4", "--rescue-after", "60")
# Both keep a few connections to the server, and send the requests of all clients over any of them.
NGINX = """
    map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
    upstream app {{ server 127.0.0.1:{app}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
"""
HAPROXY = """
frontend public
    bind 127.0.0.1:{port}
    option forwardfor
    default_backend app
backend app
    http-reuse always
    server one 127.0.0.1:{app}
"""

Front = Callable[[ServerProcess], int]


@pytest.fixture(params=["nginx", "haproxy", "nothing"])
def front(request: pytest.FixtureRequest, proxies: Proxies) -> Front:
    """Puts nothing or a proxy in front of a server, and returns the port where clients connect."""

    def front(server: ServerProcess) -> int:
        def nginx(port: int, directory: Path) -> str:
            return nginx_config(NGINX.format(port=port, app=server.port))

        def haproxy(port: int, directory: Path) -> str:
            return haproxy_config(HAPROXY.format(port=port, app=server.port))

        if request.param == "nothing":
            return server.port
        return (proxies.nginx(nginx) if request.param == "nginx" else proxies.haproxy(haproxy)).port

    return front


@pytest.mark.parametrize(
    ("front", "rule"),
    [
        pytest.param("nginx", "cookie", marks=pytest.mark.feature),
        *(("nginx", "query:key"), ("haproxy", "cookie"), ("haproxy", "query:key")),
        *(("nothing", "cookie"), ("nothing", "query:key")),
    ],
    indirect=["front"],
)
def test_each_client_has_one_worker_whatever_connections_its_requests_come_over(
    start: Start, front: Front, rule: str
) -> None:
    server = start("sticky_application:app", *FOUR, "--sticky", rule)
    port = front(server)

    def visit(number: int) -> set[str]:
        """Ask many times as one client; return the workers that have answered."""
        found = set()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False) as client:
            for turn in range(20):
                body = b"x" * (turn % 3 * 1000)
                answer = client.post(f"/{number}", params={"key": str(number)}, content=body)
                worker, _, path, size = answer.text.split()
                assert (path, size) == (f"/{number}", str(len(body)))
                found.add(worker)
        return found

    with ThreadPoolExecutor(12) as pool:
        workers = list(pool.map(visit, range(24)))
    assert {len(found) for found in workers} == {1}
    assert len(set.union(*workers)) > 1
    assert server.stop() == 0
    assert " ERROR " not in server.stderr


class Member:
    """A client of the chat in socketio_application, with what it has heard."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.client = socketio.AsyncClient(http_session=session, reconnection_delay=0.1, reconnection_delay_max=1)
        self.heard: asyncio.Queue[object] = asyncio.Queue()
        self.worker = 0  # the process id of its worker
        self.joined = asyncio.Event()
        self.client.on("said", self.heard.put)
        self.client.on("connect", self._join)

    async def _join(self) -> None:
        self.worker = await self.client.call("join", "room", timeout=PATIENCE)
        self.joined.set()


@contextlib.asynccontextmanager
async def members(port: int) -> AsyncIterator[list[Member]]:
    """Clients in one room, half of which only poll; the others begin with that, and then use a WebSocket."""
    joined: list[Member] = []
    async with contextlib.AsyncExitStack() as stack:
        for number in range(12):
            # Cookies of hosts without a name are kept, too.
            session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
            await stack.enter_async_context(session)
            member = Member(session)
            # Without waiting for the long poll to end, as `disconnect` of python-socketio would until a ping is due.
            stack.push_async_callback(member.client.eio.disconnect, abort=True)
            ways = ["polling"] if number % 2 else ["polling", "websocket"]
            await member.client.connect(f"http://127.0.0.1:{port}", transports=ways, wait_timeout=PATIENCE)
            joined.append(member)
        for member in joined:
            await member.joined.wait()
        yield joined


async def test_socketio_polls_and_upgrades_over_four_workers_and_comes_back_after_a_reload(
    start: Start, front: Front
) -> None:
    server = start("socketio_application:app", *FOUR, "--sticky", "cookie", env={"PING_INTERVAL": "2"})
    async with asyncio.timeout(2 * PATIENCE), members(front(server)) as room:
        assert len({member.worker for member in room}) > 1
        assert {member.client.transport() for member in room} == {"polling", "websocket"}
        for number in range(10):
            await room[number].client.emit("say", ("room", number))
        for member in room:
            assert {await member.heard.get() for _ in range(10)} == set(range(10))
        before = {member.worker for member in room}
        for member in room:
            member.joined.clear()
        server.signal(signal.SIGHUP)
        await asyncio.to_thread(server.wait_for_log, "reloaded in ")
        for member in room:
            await member.joined.wait()
        assert not before & {member.worker for member in room}
        await room[0].client.emit("say", ("room", "again"))
        for member in room:
            while await member.heard.get() != "again":
                pass
    assert server.stop() == 0
