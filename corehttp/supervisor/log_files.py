"""Rotate the log files of a service, and have all its processes open them anew once somebody has renamed them."""

from collections.abc import Callable

from corehttp import logs
from corehttp.ipc.messages import Reopen, Reopened
from corehttp.log_rotation import RotationRule
from corehttp.moments import NEVER
from corehttp.supervisor.fleet import Fleet
from corehttp.supervisor.history import History
from corehttp.supervisor.templates import Templates
from corehttp.supervisor.waits import Done, Failed, Progress
from corehttp.supervisor.workers import Member, Workers
from corehttp.supervisor.world import World

INTERVAL = 1.0  # seconds between two looks at the size of the files
PATIENCE = 5.0  # seconds that an operator waits for a worker, which may be busy, to say that its files are open anew


class Reopening:
    """One time that all processes open their log files anew. It is a `waits.Wait`."""

    def __init__(self, workers: dict[int, int], fault: str) -> None:
        """`workers` are the slots of the workers that were told, by the workers' numbers.

        `fault` is why the supervisor could not open its own file, or empty.
        """
        self._slots = workers
        self._left = set(workers)
        self.faults = [f"supervisor: {fault}"] if fault else []
        self.is_late = False  # whether those who have not answered are waited for no longer

    def answered(self, worker: int, fault: str) -> None:
        """Record the answer of a worker."""
        self._left.discard(worker)
        if fault:
            self.faults.append(f"worker {self._slots[worker] + 1}: {fault}")

    @property
    def is_complete(self) -> bool:
        """Whether all have answered."""
        return not self._left

    def waits_for(self, worker: int) -> bool:
        """Whether the worker is to answer."""
        return worker in self._left

    def progress(self, fleet: Fleet) -> Progress:
        """Count the workers that have answered, or have ended."""
        ready, of = len(self._slots) - len(self._silent(fleet)), len(self._slots)
        return Progress(ready, of, f"{ready} of {of} workers have opened them")

    def outcome(self, fleet: Fleet, history: History) -> Done | Failed | None:
        """Say whether no line goes into a file that was renamed any more."""
        silent = self._silent(fleet)
        if silent and not self.is_late:
            return None
        if self.faults:
            return Failed("; ".join(self.faults))
        if silent:
            numbers = ", ".join(str(self._slots[worker] + 1) for worker in silent)
            return Done(f"done, and worker {numbers}, which is busy, does so before its next line")
        return Done("log files are open anew")

    def _silent(self, fleet: Fleet) -> list[int]:
        return sorted(worker for worker in self._left if worker in fleet.workers)


class LogFiles:
    """The log files of a service, as far as its processes are to be told of them."""

    def __init__(self, world: World, workers: Workers, templates: Templates, rule: Callable[[], RotationRule]) -> None:
        """`rule` returns which files are rotated by now, and when."""
        self._rule = rule
        self._rotation = world.rotation(rule())
        self._rotated_by = rule()  # the rule that `_rotation` has
        self._next = world.now() + INTERVAL  # when the size of the files is looked at next
        self._world = world
        self._workers = workers
        self._templates = templates
        self._reopenings: list[tuple[float, Reopening]] = []  # each with when it is late; a worker answers in order
        self.tell_others: Callable[[], object] = lambda: None  # tells processes that are neither worker nor template
        self.last = Reopening({}, "")  # what has become of the last call of `reopen`

    def reopen(self) -> None:
        """Open the supervisor's own file anew, and tell all workers and templates to do the same with theirs.

        A process that starts is not told: what it opens, it opens now. Neither is one that cannot be told: each process
        looks at the path before each line.
        """
        told = {member.worker: member.slot for member in self._workers if self._tell(member)}
        self._templates.tell(Reopen())
        self.tell_others()
        self.last = reopening = Reopening(told, logs.reopen())
        if told:
            self._reopenings.append((self._world.now() + PATIENCE, reopening))

    def heard(self, worker: int, fault: str) -> None:
        """Record that a worker says that it has opened its files anew, or why it could not."""
        for entry in self._reopenings:
            if entry[1].waits_for(worker):
                entry[1].answered(worker, fault)
                if entry[1].is_complete:
                    self._reopenings.remove(entry)
                return

    def due(self) -> float:
        """When `look` is to be called although nothing happens (seconds, monotonic)."""
        looks = self._next if self._rule().applies else NEVER
        return min((late for late, _ in self._reopenings), default=looks)

    def look(self) -> None:
        """Rotate files that are too large, if it is time to look at them, and wait no longer for those who are late.

        While workers still open the files of the last rotation anew, there is no other one: with few files to keep, the
        one that they have open would be thrown away.
        """
        now = self._world.now()
        while self._reopenings and self._reopenings[0][0] <= now:
            self._reopenings.pop(0)[1].is_late = True
        if now < self._next or self._reopenings:
            return
        self._next = now + INTERVAL
        rule = self._rule()
        if rule != self._rotated_by:
            self._rotation, self._rotated_by = self._world.rotation(rule), rule
        if self._rotation.look():
            self.reopen()

    def _tell(self, member: Member) -> bool:
        """Tell a worker that serves; returns whether it is to answer."""
        if not member.serves or member.channel.lost:
            return False
        member.channel.expect(Reopened)
        return member.channel.send(Reopen())
