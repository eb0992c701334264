"""Listening sockets: who may bind, who is refused, what is adopted."""

import contextlib
import gc
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from corehttp.errors import StartupError
from corehttp.sockets import listening, unix_path
from corehttp.sockets.endpoint import Endpoint, EndpointKind
from tests.kit.listening import LINUX, bind, connect, refusal


def port_of(sockets: Sequence[Sequence[socket.socket]]) -> int:
    port: int = sockets[0][0].getsockname()[1]
    return port


def end_one_connection(sock: socket.socket) -> None:
    """Accept a connection and be the first to end it: our port keeps it for a minute (TIME_WAIT)."""
    with connect(sock) as client:
        sock.setblocking(True)
        sock.accept()[0].close()
        assert client.recv(1) == b""


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


def test_shutting_a_socket_ends_it_for_all_who_hold_it(opened: contextlib.ExitStack) -> None:
    [[sock]] = bind(opened)
    sock.listen()
    copy = opened.enter_context(sock.dup())
    listening.shut(sock)
    with pytest.raises(ConnectionRefusedError):
        connect(copy)
    listening.shut(sock)  # again: no harm


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


def test_a_socket_of_another_family_is_named_and_left_to_its_owner(
    opened: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not every kernel has a family beside these, so one of them stands for such a one.
    monkeypatch.setattr(listening, "_FAMILIES", (socket.AF_UNIX,))
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        fd = other.fileno()
        assert refusal(opened, fd=fd) == f"fd {fd} must be a socket of IPv4, IPv6 or a unix socket"
        gc.collect()
        os.fstat(fd)


def test_the_sockets_of_several_endpoints_know_theirs(tmp_path: Path) -> None:
    several = [
        Endpoint(EndpointKind.UNIX, path=str(tmp_path / "socket"), permissions="600"),
        Endpoint(EndpointKind.TCP, host="127.0.0.1"),
    ]
    first, second = listening.bind(several, 2, reuseport=True)
    try:
        assert [sock.endpoint for sock in first] == [sock.endpoint for sock in second] == [0, 1]
        assert first[0] is second[0], "a unix socket cannot be parted"
        assert first[1] is not second[1]
        assert first[1].getsockname() == second[1].getsockname()
    finally:
        unix_path.unlink(first[0])
        for sock in (*first, *second):
            sock.close()


def test_an_endpoint_that_cannot_be_bound_leaves_nothing_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    several = [
        Endpoint(EndpointKind.UNIX, path=str(path), permissions="600"),
        Endpoint(EndpointKind.TCP, host="no address"),
    ]
    with pytest.raises(StartupError, match="no address"):
        listening.bind(several, 2, reuseport=True)
    assert not path.exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", ""])
def test_to_bind_an_address_in_numbers_takes_no_codec_for_names(host: str) -> None:
    code = (
        "import sys; from corehttp.sockets import listening; from corehttp.sockets.endpoint import endpoints\n"
        "from corehttp.config import Config; from corehttp.errors import StartupError\n"
        f"try: listening.bind(endpoints(Config(host={host!r}, port=0)), 1, reuseport=False)\n"
        "except StartupError: pass\n"
        "assert 'encodings.idna' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
