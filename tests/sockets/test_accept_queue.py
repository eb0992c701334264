"""Accepted connections."""

import contextlib
import socket
from pathlib import Path

import pytest

from corehttp.sockets import accept_queue, unix_path
from tests.kit.listening import bind, connect, take


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_an_accepted_connection_says_what_any_socket_would(
    opened: contextlib.ExitStack, tmp_path: Path, kind: str
) -> None:
    [[sock]] = bind(opened) if kind == "tcp" else bind(opened, uds=str(tmp_path / "socket"))
    sock.listen()
    opened.enter_context(connect(sock))
    [accepted] = take(opened, sock)
    assert (accepted.family, accepted.type) == (sock.family, socket.SOCK_STREAM)
    assert accepted.proto == (socket.IPPROTO_TCP if kind == "tcp" else 0)
    assert not accepted.get_inheritable()
    unix_path.unlink(sock)


def test_accepting_where_nobody_waits_blocks_nobody(opened: contextlib.ExitStack) -> None:
    [[sock]] = bind(opened)
    sock.listen()
    sock.setblocking(True)  # as one that was inherited may be
    queue = accept_queue.AcceptQueue(sock)
    assert not queue.waits()
    with pytest.raises(BlockingIOError):
        queue.take()
