"""The supervisor's child processes: for each, what it is called, what follows from its end, and how it is ended."""

from collections.abc import Callable

from corehttp.records import record
from corehttp.supervisor.mishaps import survived


@record
class Child:
    """One child process. A new kind of child needs no other code in this module: it fills in the same fields."""

    name: str  # what log lines call it
    on_end: Callable[[int], object]  # what to call when it has ended, with its exit code (minus the signal)
    end: Callable[[], object]  # what to call to end it; called if it still runs when the supervisor ends


class Children:
    """All child processes by their pid, in the order in which they were added."""

    def __init__(self) -> None:
        self._rows: dict[int, Child] = {}
        # Whether a child was adopted that may have ended before that: its SIGCHLD has come in already then. Who reaps
        # the children sets this to False.
        self.unheard = False

    def __contains__(self, pid: int) -> bool:
        return pid in self._rows

    def pids(self) -> list[int]:
        """The process ids of all children."""
        return list(self._rows)

    def add(self, pid: int, child: Child) -> None:
        """Add a process that this one has started."""
        self._rows[pid] = child

    def adopt(self, pid: int, child: Child) -> None:
        """Add a process that another child has started; it may have ended already."""
        self._rows[pid] = child
        self.unheard = True

    def disown(self, pid: int) -> None:
        """Remove a process that is to run on by itself. Nothing follows from its end any more."""
        self._rows.pop(pid, None)

    def ended(self, pid: int, code: int) -> None:
        """Remove a process that has ended, and call its `on_end`. A pid that is not known is ignored."""
        child = self._rows.pop(pid, None)
        if child is not None:
            survived(f"the end of {child.name}", lambda: child.on_end(code))

    def end_all(self) -> None:
        """End every process that is left, in the order in which they were added: a template before it forks again."""
        for child in self._rows.values():
            survived(f"to end {child.name}", child.end)
