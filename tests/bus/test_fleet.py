"""The link of a worker to other machines, over a wire that a test holds."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import pytest

from corehttp.bus import fleet as fleets
from corehttp.bus.envelope import Delivery, Missing, encode_delivery, encode_missing, open_envelope
from corehttp.bus.fleet import Fleet
from corehttp.bus.hub import Hub, Scope
from corehttp.bus.message import Gap, Message
from corehttp.bus.subscription import Subscription
from corehttp.bus.transport import NO_ANSWER, WireError
from corehttp.errors import BusDownError
from corehttp.ipc.bus_frames import checked_topic, encode_publish
from corehttp.membership import Membership

HERE, THERE = 7, 9
PATIENCE = 60.0  # seconds: only a fault takes as long


class FakeWire:
    """A wire whose other end is the test."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault  # why it cannot be opened; empty if it can
        self.sent: list[bytes] = []
        self.incoming: asyncio.Queue[bytes | str] = asyncio.Queue()  # what comes in; a text is a failure
        self.takes = asyncio.Event()  # whether what is sent is taken
        self.takes.set()
        self.at_once: list[int] = []  # how many came together
        self.pings = 0
        self.closed = False

    async def open(self) -> None:
        if self.fault:
            raise WireError(self.fault)

    async def publish(self, envelopes: list[bytes]) -> None:
        await self.takes.wait()
        self.sent += envelopes
        self.at_once.append(len(envelopes))

    async def receive(self) -> bytes:
        found = await self.incoming.get()
        if isinstance(found, str):
            raise WireError(found)
        return found

    async def ping(self) -> None:
        self.pings += 1

    def descriptors(self) -> list[int]:
        return [3, 4]

    async def close(self) -> None:
        self.closed = True

    def opened(self) -> list[Delivery | Missing | None]:
        """What was sent, as another machine understands it."""
        return [open_envelope(raw, THERE) for raw in self.sent]


class Rig:
    """A fleet whose wires, and whose pauses, are the test's."""

    def __init__(self) -> None:
        self.hub = Hub(Membership(2))
        self.wires: list[FakeWire] = []  # those that were made
        self.faults: list[str] = []  # of the next wires
        self.pauses: list[tuple[float, asyncio.Future[None]]] = []  # those that are awaited
        self.fleet = Fleet(self.hub, HERE, self._make, "redis://cache", lambda: 0.0, self._pause)

    def _make(self) -> FakeWire:
        self.wires.append(FakeWire(self.faults.pop(0) if self.faults else ""))
        return self.wires[-1]

    async def _pause(self, seconds: float) -> None:
        over = asyncio.get_running_loop().create_future()
        self.pauses.append((seconds, over))
        await over

    @property
    def wire(self) -> FakeWire:
        return self.wires[-1]

    async def pass_pause(self) -> float:
        """Let the pause end that has begun last; return its seconds."""
        await turn()
        seconds, over = self.pauses.pop()
        over.set_result(None)
        await turn()
        return seconds

    async def publish(self, data: bytes, scope: Scope = "auto") -> int:
        return await self.hub.publish("cache", checked_topic("cache"), data, scope)

    def subscribe(self, *, gaps: bool = False) -> Subscription:
        return Subscription(("cache",), 1 << 20, self.hub.subscribe, gaps=gaps)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    await made.fleet.close()


async def turn(condition: Callable[[], object] = lambda: True) -> None:
    """Let the loop turn until something holds."""
    async with asyncio.timeout(PATIENCE):
        for _ in range(20):
            await asyncio.sleep(0)
        while not condition():
            await asyncio.sleep(0)


async def taken(messages: Subscription, count: int) -> list[Message]:
    async with asyncio.timeout(PATIENCE):
        return [await anext(messages) for _ in range(count)]


def from_there(data: bytes, lost: int = 0) -> bytes:
    return encode_delivery(THERE, encode_publish(b"cache", data, 5, lost))


async def test_a_message_goes_to_subscribers_here_and_to_other_machines(rig: Rig) -> None:
    await rig.fleet.begin()
    async with rig.subscribe() as messages:
        assert await rig.publish(b"one") == 1
        assert await rig.publish(b"two", "fleet") == 1
        assert await rig.publish(b"three", "local") == 1
        assert [message.data for message in await taken(messages, 3)] == [b"one", b"two", b"three"]
    sent = [found for found in rig.wire.opened() if isinstance(found, Delivery)]
    assert [(found.node, found.message.sender, found.message.data) for found in sent] == [
        (HERE, 2, b"one"),
        (HERE, 2, b"two"),
    ]


