"""The supervisor's child processes: for each, what it is called, what follows from its end, and how it is ended."""

from collections.abc import Callable
from dataclasses import dataclass

from corehttp.supervisor.mishaps import survived


@dataclass(frozen=True, slots=True)
class Child:
    """A row of the table. A further kind of child is a further way to fill one in."""

    name: str  # for log lines
    on_end: Callable[[int], object]  # is called with the exit code (minus the signal) when the process has ended
    end: Callable[[], object]  # ends the process; called when the supervisor ends and the process still runs


class Children:
    """The table, by pid, in the order in which the children were added."""

    def __init__(self) -> None:
        self._rows: dict[int, Child] = {}
        self.unheard = False  # whether a child was added that may have ended before, so that SIGCHLD came too early

    def __contains__(self, pid: int) -> bool:
        return pid in self._rows

    def pids(self) -> list[int]:
        """The process ids of all children."""
        return list(self._rows)

    def add(self, pid: int, child: Child) -> None:
        """Enter a process that this one has started."""
        self._rows[pid] = child

    def adopt(self, pid: int, child: Child) -> None:
        """Enter a process that another child has started; it may have ended already."""
        self._rows[pid] = child
        self.unheard = True

    def disown(self, pid: int) -> None:
        """Remove a process that runs on by itself: its end is of no interest."""
        self._rows.pop(pid, None)

    def ended(self, pid: int, code: int) -> None:
        """Remove a process that has ended, and do what follows from that."""
        child = self._rows.pop(pid, None)
        if child is not None:
            survived(f"the end of {child.name}", lambda: child.on_end(code))

    def end_all(self) -> None:
        """End every process that is left, the first one first: a template, before it forks another worker."""
        for child in self._rows.values():
            survived(f"to end {child.name}", child.end)
