"""A cheap load generator for WebSockets: each connection sends a message and awaits its echo, again and again.

As a program, `python -m benchmarks.lib.websocket_load PORT SIZE CONNECTIONS SECONDS`, it prints what it saw as JSON.
The frame that it sends is made once, and of what comes back only the bytes are counted, so that it takes little CPU
time, and the server is the limit.
"""

import asyncio
import json
import os
import socket
import struct
import sys
import time
from base64 import b64encode
from functools import partial
from importlib.metadata import version
from typing import cast

import uvloop

from benchmarks.lib.load import Load, LoadError, Outcome, output_of
from benchmarks.lib.workloads import Workload

_CONNECT_SECONDS = 10.0
_FIN_TEXT, _MASKED = 0x81, 0x80


class EchoLoad:
    """Texts of as many bytes as the workload says, one under way on each connection."""

    name = "websocket_load"

    def version(self) -> str:
        return f"uvloop {version('uvloop')}"

    def can(self, workload: Workload) -> bool:
        """Whether the workload is made of WebSocket messages."""
        return workload.is_websocket

    def run(self, load: Load) -> Outcome:
        summary = json.loads(output_of(self.command(load), load.seconds))
        if not summary["messages"]:
            raise LoadError("not one message came back")
        return Outcome(summary["messages"], summary["seconds"], summary["p99_ms"], summary["lost"], 0)

    def command(self, load: Load) -> list[str]:
        arguments = [load.port, load.workload.body, load.connections, load.seconds]
        return [sys.executable, "-m", "benchmarks.lib.websocket_load", *map(str, arguments)]


def masked_text(size: int) -> bytes:
    """Return a frame with a text of `size` bytes, fewer than 65536, masked as a client's (RFC 6455, 5.3)."""
    mask = b"\x1f\x2e\x3d\x4c"
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    payload = (int.from_bytes(b"a" * size, "big") ^ key).to_bytes(size, "big")
    head = bytes((_FIN_TEXT, _MASKED | size)) if size < 126 else struct.pack("!BBH", _FIN_TEXT, _MASKED | 126, size)
    return head + mask + payload


def echo_size(size: int) -> int:
    """Return the bytes of the frame in which a text of `size` bytes comes back."""
    return size + (2 if size < 126 else 4)


def shake_hands(connection: socket.socket, *fields: bytes) -> bytes:
    """Shake hands on a blocking connection and return the answer; raises OSError where the server refuses."""
    lines = [b"GET / HTTP/1.1", b"Host: 127.0.0.1", b"Connection: Upgrade", b"Upgrade: websocket"]
    lines += [b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: " + b64encode(os.urandom(16)), *fields]
    connection.sendall(b"\r\n".join((*lines, b"", b"")))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = connection.recv(4096)
        if not data:
            raise ConnectionResetError(f"the server closed the connection during the handshake: {head!r}")
        head += data
    if not head.startswith(b"HTTP/1.1 101 "):
        raise ConnectionRefusedError(f"the handshake was refused: {head!r}")
    return head


class _Echoing(asyncio.Protocol):
    def __init__(self, frame: bytes, answer: int, until: float) -> None:
        self._frame = frame
        self._answer = answer
        self._until = until
        self._due = answer  # bytes of the echo that are still to come
        self._sent_at = 0.0
        self.seconds: list[float] = []  # what each echo took
        self.lost = False
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._sent_at = time.perf_counter()
        self._transport.write(self._frame)

    def data_received(self, data: bytes) -> None:
        self._due -= len(data)
        if self._due > 0:
            return
        self._due = self._answer
        now = time.perf_counter()
        self.seconds.append(now - self._sent_at)
        if now < self._until:
            self._sent_at = now
            self._transport.write(self._frame)
        else:
            self._finish(lost=False)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(lost=True)

    def _finish(self, *, lost: bool) -> None:
        if not self.done.done():
            self.lost = lost
            self.done.set_result(None)


async def _echo(port: int, size: int, connections: int, seconds: float) -> dict[str, float]:
    opened = [_open(port) for _ in range(connections)]
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    echoing: list[_Echoing] = []
    frame = masked_text(size)
    for connection in opened:
        _, protocol = await loop.create_connection(
            partial(_Echoing, frame, echo_size(size), began + seconds), sock=connection
        )
        echoing.append(protocol)
    async with asyncio.timeout(seconds + _CONNECT_SECONDS):
        await asyncio.gather(*(protocol.done for protocol in echoing))
    took = time.perf_counter() - began
    latencies = sorted(latency for protocol in echoing for latency in protocol.seconds)
    p99 = latencies[len(latencies) * 99 // 100] * 1e3 if latencies else 0.0
    lost = sum(protocol.lost for protocol in echoing)
    return {"messages": len(latencies), "seconds": took, "p99_ms": p99, "lost": lost}


def _open(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=_CONNECT_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    shake_hands(connection)
    connection.setblocking(False)
    return connection


if __name__ == "__main__":
    _port, _size, _connections, _seconds = map(int, sys.argv[1:])
    print(json.dumps(uvloop.run(_echo(_port, _size, _connections, _seconds))))
