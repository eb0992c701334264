"""What a worker tells of its tasks."""

import asyncio
from collections.abc import AsyncIterator

from corehttp.worker import stacks


async def wait_deep(event: asyncio.Event) -> None:
    async def inner() -> None:
        await event.wait()

    await inner()


async def numbers(event: asyncio.Event) -> AsyncIterator[int]:
    await event.wait()
    yield 1


async def test_each_task_is_told_with_all_that_it_waits_for() -> None:
    event = asyncio.Event()

    async def iterate() -> None:
        async for _ in numbers(event):
            pass

    tasks = [
        asyncio.create_task(wait_deep(event), name="deep\x1b[2J"),
        asyncio.create_task(iterate(), name="iterates"),
    ]
    await asyncio.sleep(0)
    told = stacks.tasks()
    event.set()
    await asyncio.gather(*tasks)
    assert "\nTasks: 3\n" in told
    deep = told.partition("Task deep\\x1b[2J (most recent call first):\n")[2].partition("\n\n")[0]
    assert [line.rpartition(" in ")[2] for line in deep.splitlines()] == ["wait", "inner", "wait_deep"]
    assert __file__ in deep
    assert " in iterate\n" in told, "what an async generator waits for is hidden"


async def test_many_tasks_and_deep_ones_are_told_in_part() -> None:
    event = asyncio.Event()

    async def nest(depth: int) -> None:
        if depth:
            await nest(depth - 1)
        else:
            await event.wait()

    tasks = [asyncio.create_task(nest(60)) for _ in range(stacks.MOST_TASKS)]
    await asyncio.sleep(0)
    told = stacks.tasks()
    event.set()
    await asyncio.gather(*tasks)
    assert f"\nTasks: {stacks.MOST_TASKS + 1}\n" in told
    assert told.count("\nTask ") == stacks.MOST_TASKS
    assert told.count(" in nest\n") <= stacks.MOST_TASKS * stacks.DEEPEST


def test_without_an_event_loop_there_are_none() -> None:
    assert stacks.tasks() == "\nNo event loop runs.\n"
