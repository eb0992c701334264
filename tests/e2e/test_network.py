"""A stop over a network on which everything takes its time, with exact accounts."""

import asyncio
import random
import signal

import pytest

from tests.e2e.conftest import Start
from tests.kit.relay import Relay
from tests.kit.server_process import APP, PATIENCE, ServerProcess

pytestmark = pytest.mark.e2e

CLIENTS = 100
WAY = 0.025  # seconds, each way
THOUGHT = 0.5  # seconds, at most, between two requests of a client
GRACE = 5.0  # seconds: a client is idle for much less, also on a machine that is busy with something else
STOPS = 3

QUESTION = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Crowd:
    """Clients that keep their connections, and what became of their requests."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._chance = random.Random(relay.port)
        self.begun = asyncio.Event()  # each has had some answers
        self.answered = 0
        self.told = 0  # answers that announced the end of their connection
        self.lost: list[str] = []

    async def one(self) -> None:
        """Ask until the server refuses connections."""
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._relay.port)
            port = writer.get_extra_info("sockname")[1]
            try:
                while not reader.at_eof() and await self._ask(reader, writer):
                    await asyncio.sleep(self._chance.uniform(0, THOUGHT))
            except (OSError, EOFError) as error:
                if port in self._relay.refused:
                    return
                self.lost.append(repr(error))
            finally:
                writer.transport.abort()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers whether the connection goes on."""
        writer.write(QUESTION)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        self.answered += 1
        if self.answered >= 3 * CLIENTS:
            self.begun.set()
        if b"\r\nconnection: close" in head:
            self.told += 1
            return False
        return True


async def stop_under_load(server: ServerProcess) -> Crowd:
    async with Relay(server.port, WAY) as relay, asyncio.timeout(4 * PATIENCE):
        crowd = Crowd(relay)
        clients = [asyncio.ensure_future(crowd.one()) for _ in range(CLIENTS)]
        await crowd.begun.wait()
        server.signal(signal.SIGTERM)
        await asyncio.gather(*clients)
        return crowd


def test_no_request_crosses_the_end_of_its_connection(start: Start) -> None:
    for _ in range(STOPS):
        server = start(*APP, "--workers", "2", "--shutdown-idle-grace", str(GRACE), "--no-access-log")
        crowd = asyncio.run(stop_under_load(server))
        assert server.wait() == 0
        assert crowd.lost == []
        assert crowd.told >= CLIENTS, "each client's last answer says so"
