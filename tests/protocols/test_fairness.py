"""Responses that are sent without a pause take turns, the longest waiting first; one that ends leaves nothing."""

import asyncio
import itertools

from corehttp.asgi import Receive, Scope, Send
from corehttp.protocols.fairness import AT_ONCE, FIRST, STRETCH, Fairness
from tests.kit.fakes import Client, MakeParser, make_context

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
MANY = 10


async def test_one_alone_goes_on_in_the_next_turn_of_the_loop() -> None:
    fairness = Fairness(asyncio.get_running_loop())
    for _ in range(MANY):
        task = asyncio.ensure_future(fairness.turn())
        await asyncio.sleep(0)
        assert not task.done()
        await asyncio.sleep(0)
        assert task.done()


async def test_of_many_so_many_go_on_in_each_turn_and_all_equally_often() -> None:
    fairness = Fairness(asyncio.get_running_loop())
    went_on: list[int] = []

    async def send_for_ever(number: int) -> None:
        while True:
            await fairness.turn()
            went_on.append(number)

    tasks = [asyncio.ensure_future(send_for_ever(number)) for number in range(MANY)]
    await asyncio.sleep(0)
    at_once = []
    for _ in range(100):
        before = len(went_on)
        await asyncio.sleep(0)
        at_once.append(len(went_on) - before)
    for task in tasks:
        task.cancel()
    assert max(at_once) == AT_ONCE
    counts = [went_on.count(number) for number in range(MANY)]
    assert min(counts) > 0
    assert max(counts) - min(counts) <= 1


async def test_one_that_is_cancelled_keeps_nobody_waiting() -> None:
    fairness = Fairness(asyncio.get_running_loop())
    tasks = [asyncio.ensure_future(fairness.turn()) for _ in range(MANY)]
    await asyncio.sleep(0)
    for task in tasks[:-1]:
        task.cancel()
    await tasks[-1]
    assert all(task.cancelled() for task in tasks[:-1])


async def test_a_response_without_a_pause_lets_others_have_their_turns(parser: MakeParser) -> None:
    piece = bytes(1000)
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200})
        if scope["path"] == "/":
            while sent < FIRST + 2 * STRETCH:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                sent += len(piece)
        await send({"type": "http.response.body"})

    context = make_context(app, parser)
    first, second = Client(context), Client(context)
    first.transport.deliver(GET)
    seen = []
    while not first.received.endswith(b"0\r\n\r\n"):
        second.transport.deliver(GET.replace(b"/", b"/2", 1))
        await asyncio.sleep(0)
        seen.append(sent)
    assert seen[0] <= FIRST
    assert all(later - before <= STRETCH for before, later in itertools.pairwise(seen))
    await second.wait()
    assert second.received.count(b"HTTP/1.1 200 OK") == len(seen)


async def test_a_short_response_takes_no_turn(parser: MakeParser) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        for _ in range(10):
            await send({"type": "http.response.body", "body": bytes(1000), "more_body": True})
        await send({"type": "http.response.body"})

    client = Client(make_context(app, parser))
    client.transport.deliver(GET)
    await asyncio.sleep(0)
    assert client.received.endswith(b"0\r\n\r\n")
