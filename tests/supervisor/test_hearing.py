"""What the real loop makes of what children say, in a simulated world: the worst costs at most the child itself."""

import logging
import random
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corehttp.config import Config
from corehttp.errors import ExitCode
from corehttp.ipc import messages
from corehttp.ipc.codec import dump
from corehttp.ipc.message_stream import encode
from corehttp.ipc.messages import FromChild, FromSupervisor, Leave, LeaveReason
from corehttp.supervisor.deployment import Deployment
from corehttp.supervisor.fleet import Fleet
from corehttp.supervisor.generations import Generations
from corehttp.supervisor.loop import Supervisor
from corehttp.supervisor.upgrade import Upgrade
from tests.kit.extent import FULL
from tests.supervisor.simulated_world import Process, SimulatedChannel, SimulatedWorld

CONFIG = Config(
    app="application:app",
    workers="2",
    timeout_graceful_shutdown=3.0,
    timeout_lifespan_shutdown=1.0,
    timeout_exit=1.0,
    timeout_worker_startup=8.0,
    timeout_worker_healthcheck=6.0,
)
# Each example is the life of a whole service.
few = settings(max_examples=60 if FULL else 20)
SETTLED = 30.0  # seconds after which a child that has said the worst is gone, and its successor serves

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
said: st.SearchStrategy[FromChild] = st.one_of(
    st.just(messages.Ready()),
    st.just(messages.Closed()),
    st.just(messages.Drained()),
    st.builds(messages.StartFailed, text, text),
    st.builds(messages.Retire, text),
    st.builds(messages.Forked, st.integers(2, 2**31 - 1)),
    st.builds(messages.NotForked, text),
)
unknown = dump(("unknown",))
garbage = st.one_of(
    st.binary(max_size=200),
    said.map(encode),
    st.just(len(unknown).to_bytes(4, "big") + unknown),
    st.binary(max_size=100).map(lambda payload: len(payload).to_bytes(4, "big") + payload),
    st.tuples(said.map(encode), st.integers(0, 200)).map(lambda cut: cut[0][: cut[1]]),
)
speech = st.lists(garbage, min_size=1, max_size=6)


class Records(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.faults: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        if record.exc_info:
            self.faults.append(self.format(record))


@contextmanager
def logged() -> Iterator[Records]:
    """Collect what the supervisor logs."""
    logger, records = logging.getLogger("corehttp.supervisor"), Records()
    before = logger.propagate
    logger.addHandler(records)
    logger.propagate = False
    try:
        yield records
    finally:
        logger.removeHandler(records)
        logger.propagate = before


class Loop:
    """The supervisor's loop in a world in which nothing goes wrong by itself."""

    def __init__(self, *, preload: bool = False) -> None:
        self.world = SimulatedWorld(random.Random(1), 2, 0.0)
        self.world.troubles = False
        self.fleet = Fleet(2, preload=preload)
        deployment = Deployment()
        generations = Generations(CONFIG, lambda: CONFIG, deployment, set_up=lambda *settings: None)
        generations.apply(self.fleet, 1)
        upgrade = Upgrade(("address",), deployment, self.world.processes)
        self.supervisor = Supervisor(self.fleet, self.world, generations, upgrade)
        self.world.board = self.supervisor._service.board
        self.go_on(SETTLED)

    def go_on(self, seconds: float) -> ExitCode | None:
        """Let the loop run for so many seconds; the exit code if it has ended by then."""
        until = self.world.time + seconds
        while self.world.time < until:
            code = self.supervisor._act()
            if code is not None:
                return code
            self.supervisor._wait()
        return None

    def workers(self) -> dict[int, int]:
        """For each slot the pid of its worker, which serves."""
        serving = {worker.id for worker in self.fleet.accepting()}
        return {member.slot: member.pid for member in self.supervisor._service.workers if member.worker in serving}

    def end(self) -> ExitCode | None:
        """Stop the service."""
        self.world.pending.append(15)
        code = self.go_on(SETTLED)
        self.supervisor._leave_nothing()
        return code


def say(process: Process, pieces: list[bytes]) -> None:
    """Have a process send these bytes over its channel."""
    assert process.channel is not None
    for piece in pieces:
        process.channel.incoming += piece


@few
@given(speech)
def test_whatever_a_worker_says_costs_at_most_that_worker(pieces: list[bytes]) -> None:
    with logged() as records:
        loop = Loop()
        before = loop.workers()
        assert set(before) == {0, 1}
        say(loop.world.processes.all[before[0]], pieces)
        assert loop.go_on(SETTLED) is None, "the supervisor has ended"
        after = loop.workers()
        assert set(after) == {0, 1}, "a worker that said the worst has no successor"
        assert after[1] == before[1], "another worker was replaced, too"
        assert loop.end() in (ExitCode.CLEAN, ExitCode.DRAIN)
    assert not records.faults
    assert sum("over its channel" in line for line in records.lines) <= 1


@few
@given(speech)
def test_whatever_a_template_says_leaves_the_workers_that_it_has_forked(pieces: list[bytes]) -> None:
    with logged() as records:
        loop = Loop(preload=True)
        before = loop.workers()
        assert set(before) == {0, 1}
        [template] = [process for process in loop.world.processes.alive if process.is_template]
        say(template, pieces)
        assert loop.go_on(SETTLED) is None, "the supervisor has ended"
        assert loop.workers() == before, "a worker was replaced"
        assert loop.end() in (ExitCode.CLEAN, ExitCode.DRAIN)
    assert not records.faults
    assert sum("over its channel" in line for line in records.lines) <= 1


@few
@given(speech)
def test_whatever_a_worker_says_before_it_is_ready_ends_in_time(pieces: list[bytes]) -> None:
    with logged() as records:
        loop = Loop()
        before = loop.workers()
        loop.world.processes.kill(before[0])
        loop.go_on(0.05)
        [successor] = [process for process in loop.world.processes.alive if process.pid not in before.values()]
        say(successor, pieces)
        assert loop.go_on(2 * SETTLED) is None, "the supervisor has ended"
        after = loop.workers()
        assert set(after) == {0, 1}, "a worker that said the worst has no successor"
        assert after[1] == before[1], "another worker was replaced, too"
        assert loop.end() in (ExitCode.CLEAN, ExitCode.DRAIN)
    assert not records.faults


def test_others_pass_connections_to_a_successor_before_the_worker_that_it_replaces_is_told_to_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = Loop()
    service, send, told = loop.supervisor._service, SimulatedChannel.send, []

    def look_and_send(channel: SimulatedChannel, message: FromSupervisor, fds: Sequence[int] = ()) -> bool:
        if isinstance(message, Leave):
            slot = next(member.slot for member in service.workers if member.channel is channel)
            told.append((message.reason, slot, [row.slot for row in service.board.rows() if row.told].count(slot)))
        return send(channel, message, fds)

    monkeypatch.setattr(SimulatedChannel, "send", look_and_send)
    loop.world.pending.append(signal.SIGHUP)
    loop.go_on(SETTLED)
    assert told == [(LeaveReason.REPLACED, 0, 2), (LeaveReason.REPLACED, 1, 2)]
    loop.end()
