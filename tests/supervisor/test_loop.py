"""How long the supervisor's loop acts before it hears what has come in: the real loop, in a simulated world."""

import random
import signal

import pytest

from corehttp.config import Config
from corehttp.supervisor.deployment import Deployment
from corehttp.supervisor.events import Resized
from corehttp.supervisor.fleet import Fleet, Stop
from corehttp.supervisor.generations import Generations
from corehttp.supervisor.loop import DEAF_SECONDS, Supervisor
from corehttp.supervisor.upgrade import Upgrade
from tests.supervisor.simulated_world import SimulatedChannel, SimulatedWorld

SPAWN = 0.05  # seconds that the start of a process takes


def test_a_stop_is_heard_while_very_many_workers_are_started(monkeypatch: pytest.MonkeyPatch) -> None:
    world = SimulatedWorld(random.Random(1), 2, 0.0)
    world.troubles = False
    config, deployment, fleet = Config(app="application:app", workers="2"), Deployment(), Fleet(2)
    generations = Generations(config, lambda: config, deployment, set_up=lambda *settings: None)
    supervisor = Supervisor(fleet, world, generations, Upgrade((), deployment, world.processes))
    world.board = supervisor._service.board
    spawn = world.processes.spawn

    def spawn_slowly(module: str, title: str) -> tuple[int, SimulatedChannel]:
        world.time += SPAWN
        return spawn(module, title)

    monkeypatch.setattr(world.processes, "spawn", spawn_slowly)
    supervisor._observe(Resized(500))
    assert supervisor._act() is None
    begun = len(fleet.workers)
    assert SPAWN * begun == pytest.approx(DEAF_SECONDS, abs=2 * SPAWN)
    supervisor._wait()
    supervisor._act()
    assert len(fleet.workers) >= 2 * begun, "it goes on at once"
    world.pending.append(signal.SIGTERM)
    supervisor._wait()
    assert fleet.stop is not Stop.NO
    started = len(fleet.workers)
    supervisor._act()
    assert len(fleet.workers) <= started
    supervisor._leave_nothing()
