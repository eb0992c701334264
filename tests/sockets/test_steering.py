"""New connections are kept out, and nobody who waits already is lost."""

import contextlib
import errno
import select
import socket
from pathlib import Path

import pytest

from corehttp.sockets import steering
from tests.kit.listening import LINUX, WAIT, bind, connect, take


@LINUX
def test_who_waits_when_new_ones_are_refused_is_still_accepted(opened: contextlib.ExitStack) -> None:
    [[sock]] = bind(opened)
    sock.listen()
    clients = [opened.enter_context(connect(sock)) for _ in range(20)]
    for client in clients:
        client.sendall(b"hello")
    steering.refuse_new(sock)
    accepted = take(opened, sock)
    sock.close()
    assert {connection.getpeername() for connection in accepted} == {client.getsockname() for client in clients}
    for connection in accepted:
        assert connection.recv(10) == b"hello"
        connection.sendall(b"bye")
    assert [client.recv(10) for client in clients] == [b"bye"] * 20


@LINUX
def test_who_comes_after_that_is_refused_once_the_socket_is_closed(opened: contextlib.ExitStack) -> None:
    [[sock]] = bind(opened)
    sock.listen()
    steering.refuse_new(sock)
    with socket.socket() as late:
        late.setblocking(False)
        assert late.connect_ex(sock.getsockname()) == errno.EINPROGRESS
        assert take(opened, sock) == []
        sock.close()
        # It has asked once, in vain; it asks again after a second, and then nobody listens.
        assert select.select([], [late], [], WAIT)[1] == [late]
        assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


def test_refusing_on_a_unix_socket_removes_its_path_at_once(opened: contextlib.ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    [[sock]] = bind(opened, uds=str(path))
    sock.listen()
    waiting = opened.enter_context(connect(sock))
    steering.refuse_new(sock)
    with pytest.raises(FileNotFoundError):
        connect(sock)
    [accepted] = take(opened, sock)
    accepted.sendall(b"hello")
    assert waiting.recv(10) == b"hello"
