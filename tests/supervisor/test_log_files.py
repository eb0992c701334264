"""Who is told to open log files anew, and what an operator hears of it."""

import random

import pytest

from corehttp.ipc.messages import FromSupervisor, Ready, Reopen, Reopened
from corehttp.log_rotation import RotationRule
from corehttp.supervisor.events import BecameReady, Exited, Spawned
from corehttp.supervisor.fleet import Fleet
from corehttp.supervisor.history import History
from corehttp.supervisor.log_files import INTERVAL, PATIENCE, LogFiles, Reopening
from corehttp.supervisor.observe import observe
from corehttp.supervisor.templates import Template, Templates
from corehttp.supervisor.waits import Done, Failed, Progress
from corehttp.supervisor.workers import Member, Workers
from tests.supervisor.simulated_world import SimulatedChannel, SimulatedRotation, SimulatedWorld


class Desk:
    """Two workers that serve, a third one that starts, and a template."""

    def __init__(self) -> None:
        self.world = SimulatedWorld(random.Random(1), 3, 0.0)
        self.world.troubles = False
        self.fleet = Fleet(3)
        self.history = History(0.0)
        self.heard: list[tuple[int, FromSupervisor]] = []
        self.members: list[Member] = []
        for number in (1, 2, 3):
            observe(self.fleet, Spawned(number, number - 1, 1), 0.0)
            self.members.append(self._member(number))
        for member in self.members[:2]:
            observe(self.fleet, BecameReady(member.worker), 0.0)
            member.serves = True
        board: object = None
        workers = Workers(self.world.processes, board)  # type: ignore[arg-type]
        workers._members = {member.worker: member for member in self.members}
        self.templates = Templates(self.world.processes)
        self.rule = RotationRule(("/logs/a.log",), 0, 5)
        self.log_files = LogFiles(self.world, workers, self.templates, lambda: self.rule)

    def _member(self, number: int) -> Member:
        channel = Channel(self.world)
        return Member(number, number - 1, 1, 1000 + number, channel, 0)

    def reopen(self) -> Reopening:
        self.log_files.reopen()
        return self.log_files.last

    def outcome(self, reopening: Reopening) -> Done | Failed | None:
        return reopening.outcome(self.fleet, self.history)


class Channel(SimulatedChannel):
    """A channel to nobody, which keeps what is sent."""

    def __init__(self, world: SimulatedWorld) -> None:
        super().__init__(world)
        self.sent: list[FromSupervisor] = []

    def send(self, message: FromSupervisor, fds: object = ()) -> bool:
        self.sent.append(message)
        return True


@pytest.fixture
def desk() -> Desk:
    return Desk()


def sent(desk: Desk) -> list[list[FromSupervisor]]:
    channels = [member.channel for member in desk.members]
    return [channel.sent for channel in channels if isinstance(channel, Channel)]


def test_workers_that_serve_are_told_and_one_that_starts_is_not(desk: Desk) -> None:
    reopening = desk.reopen()
    assert sent(desk) == [[Reopen()], [Reopen()], []]
    assert reopening.progress(desk.fleet) == Progress(0, 2, "0 of 2 workers have opened them")
    assert desk.outcome(reopening) is None
    desk.log_files.heard(2, "")
    assert reopening.progress(desk.fleet) == Progress(1, 2, "1 of 2 workers have opened them")
    desk.log_files.heard(1, "")
    assert desk.outcome(reopening) == Done("log files are open anew")


def test_a_worker_that_was_told_may_answer_and_no_other_one(desk: Desk) -> None:
    desk.reopen()
    for member in desk.members[:2]:
        channel = member.channel
        assert isinstance(channel, Channel)
        channel._parser.feed(b"")
        assert channel._parser._allowed is not None
        assert channel._parser._allowed[Reopened] == 1
        assert channel._parser._allowed[Ready] == 1


def test_a_worker_that_cannot_open_its_file_fails_the_whole_once_all_have_answered(desk: Desk) -> None:
    reopening = desk.reopen()
    desk.log_files.heard(1, "/logs/a.log: Permission denied")
    assert desk.outcome(reopening) is None
    desk.log_files.heard(2, "")
    assert desk.outcome(reopening) == Failed("worker 1: /logs/a.log: Permission denied")


