"""Places for workers on real sockets: who gets new connections, and that nobody who waits is lost."""

import contextlib
import dataclasses
import errno
import os
import select
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corehttp.config import Config
from corehttp.errors import StartupError
from corehttp.ipc import handover
from corehttp.ipc.handover import InboxQueue
from corehttp.ipc.parcel import Parcel
from corehttp.sockets import endpoint, listening, steering
from corehttp.sockets.address_choice import AddressRule, preference
from corehttp.sockets.endpoint import Endpoint, EndpointKind
from corehttp.supervisor import inheritance
from corehttp.supervisor.slots import Slots
from tests.kit.listening import WAIT
from tests.kit.ports import free_ports

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

    def arrival(self, client: str) -> int:
        """Where a new connection of a client with this address arrives."""
        places = {sock: number for number, slot in enumerate(self.slots._slots) for sock in slot.sockets}
        listens = [sock for sock in places if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)]
        with socket.create_connection(self.address[:2], WAIT, (client, 0)):
            [sock] = select.select(listens, [], [], WAIT)[0]
            sock.accept()[0].close()
        return places[sock]

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


@pytest.mark.parametrize("all_at_once", [False, True])
def test_clients_that_wait_in_the_last_slot_that_closes_are_refused_and_not_reset(all_at_once: bool) -> None:
    site = Site(1)
    site.listen(0)
    with socket.create_connection(site.address) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: local\r\n\r\n")
        if not all_at_once:
            site.slots.close(0)
        site.slots.close_all()
        assert client.recv(1000).startswith(b"HTTP/1.1 503 ")


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


def test_slots_that_cannot_be_had_leave_no_path_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pair() -> tuple[socket.socket, socket.socket]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    several = [Endpoint(EndpointKind.UNIX, path=str(tmp_path / "socket"), permissions="600")]
    bound = listening.bind(several, 2, reuseport=False)
    monkeypatch.setattr(handover, "pair", pair)
    with pytest.raises(StartupError, match=r"2 workers cannot be had: .*ulimit -n"):
        Slots.of(bound, several, parting=False)
    assert list(tmp_path.iterdir()) == []
    assert bound[0][0].fileno() == -1


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
    slots.lend(True)
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


def test_what_is_in_the_inbox_of_a_slot_that_another_supervisor_has_too_stays_there(three: Site) -> None:
    slot = three.slots._slots[1]
    with slot.reader.dup() as theirs:
        ours, client = socket.socketpair()
        with ours, client:
            handover.put(slot.writer, Parcel(ours.fileno(), 5.0))
        three.slots.lend(True)
        three.slots.close_all()
        InboxQueue(theirs).take().close()


def test_sockets_that_another_supervisor_has_too_go_on(three: Site) -> None:
    three.listen(0, 1, 2)
    adopted = [sock.dup() for slot in three.slots._slots for sock in slot.sockets]
    three.slots.lend(True)
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
        heir.lend(True)
        heir.close_all()


def copied(place: inheritance.SlotDescriptors) -> inheritance.SlotDescriptors:
    """As another process has it."""
    own, reader, writer = place
    return tuple(map(os.dup, own)), os.dup(reader), os.dup(writer)


class OwnPorts:
    """Two slots, each with a port of its own beside one that they share; worker 1 has the one after `base`."""

    def __init__(self) -> None:
        self.base = free_ports(4)[0] - 1
        self.own = Endpoint(EndpointKind.TCP, host="127.0.0.1", port=self.base, is_each_workers=True)
        endpoints = [Endpoint(EndpointKind.TCP, host="127.0.0.1"), self.own]
        self.slots = Slots.of(listening.bind(endpoints, 2, reuseport=True), endpoints, parting=True)

    def ports(self, slot: int) -> list[int]:
        """The ports after `base` that a slot has sockets of, as numbers of workers."""
        found = [sock.getsockname()[1] - self.base for sock in self.slots._slots[slot].sockets]
        return [number for number in found if 0 < number < 10]


@pytest.fixture
def own_ports() -> Iterator[OwnPorts]:
    made = OwnPorts()
    yield made
    made.slots.close_all()


