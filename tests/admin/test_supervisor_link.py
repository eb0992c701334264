"""How the admin child asks its supervisor: one thing after the other, and never too often."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from corehttp.admin.supervisor_link import INTERVAL, Seen, SupervisorLink
from corehttp.ipc.channel import Channel
from corehttp.ipc.messages import Answer, Ask, Leave, LeaveReason

OVERVIEW: dict[str, object] = {"status": {"state": "serving"}}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Room:
    """A link, and the supervisor's end of its channel in the hands of the test."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.supervisor, self.child = Channel.pair()
        for _ in range(100):
            self.supervisor.expect(Ask)
        self.left: list[bool] = []
        self.link = SupervisorLink(self.child, asyncio.get_running_loop(), self.left.append, self.clock)
        self.link.begin()

    async def heard(self) -> list[Ask]:
        """What the supervisor is asked, once there is something."""
        while not (received := self.supervisor.receive()[0]):
            await asyncio.sleep(0)
        return [cast(Ask, message) for message in received]


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    room = Room()
    yield room
    asyncio.get_running_loop().remove_reader(room.child.fileno())
    room.supervisor.close()
    room.child.close()


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_many_who_look_at_once_are_one_question(room: Room) -> None:
    looks = [asyncio.ensure_future(room.link.look(60)) for _ in range(50)]
    [ask] = await room.heard()
    assert (ask.verb, ask.arguments) == ("overview", {})
    room.supervisor.send(Answer(ask.number, OVERVIEW))
    assert await asyncio.gather(*looks) == [Seen(OVERVIEW, 0.0)] * 50


async def test_who_looks_after_a_question_was_sent_waits_for_the_next_one(room: Room) -> None:
    first = asyncio.ensure_future(room.link.look(60))
    [ask] = await room.heard()
    second = asyncio.ensure_future(room.link.look(60))
    await turns()
    assert room.supervisor.receive()[0] == [], "there is one question at a time"
    room.clock.now += INTERVAL
    room.supervisor.send(Answer(ask.number, OVERVIEW))
    assert (await first).overview == OVERVIEW
    [ask] = await room.heard()
    later: dict[str, object] = {"status": {"state": "stopping"}}
    room.supervisor.send(Answer(ask.number, later))
    assert (await second).overview == later


async def test_who_gets_no_answer_is_told_what_was_said_last_and_for_how_long_nothing_was(room: Room) -> None:
    first = asyncio.ensure_future(room.link.look(60))
    [ask] = await room.heard()
    room.supervisor.send(Answer(ask.number, OVERVIEW))
    await first
    room.clock.now += INTERVAL
    assert await room.link.look(0.0) == Seen(OVERVIEW, 0.0), "the question is not sent yet"
    await room.heard()
    room.clock.now += 7
    assert await room.link.look(0.0) == Seen(OVERVIEW, 7.0)


async def test_before_the_first_answer_nothing_is_known(room: Room) -> None:
    assert await room.link.look(0.0) == Seen(None, 0.0)


async def test_a_refusal_leaves_what_was_known(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    look = asyncio.ensure_future(room.link.look(60))
    [ask] = await room.heard()
    room.supervisor.send(Answer(ask.number, {"fault": "failed", "reason": "the answer is too large"}))
    assert (await look).overview is None
    look = asyncio.ensure_future(room.link.look(60))
    room.clock.now += INTERVAL
    [ask] = await room.heard()
    room.supervisor.send(Answer(ask.number, {"fault": "failed", "reason": "the answer is too large"}))
    await look
    assert caplog.text.count("does not tell") == 1
    assert "the supervisor does not tell how the service is: the answer is too large" in caplog.text


async def test_an_answer_goes_to_who_has_asked(room: Room) -> None:
    answers = [asyncio.ensure_future(room.link.ask("stacks", {"worker": number}, 60)) for number in (1, 2)]
    await turns(2)
    one, two = await room.heard()
    room.supervisor.send(Answer(two.number, {"text": "two"}))
    room.supervisor.send(Answer(99, {"text": "nobody's"}))
    room.supervisor.send(Answer(one.number, {"text": "one"}))
    assert await asyncio.gather(*answers) == [{"text": "one"}, {"text": "two"}]


async def test_an_answer_that_does_not_come_is_none(room: Room) -> None:
    assert await room.link.ask("stacks", {"worker": 1}, 0.0) is None


@pytest.mark.parametrize("politely", [True, False])
async def test_it_says_when_this_process_is_to_end(room: Room, politely: bool) -> None:
    if politely:
        room.supervisor.send(Leave(LeaveReason.REPLACED))
    else:
        room.supervisor.close()
    while not room.left:
        await asyncio.sleep(0)
    assert room.left == [politely]
