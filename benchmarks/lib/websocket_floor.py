"""A bound below every server on uvloop: what comes over a WebSocket is answered with constant bytes.

As a program, `python -m benchmarks.lib.websocket_floor PORT [timer]`. Bytes are counted; no frame is read but the head
of the first one, there is no task and no application. With `timer` the loop has a timer that is always set, as those of
most servers have.
"""

import asyncio
import sys
from typing import cast

import uvloop

from benchmarks.lib.websocket_app import BODY
from benchmarks.lib.websocket_load import echo_size, masked_text

_SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n"
_PLAIN = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (len(BODY), BODY)


class _Constant(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._open = False
        self._size = 0  # bytes of each message of the client, 0 until the first has come
        self._due = 0  # bytes of a message that are still to come
        self._answer = b""

    def data_received(self, data: bytes) -> None:
        if self._size:
            self._due -= len(data)
            if self._due <= 0:
                self._due = self._size
                self._transport.write(self._answer)
        elif self._open:
            size = data[1] ^ 0x80 if data[1] < 0xFE else int.from_bytes(data[2:4])
            self._size = self._due = len(masked_text(size))
            self._answer = bytes(echo_size(size))
            self.data_received(data)
        elif b"Upgrade: websocket" in data:
            self._open = True
            self._transport.write(_SWITCHING)
        else:
            self._transport.write(_PLAIN)
            self._transport.close()


async def _serve(port: int, *, timer: bool) -> None:
    loop = asyncio.get_running_loop()

    def tick() -> None:
        loop.call_later(1, tick)

    if timer:
        tick()
    server = await loop.create_server(_Constant, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), timer="timer" in sys.argv[2:]))
