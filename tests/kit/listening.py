"""Listening sockets for tests: bind them by options, connect to them, accept from them, and close what was opened."""

import contextlib
import socket
import sys
from typing import Any

import pytest

from corehttp.config import Config
from corehttp.errors import StartupError
from corehttp.sockets import listening
from corehttp.sockets.accept_queue import AcceptQueue
from corehttp.sockets.endpoint import ListeningSocket, endpoints

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
WAIT = 10.0  # seconds, for what comes at once


def bind(
    opened: contextlib.ExitStack, slots: int = 1, *, reuseport: bool = False, **options: Any
) -> list[list[ListeningSocket]]:
    sockets = listening.bind(endpoints(Config(**{"port": 0, **options})), slots, reuseport=reuseport)
    for own in sockets:
        for sock in own:
            opened.callback(sock.close)
    return sockets


def refusal(opened: contextlib.ExitStack, slots: int = 1, *, reuseport: bool = False, **options: Any) -> str:
    with pytest.raises(StartupError) as caught:
        bind(opened, slots, reuseport=reuseport, **options)
    return str(caught.value)


def connect(sock: socket.socket) -> socket.socket:
    client = socket.socket(sock.family)
    try:
        client.settimeout(WAIT)
        client.connect(sock.getsockname())
    except BaseException:
        client.close()
        raise
    return client


def take(opened: contextlib.ExitStack, sock: socket.socket) -> list[socket.socket]:
    """Accept all that wait."""
    queue = AcceptQueue(sock)
    accepted: list[socket.socket] = []
    while queue.waits():
        accepted.append(opened.enter_context(queue.take()))
    return accepted
