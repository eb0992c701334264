"""What dead workers have left running is told to end after a moment, then killed; nothing waits for it."""

import random
from collections.abc import Collection

import pytest

from corehttp.moments import NEVER
from corehttp.supervisor.aftermath import AGAIN, SELF, Aftermath
from corehttp.supervisor.children import Child, Children
from corehttp.supervisor.leftovers import GRACE
from tests.supervisor.simulated_world import SimulatedLeftovers, SimulatedWorld


class Templates:
    """Stands for the workers: says which ones a template has still to fork."""

    def __init__(self) -> None:
        self.owing = 0

    def unforked(self) -> list[object]:
        return [object()] * self.owing


class Scene:
    def __init__(self) -> None:
        self.world = SimulatedWorld(random.Random(1), 1, 0.0)
        self.templates = Templates()
        self.children = Children()
        self.aftermath = Aftermath(self.world, self.children, self.templates)

    def pass_on(self, seconds: float) -> None:
        """Let time pass, and look whenever something is due meanwhile."""
        end = self.world.time + seconds
        while self.aftermath.due() <= end:
            self.world.time = max(self.world.time, self.aftermath.due())
            self.aftermath.look()
        self.world.time = end


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_it_has_time_to_end_by_itself_then_is_told_to_and_then_is_killed(scene: Scene) -> None:
    left = scene.world.leftovers[7] = SimulatedLeftovers(running=True)
    scene.aftermath.worker_died(7)
    scene.pass_on(SELF - 0.1)
    assert left.done == []
    scene.pass_on(0.1)
    assert left.done == ["terminate"]
    scene.pass_on(GRACE)
    assert left.done == ["terminate", "kill", "close"]
    assert scene.aftermath.due() == NEVER


def test_without_a_dead_worker_nothing_is_due_and_a_look_does_nothing(scene: Scene) -> None:
    assert scene.aftermath.due() == NEVER
    scene.aftermath.look()
    scene.aftermath.end()


def test_a_worker_that_has_left_nothing_is_forgotten(scene: Scene) -> None:
    nothing = scene.world.leftovers[7] = SimulatedLeftovers()
    scene.aftermath.worker_died(7)
    scene.pass_on(SELF)
    assert nothing.done == ["close"]
    assert scene.aftermath.due() == NEVER


def test_while_a_template_forks_nothing_is_looked_for(scene: Scene) -> None:
    left = scene.world.leftovers[7] = SimulatedLeftovers(running=True)
    scene.templates.owing = 1
    scene.aftermath.worker_died(7)
    scene.pass_on(SELF + AGAIN / 2)
    assert left.done == []
    scene.templates.owing = 0
    scene.pass_on(AGAIN / 2)
    assert left.done == ["terminate"]


def test_the_processes_of_the_service_itself_are_named_when_it_is_looked_for(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, list[int]]] = []

    def left_by(worker: int, ours: Collection[int]) -> SimulatedLeftovers:
        asked.append((worker, list(ours)))
        return SimulatedLeftovers()

    monkeypatch.setattr(scene.world, "left_by", left_by)
    scene.children.add(8, Child("another worker", lambda code: None, lambda: None))
    scene.aftermath.worker_died(7)
    scene.pass_on(SELF)
    assert asked == [(7, [8])]


def test_at_the_end_of_the_service_what_was_told_to_end_is_left_to_what_ends_everything(scene: Scene) -> None:
    left = scene.world.leftovers[7] = SimulatedLeftovers(running=True)
    scene.aftermath.worker_died(7)
    scene.pass_on(SELF)
    scene.aftermath.worker_died(9)
    scene.aftermath.end()
    assert left.done == ["terminate", "close"]
    assert scene.aftermath.due() == NEVER
