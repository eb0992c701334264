"""Accepted connections."""

import contextlib
import os
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


def test_an_accepted_connection_knows_through_which_endpoint_it_has_come(opened: contextlib.ExitStack) -> None:
    [[sock]] = bind(opened)
    sock.listen()
    sock.endpoint = 3
    opened.enter_context(connect(sock))
    queue = accept_queue.AcceptQueue(sock)
    assert opened.enter_context(queue.take()).endpoint == 3


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_clients_that_wait_are_refused_and_not_reset(opened: contextlib.ExitStack, tmp_path: Path, kind: str) -> None:
    [[sock]] = bind(opened) if kind == "tcp" else bind(opened, uds=str(tmp_path / "socket"))
    sock.listen()
    asking, silent, gone = (opened.enter_context(connect(sock)) for _ in range(3))
    asking.sendall(b"GET / HTTP/1.1\r\nhost: local\r\n\r\n")
    gone.close()
    accept_queue.refuse_waiting(sock)
    assert asking.recv(1000).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert asking.recv(1000) == b""
    assert silent.recv(1000) == b""
    unix_path.unlink(sock)


def test_where_nobody_can_wait_nobody_is_refused(opened: contextlib.ExitStack) -> None:
    [[sock]] = bind(opened)
    accept_queue.refuse_waiting(sock)  # it does not listen
    sock.listen()
    accept_queue.refuse_waiting(sock)


def test_a_connection_to_a_socket_that_a_program_has_made_is_one_of_the_first_endpoint(
    opened: contextlib.ExitStack,
) -> None:
    sock = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
    opened.enter_context(connect(sock))
    queue = accept_queue.AcceptQueue(sock)
    assert opened.enter_context(queue.take()).endpoint == 0


def test_a_descriptor_is_closed_once_and_not_once_the_event_loop_has_it(opened: contextlib.ExitStack) -> None:
    [[sock]] = bind(opened)
    sock.listen()
    clients = [opened.enter_context(connect(sock)) for _ in range(2)]
    queue = accept_queue.AcceptQueue(sock)
    first, second = queue.take_descriptor(), queue.take_descriptor()
    assert (first.family, first.type, first.endpoint) == (socket.AF_INET, socket.SOCK_STREAM, 0)
    first.close()
    assert clients[0].recv(1) == b""
    with open(os.devnull) as other:  # it has the number of the one that was closed
        assert other.fileno() == first.fileno()
        first.close()
        other.read()
    second.is_ours = False
    second.close()
    os.close(second.fileno())
