"""Connections that are opened and abandoned at random points: parts of right and wrong requests, then FIN or RST."""

import random
import socket
import struct
from collections import deque
from contextlib import suppress

_AT_ONCE = 200  # connections that are open at a time
_LINGER_NONE = struct.pack("ii", 1, 0)

_HOST = b"Host: 127.0.0.1\r\n"
_GET = b"GET / HTTP/1.1\r\n" + _HOST + b"\r\n"
_POST = b"POST /swallow HTTP/1.1\r\n" + _HOST
_CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n" + b"10\r\n0123456789abcdef\r\n" * 20 + b"0\r\nX-Trailer: y\r\n\r\n"
REQUESTS = (
    _GET,
    _GET * 20,
    _POST + b"Content-Length: 100000\r\n\r\n" + bytes(100_000),
    _POST + _CHUNKS + _GET,
    _POST + b"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n0123456789",
    b"GET /flood HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"GET /flood HTTP/1.0\r\n\r\n",
    b"GET /wait HTTP/1.1\r\n" + _HOST + b"\r\n" + _GET,
    b"POST /wait HTTP/1.1\r\n" + _HOST + b"Content-Length: 1000\r\n\r\n" + bytes(500),
    b"GET /sleep HTTP/1.1\r\n" + _HOST + b"\r\n" + _GET * 3,
    b"HEAD /sleep HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"\r\n\r\n" + _GET,
    b"nonsense\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + _HOST + b"X: y\r\n" * 200 + b"\r\n",
    _POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    _POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
)


def abandon(port: int, count: int, chance: random.Random) -> None:
    """Open so many connections, some of them at a time, and leave each in one way or another."""
    opened: deque[socket.socket] = deque()
    for _ in range(count):
        opened.append(_open(port, chance))
        if len(opened) > chance.randrange(_AT_ONCE):
            _leave(opened.popleft(), chance)
    for client in opened:
        _leave(client, chance)


def _open(port: int, chance: random.Random) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    client.setblocking(False)
    request = chance.choice(REQUESTS)
    # Often a part, and often one that ends early.
    size = min(chance.randrange(len(request) + 1), chance.choice((20, 200, len(request))))
    with suppress(OSError):
        if chance.random() < 0.7:
            client.send(request if chance.random() < 0.3 else request[:size])
        if chance.random() < 0.1:
            client.shutdown(socket.SHUT_WR)
    return client


def _leave(client: socket.socket, chance: random.Random) -> None:
    way = chance.randrange(4)
    with suppress(OSError):
        if way == 0:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        elif way == 1:
            client.shutdown(socket.SHUT_WR)
        elif way == 2:
            client.recv(65536)
    client.close()