def test_a_worker_that_ends_is_not_waited_for(desk: Desk) -> None:
    reopening = desk.reopen()
    desk.log_files.heard(1, "")
    observe(desk.fleet, Exited(2, 0, 0.0), 1.0)
    assert desk.outcome(reopening) == Done("log files are open anew")


def test_a_busy_worker_is_waited_for_a_while_and_then_named(desk: Desk) -> None:
    reopening = desk.reopen()
    desk.log_files.heard(1, "")
    assert desk.log_files.due() == desk.world.now() + PATIENCE
    desk.log_files.look()
    assert desk.outcome(reopening) is None
    desk.world.time += PATIENCE
    desk.log_files.look()
    text = "done, and worker 2, which is busy, does so before its next line"
    assert desk.outcome(reopening) == Done(text)
    assert desk.log_files.due() == float("inf")
    desk.log_files.heard(2, "")  # too late for anybody to hear


def test_two_in_a_row_are_answered_in_their_order(desk: Desk) -> None:
    first, second = desk.reopen(), desk.reopen()
    for worker in (1, 2):
        desk.log_files.heard(worker, "")
    assert desk.outcome(first) == Done("log files are open anew")
    assert desk.outcome(second) is None
    desk.log_files.heard(1, "")
    desk.log_files.heard(2, "full")
    assert desk.outcome(second) == Failed("worker 2: full")


def test_the_supervisors_own_failure_counts() -> None:
    reopening = Reopening({}, "/logs/error.log: Permission denied")
    assert reopening.outcome(Fleet(1), History(0.0)) == Failed("supervisor: /logs/error.log: Permission denied")


def test_a_template_is_told_once_it_has_loaded_the_application(desk: Desk) -> None:
    loading, loaded = Channel(desk.world), Channel(desk.world)
    desk.templates._templates = {1: Template(1, 7, loading), 2: Template(2, 8, loaded, is_ready=True)}
    desk.reopen()
    assert (loading.sent, loaded.sent) == ([], [Reopen()])


# Rotation.


def rotation(desk: Desk) -> SimulatedRotation:
    found = desk.log_files._rotation
    assert isinstance(found, SimulatedRotation)
    return found


def test_files_are_looked_at_once_a_second_if_they_are_rotated_at_all(desk: Desk) -> None:
    assert desk.log_files.due() == float("inf")
    desk.rule = RotationRule(("/logs/a.log",), 100, 5)
    assert desk.log_files.due() == desk.world.now() + INTERVAL
    for _ in range(3):
        desk.world.time += INTERVAL
        desk.log_files.look()
        desk.log_files.look()
    assert rotation(desk).looks == 3
    assert rotation(desk).rule == desk.rule
    assert sent(desk) == [[], [], []]


def test_after_a_rotation_all_are_told_and_no_file_is_rotated_until_they_have_answered(desk: Desk) -> None:
    desk.rule = RotationRule(("/logs/a.log",), 100, 1)
    desk.world.time += INTERVAL
    desk.log_files.look()
    rotation(desk).too_large = True
    desk.world.time += INTERVAL
    desk.log_files.look()
    assert sent(desk) == [[Reopen()], [Reopen()], []]
    desk.log_files.heard(1, "")
    desk.world.time += INTERVAL
    desk.log_files.look()
    assert rotation(desk).looks == 2
    desk.log_files.heard(2, "")
    desk.log_files.look()
    assert rotation(desk).looks == 3


def test_a_worker_that_does_not_answer_stops_the_rotation_for_a_while_only(desk: Desk) -> None:
    desk.rule = RotationRule(("/logs/a.log",), 100, 1)
    desk.reopen()
    desk.world.time += INTERVAL
    desk.log_files.look()
    assert desk.log_files._rotated_by != desk.rule
    desk.world.time += PATIENCE
    desk.log_files.look()
    assert rotation(desk).looks == 1