async def test_what_another_machine_sends_comes_in_with_its_sender_and_an_echo_does_not(rig: Rig) -> None:
    await rig.fleet.begin()
    async with rig.subscribe() as messages:
        rig.wire.incoming.put_nowait(encode_delivery(HERE, encode_publish(b"cache", b"echo", 2)))
        rig.wire.incoming.put_nowait(from_there(b"news", lost=3))
        [message] = await taken(messages, 1)
    assert (message.data, message.sender, message.lost, message.node) == (b"news", 5, 3, f"{THERE:016x}")
    assert "worker 5 of machine 0000000000000009" in repr(message)


async def test_what_is_no_message_is_passed_over_with_one_warning(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    await rig.fleet.begin()
    async with rig.subscribe() as messages:
        for raw in (b"hello", b"", b"x" * 100_000, from_there(b"news")):
            rig.wire.incoming.put_nowait(raw)
        [message] = await taken(messages, 1)
    assert message.data == b"news"
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["over redis://cache comes what is passed over: 5 bytes that are no message of a service"]


async def test_without_a_link_messages_stay_here_and_whoever_wants_more_is_told(rig: Rig) -> None:
    rig.faults = ["refused"]
    await rig.fleet.begin()
    async with rig.subscribe() as messages:
        assert await rig.publish(b"one") == 1
        with pytest.raises(
            BusDownError,
            match=r"'cache' has reached this machine, and others may not get it: there is no link over .*: refused",
        ):
            await rig.publish(b"two", "fleet")
        assert [message.data for message in await taken(messages, 2)] == [b"one", b"two"]


async def test_a_service_without_a_link_of_any_kind_says_so_to_whoever_wants_one() -> None:
    hub = Hub(Membership())
    with pytest.raises(BusDownError, match="the service has no --bus"):
        await hub.publish("cache", b"cache", b"", "fleet")


async def test_when_the_link_is_back_subscribers_and_other_machines_are_told_of_a_gap(rig: Rig) -> None:
    await rig.fleet.begin()
    async with rig.subscribe(gaps=True) as watchful, rig.subscribe() as plain:
        rig.wire.incoming.put_nowait("closed")
        await turn()
        assert await rig.publish(b"missed there") == 1
        assert await rig.pass_pause() == 0.5
        assert await rig.publish(b"after") == 1
        await turn()
        assert isinstance(rig.wire.opened()[0], Missing)
        assert isinstance(rig.wire.opened()[1], Delivery)
        first, gap, after = await taken(watchful, 3)
        assert (first.data, after.data) == (b"missed there", b"after")
        assert isinstance(gap, Gap)
        assert [message.lost for message in await taken(plain, 2)] == [0, 1]


async def test_others_are_told_of_no_gap_if_nothing_of_this_worker_was_lost(rig: Rig) -> None:
    await rig.fleet.begin()
    assert await rig.publish(b"one", "fleet") == 1
    rig.wire.incoming.put_nowait("closed")
    await rig.pass_pause()
    assert await rig.publish(b"two", "fleet") == 1
    assert [type(found) for found in rig.wire.opened()] == [Delivery]


async def test_a_message_that_was_not_answered_counts_as_lost(rig: Rig) -> None:
    await rig.fleet.begin()
    rig.wire.takes.clear()
    publishing = asyncio.create_task(rig.publish(b"one", "fleet"))
    await turn()
    rig.wire.incoming.put_nowait(NO_ANSWER)
    with pytest.raises(BusDownError):
        await publishing
    await rig.pass_pause()
    assert [type(found) for found in rig.wire.opened()] == [Missing]


async def test_several_gaps_in_a_row_are_one(rig: Rig) -> None:
    await rig.fleet.begin()
    async with rig.subscribe(gaps=True) as watchful, rig.subscribe() as plain:
        for raw in (encode_missing(THERE), encode_missing(THERE + 1), from_there(b"news")):
            rig.wire.incoming.put_nowait(raw)
        gap, news = await taken(watchful, 2)
        assert isinstance(gap, Gap)
        assert repr(gap) == "<gap: messages of other machines may be missing>"
        assert news.data == b"news"
        assert [message.lost for message in await taken(plain, 1)] == [1]


async def test_the_pauses_between_tries_grow_and_a_link_that_holds_begins_anew(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.faults = ["refused"] * 8
    await rig.fleet.begin()
    assert [await rig.pass_pause() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    rig.wire.incoming.put_nowait("closed at once")
    assert await rig.pass_pause() == 30
    monkeypatch.setattr(fleets, "STABLE", 0.0)
    rig.wire.incoming.put_nowait("closed")
    assert await rig.pass_pause() == 0.5


async def test_an_outage_is_one_warning_and_one_line_for_each_other_fault(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rig.faults = ["refused", "refused", "wrong password", "refused"]
    await rig.fleet.begin()
    for _ in range(4):
        await rig.pass_pause()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "messages go to this machine alone: there is no link over redis://cache: refused"),
        ("INFO", "still there is no link over redis://cache: wrong password"),
        ("INFO", "messages go to other machines over redis://cache"),
    ]


async def test_the_other_end_is_asked_now_and_then(rig: Rig) -> None:
    await rig.fleet.begin()
    assert [await rig.pass_pause() for _ in range(3)] == [fleets.PING_EVERY] * 3
    assert rig.wire.pings == 3


async def test_a_fault_of_the_server_itself_is_logged_and_the_link_made_again(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    await rig.fleet.begin()
    rig.wire.incoming.put_nowait(5)  # type: ignore[arg-type]
    assert await rig.pass_pause() == 0.5
    assert "the link to other machines has failed" in caplog.text
    assert await rig.publish(b"one", "fleet") == 1


async def test_whoever_publishes_faster_than_the_link_sends_waits_and_then_loses(rig: Rig) -> None:
    await rig.fleet.begin()
    rig.wire.takes.clear()
    send = rig.fleet.publish
    for number in range(fleets.CROWD):
        assert send("cache", b"cache", b"%d" % number, 2, tell=False) is True
    waiting = send("cache", b"cache", b"crowd", 2, tell=False)
    assert isinstance(waiting, asyncio.Future)
    while send("cache", b"cache", b"more", 2, tell=False):
        pass
    assert rig.fleet.fault == "too many messages wait to go out over redis://cache"
    rig.wire.takes.set()
    assert await waiting
    last = send("cache", b"cache", b"last", 2, tell=True)
    assert isinstance(last, asyncio.Future)
    assert await last
    assert sum(found.message.lost for found in rig.wire.opened() if isinstance(found, Delivery)) == 1


async def test_large_messages_crowd_by_their_bytes_and_go_out_a_few_at_once(rig: Rig) -> None:
    await rig.fleet.begin()
    rig.wire.takes.clear()
    large, count = b"x" * 65_536, 0
    while (sent := rig.fleet.publish("cache", b"cache", large, 2, tell=False)) is True:
        count += 1
    assert count == fleets.CROWD_BYTES // (len(large) + 16), "four megabytes wait"
    rig.wire.takes.set()
    assert isinstance(sent, asyncio.Future)
    assert await sent
    assert len(rig.wire.sent) == count + 1
    assert max(rig.wire.at_once) == fleets.BYTES_AT_ONCE // len(large)


async def test_what_was_published_before_the_end_still_goes_out(rig: Rig) -> None:
    await rig.fleet.begin()
    rig.wire.takes.clear()
    assert await rig.publish(b"bye") == 1
    closing = asyncio.create_task(rig.fleet.close())
    await turn()
    assert not closing.done()
    assert rig.fleet.descriptors() == [3, 4]
    rig.wire.takes.set()
    await closing
    assert [type(found) for found in rig.wire.opened()] == [Delivery]
    assert rig.wire.closed
    assert rig.hub.machines is None
    assert rig.fleet.descriptors() == []


async def test_an_end_while_nothing_can_be_sent_does_not_wait_for_long(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleets, "LAST_WORDS", 0.0)
    await rig.fleet.begin()
    rig.wire.takes.clear()
    await rig.publish(b"bye")
    await rig.fleet.close()
    assert rig.wire.closed


async def test_a_start_does_not_wait_for_a_link_that_takes_long(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fleets, "FIRST_TRY", 0.0)
    opening = asyncio.Event()

    async def open_late(wire: FakeWire) -> None:
        await opening.wait()

    monkeypatch.setattr(FakeWire, "open", open_late)
    await rig.fleet.begin()
    assert "there is no link over redis://cache: no answer" in caplog.text
    opening.set()
    await turn()
    assert await rig.publish(b"one", "fleet") == 1
