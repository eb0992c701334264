"""Places for workers on real sockets: who gets new connections, and that nobody who waits is lost."""

import contextlib
import dataclasses
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corehttp.config import Config
from corehttp.ipc import handover
from corehttp.ipc.handover import InboxQueue
from corehttp.ipc.parcel import Parcel
from corehttp.sockets import endpoint, listening
from corehttp.sockets.endpoint import Endpoint, EndpointKind
from corehttp.supervisor import inheritance
from corehttp.supervisor.slots import Slots

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a program choose among sockets")
MANY = 60  # connections: enough to reach each of a few sockets


class Site:
    """Slots on a port of their own."""

    def __init__(self, count: int, host: str = "127.0.0.1") -> None:
        endpoints = endpoint.endpoints(Config(host=host, port=0))
        bound = listening.bind(endpoints, count, reuseport=count > 1)
        self.slots = Slots.of(bound, endpoints, parting=True)
        self.address = bound[0][0].getsockname()

    def listen(self, *order: int) -> None:
        for slot in order:
            self.slots.listen(slot, MANY * 2)

    def arrivals(self) -> dict[int, int]:
        """Where a lot of new connections arrive."""
        clients = [socket.create_connection(self.address) for _ in range(MANY)]
        found: dict[int, int] = {}
        for number, slot in enumerate(self.slots._slots):
            for sock in slot.sockets:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        sock.accept()[0].close()
                        found[number] = found.get(number, 0) + 1
        for client in clients:
            client.close()
        assert sum(found.values()) == MANY
        return found


@pytest.fixture
def three() -> Iterator[Site]:
    site = Site(3)
    yield site
    site.slots.close_all()


@ON_LINUX
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_new_connections_do_not_reach_a_slot_they_are_steered_away_from(three: Site, order: tuple[int, ...]) -> None:
    three.listen(*order)
    for slot in range(3):
        assert three.slots.steer(frozenset({slot}))
        assert set(three.arrivals()) == {0, 1, 2} - {slot}
    assert three.slots.steer(frozenset({0, 1}))
    assert set(three.arrivals()) == {2}
    assert three.slots.steer(frozenset())
    assert set(three.arrivals()) == {0, 1, 2}


@ON_LINUX
def test_steering_is_right_after_slots_were_closed_and_opened_again(three: Site) -> None:
    three.listen(0, 1, 2)
    three.slots.close(0)
    three.slots.steer(frozenset({1}))
    assert set(three.arrivals()) == {2}
    three.slots.open(0)
    three.listen(0)
    three.slots.steer(frozenset({2}))
    assert set(three.arrivals()) == {0, 1}


@ON_LINUX
def test_a_service_of_one_worker_can_grow() -> None:
    site = Site(1)
    site.listen(0)
    assert set(site.arrivals()) == {0}
    site.slots.open(1)
    site.listen(1)
    assert set(site.arrivals()) == {0, 1}
    site.slots.close_all()


def test_slots_that_share_a_socket_close_it_with_the_last() -> None:
    endpoints = endpoint.endpoints(Config(port=0))
    bound = listening.bind(endpoints, 2, reuseport=False)
    address = bound[0][0].getsockname()
    slots = Slots.of(bound, endpoints, parting=False)
    slots.listen(0, 10)
    slots.close(0)
    socket.create_connection(address).close()
    slots.close(1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    slots.close_all()


def test_each_socket_is_parted_or_shared_as_its_endpoint_can_be(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        several = [
            Endpoint(EndpointKind.TCP, host="127.0.0.1"),
            Endpoint(EndpointKind.UNIX, path=path, permissions="600"),
            Endpoint(EndpointKind.INHERITED, descriptor=theirs.dup().detach()),
        ]
        bound = listening.bind(several, 2, reuseport=True)
        tcp, _, inherited = [sock.getsockname() for sock in bound[0]]
        slots = Slots.of(bound, several, parting=True)
        slots.open(2)
        places = [slots.fds(number) for number in range(3)]
        assert [len(set(same)) for same in zip(*places, strict=True)] == [3, 1, 1]
        assert [len(slots.queues(number)) for number in range(3)] == [2, 2, 2], "a TCP socket and an inbox"
        for number in range(3):
            slots.listen(number, 10)
        slots.close(0)
        for address in (tcp, path, inherited):
            dial(address).close()
        slots.close_all()
        for address, error in ((tcp, ConnectionRefusedError), (path, FileNotFoundError)):
            with pytest.raises(error):
                dial(address)
        dial(inherited).close()


def dial(address: Any) -> socket.socket:
    """Connect to a socket that has this name; raises OSError."""
    client = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    try:
        client.connect(address)
    except BaseException:
        client.close()
        raise
    return client


def test_another_supervisor_adopts_the_sockets_of_several_endpoints(tmp_path: Path) -> None:
    several = [
        Endpoint(EndpointKind.UNIX, path=str(tmp_path / "socket"), permissions="600"),
        Endpoint(EndpointKind.TCP, host="127.0.0.1"),
    ]
    slots = Slots.of(listening.bind(several, 2, reuseport=True), several, parting=True)
    left = slots.bequeath(0, ())
    assert inheritance.read(inheritance.write(left)) == left
    assert left.endpoints == (0, 1)
    fds = {fd: os.dup(fd) for fd in left.sockets}
    places = [(tuple(map(fds.__getitem__, own)), fds[reader], fds[writer]) for own, reader, writer in left.slots]
    heir = Slots.adopt(dataclasses.replace(left, slots=tuple(places)), several)
    slots.share(True)
    slots.close_all()
    try:
        assert heir.fds(0)[0] == heir.fds(1)[0]
        assert heir.fds(0)[1] != heir.fds(1)[1]
        assert [len(heir.queues(number)) for number in range(2)] == [2, 2]
    finally:
        heir.close_all()


def test_what_is_in_the_inbox_of_a_slot_that_closes_another_gets(three: Site) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        handover.put(three.slots._slots[1].writer, Parcel(ours.fileno(), 5.0))
        three.slots.close(1)
        with three.slots._slots[0].reader.dup() as reader, InboxQueue(reader).take() as taken:
            taken.sendall(b"hello")
        assert theirs.recv(10) == b"hello"


def test_sockets_that_another_supervisor_has_too_go_on(three: Site) -> None:
    three.listen(0, 1, 2)
    adopted = [sock.dup() for slot in three.slots._slots for sock in slot.sockets]
    three.slots.share(True)
    three.slots.close_all()
    socket.create_connection(three.address).close()
    for sock in adopted:
        sock.close()


@ON_LINUX
def test_another_supervisor_adopts_the_slots_that_are_open_and_steers_right(three: Site) -> None:
    three.listen(2, 1, 0)
    three.slots.close(1)
    left = three.slots.bequeath(0, ())
    assert inheritance.read(inheritance.write(left)) == left
    heir = Slots.adopt(dataclasses.replace(left, slots=tuple(map(copied, left.slots))), endpoint.endpoints(Config()))
    try:
        for slot, reached in ((0, 2), (1, 0)):
            assert heir.steer(frozenset({slot}))
            assert set(three.arrivals()) == {reached}
    finally:
        heir.share(True)
        heir.close_all()


def copied(place: inheritance.Place) -> inheritance.Place:
    """As another process has it."""
    own, reader, writer = place
    return tuple(map(os.dup, own)), os.dup(reader), os.dup(writer)
