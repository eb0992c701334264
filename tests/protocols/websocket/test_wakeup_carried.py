"""A coroutine that a wakeup carries does what it would do if its task ran it, always the same and in the same order."""

import asyncio
import contextvars
from collections.abc import Coroutine
from contextvars import ContextVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corehttp.protocols.websocket.wakeup import Wakeup
from corehttp.worker.event_loop import loop_factory
from tests.kit.connections import on_both_loops, until
from tests.protocols.test_properties import profile

WAIT = 20.0  # seconds, for what takes a moment

# What the coroutine does, and what comes from outside: one of them in each turn of the loop.
STEPS = ["receive", "yield", "wait", "child", "time out", "fail"]
EVENTS = st.lists(
    st.sampled_from(["message", "two messages", "cancel", "cancel, then message", "resolve", "nothing"]), max_size=12
)

variable = ContextVar("variable", default="unset")


class Scene:
    """A coroutine that receives messages, what it notes, and what happens to it."""

    def __init__(self, steps: list[str]) -> None:
        self.log: list[str] = []
        self.wakeup = Wakeup(asyncio.get_running_loop())
        self.queue: list[int] = []
        self.received: list[int] = []
        self.waiting = 0  # how many wait in `_receive`
        self.sent = 0
        self._steps = steps
        self._futures: list[asyncio.Future[None]] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def carried(self) -> None:
        await self.wakeup.carry(self.play())

    async def play(self) -> None:
        """Take the steps; a cancellation ends one of them."""
        task = asyncio.current_task()
        variable.set("the coroutine's")
        for step in self._steps:
            self.log.append(step)
            try:
                await self._take(step)
            except asyncio.CancelledError as error:
                self.log.append(f"cancelled {error.args}")
            except TimeoutError:
                self.log.append("timed out")
            assert asyncio.current_task() is task
            assert variable.get() == "the coroutine's"
        self.log.append("end")

    async def _take(self, step: str) -> None:
        match step:
            case "receive":
                await self._receive("it")
            case "yield":
                await asyncio.sleep(0)
            case "wait":
                await self._wait()
            case "child":
                await asyncio.create_task(self._child())
            case "be cancelled":
                task = asyncio.current_task()
                assert task is not None
                task.cancel("by itself")
            case "start a receiver":
                self._tasks.append(asyncio.create_task(self._receive("the other")))
            case "time out":
                async with asyncio.timeout(0):
                    await self._receive("in no time")
            case _:
                raise ZeroDivisionError

    async def _receive(self, who: str) -> None:
        self.waiting += 1
        try:
            while not self.queue:
                await self.wakeup
        finally:
            self.waiting -= 1
        self.received.append(self.queue.pop(0))
        self.log.append(f"{who} got {self.received[-1]}")

    async def _wait(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._futures.append(future)
        await future

    async def _child(self) -> None:
        try:
            await self._wait()
        except asyncio.CancelledError:
            self.log.append("the child is cancelled")
            await asyncio.sleep(0)
            self.log.append("and ends")
            raise

    def happen(self, event: str, task: asyncio.Task[None]) -> None:
        """Let one of EVENTS happen; to be called by the loop."""
        self.log.append(f"-- {event}")
        match event:
            case "message":
                self._send()
            case "two messages":
                self._send()
                self._send()
            case "cancel":
                task.cancel("from outside")
            case "cancel, then message":
                task.cancel("from outside")
                self._send()
            case "resolve":
                for future in self._futures:
                    if not future.done():
                        future.set_result(None)
            case _:
                pass

    def _send(self) -> None:
        self.sent += 1
        self.queue.append(self.sent)
        self.wakeup.wake()

    async def leave(self, task: asyncio.Task[None]) -> None:
        """Cancel the tasks that have not ended, until all have."""
        while not all(each.done() for each in (task, *self._tasks)):
            for each in (task, *self._tasks):
                each.cancel("at the end")
            await asyncio.sleep(0)
        # A task that cancels itself in its last step may count as cancelled or not: nobody relies on it.
        self.log.append(repr(None if task.cancelled() else task.exception()))
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def played(steps: list[str], events: list[str], *, carried: bool) -> Scene:
    """Return the scene after a coroutine took `steps` while `events` happened; run by a wakeup if `carried`."""
    loop = asyncio.get_running_loop()
    scene = Scene(steps)

    task = loop.create_task(scene.carried() if carried else scene.play())
    async with asyncio.timeout(WAIT):
        for event in events:
            loop.call_soon(scene.happen, event, task)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not scene.queue or not scene.waiting
        await scene.leave(task)
    assert scene.received + scene.queue == list(range(1, scene.sent + 1))
    return scene


def run(loop: str, steps: list[str], events: list[str], *, carried: bool) -> list[str]:
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        return runner.run(played(steps, events, carried=carried)).log


def steps(*more: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from([*STEPS, *more]), max_size=8)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@profile
@given(steps(), EVENTS)
def test_whatever_it_does_and_happens_it_does_the_same_with_and_without_being_carried(
    loop: str, steps: list[str], events: list[str]
) -> None:
    assert run(loop, steps, events, carried=True) == run(loop, steps, events, carried=False)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("then", ["receive", "yield", "wait", "child", "fail"])
def test_one_that_cancels_itself_is_cancelled_where_it_waits_next(loop: str, then: str) -> None:
    steps = ["receive", "be cancelled", then, "receive"]
    carried = run(loop, steps, ["message", "nothing", "message"], carried=True)
    assert carried == run(loop, steps, ["message", "nothing", "message"], carried=False)
    assert (then == "fail") != ("cancelled ('by itself',)" in carried)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@profile
@given(steps("be cancelled", "start a receiver"), EVENTS)
def test_among_several_that_receive_no_message_is_lost_and_nobody_waits_for_one_that_is_there(
    loop: str, steps: list[str], events: list[str]
) -> None:
    run(loop, steps, events, carried=True)


@on_both_loops
async def test_while_it_waits_for_something_else_another_task_that_waits_for_the_wakeup_is_run() -> None:
    scene = Scene(["start a receiver", "wait"])
    task = asyncio.create_task(scene.carried())
    await until(lambda: scene.waiting == 1)
    asyncio.get_running_loop().call_soon(scene.happen, "message", task)
    await until(lambda: scene.received == [1])
    await asyncio.sleep(0)
    assert scene.log[-1] == "the other got 1"
    await scene.leave(task)


@on_both_loops
async def test_a_wakeup_by_a_task_runs_it_in_the_next_turn_of_the_loop() -> None:
    scene = Scene(["receive", "yield"])
    task = asyncio.create_task(scene.carried())
    await until(lambda: scene.waiting == 1)
    scene.happen("message", task)
    assert scene.received == []
    await until(lambda: scene.received == [1])
    await scene.leave(task)


@on_both_loops
async def test_a_wakeup_by_a_task_in_the_same_context_has_its_effect_in_the_next_turn() -> None:
    loop = asyncio.get_running_loop()
    wakeup = Wakeup(loop)
    log: list[str] = []

    async def wait() -> None:
        await wakeup
        log.append("woken")

    async def wake() -> None:
        wakeup.wake()
        log.append("after")

    context = contextvars.copy_context()
    waits = asyncio.create_task(carry(wakeup, wait()), context=context)
    await asyncio.sleep(0)
    await asyncio.create_task(wake(), context=context)
    await waits
    assert log == ["after", "woken"]


async def carry(wakeup: Wakeup, coroutine: Coroutine[object, None, None]) -> None:
    await wakeup.carry(coroutine)
