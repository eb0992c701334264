"""What came of measuring a cost of several servers, one after the other: the part that all such reports share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, TypeVar

from benchmarks.lib.applications import APPLICATIONS
from benchmarks.lib.servers import peer_of
from benchmarks.lib.table import aligned
from benchmarks.lib.versions import load_average

Row = TypeVar("Row")


@dataclass(slots=True, kw_only=True)
class CostReport(Generic[Row]):
    """The rows of the servers that were measured on the hello application, and the reasons why others were not."""

    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    load_average: str = field(default_factory=load_average)  # of the machine, before anything was measured
    rows: list[Row] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def measurable(self, names: Iterable[str]) -> list[str]:
        """Return the servers that can be measured here; the others are named in `left_out`."""
        found = []
        for name in names:
            obstacle = peer_of(name).obstacle(APPLICATIONS["hello"])
            if obstacle is None:
                found.append(name)
            else:
                self.left_out[name] = obstacle
        return found

    def framed(
        self,
        title: str,
        header: Sequence[str],
        rows: Sequence[Sequence[str]],
        failures: Iterable[str],
        method: str,
    ) -> str:
        """Return the rows as a table, with its title, what was left out, what failed, and what the figures mean."""
        lines = [f"== {title}: {self.date}, load average {self.load_average}", aligned(header, rows)]
        lines += [f"left out: {name}: {reason}" for name, reason in self.left_out.items()]
        lines += [f"failed: {failure}" for failure in failures]
        return "\n".join([*lines, method])
