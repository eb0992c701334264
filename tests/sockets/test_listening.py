"""Listening sockets: who may bind, who is refused, and that nobody is lost when they end."""

import contextlib
import errno
import gc
import os
import select
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corehttp.config import Config
from corehttp.errors import StartupError
from corehttp.sockets import accept_queue, listening, steering, unix_path

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
WAIT = 10.0  # seconds, for what comes at once


@pytest.fixture
def opened() -> Iterator[contextlib.ExitStack]:
    """Closes what is put into it."""
    with contextlib.ExitStack() as stack:
        yield stack


def bind(
    opened: contextlib.ExitStack, slots: int = 1, *, reuseport: bool = False, **options: Any
) -> list[list[socket.socket]]:
    sockets = listening.bind(Config(**{"port": 0, **options}), slots, reuseport=reuseport)
    for own in sockets:
        for sock in own:
            opened.callback(sock.close)
    return sockets


def port_of(sockets: list[list[socket.socket]]) -> int:
    port: int = sockets[0][0].getsockname()[1]
    return port


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


def end_one_connection(sock: socket.socket) -> None:
    """Accept a connection and be the first to end it: our port keeps it for a minute (TIME_WAIT)."""
    with connect(sock) as client:
        sock.setblocking(True)
        sock.accept()[0].close()
        assert client.recv(1) == b""


# Bind.


def test_all_slots_share_one_socket(opened: contextlib.ExitStack) -> None:
    sockets = bind(opened, 3)
    assert len(sockets) == 3
    assert sockets[0][0] is sockets[1][0] is sockets[2][0]


@LINUX
def test_with_reuseport_each_slot_has_its_own_socket_on_one_port(opened: contextlib.ExitStack) -> None:
    sockets = bind(opened, 3, reuseport=True)
    assert len({sock.fileno() for [sock] in sockets}) == 3
    assert len({sock.getsockname() for [sock] in sockets}) == 1


def test_nothing_listens_yet_so_a_client_is_refused(opened: contextlib.ExitStack) -> None:
    [[sock]] = bind(opened)
    with pytest.raises(ConnectionRefusedError):
        connect(sock)


def test_a_name_with_several_addresses_has_one_port_for_all(opened: contextlib.ExitStack) -> None:
    [sockets] = bind(opened, host="")
    assert len({sock.getsockname()[1] for sock in sockets}) == 1


def test_sockets_do_not_block_and_are_not_inherited(opened: contextlib.ExitStack) -> None:
    [[sock]] = bind(opened)
    assert not sock.getblocking()
    assert not os.get_inheritable(sock.fileno())


@pytest.mark.parametrize("slots", [1, 2])
def test_a_port_that_another_server_listens_on_is_refused(opened: contextlib.ExitStack, slots: int) -> None:
    other = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
    port = other.getsockname()[1]
    assert refusal(opened, slots, reuseport=slots > 1, port=port) == (
        f"port {port} on 127.0.0.1 is in use; stop the other server or choose another --port"
    )


@LINUX
@pytest.mark.parametrize("mine", [1, 2])
@pytest.mark.parametrize("theirs", [1, 2])
@pytest.mark.parametrize("listening", [False, True])
def test_a_port_of_another_corehttp_is_refused_from_its_bind_on(
    opened: contextlib.ExitStack, theirs: int, mine: int, listening: bool
) -> None:
    sockets = bind(opened, theirs, reuseport=theirs > 1)
    for [sock] in sockets if listening else []:
        sock.listen()
    assert "is in use" in refusal(opened, mine, reuseport=mine > 1, port=port_of(sockets))


@LINUX
def test_a_port_that_others_share_is_refused(opened: contextlib.ExitStack) -> None:
    other = opened.enter_context(socket.socket())
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    other.bind(("127.0.0.1", 0))
    assert "is in use" in refusal(opened, 2, reuseport=True, port=other.getsockname()[1])


