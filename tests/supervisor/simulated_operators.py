"""Operators of a simulated service: they ask over a control socket that is none, and keep what they are told."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from corehttp.supervisor.operator import Operator

Verdict = tuple[str, Mapping[str, object]]


@dataclass
class SimulatedOperator:
    """Implements `operator.Operator`."""

    verb: str
    arguments: Mapping[str, object]
    who: str = "uid 1, pid 2"
    allowed: bool = True
    gone: bool = False
    steps: list[Mapping[str, object]] = field(default_factory=list)
    verdict: Verdict | None = None  # what was said last

    def may(self, *, change: bool) -> bool:
        return self.allowed or not change

    def progress(self, content: Mapping[str, object]) -> None:
        assert self.verdict is None or self.gone, "progress is told after the end"
        self.steps.append(content)

    def result(self, content: Mapping[str, object]) -> None:
        self._end("result", content)

    def refuse(self, fault: str, reason: str) -> None:
        self._end(fault, {"reason": reason})

    def _end(self, kind: str, content: Mapping[str, object]) -> None:
        if not self.gone:
            self.verdict, self.gone = (kind, content), True


class SimulatedControl:
    """Implements `operator.ControlPoint`. Requests are heard when the loop looks."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._on_request: Callable[[Operator], object] | None = None
        self._unheard: list[SimulatedOperator] = []
        self.operators: list[SimulatedOperator] = []
        self.ended = False

    def ask(self, verb: str, **arguments: object) -> SimulatedOperator:
        """Have an operator ask for something."""
        operator = SimulatedOperator(verb, arguments)
        self._unheard.append(operator)
        return operator

    def ask_anything(self, chance: random.Random) -> None:
        """Have an operator ask for one thing or another."""
        wait = chance.choice([True, True, False])
        match chance.choice(["reload", "scale", "by", "restart", "status", "requests", "config", "wrong"]):
            case "reload":
                self.ask("reload", wait=wait)
            case "scale":
                self.ask("scale", workers=chance.choice([0, 1, 2, 3, 4, 2000, "auto"]), wait=wait)
            case "by":
                self.ask("scale", workers=chance.choice([-9, -1, 1]), relative=True, wait=wait)
            case "restart":
                self.ask("restart", worker=chance.choice([None, 1, 2, 9]), wait=wait)
            case "wrong":
                self.ask(chance.choice(["scale", "restart", "no such"]), workers="x", worker="x")
            case verb:
                self.ask(verb)

    def begin(self, on_request: Callable[[Operator], object]) -> None:
        self._on_request = on_request

    def due(self) -> float:
        return self._now() if self._unheard else float("inf")

    def look(self) -> None:
        assert self._on_request is not None
        while self._unheard:
            self.operators.append(self._unheard.pop(0))
            self._on_request(self.operators[-1])

    def hand_on(self) -> None:
        self._unheard.clear()

    def end(self) -> None:
        self.ended = True

    def check_end(self) -> None:
        """Check that every operator was told how it has ended, and by then nobody waits."""
        assert self.ended
        unanswered = [operator for operator in self.operators if operator.verdict is None]
        assert not unanswered, unanswered
