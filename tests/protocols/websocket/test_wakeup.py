"""Tasks that wait for a Wakeup run at once, on both event loops; and so do those in a WebSocket's receive()."""

import asyncio
from contextvars import ContextVar

import pytest

from corehttp.asgi import Message
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from corehttp.protocols.websocket.wakeup import Wakeup
from tests.kit.connections import on_both_loops, until
from tests.kit.websocket_client import (
    TEXT,
    Puppet,
    WebSocketClient,
    disconnect,
    masked,
    opened,
    text,
)

MOMENT = 0.001  # seconds, for what must time out

variable = ContextVar("variable", default="unset")


class Waiter:
    """A task that waits for a wakeup `times` times; what happens is noted in order."""

    def __init__(self, times: int = 1) -> None:
        self.wakeup = Wakeup(asyncio.get_running_loop())
        self.log: list[str] = []
        self._times = times
        self.task = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        variable.set("the waiter's")
        for _ in range(self._times):
            try:
                await self.wakeup
                self.log.append("woken")
            except asyncio.CancelledError:
                self.log.append("cancelled")
        assert variable.get() == "the waiter's"

    async def waits(self) -> None:
        await asyncio.sleep(0)

    def wake(self) -> None:
        """Wake the task; to be called by the event loop."""
        self.log.append("wake")
        self.wakeup.wake()
        self.log.append("after")


@on_both_loops
async def test_the_task_that_waits_runs_at_once() -> None:
    waiter = Waiter()
    await waiter.waits()
    asyncio.get_running_loop().call_soon(waiter.wake)
    await waiter.task
    assert waiter.log == ["wake", "woken", "after"]


@on_both_loops
async def test_a_wakeup_can_be_waited_for_again_and_again() -> None:
    waiter = Waiter(3)
    for _ in range(3):
        await waiter.waits()
        asyncio.get_running_loop().call_soon(waiter.wake)
        await asyncio.sleep(0)
    await waiter.task
    assert waiter.log == ["wake", "woken", "after"] * 3


@on_both_loops
async def test_a_wakeup_where_nobody_waits_is_not_remembered() -> None:
    wakeup = Wakeup(asyncio.get_running_loop())
    wakeup.wake()
    task = asyncio.create_task(wait_for(wakeup))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done()
    asyncio.get_running_loop().call_soon(wakeup.wake)
    await task


async def wait_for(wakeup: Wakeup) -> None:
    await wakeup


@on_both_loops
async def test_a_task_that_is_cancelled_while_it_waits_sees_it_and_may_wait_again() -> None:
    waiter = Waiter(2)
    await waiter.waits()
    assert waiter.task.cancel()
    await until(lambda: waiter.log == ["cancelled"])
    await waiter.waits()
    asyncio.get_running_loop().call_soon(waiter.wake)
    await waiter.task
    assert waiter.log == ["cancelled", "wake", "woken", "after"]


@on_both_loops
async def test_a_wakeup_that_comes_when_its_task_has_been_cancelled_is_too_late() -> None:
    waiter = Waiter()
    await waiter.waits()
    asyncio.get_running_loop().call_soon(waiter.wake)
    waiter.task.cancel()
    await waiter.task
    assert waiter.log == ["wake", "cancelled", "after"]


@on_both_loops
async def test_nobody_can_be_cancelled_where_nobody_waits() -> None:
    assert not Wakeup(asyncio.get_running_loop()).cancel()


@on_both_loops
async def test_a_wakeup_leaves_it_to_the_task_to_be_cancelled_and_only_runs_it_soon() -> None:
    waiter = Waiter()
    await waiter.waits()
    assert not waiter.wakeup.cancel()
    assert waiter.log == []
    await waiter.task
    assert waiter.log == ["woken"]


# Those who wait in receive().


async def close(app: Puppet, client: WebSocketClient) -> None:
    app.end()
    await client.lose()


async def receive(app: Puppet) -> Message:
    return await app.receive()


@on_both_loops
async def test_a_message_from_the_event_loop_is_received_before_the_next_callback() -> None:
    app, client = await opened(HttptoolsParser)
    order: list[str] = []

    async def note() -> None:
        message = await app.receive()
        order.append(message["text"])

    task = asyncio.create_task(note())
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    loop.call_soon(client.transport.deliver, masked(TEXT, b"the message"))
    loop.call_soon(order.append, "the next callback")
    await task
    await asyncio.sleep(0)
    assert order == ["the message", "the next callback"]
    await close(app, client)


@on_both_loops
async def test_a_message_from_a_task_is_not_received_inside_that_task() -> None:
    app, client = await opened(HttptoolsParser)
    task = asyncio.create_task(receive(app))
    await asyncio.sleep(0)
    client.transport.deliver(masked(TEXT, b"a"))
    assert not task.done()
    assert await task == text("a")
    await close(app, client)


@on_both_loops
@pytest.mark.parametrize("from_a_task", [True, False], ids=["from a task", "from the loop"])
async def test_two_that_wait_get_a_message_each(from_a_task: bool) -> None:
    app, client = await opened(HttptoolsParser)
    tasks = [asyncio.create_task(receive(app)) for _ in range(2)]
    await asyncio.sleep(0)
    both = masked(TEXT, b"a") + masked(TEXT, b"b")
    if from_a_task:
        client.transport.deliver(both)
    else:
        asyncio.get_running_loop().call_soon(client.transport.deliver, both)
    got = [await task for task in tasks]
    assert sorted(message["text"] for message in got) == ["a", "b"]
    await close(app, client)


@on_both_loops
async def test_one_message_is_for_one_of_two_and_the_other_goes_on_waiting() -> None:
    app, client = await opened(HttptoolsParser)
    tasks = [asyncio.create_task(receive(app)) for _ in range(2)]
    await client.send(masked(TEXT, b"a"))
    assert [task.done() for task in tasks].count(True) == 1
    await client.send(masked(TEXT, b"b"))
    assert sorted([(await task)["text"] for task in tasks]) == ["a", "b"]
    await close(app, client)


@on_both_loops
async def test_all_that_wait_are_told_of_the_end() -> None:
    app, client = await opened(HttptoolsParser)
    tasks = [asyncio.create_task(receive(app)) for _ in range(3)]
    await client.wait()
    client.transport.lose()
    for task in tasks:
        assert await task == disconnect(1006)
    app.end()
    await client.wait()


@on_both_loops
async def test_a_receive_that_times_out_loses_no_message() -> None:
    app, client = await opened(HttptoolsParser)
    for content in "a", "b":
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(app.receive(), MOMENT)
        await client.send(masked(TEXT, content.encode()))
        assert await app.receive() == text(content)
    await close(app, client)


@on_both_loops
async def test_a_message_that_comes_in_time_ends_a_receive_with_a_timeout() -> None:
    app, client = await opened(HttptoolsParser)
    asyncio.get_running_loop().call_soon(client.transport.deliver, masked(TEXT, b"a"))
    assert await asyncio.wait_for(app.receive(), 20) == text("a")
    await close(app, client)


@on_both_loops
async def test_a_message_that_comes_as_its_receiver_is_cancelled_is_kept_for_the_next() -> None:
    app, client = await opened(HttptoolsParser)
    task = asyncio.create_task(receive(app))
    await asyncio.sleep(0)
    task.cancel()
    client.transport.deliver(masked(TEXT, b"a"))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await app.receive() == text("a")
    await close(app, client)
