"""What is told of a connection that is handed over comes through, and nothing else is taken for it."""

import contextlib
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corehttp.ipc import handover, parcel
from corehttp.ipc.handover import InboxQueue
from corehttp.ipc.memory_file import memory_file
from corehttp.ipc.parcel import HELD_LIMIT, INLINE, Parcel

HOSTS = st.sampled_from(["192.0.2.1", "2001:db8::1", "fe80::1%eth0"])
PARCELS = st.builds(
    Parcel,
    st.just(7),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(0, 65535),
    st.none() | st.tuples(HOSTS, st.integers(0, 65535)),
    st.binary(max_size=200),
    announced=st.just(False),
    server=st.none(),
    over_tls=st.just(False),
)

SERVERS = st.tuples(HOSTS, st.integers(0, 65535)) | st.tuples(
    st.sampled_from(["", "/run/lb.sock", "\0lb", "/\udcff", "/" * 108]), st.none()
)
ANNOUNCED = st.builds(
    lambda parcel, server, over_tls: parcel._replace(announced=True, server=server, over_tls=over_tls),
    PARCELS,
    st.none() | SERVERS,
    st.booleans(),
)


@given(PARCELS | ANNOUNCED)
def test_a_parcel_comes_through(sent: Parcel) -> None:
    assert parcel.decode(parcel.encode(sent), 7) == sent


@pytest.mark.parametrize(
    "sent",
    [
        Parcel(7, 0.0, held=b"x" * (HELD_LIMIT + 1)),
        Parcel(7, 0.0, client=("1" * 65, 1)),
        Parcel(7, 0.0, client=("caf\xe9", 1)),
        Parcel(7, 0.0, client=("192.0.2.1", 65536)),
        Parcel(7, 0.0, endpoint=-1),
        Parcel(7, 0.0, announced=True, server=("/" * 109, None)),
        Parcel(7, 0.0, announced=True, server=("192.0.2.1", 65536)),
    ],
)
def test_what_is_beyond_the_limits_is_not_sent(sent: Parcel) -> None:
    with pytest.raises(ValueError, match=r"parcel|ascii"):
        parcel.encode(sent)


@given(st.binary(max_size=100))
def test_arbitrary_bytes_are_a_parcel_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert parcel.encode(parcel.decode(data, 7)) == data


@given(PARCELS | ANNOUNCED, st.integers(0, 30), st.binary(max_size=3))
def test_a_parcel_that_is_cut_or_changed_is_refused_or_read_as_it_stands(sent: Parcel, at: int, other: bytes) -> None:
    data = parcel.encode(sent)
    changed = data[:at] + other + data[at + 1 :]
    with contextlib.suppress(ValueError):
        assert parcel.encode(parcel.decode(changed, 7)) == changed


def test_another_version_is_refused() -> None:
    data = parcel.encode(Parcel(7, 1.0))
    with pytest.raises(ValueError, match="version"):
        parcel.decode(b"\x63" + data[1:], 7)


def test_what_no_proxy_has_told_goes_in_the_form_that_earlier_releases_know() -> None:
    assert parcel.encode(Parcel(7, 1.0, 2))[0] == 1
    assert parcel.encode(Parcel(7, 1.0, 2, announced=True))[0] == 2


@pytest.mark.parametrize("size", [INLINE, INLINE + 1, HELD_LIMIT])
def test_the_largest_parcels_with_all_that_a_proxy_tells_go_through_an_inbox(size: int) -> None:
    reader, writer = handover.pair()
    ours, theirs = socket.socketpair()
    with reader, writer, ours, theirs:
        sent = Parcel(ours.fileno(), 5.0, 3, ("2001:db8::1", 443), os.urandom(size), True, ("/" * 108, None), True)
        assert handover.put(writer, sent)
        with InboxQueue(reader).take() as taken:
            assert taken.parcel == sent._replace(descriptor=taken.fileno())


@pytest.mark.parametrize("size", [INLINE, INLINE + 1, HELD_LIMIT])
def test_the_largest_parcels_go_through_an_inbox(size: int) -> None:
    reader, writer = handover.pair()
    ours, theirs = socket.socketpair()
    with reader, writer, ours, theirs:
        before = len(os.listdir("/proc/self/fd"))
        sent = Parcel(ours.fileno(), 5.0, 3, ("2001:db8::1", 443), os.urandom(size))
        assert handover.put(writer, sent)
        assert len(os.listdir("/proc/self/fd")) == before
        with InboxQueue(reader).take() as taken:
            got = taken.parcel
            assert got is not None
            assert taken.endpoint == 3
            assert (got.keep_until, got.endpoint, got.client, got.held) == (5.0, 3, sent.client, sent.held)
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_large_parcel_moves_from_one_inbox_to_another() -> None:
    reader, writer = handover.pair()
    onward, into = handover.pair()
    ours, theirs = socket.socketpair()
    with reader, writer, onward, into, ours, theirs:
        before = len(os.listdir("/proc/self/fd"))
        handover.put(writer, Parcel(ours.fileno(), 5.0, held=b"x" * 100_000))
        assert handover.forward(reader, into) == 1
        with InboxQueue(onward).take() as taken:
            assert taken.parcel is not None
            assert taken.parcel.held == b"x" * 100_000
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("what", ["a pipe", "too much", "too little", "nothing", "three descriptors"])
def test_a_large_parcel_without_its_file_is_refused_and_leaves_no_descriptor(what: str) -> None:
    reader, writer = handover.pair()
    ours, theirs = socket.socketpair()
    pipe = os.pipe()
    with reader, writer, ours, theirs, memory_file(b"x" * (HELD_LIMIT + 1)) as much, memory_file(b"x") as little:
        message = parcel.encode(Parcel(ours.fileno(), 5.0, held=b"x" * 100_000))
        files = {"a pipe": [pipe[0]], "too much": [much.fileno()], "too little": [little.fileno()], "nothing": []}
        before = len(os.listdir("/proc/self/fd"))
        socket.send_fds(writer, [message], [ours.fileno(), *files.get(what, [little.fileno()] * 2)])
        with pytest.raises(ConnectionAbortedError):
            InboxQueue(reader).take()
        assert len(os.listdir("/proc/self/fd")) == before
    for fd in pipe:
        os.close(fd)


@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=10), st.booleans())
def test_arbitrary_messages_in_an_inbox_leave_the_connection_behind_them_and_no_descriptor(
    messages: list[bytes], with_descriptor: bool
) -> None:
    reader, writer = handover.pair()
    ours, theirs = socket.socketpair()
    pipe = os.pipe()
    with reader, writer, ours, theirs:
        before = len(os.listdir("/proc/self/fd"))
        for message in messages:
            socket.send_fds(writer, [message], [pipe[0]] if with_descriptor else [])
        handover.put(writer, Parcel(ours.fileno(), 5.0))
        queue = InboxQueue(reader)
        for _ in messages:
            with pytest.raises(ConnectionAbortedError):
                queue.take()
        with queue.take() as taken:
            assert taken.parcel == Parcel(taken.fileno(), 5.0)
        assert len(os.listdir("/proc/self/fd")) == before
    for fd in pipe:
        os.close(fd)


def test_garbage_in_an_inbox_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = handover.pair()
    with reader, writer:
        queue = InboxQueue(reader)
        for _ in range(3):
            writer.send(b"garbage")
            with pytest.raises(ConnectionAbortedError):
                queue.take()
    assert caplog.text.count("something else than a connection") == 1
