"""Passing connections between processes, over real sockets."""

import contextlib
import errno
import math
import os
import socket
import sys
from collections.abc import Iterator
from types import FrameType

import pytest

from corehttp.ipc import handover, parcel
from corehttp.ipc.handed_socket import HandedSocket
from corehttp.ipc.handover import InboxQueue
from corehttp.ipc.parcel import Parcel
from tests.kit.descriptors import no_free_descriptor

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def box() -> Iterator[Pair]:
    reader, writer = handover.pair()
    with reader, writer:
        yield reader, writer


@pytest.fixture(params=[socket.AF_INET, socket.AF_UNIX], ids=["tcp", "unix"])
def connection(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """The server's and the client's end."""
    if request.param == socket.AF_UNIX:
        ours, theirs = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            theirs = socket.create_connection(listener.getsockname())
            ours, _ = listener.accept()
    with ours, theirs:
        yield ours, theirs


def until(taken: HandedSocket) -> float:
    """The end of the keep-alive time of a connection that was handed over."""
    assert taken.parcel is not None
    return taken.parcel.keep_until


def test_a_connection_arrives_with_its_deadline_and_what_its_client_has_sent(box: Pair, connection: Pair) -> None:
    reader, writer = box
    ours, theirs = connection
    theirs.sendall(b"on the way")
    assert handover.put(writer, Parcel(ours.fileno(), 12.5))
    ours.close()
    queue = InboxQueue(reader)
    assert queue.waits()
    with queue.take() as taken:
        assert until(taken) == 12.5
        assert taken.family == theirs.family
        assert taken.recv(100) == b"on the way"
        taken.sendall(b"still there")
    assert theirs.recv(100) == b"still there"
    assert not queue.waits()


def test_from_an_empty_inbox_nothing_is_taken(box: Pair) -> None:
    queue = InboxQueue(box[0])
    assert not queue.waits()
    with pytest.raises(BlockingIOError):
        queue.take()


@pytest.mark.skipif(sys.platform != "linux", reason="no other kernel tells")
def test_it_is_known_how_many_connections_wait_in_an_inbox(box: Pair, connection: Pair) -> None:
    reader, writer = box
    queue = InboxQueue(reader)
    assert handover.waiting(writer) == 0
    for count in range(1, 20):
        assert handover.put(writer, Parcel(connection[0].fileno(), 1.0))
        assert handover.waiting(writer) == count
    for count in range(18, -1, -1):
        queue.take().close()
        assert handover.waiting(writer) == count


def test_in_an_inbox_that_is_gone_nothing_waits(box: Pair) -> None:
    with socket.socket() as other:
        assert handover.waiting(other) == 0
    reader, writer = box
    reader.close()
    assert handover.waiting(writer) == 0


def test_a_full_inbox_takes_no_more_and_loses_nothing(box: Pair, connection: Pair) -> None:
    reader, writer = box
    ours, _ = connection
    put = 0
    while handover.put(writer, Parcel(ours.fileno(), float(put))):
        put += 1
    queue = InboxQueue(reader)
    for number in range(put):
        with queue.take() as taken:
            assert until(taken) == number
    assert not queue.waits()


def test_without_a_free_descriptor_a_connection_stays_where_it_is(box: Pair, connection: Pair) -> None:
    reader, writer = box
    ours, _ = connection
    handover.put(writer, Parcel(ours.fileno(), 0.0))
    handover.put(writer, Parcel(ours.fileno(), 1.0))
    queue = InboxQueue(reader)
    queue.take().close()
    with no_free_descriptor(), pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        queue.take()
    with queue.take() as taken:
        assert until(taken) == 1.0


@pytest.mark.parametrize("holes", [[0, 1, 2, 3], [0, 80, 81, 82], [0, 1, 80, 81, 150], [80, 150], [0]], ids=str)
def test_of_many_that_are_taken_in_a_row_those_stay_for_which_no_descriptor_is_free(
    box: Pair, connection: Pair, holes: list[int]
) -> None:
    reader, writer = box
    for number in range(8):
        handover.put(writer, Parcel(connection[0].fileno(), float(number)))
    queue, taken = InboxQueue(reader), list[HandedSocket]()
    many = [os.dup(reader.fileno()) for _ in range(200)]
    with no_free_descriptor():
        for hole in holes:
            os.close(many[hole])
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            taken.extend(iter(queue.taking(), None))
        assert len(taken) == len(holes) - 1, "the last one is for the file with which a connection may come"
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            queue.take()
    while queue.waits():
        taken.append(queue.take())
    assert [until(one) for one in taken] == list(range(8))
    for one in taken:
        one.close()
    for number, fd in enumerate(many):
        if number not in holes:
            os.close(fd)


def test_of_many_that_are_taken_in_a_row_only_the_first_one_has_a_look_whether_descriptors_are_free(
    box: Pair, connection: Pair
) -> None:
    reader, writer = box
    for _ in range(10):
        handover.put(writer, Parcel(connection[0].fileno(), 1.0))
    queue = InboxQueue(reader)
    queue.take().close()
    looks = 0

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal looks
        looks += event == "c_call" and getattr(arg, "__name__", "") == "fcntl"

    take = queue.taking()
    sys.setprofile(count)
    taken = [take() for _ in range(9)]
    sys.setprofile(None)
    assert looks == 2
    for one in taken:
        one.close()


def test_what_an_inbox_holds_can_be_moved_to_another(box: Pair, connection: Pair) -> None:
    reader, writer = box
    ours, theirs = connection
    other_reader, other_writer = handover.pair()
    with other_reader, other_writer:
        handover.put(writer, Parcel(ours.fileno(), 1.0))
        handover.put(writer, Parcel(ours.fileno(), 2.0))
        assert handover.forward(reader, other_writer) == 2
        assert not InboxQueue(reader).waits()
        ours.close()
        queue = InboxQueue(other_reader)
        with queue.take() as first, queue.take() as second:
            assert (until(first), until(second)) == (1.0, 2.0)
            first.sendall(b"hello")
    assert theirs.recv(100) == b"hello"


def test_an_inbox_that_is_gone_takes_nothing(connection: Pair) -> None:
    reader, writer = handover.pair()
    reader.close()
    assert not handover.put(writer, Parcel(connection[0].fileno(), 1.0))
    writer.close()


@pytest.mark.parametrize("end", [0, 1], ids=["reader", "writer"])
@pytest.mark.parametrize("how", [socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR], ids=["read", "write", "both"])
def test_an_inbox_that_somebody_has_shut_down_is_at_its_end_once_it_is_empty(
    box: Pair, connection: Pair, end: int, how: int
) -> None:
    assert not handover.is_shut(box[0])
    handover.put(box[1], Parcel(connection[0].fileno(), 1.0))
    box[end].shutdown(how)
    queue = InboxQueue(box[0])
    queue.take().close()
    ends = how in ((socket.SHUT_RD, socket.SHUT_RDWR), (socket.SHUT_WR, socket.SHUT_RDWR))[end]
    assert handover.is_shut(box[0]) is ends
    assert queue.waits() is ends
    with pytest.raises(EOFError if ends else BlockingIOError):
        queue.take()
    with contextlib.closing(socket.socket()) as other:
        assert handover.forward(box[0], other) == 0


def send(writer: socket.socket, data: bytes, fds: list[int]) -> None:
    socket.send_fds(writer, [data], fds)


DUE = parcel.encode(Parcel(0, 1.0))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "connection"),
        (b"x", "connection"),
        (DUE + b"x", "connection"),
        (parcel.encode(Parcel(0, math.nan)), "connection"),
        (parcel.encode(Parcel(0, math.inf)), "connection"),
        (DUE, "nothing"),
        (DUE, "two"),
        (DUE, "pipe"),
        (DUE, "datagrams"),
        (DUE, "listener"),
    ],
)
def test_what_is_no_connection_is_closed_and_passed_over(box: Pair, connection: Pair, data: bytes, kind: str) -> None:
    reader, writer = box
    ours, _ = connection
    pipe = os.pipe()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.create_server(("", 0)) as listener,
    ):
        fds = {
            "connection": [ours.fileno()],
            "nothing": [],
            "two": [ours.fileno()] * 2,
            "pipe": [pipe[0]],
            "datagrams": [datagrams.fileno()],
            "listener": [listener.fileno()],
        }[kind]
        before = len(os.listdir("/proc/self/fd"))
        queue = InboxQueue(reader)
        send(writer, data or b"\0", fds)
        handover.put(writer, Parcel(ours.fileno(), 5.0))
        with pytest.raises(ConnectionAbortedError) as caught:
            queue.take()
        assert caught.value.errno == errno.ECONNABORTED
        with queue.take() as taken:
            assert until(taken) == 5.0
        assert len(os.listdir("/proc/self/fd")) == before
    for fd in pipe:
        os.close(fd)


def test_what_is_no_connection_is_not_forwarded(box: Pair, connection: Pair) -> None:
    reader, writer = box
    after, into = handover.pair()
    with after, into:
        send(writer, b"garbage", [])
        handover.put(writer, Parcel(connection[0].fileno(), 5.0))
        send(writer, DUE, [])
        handover.put(writer, Parcel(connection[0].fileno(), 6.0))
        assert handover.forward(reader, into) == 2
        queue = InboxQueue(after)
        for deadline in (5.0, 6.0):
            with queue.take() as taken:
                assert until(taken) == deadline
        assert not queue.waits()
