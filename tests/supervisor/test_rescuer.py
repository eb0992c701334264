"""What waits in slots without a worker, on real sockets: others get it, and nobody is lost."""

import socket
import time
from collections.abc import Iterator

import pytest

from corehttp.config import Config
from corehttp.ipc import handover
from corehttp.ipc.balance import Load
from corehttp.ipc.handed_socket import HandedSocket
from corehttp.ipc.handover import InboxQueue
from corehttp.ipc.parcel import Parcel
from corehttp.sockets import endpoint, listening
from corehttp.supervisor.poller import Poller
from corehttp.supervisor.rescuer import ConnectionRescuer
from corehttp.supervisor.slots import Slots
from tests.kit.descriptors import no_free_descriptor

KEEP_ALIVE = 60.0  # seconds
SLOT = frozenset({1})  # it has no worker


class Site:
    """Two slots, of which only the first one has a worker; the test is the worker."""

    def __init__(self) -> None:
        endpoints = endpoint.endpoints(Config(port=0))
        bound = listening.bind(endpoints, 2, reuseport=True)
        self.slots = Slots.of(bound, endpoints, parting=True)
        self.slots.listen(0, 128)
        self.slots.listen(1, 128)
        self.slots.steer(frozenset({0}))
        self.address = bound[0][0].getsockname()
        self.poller = Poller()
        self.loads = [Load(0, 0)]
        self.rescuer = ConnectionRescuer(self.slots, self.poller, lambda: list(self.loads), lambda: KEEP_ALIVE)
        self.inbox = self.slots._slots[0].reader
        self.clients: list[socket.socket] = []

    def come(self, count: int = 1) -> None:
        """So many clients connect, each with a word of its own; they wait in the second slot."""
        for _ in range(count):
            client = socket.create_connection(self.address)
            client.sendall(b"%d" % len(self.clients))
            self.clients.append(client)

    def turn(self) -> bool:
        """One turn of the supervisor's loop; answers whether there was something to do."""
        due = self.poller.wait(0)
        for _, heed in due:
            heed()
        return bool(due)

    def arrived(self) -> list[HandedSocket]:
        """What has come into the first slot's inbox."""
        queue = InboxQueue(self.inbox)
        found = []
        while queue.waits():
            found.append(queue.take())
        return found

    def words(self) -> set[bytes]:
        """What the clients say whose connections have come."""
        words = set()
        for connection in self.arrived():
            with connection:
                words.add(connection.recv(100))
        return words

    def said(self) -> set[bytes]:
        return {b"%d" % number for number in range(len(self.clients))}

    def close(self) -> None:
        self.rescuer.close()
        self.slots.close_all()
        for client in self.clients:
            client.close()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


def test_those_who_wait_and_those_who_come_are_given_to_a_worker_that_serves(site: Site) -> None:
    site.come(20)
    site.rescuer.rescue(SLOT)
    assert site.turn()
    assert site.words() == site.said()
    site.come(5)
    assert site.turn()
    assert len(site.words()) == 5
    assert not site.turn(), "with nobody who waits there is nothing to do"


def test_a_new_connection_has_the_whole_keep_alive_time(site: Site) -> None:
    site.come()
    site.rescuer.rescue(SLOT)
    before = time.monotonic()
    site.turn()
    [connection] = site.arrived()
    with connection:
        assert connection.parcel is not None
        assert before + KEEP_ALIVE <= connection.parcel.keep_until <= time.monotonic() + KEEP_ALIVE


def test_the_worker_that_gets_a_connection_is_told_through_which_endpoint_it_has_come(site: Site) -> None:
    site.slots._endpoints = dict.fromkeys(range(3), site.slots._endpoints[0])
    for sock in site.slots._slots[1].sockets:
        sock.endpoint = 2
    assert site.slots.endpoints(1) == (2,) * len(site.slots.fds(1))
    site.come()
    site.rescuer.rescue(SLOT)
    site.turn()
    [connection] = site.arrived()
    with connection:
        assert connection.endpoint == 2
        assert connection.parcel is not None
        assert connection.parcel.endpoint == 2


def test_what_was_passed_on_to_a_worker_that_died_goes_to_another_and_keeps_its_time(site: Site) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        until = time.monotonic() + 7
        assert handover.put(site.slots.writers()[1], Parcel(theirs.fileno(), until))
        site.rescuer.rescue(SLOT)
        site.turn()
        [connection] = site.arrived()
        with connection:
            assert connection.parcel is not None
            assert connection.parcel.keep_until == until
            ours.sendall(b"still here")
            assert connection.recv(100) == b"still here"


