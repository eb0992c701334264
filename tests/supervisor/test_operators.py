"""What operators are told, and that no fault of one request hurts the service or another operator."""

import random

import pytest

from corehttp.config import Config
from corehttp.supervisor.commands import Asked, Decision, decide
from corehttp.supervisor.deployment import Deployment
from corehttp.supervisor.events import BecameReady, ReloadRequested, Spawned, StopRequested
from corehttp.supervisor.fleet import Fleet
from corehttp.supervisor.generations import Generations
from corehttp.supervisor.operators import Operators
from corehttp.supervisor.service import Service
from corehttp.supervisor.upgrade import Upgrade
from tests.supervisor.simulated_operators import SimulatedControl, SimulatedOperator
from tests.supervisor.simulated_world import SimulatedWorld


class Desk:
    """Operators of a service with two workers that serve, whose commands are recorded and not carried out."""

    def __init__(self) -> None:
        self.world = SimulatedWorld(random.Random(1), 2, 0.0)
        config, deployment = Config(app="main:app"), Deployment()
        generations = Generations(config, lambda: config, deployment, set_up=lambda *settings: None)
        self.service = Service(self.world, Fleet(2), generations, Upgrade((), deployment, self.world.processes))
        for event in (Spawned(1, 0, 1), Spawned(2, 1, 1), BecameReady(1), BecameReady(2)):
            self.service.observe(event)
        self.control = SimulatedControl(self.world.now)
        self.commands: list[tuple[Asked, str]] = []
        self.operators = Operators(self.service, "shop", self.control, self.obey)
        self.operators.begin()

    def obey(self, command: Asked, source: str) -> Decision:
        self.commands.append((command, source))
        decision = decide(self.service.fleet, command)
        if isinstance(decision, ReloadRequested):
            self.service.observe(decision)
            self.service.history.reload_began(self.service.fleet.latest, 0.0)
        return decision

    def ask(self, verb: str, **arguments: object) -> SimulatedOperator:
        operator = self.control.ask(verb, **arguments)
        self.look()
        return operator

    def look(self) -> None:
        """What the loop does in each turn."""
        self.operators.look()
        self.operators.look()  # since who is heard in one turn is told in the next one


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_who_asks_is_named_in_the_command(desk: Desk) -> None:
    desk.ask("reload", wait=False)
    assert [source for _, source in desk.commands] == ["corehttp reload by uid 1, pid 2"]


def test_who_may_only_look_changes_nothing(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    operator = desk.control.ask("stop")
    operator.allowed = False
    desk.look()
    assert operator.verdict == ("forbidden", {"reason": "uid 1, pid 2 may not change this service"})
    assert not desk.commands
    assert "control: stop by uid 1, pid 2: refused, who may only look" in caplog.text


@pytest.mark.parametrize(
    ("verb", "arguments", "reason"),
    [
        ("no such", {}, "which serves here, knows no verb 'no such'"),
        ("x" * 1000, {}, "knows no verb '" + "x" * 40 + "'"),
        ("scale", {}, "scale needs `workers`, a whole number or auto"),
        ("scale", {"workers": 1.5}, "scale needs `workers`"),
        ("scale", {"workers": "auto", "relative": True}, "scale needs `workers`"),
        ("scale", {"workers": 1, "relative": 1}, "`relative` of scale must be true or false"),
        ("restart", {"worker": True}, "`worker` must be the number of a worker, from 1"),
        ("requests", {"worker": "1"}, "`worker` must be the number of a worker, from 1"),
        ("requests", {"worker": 0}, "`worker` must be the number of a worker, from 1"),
        ("send", {"topic": "news", "data": "%%"}, "data"),
        ("stacks", {}, "stacks needs `worker`, the number of a worker"),
        ("stop", {"now": None}, "`now` of stop must be true or false"),
        ("stop", {"wait": "no"}, "`wait` of stop must be true or false"),
        ("reload", {"wait": 0}, "`wait` of reload must be true or false"),
        ("scale", {"workers": "auto", "relative": 0}, "`relative` of scale must be true or false"),
        ("config", {"diff": "x"}, "`diff` of config must be true or false"),
    ],
)
def test_what_is_asked_wrongly_is_answered_and_nothing_is_done(
    desk: Desk, verb: str, arguments: dict[str, object], reason: str
) -> None:
    operator = desk.ask(verb, **arguments)
    assert operator.verdict is not None
    assert operator.verdict[0] == "usage"
    assert reason in str(operator.verdict[1]["reason"])
    assert not desk.commands


def test_a_fault_ends_one_request_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(desk.world.slots, "listeners", fail)
    operator = desk.ask("status")
    assert operator.verdict == ("failed", {"reason": "the service has failed to do that; its log says why"})
    assert "control: status by uid 1, pid 2 has failed" in caplog.text
    assert desk.ask("requests").verdict == ("result", {"requests": []})


def test_a_fault_while_telling_ends_one_wait_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, whole = desk.ask("reload"), desk.ask("scale", workers=2)

    def fail(content: object) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(broken, "progress", fail)
    desk.service.observe(BecameReady(1))
    desk.operators._waiting[0].told = ""
    desk.look()
    assert broken.verdict is not None
    assert broken.verdict[0] == "failed"
    assert whole.verdict == ("result", {"text": "2 workers"})


def test_all_who_wait_are_told_at_the_end(desk: Desk) -> None:
    waiting = [desk.ask("reload"), desk.ask("restart"), desk.ask("restart", worker=1), desk.ask("stop")]
    assert [operator.verdict for operator in waiting] == [None] * 4
    desk.service.observe(StopRequested())
    desk.operators.end(None)
    assert [operator.verdict[0] for operator in waiting if operator.verdict] == ["failed", "failed", "failed", "result"]
    assert desk.control.ended


def test_who_has_left_is_forgotten(desk: Desk) -> None:
    operator = desk.ask("reload")
    operator.gone = True
    desk.look()
    assert not desk.operators._waiting


def test_what_is_heard_after_its_operator_has_given_up_is_not_done(desk: Desk) -> None:
    now = desk.world.wall_clock()
    late = desk.ask("scale", workers=1, relative=True, expires=now - 0.1)
    reason = "the request was not heard before the moment that its `expires` names"
    assert (late.verdict, desk.commands) == (("late", {"reason": reason}), [])
    desk.ask("reload", wait=False, expires=now + 5)
    desk.ask("reload", wait=False, expires="soon")
    assert len(desk.commands) == 2


def test_the_requests_of_a_worker_that_cannot_be_are_refused(desk: Desk) -> None:
    assert desk.ask("requests", worker=2).verdict == ("result", {"requests": []})
    assert desk.ask("requests", worker=3).verdict == ("refused", {"reason": "there is no worker 3"})
