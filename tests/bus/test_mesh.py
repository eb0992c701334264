"""Workers that exchange messages over real sockets, all in one event loop."""

import asyncio
import contextlib
import gc
import logging
import os
import socket
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from corehttp.bus import peer as peers
from corehttp.bus.hub import Hub
from corehttp.bus.mesh import Mesh
from corehttp.bus.message import Message
from corehttp.bus.subscription import Subscription
from corehttp.errors import NoReplyError
from corehttp.ipc import mailbox
from corehttp.ipc.bus_frames import Hello, checked_topic, encode_hello, encode_leads, encode_publish
from corehttp.ipc.mailbox import Mailbox, MailboxWriter
from corehttp.membership import Membership

PATIENCE = 60.0  # seconds: only a fault takes as long


class Talker:
    """A worker without the rest of its process."""

    def __init__(self, worker: int, number: int, others: list[MailboxWriter]) -> None:
        self.membership = Membership(worker, 1, number, leads=False)
        self.hub = Hub(self.membership)
        reader, self.writer = mailbox.make_mailbox()
        self.mailbox = Mailbox(reader)
        self.others = [MailboxWriter(socket.socket(fileno=socket.dup(other.fileno()))) for other in others]
        self.mesh: Mesh | None = None

    def open(self) -> None:
        """Use the bus for the first time, or act on what is in the mailbox, as the watch of a worker does."""
        if self.mesh is None:
            loop = asyncio.get_running_loop()
            self.mesh = self.hub.transport = Mesh(self.hub, loop, self.mailbox, self.others)
            loop.add_reader(self.mailbox.fileno(), self.mesh.read_mailbox)
        self.mesh.read_mailbox()

    def close(self) -> None:
        if self.mailbox.fileno() < 0:
            return
        if self.mesh is not None:
            asyncio.get_running_loop().remove_reader(self.mailbox.fileno())
            self.mesh.close()
        self.mailbox.close()
        self.writer.close()
        for other in self.others:
            other.close()

    async def publish(self, topic: str, data: bytes) -> int:
        return await self.hub.publish(topic, checked_topic(topic), data)

    async def request(self, topic: str, data: bytes, to: int | str) -> bytes:
        return await asyncio.wait_for(self.hub.request(topic, checked_topic(topic), data, to), PATIENCE)

    def subscribe(self, *topics: str, max_queue: int = 1 << 20) -> Subscription:
        return Subscription(topics, max_queue, self.hub.subscribe)


