"""What a worker hears from its supervisor, and what becomes of a failure before it serves."""

import asyncio
import logging
import os
import socket
from collections.abc import Iterator, Sequence

import pytest

from corehttp import membership, worker
from corehttp.config import Config
from corehttp.errors import ExitCode, StartupError
from corehttp.ipc.channel import Channel, ChildEnd, SupervisorEnd
from corehttp.ipc.messages import (
    Fork,
    Inboxes,
    Lead,
    Leave,
    LeaveReason,
    Serve,
    StartFailed,
    StepDown,
    SteppedDown,
)
from corehttp.membership import Membership
from corehttp.worker import process, wiring
from corehttp.worker.process import Instructions
from corehttp.worker.siblings import Siblings
from corehttp.worker.worker import Worker


class CountingWorker(Worker):
    """Counts how often it was told to accept connections."""

    def __init__(self) -> None:
        self.accepted = 0

    def accept(self) -> None:
        self.accepted += 1


class CountingSiblings(Siblings):
    """Notes whose inboxes it got, and closes their descriptors."""

    def __init__(self) -> None:
        self.met: list[int] = []

    def meet(self, slots: Sequence[int], fds: Sequence[int]) -> None:
        self.met += slots
        for fd in fds:
            os.close(fd)


class Told:
    """A worker and its supervisor's end of the channel."""

    def __init__(self, supervisor: SupervisorEnd, child: ChildEnd) -> None:
        self.supervisor = supervisor
        self.child = child
        self.worker = CountingWorker()
        self.siblings = CountingSiblings()
        self.instructions = Instructions(child, self.worker, self.siblings, asyncio.get_running_loop())


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch) -> Membership:
    """This process as a worker of a supervisor, which does not lead."""
    monkeypatch.setattr(membership, "current", membership.current)
    membership.become(1, 1, 1)
    return membership.current


@pytest.fixture
def ends() -> Iterator[tuple[SupervisorEnd, ChildEnd]]:
    pair = Channel.pair()
    yield pair
    for end in pair:
        end.close()


async def test_messages_are_obeyed_in_their_order(ends: tuple[SupervisorEnd, ChildEnd]) -> None:
    told = Told(*ends)
    with socket.socket() as inbox:
        told.supervisor.send(Inboxes((1, 4)), [inbox.fileno(), inbox.fileno()])
    told.supervisor.send(Serve())
    told.instructions.receive()
    assert (told.siblings.met, told.worker.accepted) == ([1, 4], 1)
    assert not told.instructions.departure.done()


async def test_the_first_reason_to_leave_counts(ends: tuple[SupervisorEnd, ChildEnd]) -> None:
    told = Told(*ends)
    told.supervisor.send(Leave(LeaveReason.SLOT_CLOSES))
    told.supervisor.send(Leave(LeaveReason.STOP))
    told.instructions.receive()
    told.instructions.leave(LeaveReason.REPLACED)
    assert await told.instructions.departure is LeaveReason.SLOT_CLOSES


async def test_without_its_supervisor_a_worker_leaves_by_itself(
    ends: tuple[SupervisorEnd, ChildEnd], monkeypatch: pytest.MonkeyPatch
) -> None:
    orphans: set[int] = set()
    monkeypatch.setattr(process, "_orphans", orphans)
    told = Told(*ends)
    told.supervisor.send(Serve())
    told.supervisor.close()
    told.instructions.receive()
    assert told.worker.accepted == 1
    assert await told.instructions.departure is LeaveReason.ORPHANED
    assert orphans == {os.getpid()}


async def test_a_worker_that_is_told_so_leads_and_steps_down_when_nothing_needs_the_lead_any_more(
    ends: tuple[SupervisorEnd, ChildEnd], own: Membership
) -> None:
    told = Told(*ends)
    told.supervisor.send(Lead())
    told.instructions.receive()
    assert own.leads
    may_end = asyncio.Event()

    async def work() -> None:
        async with worker.leadership():
            try:
                await asyncio.Event().wait()
            finally:
                await may_end.wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    told.supervisor.expect(SteppedDown)
    told.supervisor.send(StepDown())
    told.instructions.receive()
    await asyncio.sleep(0)
    assert not own.leads
    assert told.supervisor.receive() == ([], False)
    may_end.set()
    await task
    await asyncio.sleep(0)
    assert told.supervisor.receive() == ([SteppedDown()], False)


async def test_a_leader_without_its_supervisor_steps_down_by_itself(
    ends: tuple[SupervisorEnd, ChildEnd], own: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_orphans", set())
    told = Told(*ends)
    told.supervisor.send(Lead())
    told.supervisor.close()
    told.instructions.receive()
    assert not own.leads


async def test_descriptors_for_which_there_is_no_room_cost_the_way_to_others_and_nothing_else(
    ends: tuple[SupervisorEnd, ChildEnd], error_log: list[logging.LogRecord]
) -> None:
    told = Told(*ends)
    told.supervisor.send(Inboxes((1,)))  # as if the kernel had dropped the descriptor
    told.supervisor.send(Serve())
    told.instructions.receive()
    assert (told.siblings.met, told.worker.accepted) == ([], 1)
    assert error_log[0].getMessage().startswith("the way to other workers is not known: this process has opened all")


async def test_a_message_that_is_for_others_is_a_fault_of_the_supervisor(ends: tuple[SupervisorEnd, ChildEnd]) -> None:
    told = Told(*ends)
    told.supervisor.send(Fork())
    with pytest.raises(AssertionError, match="a worker that serves was told"):
        told.instructions.receive()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (StartupError("no database", "its traceback"), ExitCode.STARTUP, [StartFailed("no database", "its traceback")]),
        (LookupError("of the server"), process.EXIT_INTERNAL_ERROR, []),
    ],
)
def test_a_failure_is_told_and_becomes_an_exit_code(
    ends: tuple[SupervisorEnd, ChildEnd],
    error_log: list[logging.LogRecord],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: int,
    said: list[StartFailed],
) -> None:
    limits: list[tuple[float, int]] = []
    monkeypatch.setattr(process, "limit_exit", lambda seconds, code: limits.append((seconds, code)))

    def serve() -> ExitCode:
        raise error

    settings = wiring.worker_settings(Config(timeout_exit=7.0))
    assert process._exit_code_of(serve, ends[1], settings) == code
    assert limits == [(7.0, code)]
    assert ends[0].receive() == (said, False)
    assert bool(error_log) == (not said)


def test_a_worker_that_has_served_sets_no_limit_itself(ends: tuple[SupervisorEnd, ChildEnd]) -> None:
    settings = wiring.worker_settings(Config())
    assert process._exit_code_of(lambda: ExitCode.DRAIN, ends[1], settings) == ExitCode.DRAIN
