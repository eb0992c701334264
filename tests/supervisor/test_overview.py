"""What the admin child is told of its service."""

import json
import random
from pathlib import Path

import pytest

from corehttp.config import Config
from corehttp.ipc.codec import dump
from corehttp.ipc.tls_area import write_ends
from corehttp.records import replaced
from corehttp.supervisor.deployment import Deployment
from corehttp.supervisor.events import BecameReady, Spawned
from corehttp.supervisor.fleet import Fleet
from corehttp.supervisor.generations import Generations
from corehttp.supervisor.overview import LONGEST_TEXT, overview
from corehttp.supervisor.service import Service
from corehttp.supervisor.status import moment
from corehttp.supervisor.upgrade import Upgrade
from corehttp.supervisor.workers import Member
from tests.supervisor.simulated_world import SimulatedChannel, SimulatedWorld


class Place:
    """A service with two workers, whose event loops run when the test says so."""

    def __init__(self) -> None:
        self.world = SimulatedWorld(random.Random(1), 2, 0.0)
        config, deployment = Config(app="main:app", admin="localhost:0", ready_min_workers=2), Deployment()
        generations = Generations(config, lambda: config, deployment, set_up=lambda *settings: None)
        self.service = Service(self.world, Fleet(2), generations, Upgrade((), deployment, self.world.processes))
        generations.apply(self.service.fleet, 1)
        self.stopped: set[int] = set()
        self.world.processes.is_stopped = self.stopped.__contains__  # type: ignore[method-assign, assignment]
        for worker in (1, 2):
            row = self.service.board.claim(worker - 1)
            member = Member(worker, worker - 1, 1, 100 + worker, SimulatedChannel(self.world), row)
            self.service.workers._members[worker] = member
            self.service.observe(Spawned(worker, worker - 1, 1))

    def beat(self, worker: int) -> None:
        self.service.board.row(self.service.workers[worker].row).beat = self.world.time


@pytest.fixture
def place() -> Place:
    return Place()


def test_it_has_the_status_and_what_probes_ask_for(place: Place) -> None:
    told = overview(place.service, "shop")
    assert dump(told), "it can go through a channel"
    status = told["status"]
    assert isinstance(status, dict)
    assert (status["name"], status["state"]) == ("shop", "starting")
    assert (told["complete"], told["ready_min_workers"], told["healthcheck"]) == (False, 2, 30.0)
    assert (told["silent"], told["events"]) == ([], [])
    for worker in (1, 2):
        place.service.observe(BecameReady(worker))
    assert overview(place.service, "shop")["complete"] is True


def test_event_loops_are_silent_since_their_last_beat_unless_a_debugger_has_stopped_them(place: Place) -> None:
    place.world.time = 100.0
    for worker in (1, 2):
        place.service.observe(BecameReady(worker))
    assert overview(place.service, "shop")["silent"] == [0.0, 0.0], "they have just begun"
    place.world.time = 110.0
    place.beat(1)
    place.world.time = 111.0
    assert overview(place.service, "shop")["silent"] == [1.0, 11.0]
    place.stopped.update((101, 102))
    assert overview(place.service, "shop")["silent"] == [1.0]


def test_a_beat_that_is_still_to_come_hides_no_blocked_event_loop(place: Place) -> None:
    place.world.time = 100.0
    for worker in (1, 2):
        place.service.observe(BecameReady(worker))
    place.world.time = 110.0
    place.beat(1)
    place.service.board.row(place.service.workers[2].row).beat = 1e9  # as only a faulty worker writes it
    status = overview(place.service, "shop")["status"]
    assert isinstance(status, dict)
    assert [worker["state"] for worker in status["workers"]] == ["serving", "blocked"]


def test_the_example_in_the_documentation_has_every_member_of_a_status(place: Place) -> None:
    text = (Path(__file__).parents[2] / "docs/control.md").read_text()
    documented = json.loads(text[text.index('{"schema": 1, "name": "main-8000"') :].partition("\n\n")[0])
    place.service.history.reload_refused("no such file", 1_796_040_000.5)
    place.service.history.worker_ended(3, 0, "crash", "SIGSEGV", 1_796_040_001.0)
    status = overview(place.service, "shop")["status"]
    assert isinstance(status, dict)
    assert documented.keys() == {"schema", "rss_bytes", *status}, "the command adds these"
    [worker] = documented["workers"]
    assert worker.keys() == status["workers"][0].keys()
    for name, of, example in (("last_reload", status, documented), ("last_exit", status["workers"][0], worker)):
        assert example[name].keys() == of[name].keys()


def test_a_certificate_ends_when_the_first_worker_that_serves_shows_another_one(place: Place) -> None:
    config = replaced(place.service.generations.config(1), ssl_certfile=("/a.crt", "/b.crt"))
    place.service.generations.assign(1, config)
    board, now = place.service.board, int(place.world.wall_clock())
    for worker, days in ((1, (90, 5)), (2, (3, -1))):
        row = place.service.workers[worker].row
        write_ends(board.fd, row, int(board.row(row).claim), [now + each * 86400 + 60 for each in days])

    def told() -> object:
        status = overview(place.service, "shop")["status"]
        assert isinstance(status, dict)
        return status["certificates"]

    assert told() is None, "no worker serves yet"
    place.service.observe(BecameReady(1))
    assert told() == [
        {"path": "/a.crt", "not_after": moment(now + 90 * 86400 + 60), "days": 90},
        {"path": "/b.crt", "not_after": moment(now + 5 * 86400 + 60), "days": 5},
    ]
    place.service.observe(BecameReady(2))
    assert told() == [
        {"path": "/a.crt", "not_after": moment(now + 3 * 86400 + 60), "days": 3},
        {"path": "/b.crt", "not_after": moment(now - 86400 + 60), "days": -1},
    ]


def test_the_last_events_are_told_with_their_times(place: Place) -> None:
    history = place.service.history
    history.reload_refused("x" * 10_000, 1_796_040_000.5)
    history.worker_ended(1, 0, "crash", "SIGSEGV", 1_796_040_001.0)
    history.worker_ended(2, 1, "reload", "exit 0", 1_796_040_002.0)
    events = overview(place.service, "shop")["events"]
    assert isinstance(events, list)
    assert [(event["number"], event["kind"], event["ok"]) for event in events] == [
        (1, "reload", False),
        (2, "exit", False),
        (3, "exit", True),
    ]
    assert len(events[0]["text"]) == LONGEST_TEXT
    assert events[1]["text"] == "worker 1 has ended: crash (SIGSEGV)"
    assert events[0]["at"].startswith("2026-11-30T12:00:00.500")