Make = Callable[..., Talker]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes workers one after the other, each with the mailboxes of those before."""
    made: list[Talker] = []

    def make(worker: int | None = None, *, opened: bool = True) -> Talker:
        number = len(made) + 1
        talker = Talker(worker or number, number, [other.writer for other in made])
        made.append(talker)
        if opened:
            talker.open()
        return talker

    yield make
    for talker in made:
        talker.close()


async def turn(condition: Callable[[], object] = lambda: True) -> None:
    """Let the loop turn until something holds."""
    async with asyncio.timeout(PATIENCE):
        for _ in range(5):
            await asyncio.sleep(0)
        while not condition():
            await asyncio.sleep(0.001)


def known(*talkers: Talker) -> Callable[[], bool]:
    """Whether each of these workers knows all others."""
    return lambda: all(
        talker.mesh is not None and len(list(talker.mesh.others())) == len(talkers) - 1 for talker in talkers
    )


async def taken(messages: Subscription, count: int) -> list[Message]:
    async with asyncio.timeout(PATIENCE):
        return [await anext(messages) for _ in range(count)]


async def serving(talker: Talker, topic: str, reply: Callable[[Message], Awaitable[object]]) -> "asyncio.Task[None]":
    """Have a worker reply to requests until the task that is returned is cancelled."""

    async def serve() -> None:
        async with talker.subscribe(topic) as requests:
            async for message in requests:
                await reply(message)

    task = asyncio.create_task(serve())
    await turn()
    return task


async def test_a_message_reaches_all_workers_once_whoever_was_there_first(make: Make) -> None:
    one, two, three = make(), make(), make()
    await turn(known(one, two, three))
    async with one.subscribe("t") as first, two.subscribe("t") as second, three.subscribe("t") as third:
        for sender in (one, two, three):
            assert await sender.publish("t", b"from %d" % sender.membership.worker) == 3
        for messages in (first, second, third):
            found = await taken(messages, 3)
            assert {(message.sender, message.data) for message in found} == {
                (1, b"from 1"), (2, b"from 2"), (3, b"from 3")
            }  # fmt: skip


async def test_the_messages_of_one_sender_come_in_its_order_and_whole(make: Make) -> None:
    one, two = make(), make()
    await turn(known(one, two))
    sizes = [0, 1, 65536, 7, 65536, 65536, 300] * 10
    async with two.subscribe("t") as messages:
        reading = asyncio.create_task(taken(messages, len(sizes)))
        for number, size in enumerate(sizes):
            assert await one.publish("t", bytes([number]) * size) == 2
        found = await reading
    assert [(message.data, message.lost) for message in found] == [
        (bytes([number]) * size, 0) for number, size in enumerate(sizes)
    ]


async def test_who_subscribes_gets_what_is_published_after_that_even_if_the_publisher_has_not_looked(
    make: Make,
) -> None:
    one, two = make(), make(opened=False)
    two.open()  # a subscriber that has just begun, which the first worker has not noticed yet
    async with two.subscribe("t") as messages:
        sending = one.publish("t", b"at once")
        with contextlib.suppress(StopIteration):
            sending.send(None)  # without a turn of the loop before
        assert [message.data for message in await taken(messages, 1)] == [b"at once"]


async def test_a_worker_that_does_not_read_yet_holds_up_nobody(make: Make) -> None:
    one, two = make(opened=False), make()
    for _ in range(2000):  # far more than a socket keeps
        assert await two.publish("t", b"x" * 1000) == 1
    async with one.subscribe("t") as messages:
        one.open()
        await turn(known(one, two))
        last = await two.publish("t", b"last")
        assert last == 2
        found = await taken(messages, 1)
        while found[-1].data != b"last":
            found += await taken(messages, 1)
        assert len(found) - 1 + found[-1].lost == 2000


async def test_a_peer_that_is_full_is_waited_for_and_its_losses_are_counted(
    make: Make, monkeypatch: pytest.MonkeyPatch, error_log: list[logging.LogRecord]
) -> None:
    monkeypatch.setattr("corehttp.bus.outbox.PATIENCE", 0.01)
    one, two = make(), make()
    await turn(known(one, two))
    loop = asyncio.get_running_loop()
    [channel] = list(two.mesh.others()) if two.mesh else []
    loop.remove_reader(channel.fileno())  # the second worker does not read
    async with two.subscribe("t") as messages:
        sent = 0
        while await one.publish("t", b"x" * 60_000) == 2:
            sent += 1
        assert sent
        loop.add_reader(channel.fileno(), channel._read)
        await turn(lambda: len(messages._backlog) == sent)
        assert await one.publish("t", b"after") == 2
        found = await taken(messages, sent + 1)
        assert [message.lost for message in found] == [0] * sent + [1]
    assert "messages to worker 2 are lost: it has read none for a second" in error_log[0].getMessage()


def deafen(of: Talker, by: Talker) -> peers.PeerWorker:
    """Have one worker read nothing of what another one sends, and return the end from which it would read."""
    assert of.mesh is not None
    channel = next(other for other in of.mesh.others() if other.number == by.membership.number)
    asyncio.get_running_loop().remove_reader(channel.fileno())
    return channel


def waiting(of: Talker, for_: Talker) -> int:
    """How many frames of a worker wait until another one reads."""
    assert of.mesh is not None
    return next(len(other._outbox) for other in of.mesh.others() if other.number == for_.membership.number)


async def publish_until_two_wait(one: Talker, two: Talker) -> list[asyncio.Task[int]]:
    """Have worker `one` publish large messages until two of them wait for `two`; the tasks that publish."""
    sending: list[asyncio.Task[int]] = []
    while not sending or waiting(one, two) < 2:
        sending.append(asyncio.create_task(one.publish("t", bytes(60_000))))
        await asyncio.sleep(0)
    return sending


async def test_a_peer_that_has_read_nothing_for_a_while_is_waited_for_no_more_until_it_reads(
    make: Make, monkeypatch: pytest.MonkeyPatch, error_log: list[logging.LogRecord]
) -> None:
    monkeypatch.setattr("corehttp.bus.outbox.PATIENCE", 0.01)
    one, two = make(), make()
    await turn(known(one, two))
    async with two.subscribe("t") as messages:
        for round_ in (1, 2):
            channel = deafen(two, one)
            sending = await publish_until_two_wait(one, two)
            got = (await asyncio.gather(*sending)).count(2)
            monkeypatch.setattr("corehttp.bus.outbox.PATIENCE", PATIENCE)  # whoever waited now would wait for long
            assert [await asyncio.wait_for(one.publish("t", bytes(60_000)), PATIENCE / 2) for _ in range(50)] == [
                1
            ] * 50
            assert waiting(one, two) == 0
            asyncio.get_running_loop().add_reader(channel.fileno(), channel._read)
            await taken(messages, got)
            assert await one.publish("t", b"after") == 2
            [after] = await taken(messages, 1)
            assert after.lost == len(sending) - got + 50
            monkeypatch.setattr("corehttp.bus.outbox.PATIENCE", 0.01)
            assert len(error_log) == round_, "it is warned of again after it has read some"


async def test_what_waits_for_room_is_sent_in_its_order_when_there_is_some(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corehttp.bus.outbox.PATIENCE", PATIENCE)
    one, two = make(), make()
    await turn(known(one, two))
    channel = deafen(two, one)
    async with two.subscribe("t") as messages:
        sending: list[asyncio.Task[int]] = []
        while not sending or waiting(one, two) < 20:
            sending.append(asyncio.create_task(one.publish("t", b"%d" % len(sending) + bytes(60_000))))
            await asyncio.sleep(0)
        assert not sending[-1].done()
        asyncio.get_running_loop().add_reader(channel.fileno(), channel._read)
        assert await asyncio.gather(*sending) == [2] * len(sending)
        found = await taken(messages, len(sending))
        assert [int(message.data.rstrip(b"\0")) for message in found] == list(range(len(sending)))
        assert waiting(one, two) == 0


async def test_what_waits_for_a_worker_that_ends_is_not_taken(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corehttp.bus.outbox.PATIENCE", PATIENCE)
    one, two = make(), make()
    await turn(known(one, two))
    deafen(two, one)
    sending = await publish_until_two_wait(one, two)
    two.close()
    taken_by = await asyncio.gather(*sending)
    assert taken_by[-2:] == [1, 1]
    assert await one.publish("t", b"") == 1


async def test_only_so_much_waits_for_a_worker(
    make: Make, monkeypatch: pytest.MonkeyPatch, error_log: list[logging.LogRecord]
) -> None:
    monkeypatch.setattr("corehttp.bus.outbox.COUNT", 2)
    monkeypatch.setattr("corehttp.bus.outbox.PATIENCE", PATIENCE)
    one, two = make(), make()
    await turn(known(one, two))
    deafen(two, one)
    sending = await publish_until_two_wait(one, two)
    assert await one.publish("t", bytes(60_000)) == 1
    assert "messages to worker 2 are lost" in error_log[0].getMessage()
    two.close()
    await asyncio.gather(*sending)


async def test_what_a_worker_has_sent_before_its_end_arrives(make: Make) -> None:
    one, two = make(), make()
    await turn(known(one, two))
    async with one.subscribe("t") as messages:
        for number in range(100):
            await two.publish("t", b"%d" % number)
        await one.publish("t", b"which the other one has not read when it ends")
        two.close()
        found = [message for message in await taken(messages, 101) if message.sender == 2]
        assert [message.data for message in found] == [b"%d" % number for number in range(100)]
    await turn(lambda: one.mesh is not None and not one.mesh.descriptors())
    assert await one.publish("t", b"alone") == 1


async def test_requests_go_to_any_worker_in_turn_or_to_a_certain_one(make: Make) -> None:
    talkers = [make(), make(), make()]
    await turn(known(*talkers))
    servants = []
    for talker in talkers[1:]:

        async def reply(message: Message, mark: int = talker.membership.worker) -> None:
            await message.reply(b"%d: %b of %d" % (mark, message.data, message.sender))

        servants.append(await serving(talker, "t", reply))
    one = talkers[0]
    assert {await one.request("t", b"x", "any") for _ in range(6)} == {b"2: x of 1", b"3: x of 1"}
    assert await one.request("t", b"x", 3) == b"3: x of 1"
    assert await talkers[2].request("t", b"x", 3) == b"3: x of 3"
    for to, why in ((1, "nobody subscribes"), (4, "there is no worker 4")):
        with pytest.raises(NoReplyError, match=why):
            await one.request("t", b"x", to)
    for servant in servants:
        servant.cancel()


async def test_a_request_to_a_worker_that_is_being_replaced_goes_to_its_successor(make: Make) -> None:
    one, old, new = make(1), make(2), make(2)
    await turn(known(one, old, new))
    servants = [
        await serving(old, "t", lambda message: message.reply(b"old")),
        await serving(new, "t", lambda message: message.reply(b"new")),
    ]
    assert [await talker.request("t", b"", 2) for talker in (one, old, new)] == [b"new"] * 3
    for servant in servants:
        servant.cancel()


async def test_a_request_waits_for_a_leader_and_follows_the_lead(make: Make) -> None:
    one, two, three = make(), make(), make()
    await turn(known(one, two, three))
    servants = [
        await serving(two, "t", lambda message: message.reply(b"two")),
        await serving(three, "t", lambda message: message.reply(b"three")),
    ]
    asked = asyncio.create_task(one.request("t", b"", "leader"))
    await turn()
    assert not asked.done()
    two.membership.appoint()
    assert await asked == b"two"
    two.membership.depose()
    three.membership.appoint()
    # The first worker may not have heard of that: the second one then refuses, and the first one looks again.
    assert await one.request("t", b"", "leader") == b"three"
    assert await three.request("t", b"", "leader") == b"three"
    for servant in servants:
        servant.cancel()


async def test_a_request_whose_worker_ends_fails_at_once_and_is_not_repeated(make: Make) -> None:
    one, two, three = make(), make(), make()
    await turn(known(one, two, three))
    async with two.subscribe("t") as first, three.subscribe("t") as second:
        asked = asyncio.create_task(one.request("t", b"", "any"))
        await turn(lambda: len(first._backlog) + len(second._backlog) == 1)
        gone = two if len(first._backlog) else three
        gone.close()
        with pytest.raises(NoReplyError, match="the worker that was asked has ended"):
            await asked
        assert len(first._backlog) + len(second._backlog) == 1


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\1", b"\2\2" + bytes(20), bytes(70_000), encode_hello(Hello(9, 9, 9, False))],
    ids=["an empty message", "a part", "another version", "too much", "who it is, twice"],
)
async def test_garbage_ends_the_channel_of_its_sender_with_a_warning_and_nothing_else(
    make: Make, garbage: bytes, error_log: list[logging.LogRecord]
) -> None:
    one, two, three = make(), make(), make()
    await turn(known(one, two, three))
    assert two.mesh is not None
    bad = next(other for other in two.mesh.others() if other.worker == 1)
    bad._sock.send(garbage)
    await turn(lambda: bad.fileno() < 0)
    assert await one.publish("t", b"") == 2
    assert await three.publish("t", b"") == 3
    if garbage:  # an empty message is how these sockets say that they have ended
        assert error_log[0].getMessage().startswith("the channel to worker 2 is closed: it has sent ")


async def test_garbage_in_a_mailbox_is_warned_of_once_and_dropped(
    make: Make, error_log: list[logging.LogRecord]
) -> None:
    one = make()
    before = len(open_descriptors())
    with socket.socket() as other:
        for garbage in (b"?", encode_leads(True), encode_hello(Hello(1, 1, 1, False))):
            assert one.writer.put(garbage, other.fileno())
            assert one.writer.put(garbage)
    assert one.writer.put(b"")
    async with one.subscribe("t") as messages:
        assert one.writer.put(encode_publish(b"t", b"of an operator", 0))
        [message] = await taken(messages, 1)
        assert (message.sender, repr(message)) == (0, "<message 't' of an operator: 14 bytes>")
    assert len(open_descriptors()) == before
    assert len(error_log) == 1
    assert "has put something else than a message into a mailbox" in error_log[0].getMessage()


async def test_a_reader_gives_way_to_the_loop(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "FRAMES_AT_ONCE", 2)
    one, two = make(), make()
    await turn(known(one, two))
    async with two.subscribe("t") as messages:
        for number in range(9):
            await one.publish("t", b"%d" % number)
        assert [message.data for message in await taken(messages, 9)] == [b"%d" % number for number in range(9)]


async def test_nothing_stays_of_a_worker_that_has_ended(make: Make) -> None:
    one, two = make(), make()
    await turn(known(one, two))
    assert one.mesh is not None
    known_to_one = [weakref.ref(other) for other in one.mesh.others()]
    gc.collect()
    two.close()
    await turn(lambda: one.mesh is not None and not one.mesh.descriptors())
    assert [reference() for reference in known_to_one] == [None]


def open_descriptors() -> list[str]:
    return os.listdir("/proc/self/fd")