def test_nothing_is_taken_where_somebody_is_or_nobody_wants_it(site: Site) -> None:
    site.come()
    assert not site.turn()
    assert site.arrived() == []


def test_once_a_worker_is_there_again_it_is_left_to_it_but_for_those_who_wait_already(site: Site) -> None:
    site.rescuer.rescue(SLOT)
    site.come(3)
    site.rescuer.rescue(frozenset())
    assert site.words() == site.said()
    site.come()
    assert not site.turn()
    assert site.slots.waiting(1) == 1


def test_the_one_with_the_fewest_connections_gets_them(site: Site) -> None:
    site.slots.open(2)
    site.loads = [Load(0, 10), Load(2, 5)]
    site.come(9)
    site.rescuer.rescue(SLOT)
    site.turn()
    assert len(site.words()) == 2
    site.inbox = site.slots._slots[2].reader
    assert len(site.words()) == 7


def test_where_nobody_has_room_they_wait_on_in_the_kernel_and_cost_nothing(site: Site) -> None:
    writer = site.slots.writers()[0]
    with socket.socket() as filler:
        while handover.has_room(writer):
            assert handover.put(writer, Parcel(filler.fileno(), 0.0))
    site.come(5)
    site.rescuer.rescue(SLOT)
    site.turn()
    assert site.rescuer.paused
    assert site.slots.waiting(1) == 5
    assert not site.turn(), "it is not looked at all the time"
    for connection in site.arrived():
        connection.close()
    site.rescuer.look_again()
    assert site.turn()
    assert site.words() == site.said()


@pytest.mark.parametrize("loads", [[], [Load(0, 8, limit=8)]], ids=["nobody serves", "the only one is full"])
def test_they_wait_on_until_somebody_can_take_them(site: Site, loads: list[Load]) -> None:
    site.loads = loads
    site.come()
    site.rescuer.rescue(SLOT)
    site.turn()
    assert site.slots.waiting(1) == 1
    site.loads = [Load(0, 7, limit=8)]
    site.rescuer.look_again()
    site.turn()
    assert site.words() == site.said()


def test_one_that_suddenly_finds_no_room_is_kept_and_given_later(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.come(2)
    site.rescuer.rescue(SLOT)
    monkeypatch.setattr(handover, "put", lambda writer, parcel: False)
    site.turn()
    assert site.rescuer.paused
    monkeypatch.undo()
    site.rescuer.look_again()
    site.turn()
    assert site.words() == site.said()


def test_an_inbox_that_was_shut_down_ends_what_is_done_for_its_slot_and_no_more(site: Site) -> None:
    site.rescuer.rescue(SLOT)
    site.slots._slots[1].reader.shutdown(socket.SHUT_RDWR)
    assert site.turn()
    site.come(2)
    assert site.turn()
    assert not site.turn(), "it would be readable for good"
    site.rescuer.finish(1)
    assert site.words() == site.said()
    assert site.slots.is_cut_off(1)
    site.slots.renew_inbox(1)
    assert not site.slots.is_cut_off(1)
    site.rescuer.rescue(SLOT)
    handover.put(site.slots.writers()[1], Parcel(site.clients[0].fileno(), 1.0))
    assert site.turn()
    [passed_on] = site.arrived()
    passed_on.close()


def test_who_cannot_be_given_to_one_worker_is_given_to_the_next(site: Site) -> None:
    site.slots.open(2)
    site.loads = [Load(0, 0), Load(2, 5)]
    site.inbox.shutdown(socket.SHUT_RD)
    site.come(2)
    site.rescuer.rescue(SLOT)
    site.turn()
    site.inbox = site.slots._slots[2].reader
    assert site.words() == site.said()
    assert not site.rescuer.paused


def test_without_a_free_descriptor_they_wait_on_in_the_kernel_and_the_log_says_why(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.come(3)
    site.rescuer.rescue(SLOT)
    with no_free_descriptor():
        site.turn()
        site.rescuer.look_again()
        site.turn()
    assert site.slots.waiting(1) == 3
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("connections that wait for worker 2 cannot be given to others: this process has opened all")
    site.rescuer.look_again()
    site.turn()
    assert site.words() == site.said()


def test_a_slot_can_be_closed_after_it_was_left(site: Site) -> None:
    site.come(2)
    site.rescuer.rescue(SLOT)
    site.rescuer.finish(1)
    site.slots.close(1)
    assert site.words() == site.said()
    assert not site.turn()