def test_a_port_of_its_own_comes_and_goes_with_a_slot(own_ports: OwnPorts) -> None:
    slots = own_ports.slots
    slots.open(2)
    assert [own_ports.ports(slot) for slot in range(3)] == [[1], [2], [3]]
    assert [url.rpartition(":")[2] for url, _ in slots.listeners()][1:] == [
        str(own_ports.base + number) for number in (1, 2, 3)
    ]
    slots.close(1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", own_ports.base + 2))
        with pytest.raises(StartupError, match=f"^port {own_ports.base + 2} on 127.0.0.1 is in use"):
            slots.open(1)
    assert own_ports.ports(1) == []
    slots.open(1)
    assert own_ports.ports(1) == [2]


def test_an_endpoint_that_is_added_has_the_ports_of_the_slots_that_are_open(own_ports: OwnPorts) -> None:
    slots = own_ports.slots
    slots.open(2)
    slots.close_endpoint(1)
    slots.close(1)
    number = slots.add_endpoint(own_ports.own)
    assert [own_ports.ports(slot) for slot in range(3)] == [[1], [], [3]]
    assert slots.endpoints(2) == (0, number)


def test_nobody_else_is_given_who_waits_on_a_slots_own_port(own_ports: OwnPorts) -> None:
    own_ports.slots.listen(0, 10)
    with socket.create_connection(("127.0.0.1", own_ports.base + 1)):
        assert not any(queue.waits() for queue in own_ports.slots.queues(0))
        assert own_ports.slots.waiting(0) == 1


def test_there_is_no_port_after_the_last_one() -> None:
    last = Endpoint(EndpointKind.TCP, host="127.0.0.1", port=65535, is_each_workers=True)
    with pytest.raises(StartupError, match=r"^worker 1 can have no port of its own after 65535: the last is 65535$"):
        listening.bind([last], 1, reuseport=False)


SECRET = b"s" * 32
CLIENTS = [f"127.0.3.{number}" for number in range(1, 31)]


def rule(*endpoints: int) -> AddressRule:
    """The rule for some endpoints of a service that trusts no proxy."""
    return AddressRule(SECRET, frozenset(endpoints), ())


def preferred(*slots: int) -> list[int]:
    """Which of the slots each of the clients prefers."""
    return [preference(SECRET, socket.inet_aton(client), slots)[0] for client in CLIENTS]


@ON_LINUX
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_a_client_reaches_the_slot_that_its_address_prefers_of_those_that_get_connections(
    three: Site, order: tuple[int, ...]
) -> None:
    three.slots.tie(rule(0))
    three.listen(*order[:2])
    assert list(map(three.arrival, CLIENTS)) == preferred(*order[:2]), "of two that listen"
    three.listen(order[2])
    assert list(map(three.arrival, CLIENTS)) == preferred(0, 1, 2)
    for slot in range(3):
        assert three.slots.steer(frozenset({slot}))
        assert list(map(three.arrival, CLIENTS)) == preferred(*{0, 1, 2} - {slot})
    assert three.slots.steer(frozenset({0, 2}))
    assert {three.arrival(client) for client in CLIENTS} == {1}
    assert three.slots.steer(frozenset())
    three.slots.close(0)
    assert list(map(three.arrival, CLIENTS)) == preferred(1, 2)
    three.slots.open(0)
    three.listen(0)
    assert list(map(three.arrival, CLIENTS)) == preferred(0, 1, 2)


@ON_LINUX
def test_a_rule_comes_and_goes_while_slots_listen(three: Site) -> None:
    three.listen(0, 1, 2)
    for _ in range(2):
        three.slots.tie(rule(0))
        assert list(map(three.arrival, CLIENTS)) == preferred(0, 1, 2)
        assert len({three.arrival(CLIENTS[0]) for _ in range(MANY)}) == 1
        three.slots.tie(None)
        assert len({three.arrival(CLIENTS[0]) for _ in range(MANY)}) > 1
    three.slots.tie(rule(5))
    assert len({three.arrival(CLIENTS[0]) for _ in range(MANY)}) > 1, "it is for another endpoint"


@ON_LINUX
def test_a_client_of_ipv6_has_one_slot_too() -> None:
    site = Site(3, "::1")
    site.slots.tie(rule(0))
    site.listen(0, 1, 2)
    [expected, *_] = preference(SECRET, socket.inet_pton(socket.AF_INET6, "::1"), range(3))
    assert {site.arrival("::1") for _ in range(20)} == {expected}
    site.slots.close_all()


@ON_LINUX
def test_another_supervisor_takes_a_rule_over_once_the_sockets_are_its_own(three: Site) -> None:
    three.slots.tie(rule(0))
    three.listen(2, 1, 0)
    left = three.slots.bequeath(0, ())
    heir = Slots.adopt(dataclasses.replace(left, slots=tuple(map(copied, left.slots))), endpoint.endpoints(Config()))
    try:
        heir.lend(True)
        heir.tie(None)
        assert list(map(three.arrival, CLIENTS)) == preferred(0, 1, 2), "while both have the sockets nothing changes"
        heir.lend(False)
        heir.steer(frozenset())
        assert len({three.arrival(CLIENTS[0]) for _ in range(MANY)}) > 1
        heir.tie(rule(0))
        assert list(map(three.arrival, CLIENTS)) == preferred(0, 1, 2)
    finally:
        heir.lend(True)
        heir.close_all()


@ON_LINUX
@pytest.mark.parametrize("attaches", ["nothing", "what is small"])
def test_where_the_kernel_takes_no_such_program_others_get_connections_by_chance(
    three: Site, monkeypatch: pytest.MonkeyPatch, attaches: str
) -> None:
    three.slots.tie(rule(0))
    three.listen(0, 1, 2)
    attach = steering._attach

    def refuse(sock: socket.socket, option: int, steps: Any) -> None:
        if attaches == "nothing" or len(steps) > 20:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        attach(sock, option, steps)

    monkeypatch.setattr(steering, "_attach", refuse)
    assert three.slots.steer(frozenset())
    assert len({three.arrival(CLIENTS[0]) for _ in range(MANY)}) == 3, "the program of before is gone"
    assert three.slots.steer(frozenset({1})) == (attaches == "what is small")
    if attaches == "what is small":
        assert {three.arrival(CLIENTS[0]) for _ in range(MANY)} == {0, 2}


def test_slots_that_share_their_sockets_know_no_rule() -> None:
    endpoints = endpoint.endpoints(Config(port=0))
    slots = Slots.of(listening.bind(endpoints, 2, reuseport=False), endpoints, parting=False)
    slots.tie(rule(0))
    slots.listen(0, 10)
    slots.listen(1, 10)
    slots.close_all()
