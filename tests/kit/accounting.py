"""Load with exact accounts: each request that was sent is answered whole and with 200, or counted as lost."""

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.kit.server_process import PATIENCE

PACE = 0.03  # seconds between two requests of a client, about


@dataclass
class Account:
    """What became of everything that the clients did."""

    answered: int = 0
    lost: int = 0  # sent, and not answered whole, or with another status than 200
    refused: int = 0  # connections
    closed: int = 0  # connections that the server closed while no request was on them
    longest: float = 0.0  # seconds that a quick request took
    faults: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Assert that no request was lost, and that every connection was ended by its client."""
        assert (self.lost, self.refused, self.closed) == (0, 0, 0), self


class Load:
    """Clients in a thread of their own: kept connections, short ones, slow requests, and some that POST to /echo."""

    def __init__(
        self, port: int, *, keepers: int, strangers: int, slow: int, posters: int = 0, seconds: float = 0.8
    ) -> None:
        self._port = port
        self._keepers = keepers
        self._posters = posters
        self._strangers = strangers
        self._slow = slow
        self._seconds = seconds  # that a slow request takes
        self._chance = random.Random(port)
        self._stop = threading.Event()
        self._busy = threading.Event()  # every kept connection has had an answer
        self.account = Account()

    async def _run(self) -> None:
        clients = [self._keep("/", PACE) for _ in range(self._keepers)]
        clients += [self._keep("/echo", PACE) for _ in range(self._posters)]
        clients += [self._keep(f"/slow?seconds={self._seconds}", 0.0) for _ in range(self._slow)]
        clients += [self._come_and_go() for _ in range(self._strangers)]
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client)
                await asyncio.sleep(0.002)
            self._busy.set()

    async def _keep(self, path: str, pace: float) -> None:
        """Ask again and again over one connection, and over another when the server has closed it."""
        quick = pace > 0
        while not self._stop.is_set():
            connection = await self._connect()
            if connection is None:
                continue
            reader, writer = connection
            try:
                while not self._stop.is_set():
                    if reader.at_eof():
                        self.account.closed += 1
                        break
                    if not await self._ask(reader, writer, path, quick=quick):
                        break
                    await asyncio.sleep(self._chance.uniform(0, 2 * pace))
            finally:
                writer.transport.abort()

    async def _come_and_go(self) -> None:
        """Open a connection for each request."""
        while not self._stop.is_set():
            connection = await self._connect()
            if connection is not None:
                reader, writer = connection
                await self._ask(reader, writer, "/", quick=True, end=True)
                writer.transport.abort()
            await asyncio.sleep(self._chance.uniform(0, PACE))

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        try:
            return await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self._port), PATIENCE)
        except (OSError, TimeoutError) as error:
            self.account.refused += 1
            self.account.faults.append(f"connect: {error!r}")
            await asyncio.sleep(PACE)
            return None

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, *, quick: bool, end: bool = False
    ) -> bool:
        """Send a request; answers whether its whole response came and the connection goes on."""
        began = time.monotonic()
        last = "connection: close\r\n" if end else ""
        if path == "/echo":
            writer.write(f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n{last}\r\nhello".encode())
        else:
            writer.write(f"GET {path} HTTP/1.1\r\nhost: a\r\n{last}\r\n".encode())
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE + self._seconds)
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = await asyncio.wait_for(reader.readexactly(length), PATIENCE)
        except (OSError, EOFError, TimeoutError) as error:
            self.account.lost += 1
            self.account.faults.append(f"{path}: {error!r}")
            return False
        if head.split(b" ", 2)[1] != b"200" or (path == "/echo" and body != b"hello"):
            self.account.lost += 1
            self.account.faults.append(f"{path}: {head.splitlines()[0]!r}")
            return False
        self.account.answered += 1
        if quick:
            self.account.longest = max(self.account.longest, time.monotonic() - began)
        if b"\r\nconnection: close" in head.lower() and not end:
            self.account.closed += 1
            return False
        return True

    @contextlib.contextmanager
    def running(self) -> Iterator[Account]:
        """Run the clients while the context is open; at its end each of them finishes its request."""
        thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        thread.start()
        try:
            assert self._busy.wait(PATIENCE)
            yield self.account
        finally:
            self._stop.set()
            thread.join(2 * PATIENCE + self._seconds)
        assert not thread.is_alive()
