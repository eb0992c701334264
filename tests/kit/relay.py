"""A network between clients and a server: all that goes over it takes its time, both ways."""

import asyncio
from collections.abc import Callable

STEP = 65536


class Relay:
    """Passes connections on to `port`; bytes and ends of either side arrive `delay` seconds later."""

    def __init__(self, port: int, delay: float) -> None:
        self._port = port
        self._delay = delay
        self.refused: set[int] = set()  # the clients' ports whose connections the server did not accept
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Relay":
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *details: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client: int = writer.get_extra_info("peername")[1]
        await asyncio.sleep(self._delay)
        try:
            answers, requests = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            self.refused.add(client)
            writer.transport.abort()
            return
        for source, sink in ((reader, requests), (answers, writer)):
            task = asyncio.ensure_future(self._pass_on(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(STEP):
                self._later(writer, writer.write, data)
            self._later(writer, writer.close)
        except OSError:
            self._later(writer, writer.transport.abort)

    def _later(self, writer: asyncio.StreamWriter, act: Callable[..., object], *arguments: object) -> None:
        def arrive() -> None:
            if not writer.transport.is_closing():
                act(*arguments)

        asyncio.get_running_loop().call_later(self._delay, arrive)
