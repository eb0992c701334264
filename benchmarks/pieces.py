"""What a client costs that sends everything in tiny pieces: `python -m benchmarks.pieces`.

For each kind of input the user CPU of the server, and the most CPU time of one turn of its event loop, in which nobody
else is served. Each server gets the same bytes over one connection, in the same run.
"""

import argparse
import http.client
import json
import os
import select
import socket
import sys
import time
import zlib

from benchmarks.lib.applications import PIECES
from benchmarks.lib.running_server import RunningServer, running
from benchmarks.lib.servers import peer_names

_SECONDS = 60.0  # in which one kind of input must be served
_HOST = b"Host: 127.0.0.1\r\n"
_CHUNKED = b"POST / HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: chunked\r\n\r\n"
_LAST = b"GET / HTTP/1.1\r\n" + _HOST + b"Connection: close\r\n\r\n"
_HANDSHAKE = (
    b"GET / HTTP/1.1\r\n"
    + _HOST
    + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)
_SIZE = 4 * 2**20  # bytes on the wire of each kind of input, roughly


def _body(chunk: bytes) -> bytes:
    return _CHUNKED + chunk * (_SIZE // len(chunk)) + b"0\r\n\r\n" + _LAST


def _frame(first: int, payload: bytes) -> bytes:
    """Return a client's frame with a mask of zeros, which changes nothing (RFC 6455, 5.2 and 5.3)."""
    size = len(payload)
    head = bytes((first, 0x80 | size)) if size < 126 else bytes((first, 0xFE)) + size.to_bytes(2, "big")
    return head + bytes(4) + payload


def _frames(frames: bytes, size: int = _SIZE) -> bytes:
    return _HANDSHAKE + frames * (size // len(frames)) + _frame(0x88, b"\x03\xe8")


def _deflated(content: bytes) -> bytes:
    compressor = zlib.compressobj(9, wbits=-12)
    return (compressor.compress(content) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


INPUTS = {
    "chunks of 1 byte": _body(b"1\r\nx\r\n"),
    "chunks of 1, 2 and 17 bytes": _body(b"1\r\nx\r\n2\r\nxx\r\n11\r\nxxxxxxxxxxxxxxxxx\r\n"),
    "chunks of 1 byte, sizes 0001": _body(b"0001\r\nx\r\n"),
    "pipelined requests": (b"GET / HTTP/1.1\r\n" + _HOST + b"\r\n") * 20000 + _LAST,
    "commas in Connection": b"GET / HTTP/1.1\r\n" + _HOST + b"Connection: close" + b"," * 60000 + b"\r\n\r\n",
    "WebSocket messages of 1 byte": _frames(_frame(0x81, b"a"), _SIZE // 8),
    "WebSocket pings": _frames(_frame(0x89, b"")),
    "WebSocket messages in empty fragments": _frames(_frame(0x01, b"a") + _frame(0, b"") * 999 + _frame(0x80, b"")),
    "WebSocket bombs": _frames(_frame(0xC2, _deflated(bytes(2**20))), 64 * 1024),
    "WebSocket final deflate blocks": _frames(_frame(0xC2, b"\x03\x00" * 30000 + b"\x00"), 2**20),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=peer_names, default=["corehttp", "uvicorn"], help="comma-separated")
    peers = parser.parse_args().peers
    lines = [f"{'':40}" + "".join(f"{name:>26}" for name in peers)]
    with running(peers, PIECES, 1, frozenset(os.sched_getaffinity(0))) as servers:
        for server in servers:
            server.wait_until_ready()
        for name, data in INPUTS.items():
            cells = [_measure(server, data) for server in servers]
            lines.append(f"{name:40}" + "".join(f"{cell:>26}" for cell in cells))
            print(lines[-1], file=sys.stderr, flush=True)
    print(*lines, sep="\n")
    return 0


def _measure(server: RunningServer, data: bytes) -> str:
    before = _figures(server)
    whole = _send(server.port, data)
    after = _figures(server)
    return f"{after['user'] - before['user']:.2f} s, {after['longest'] * 1000:.0f} ms" + ("" if whole else " (cut)")


def _figures(server: RunningServer) -> dict[str, float]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=_SECONDS)
    connection.request("GET", "/figures")
    figures: dict[str, float] = json.loads(connection.getresponse().read())
    connection.close()
    return figures


def _send(port: int, data: bytes) -> bool:
    """Send `data` while reading what comes, until the server closes; returns whether it took all."""
    sent = 0
    end = time.monotonic() + _SECONDS
    with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as client:
        client.setblocking(False)
        while time.monotonic() < end:
            events = select.POLLIN | (select.POLLOUT if sent < len(data) else 0)
            poll = select.poll()
            poll.register(client, events)
            for _, event in poll.poll(1000):
                try:
                    if event & select.POLLOUT:
                        sent += client.send(data[sent : sent + 2**20])
                    if event & ~select.POLLOUT and not client.recv(2**20):
                        return sent == len(data)
                except BlockingIOError:
                    pass
                except OSError:
                    return False
    return False


if __name__ == "__main__":
    sys.exit(main())