@pytest.mark.parametrize("slots", [1, 2])
def test_a_port_is_free_again_though_it_has_old_connections(opened: contextlib.ExitStack, slots: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ended:
        port = ended.getsockname()[1]
        end_one_connection(ended)
    assert port_of(bind(opened, slots, reuseport=slots > 1, port=port)) == port


@LINUX
def test_a_port_with_old_connections_is_taken_by_one_server_only(opened: contextlib.ExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ended:
        port = ended.getsockname()[1]
        end_one_connection(ended)
    bind(opened, 2, reuseport=True, port=port)
    assert "is in use" in refusal(opened, 2, reuseport=True, port=port)


def test_an_address_that_is_not_ours_is_named(opened: contextlib.ExitStack) -> None:
    message = "192.0.2.1 is not an address of this machine; choose another --host"
    assert refusal(opened, host="192.0.2.1") == message


def test_a_name_that_is_none_is_named(opened: contextlib.ExitStack) -> None:
    assert refusal(opened, host="no host").startswith("host 'no host' is not an address of this machine, nor a name")


def test_urls_are_what_a_client_needs(opened: contextlib.ExitStack, tmp_path: Path) -> None:
    [[tcp]] = bind(opened)
    [[unix]] = bind(opened, uds=str(tmp_path / "socket"))
    assert listening.url(tcp) == f"http://127.0.0.1:{tcp.getsockname()[1]}"
    assert listening.url(unix) == f"unix:{tmp_path / 'socket'}"
    unix_path.unlink(unix)


def test_the_url_of_an_ipv6_address_has_brackets(opened: contextlib.ExitStack) -> None:
    try:
        [[sock]] = bind(opened, host="::1")
    except StartupError as error:
        pytest.skip(str(error))
    assert listening.url(sock) == f"http://[::1]:{sock.getsockname()[1]}"


# Refuse, take in, end.


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


def take(opened: contextlib.ExitStack, sock: socket.socket) -> list[socket.socket]:
    """Accept all that wait."""
    queue = accept_queue.AcceptQueue(sock)
    accepted: list[socket.socket] = []
    while queue.waits():
        accepted.append(opened.enter_context(queue.take()))
    return accepted


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


def test_shutting_a_socket_ends_it_for_all_who_hold_it(opened: contextlib.ExitStack) -> None:
    [[sock]] = bind(opened)
    sock.listen()
    copy = opened.enter_context(sock.dup())
    listening.shut(sock)
    with pytest.raises(ConnectionRefusedError):
        connect(copy)
    listening.shut(sock)  # again: no harm


# Unix sockets.


def test_a_unix_socket_is_removed_by_who_has_bound_it(opened: contextlib.ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    [[sock]] = bind(opened, uds=str(path))
    assert stat.S_ISSOCK(path.stat().st_mode)
    unix_path.unlink(sock)
    assert not path.exists()
    unix_path.unlink(sock)  # again: no harm


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


def test_a_path_that_another_has_taken_over_is_left_to_it(opened: contextlib.ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    [[sock]] = bind(opened, uds=str(path))
    path.rename(tmp_path / "old")
    other = opened.enter_context(socket.socket(socket.AF_UNIX))
    other.bind(str(path))
    unix_path.unlink(sock)
    assert path.exists()


def test_the_path_of_a_dead_server_is_taken_over(opened: contextlib.ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    [[sock]] = bind(opened, uds=str(path))
    sock.listen()
    opened.enter_context(connect(sock))
    unix_path.unlink(sock)


def test_the_path_of_a_live_server_is_refused(opened: contextlib.ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    live = opened.enter_context(socket.socket(socket.AF_UNIX))
    live.bind(str(path))
    live.listen()
    message = f"uds {path} is in use by another server; stop it or choose another path"
    assert refusal(opened, uds=str(path)) == message
    assert path.exists()


@LINUX
def test_the_path_of_a_server_that_does_not_listen_yet_is_refused(opened: contextlib.ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    bind(opened, uds=str(path))
    assert "in use by another server" in refusal(opened, uds=str(path))
    assert path.exists()


def test_the_path_of_a_live_server_whose_queue_is_full_is_refused(opened: contextlib.ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    live = opened.enter_context(socket.socket(socket.AF_UNIX))
    live.bind(str(path))
    live.listen(0)
    opened.enter_context(connect(live))
    assert "in use by another server" in refusal(opened, uds=str(path))


def test_a_plain_file_is_not_replaced(opened: contextlib.ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    assert refusal(opened, uds=str(path)) == f"uds {path} exists and is not a socket; choose another path"
    assert path.read_text() == "precious"


@pytest.mark.parametrize("name", ["missing/socket", "x" * 200])
def test_a_path_that_cannot_be_bound_is_named(opened: contextlib.ExitStack, tmp_path: Path, name: str) -> None:
    assert refusal(opened, uds=str(tmp_path / name)).startswith(f"uds {tmp_path / name} cannot be bound: ")


@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o777])
@pytest.mark.parametrize("permissions", ["666", "660", "600", "777"])
def test_a_unix_socket_has_its_permissions_whatever_the_umask_is(
    opened: contextlib.ExitStack, tmp_path: Path, umask: int, permissions: str
) -> None:
    path = tmp_path / "socket"
    previous = os.umask(umask)
    try:
        [[sock]] = bind(opened, uds=str(path), uds_permissions=permissions)
        assert os.umask(umask) == umask
    finally:
        os.umask(previous)
    assert f"{stat.S_IMODE(path.stat().st_mode):o}" == permissions
    unix_path.unlink(sock)


def test_permissions_that_cannot_be_given_are_named_with_the_path_and_the_option(tmp_path: Path) -> None:
    path = str(tmp_path / "missing")
    with pytest.raises(StartupError) as caught:
        unix_path.permit(path, "660")
    assert str(caught.value) == (
        f"uds {path} cannot be given the permissions 660 (--uds-permissions): No such file or directory"
    )


# Inherited sockets.


def test_an_inherited_socket_is_adopted(opened: contextlib.ExitStack) -> None:
    inherited = socket.create_server(("127.0.0.1", 0))
    port = inherited.getsockname()[1]
    sockets = bind(opened, 2, fd=inherited.detach())
    assert port_of(sockets) == port
    assert sockets[0][0] is sockets[1][0]
    assert not sockets[0][0].getblocking()


def test_a_descriptor_that_is_not_a_socket_is_named(opened: contextlib.ExitStack, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        message = refusal(opened, fd=file.fileno())
        assert message.startswith(f"fd {file.fileno()} is not a socket that this process has inherited")


def test_a_descriptor_that_is_closed_is_named(opened: contextlib.ExitStack) -> None:
    assert refusal(opened, fd=1000).startswith("fd 1000 is not a socket that this process has inherited")


def test_a_datagram_socket_is_named_and_left_to_its_owner(opened: contextlib.ExitStack) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        fd = datagram.fileno()
        assert refusal(opened, fd=fd) == f"fd {fd} must be a stream socket"
        gc.collect()
        os.fstat(fd)
