"""Many WebSockets at once: a stop and a reload tell them all to come back, and slow ones harm nobody else."""

import asyncio
import contextlib
import functools
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect, unix_connect

from tests.e2e.conftest import Start
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import PATIENCE, ROOT, ServerProcess, until
from tests.kit.websocket_clients import HANDSHAKE, WELCOME

pytestmark = pytest.mark.e2e

APP = ("tests.e2e.websocket_application:app", "--app-dir", str(ROOT), "--port", "0", "--no-access-log")
COUNT = 200
GRACE = 4.0  # seconds over which they are closed: long beside what a busy machine holds up a process
RESTARTING = (1012, "the server is restarting")
CUT = "it does not take what is sent to it"


def address(server: ServerProcess, path: str) -> str:
    return server.url.replace("http", "ws") + path


@contextlib.asynccontextmanager
async def opened(url: str, count: int = COUNT) -> AsyncIterator[list[ClientConnection]]:
    """So many WebSockets that are open, not all at once."""
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(connect(url, compression=None, ping_interval=None)) for _ in range(count)
        ]


async def end_of(client: ClientConnection) -> tuple[int | None, str | None, float]:
    """Code, reason and time (seconds) of the end of a WebSocket."""
    await asyncio.wait_for(client.wait_closed(), PATIENCE)
    return client.close_code, client.close_reason, time.monotonic()


def are_spread(times: Sequence[float], began: float) -> bool:
    """Whether none of these ends comes before its share of the grace, since it `began`, has passed.

    So no more than half of them come in the first half. A busy machine makes an end come later, never earlier. Each
    worker spreads its own evenly, which makes a difference of one end for each.
    """
    return all(at - began >= GRACE * (number - 2) / len(times) for number, at in enumerate(sorted(times)))


@pytest.mark.feature
async def test_the_line_about_a_worker_that_is_killed_counts_those_it_had(start: Start) -> None:
    server = start(*APP)
    [pid] = server.worker_pids()
    async with opened(address(server, "/echo"), 3) as clients:
        os.kill(pid, signal.SIGKILL)
        await asyncio.gather(*map(end_of, clients))
    server.wait_for_log(r"worker 1 \(pid \d+\) was killed by SIGKILL, in flight: 3 WebSockets")


async def test_a_stop_closes_them_all_with_1012_and_one_after_another(start: Start, tmp_path: Path) -> None:
    server = start(*APP, "--workers", "2", "--shutdown-ws-grace", str(GRACE), "--timeout-graceful-shutdown", "10")
    async with opened(address(server, "/echo")) as clients:
        await clients[0].send("hi")
        assert await hear(clients[0], 1) == ["hi"]
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        ends = await asyncio.gather(*map(end_of, clients))
        assert {end[:2] for end in ends} == {RESTARTING}
        assert are_spread([end[2] for end in ends], began)
    assert await asyncio.to_thread(server.wait) == 0
    events = (tmp_path / "events").read_text()
    assert events.count("disconnect 1012 'the server is restarting'") == COUNT
    assert events.count("shutdown") == 2
    assert "Traceback" not in server.stderr


async def test_a_reload_closes_them_too_and_the_successor_takes_them_back(start: Start, tmp_path: Path) -> None:
    server = start(*APP, "--shutdown-ws-grace", str(GRACE), "--timeout-graceful-shutdown", "10")
    url = address(server, "/echo?who=")

    async def come_back(client: ClientConnection) -> tuple[int | None, str | None, float]:
        end = await end_of(client)
        async with connect(url, compression=None, ping_interval=None) as again:
            await again.send("I am back")
            [pid, back] = await hear(again, 2)
            assert int(pid) in set(server.worker_pids()) - {old}
            assert back == "I am back"
        return end

    [old] = server.worker_pids()
    async with opened(url) as clients:
        began = time.monotonic()
        server.signal(signal.SIGHUP)
        ends = await asyncio.gather(*map(come_back, clients))
        assert {end[:2] for end in ends} == {RESTARTING}
        assert are_spread([end[2] for end in ends], began)
    server.wait_for_log("reloaded in")
    events = until(lambda: told if "shutdown" in (told := (tmp_path / "events").read_text()) else "", "the old worker")
    assert events.count("disconnect 1012 'the server is restarting'") == COUNT
    assert server.stop() == 0
    assert "Traceback" not in server.stderr


