"""What is recorded of a service second by second."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from corehttp.admin import recorder as module
from corehttp.admin.content import Content
from corehttp.admin.recorder import KEPT, RATE_WINDOW, Recorder
from corehttp.admin.supervisor_link import Seen, SupervisorLink
from corehttp.ipc.counters import BUCKETS, Counters, Histogram
from corehttp.ipc.scoreboard import Scoreboard


class Link:
    """A supervisor that says what the test says."""

    def __init__(self) -> None:
        self.overview: dict[str, Any] | None = None
        self.silent = 0.0
        self.asked: list[tuple[str, Content]] = []
        self.answer: Content | None = None

    async def look(self, patience: float = 0.0) -> Seen:
        return Seen(self.overview, self.silent)

    async def ask(self, verb: str, arguments: Content, patience: float) -> Content | None:
        self.asked.append((verb, arguments))
        return self.answer


class Room:
    def __init__(self) -> None:
        self.time = 100.0
        self.link = Link()
        self.board = Scoreboard.create()
        self.row = self.board.row(self.board.claim(0))
        self.counted = Counters()
        self.recorder = Recorder(
            cast(SupervisorLink, self.link), self.board, lambda: self.time, lambda: 1_000_000.0 + self.time
        )

    async def look(self, **counted: Any) -> None:
        """Let a second pass in which this was counted."""
        self.time += 1
        self.counted = self.counted.plus(Counters(**counted))
        self.row.counters = self.counted
        await self.recorder.look()

    def serves(self, *states: str, events: tuple[dict[str, Any], ...] = ()) -> None:
        workers = [{"slot": slot, "pid": -slot, "state": state} for slot, state in enumerate(states, 1)]
        self.link.overview = {"status": {"state": "serving", "workers": workers}, "events": list(events)}


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    room = Room()
    yield room
    room.board.close()


def took(bucket: int, times: int) -> Histogram:
    return Histogram((*(0,) * bucket, times, *(0,) * (BUCKETS - bucket - 1)), 0.0)


async def test_rates_and_latencies_are_those_of_the_last_seconds(room: Room) -> None:
    room.serves("serving")
    await room.look()
    assert list(room.recorder.samples[-1]) == [1_000_101.0, None, None, None, None, None]
    for _ in range(RATE_WINDOW + 3):
        await room.look(requests={("GET", 200): 9, ("GET", 500): 1}, aborted={"cut": 1}, duration=took(5, 10))
    at, requests, errors, p50, p99, _ = room.recorder.samples[-1]
    assert (at, requests, errors) == (1_000_000 + room.time, 10.0, 2.0)
    assert p50 is not None
    assert p99 is not None
    assert 5 < p50 < p99 <= 10
    for _ in range(10):
        await room.look()
    assert list(room.recorder.samples[-1][1:5]) == [0.0, 0.0, None, None]


async def test_ten_minutes_are_kept(room: Room) -> None:
    for _ in range(KEPT + 5):
        await room.look()
    assert len(room.recorder.samples) == KEPT
    assert room.recorder.samples[-1][0] - room.recorder.samples[0][0] == KEPT - 1


async def test_a_supervisor_that_does_not_answer_is_shown_as_such(room: Room) -> None:
    room.serves("serving")
    await room.look()
    assert cast(Any, room.recorder.now()["service"])["state"] == "serving"
    room.link.silent = 0.01
    await room.look()
    assert cast(Any, room.recorder.now()["service"])["state"] == "serving", "another one has asked just now"
    room.link.silent = 3.0
    await room.look()
    assert cast(Any, room.recorder.now()["service"])["state"] == "no answer"
    assert len(room.recorder.samples) == 3


async def test_before_anything_is_known_there_is_something_to_show(room: Room) -> None:
    now = room.recorder.now()
    assert (now["service"], now["workers"], now["requests"]) == ({}, [], [])
    assert room.recorder.events() == []


async def test_a_blocked_event_loop_is_an_event_with_its_stack_once(room: Room) -> None:
    room.link.answer = {"text": "Thread 0x1:\n" + "x" * 100_000}
    room.serves("serving", "blocked")
    await room.look()
    before = room.recorder.events()
    for _ in range(3):
        await room.look()
        await asyncio.sleep(0)
    assert before != room.recorder.events(), "who has seen the event is to see that its stack has come"
    assert room.link.asked == [("stacks", {"worker": 2})]
    [event] = room.recorder.events()
    assert (event["kind"], event["ok"], event["text"]) == ("blocked", False, "worker 2: its event loop is blocked")
    assert str(event["stack"]).startswith("Thread 0x1:")
    assert len(str(event["stack"])) == module.LONGEST_STACK
    room.serves("serving", "serving")
    await room.look()
    room.link.answer = None
    room.serves("blocked", "blocked")
    await room.look()
    await asyncio.sleep(0)
    assert [one["text"] for one in room.recorder.events()].count("worker 1: its event loop is blocked") == 1
    assert len(room.recorder.events()) == 3


async def test_events_of_both_come_in_their_order(room: Room) -> None:
    early = {"number": 1, "at": "1970-01-01T00:00:00.000+00:00", "kind": "exit", "ok": True, "text": "early"}
    late = {**early, "at": "2038-01-01T00:00:00.000+00:00", "text": "late"}
    room.serves("blocked", events=(early, late))
    await room.look()
    assert [event["text"] for event in room.recorder.events()] == [
        "late",
        "worker 1: its event loop is blocked",
        "early",
    ]


async def test_requests_in_flight_are_shown_the_oldest_first(room: Room) -> None:
    room.row.enter(90.0, b"GET", b"/old")
    room.row.enter(99.5, b"POST", b"/new")
    shown = cast(list[dict[str, object]], room.recorder.now()["requests"])
    assert [(one["slot"], one["method"], one["path"], one["age"], one["state"]) for one in shown] == [
        (1, "GET", "/old", 10.0, "waiting"),
        (1, "POST", "/new", 0.5, "waiting"),
    ]


async def test_who_waits_for_the_next_look_is_told(room: Room) -> None:
    waits = [room.recorder.next_look() for _ in range(3)]
    await room.look()
    assert all(wait.done() for wait in waits)
    assert not room.recorder.next_look().done()
