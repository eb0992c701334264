"""What runs in one worker alone, and what applications ask of the worker that they run in."""

import asyncio
from pathlib import Path

import pytest

import corehttp
from corehttp import membership, worker
from corehttp.membership import Membership

PATIENCE = 60.0  # seconds: only a fault takes as long


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Membership:
    """This process as the third worker of a supervisor, which does not lead."""
    monkeypatch.setattr(membership, "current", membership.current)
    membership.become(3, 2, 17)
    return membership.current


async def lead(events: list[str]) -> None:
    while True:
        async with worker.leadership():
            events.append("leads")
            try:
                await asyncio.Event().wait()
            finally:
                events.append("ends")
        events.append("goes on")


async def until(events: list[str], *expected: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while events != list(expected):
            await asyncio.sleep(0)


def test_without_a_supervisor_there_is_one_worker_which_leads() -> None:
    assert (worker.id, worker.generation, worker.is_leader) == (1, 1, True)
    worker.report_load(1.0)


def test_a_worker_says_what_it_is(own: Membership) -> None:
    assert (worker.id, worker.generation, worker.is_leader) == (3, 2, False)
    own.appoint()
    assert worker.is_leader
    with pytest.raises(AttributeError, match="has no attribute 'name'"):
        worker.name  # type: ignore[attr-defined]  # noqa: B018


def test_the_package_and_what_applications_import_are_one() -> None:
    assert corehttp.worker is worker
    modules = {path.stem for path in Path(worker.__file__).parent.glob("*.py")}
    public = {"id", "generation", "is_leader", "leadership", "report_load"}
    assert not modules & public, "a module takes the place of what applications use, once it is imported"


@pytest.mark.parametrize("load", [-0.1, 1.1, float("nan")])
def test_a_load_is_a_number_from_0_to_1(load: float) -> None:
    with pytest.raises(ValueError, match="load must be a number from 0 to 1"):
        worker.report_load(load)


async def test_a_body_waits_for_the_lead_is_cancelled_when_it_is_lost_and_may_run_again(own: Membership) -> None:
    events, said = list[str](), list[str]()
    task = asyncio.create_task(lead(events))
    await asyncio.sleep(0)
    assert not events
    own.appoint()
    await until(events, "leads")
    own.depose(lambda: said.append("stepped down"))
    assert not said
    await until(events, "leads", "ends", "goes on")
    assert said == ["stepped down"]
    own.appoint()
    await until(events, "leads", "ends", "goes on", "leads")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    own.depose(lambda: said.append("again"))
    assert said == ["stepped down", "again"]


async def test_another_leader_is_named_only_when_a_body_that_takes_its_time_has_ended(own: Membership) -> None:
    said, may_end, cleaning = list[str](), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with worker.leadership():
            try:
                await asyncio.Event().wait()
            finally:
                cleaning.set()
                await may_end.wait()

    own.appoint()
    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    own.depose(lambda: said.append("stepped down"))
    await asyncio.wait_for(cleaning.wait(), PATIENCE)
    assert not said
    may_end.set()
    await asyncio.wait_for(task, PATIENCE)
    assert said == ["stepped down"]


async def test_who_cancels_the_task_meanwhile_is_not_ignored(own: Membership) -> None:
    own.appoint()
    events = list[str]()
    task = asyncio.create_task(lead(events))
    await until(events, "leads")
    own.depose()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_the_body_raises_is_raised(own: Membership) -> None:
    own.appoint()
    with pytest.raises(LookupError):
        async with worker.leadership():
            raise LookupError
    said: list[str] = []
    own.depose(lambda: said.append("stepped down"))
    assert said == ["stepped down"]


async def test_a_context_is_for_one_use(own: Membership) -> None:
    own.appoint()
    leadership = worker.leadership()
    async with leadership:
        pass
    with pytest.raises(RuntimeError, match="for one use"):
        async with leadership:
            pass


def test_a_body_may_run_in_the_loop_of_a_thread(own: Membership) -> None:
    own.appoint()

    async def work() -> None:
        async with worker.leadership():
            own.depose(lambda: ended.append(True))
            assert not ended
            await asyncio.Event().wait()

    ended: list[bool] = []
    asyncio.run(asyncio.wait_for(work(), PATIENCE))
    assert ended == [True]