@pytest.mark.feature
def test_a_client_that_does_not_answer_holds_up_no_stop(start: Start, tmp_path: Path) -> None:
    server = start(*APP, "--shutdown-ws-grace", "0", "--timeout-graceful-shutdown", "1")
    with RawConnection(server.port) as silent:
        silent.ask("/echo", *HANDSHAKE)
        silent.wait_for(WELCOME)
        assert server.stop() == 0, "nothing of the application was cut"
        assert silent.rest().partition(WELCOME)[2] == b"\x88\x1a\x03\xf4the server is restarting"
    events = (tmp_path / "events").read_text()
    assert "disconnect 1012" in events
    assert "shutdown" in events


def test_an_application_that_does_not_listen_is_cut_and_named(start: Start, tmp_path: Path) -> None:
    server = start(*APP, "--shutdown-ws-grace", "0", "--timeout-graceful-shutdown", "1")
    with RawConnection(server.port) as client:
        client.ask("/deaf", *HANDSHAKE)
        client.wait_for(WELCOME)
        assert server.stop() == 5
    assert "cut at the end of the graceful time: WS /deaf after" in server.stderr
    assert "shutdown" in (tmp_path / "events").read_text()


SLOW, MESSAGES, SIZE = 10, 16, 65536  # more bytes than the kernel keeps for a unix socket, which is less than for TCP


def never_read(stack: contextlib.ExitStack, path: str) -> None:
    """As many listeners as SLOW, none of which reads what it is sent."""
    for _ in range(SLOW):
        stuck = stack.enter_context(RawConnection(path))
        stuck.ask("/listen", *HANDSHAKE)
        stuck.wait_for(WELCOME)


async def broadcast(path: str, clients: Sequence[ClientConnection]) -> int:
    """Have all of the clients hear the messages, and answer to how many listeners they were sent."""
    async with unix_connect(path, f"ws://a/speak?count={MESSAGES}&size={SIZE}", compression=None) as speaker:
        for heard in await asyncio.gather(*(hear(client, MESSAGES) for client in clients)):
            assert heard == [f"{number:<{SIZE}}" for number in range(MESSAGES)]
        [listeners] = await hear(speaker, 1)
        return int(listeners)


async def test_in_a_broadcast_nobody_waits_for_those_who_never_read(start: Start, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    server = start(*APP[:3], "--uds", path, "--timeout-write-stall", "600")  # so that only reading makes room
    with contextlib.ExitStack() as stuck:
        never_read(stuck, path)
        async with contextlib.AsyncExitStack() as stack:
            listen = functools.partial(unix_connect, path, "ws://a/listen", compression=None)
            clients = [await stack.enter_async_context(listen()) for _ in range(COUNT - SLOW)]
            assert await broadcast(path, clients) == COUNT
    assert CUT not in server.stderr


async def test_those_who_never_read_a_broadcast_are_cut_and_others_hear_the_next(start: Start, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    server = start(*APP[:3], "--uds", path, "--timeout-write-stall", "1")
    with contextlib.ExitStack() as stuck:
        never_read(stuck, path)
        assert await broadcast(path, []) == SLOW
        await asyncio.to_thread(server.wait_for_log, CUT, SLOW)
        until(lambda: (tmp_path / "events").read_text().count("disconnect 1013") == SLOW, "all to be told")
    events = (tmp_path / "events").read_text()
    assert events.count("disconnect 1013 'the client is too slow'") == SLOW
    async with unix_connect(path, "ws://a/listen", compression=None) as client:
        assert await broadcast(path, [client]) == 1
    assert server.stop() == 0
    assert "Traceback" not in server.stderr


async def hear(client: ClientConnection, count: int) -> list[str | bytes]:
    return [await asyncio.wait_for(client.recv(), PATIENCE) for _ in range(count)]
