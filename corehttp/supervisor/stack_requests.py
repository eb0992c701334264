"""Stacks that operators ask for: a worker writes them into shared memory, and nobody waits for it."""

from corehttp.ipc.stack_area import StackArea
from corehttp.moments import NEVER
from corehttp.records import mutable_record
from corehttp.supervisor.fleet import WorkerPhase
from corehttp.supervisor.operator import Operator
from corehttp.supervisor.service import Service
from corehttp.supervisor.workers import Member

INTERVAL = 0.02  # seconds between two looks at what a worker has written
PATIENCE = 2.0  # seconds for a worker to write all


@mutable_record
class _Awaited:
    """An operator who waits for stacks. Times are in seconds, monotonic."""

    operator: Operator
    member: Member
    until: float


class StackRequests:
    """One worker at a time is asked."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._area = StackArea(service.board.fd)
        self._awaited: _Awaited | None = None

    def ask(self, operator: Operator, slot: int) -> None:
        """Have the worker of a slot write its stacks; the operator is answered by a later `look`."""
        member = self._member(slot)
        if self._awaited is not None:
            operator.refuse("refused", "another operator waits for stacks; try again")
        elif member is None:
            operator.refuse("refused", f"there is no worker {slot + 1}")
        elif self._service.world.processes.is_stopped(member.pid):
            operator.refuse("refused", f"{member} is paused by a signal or a debugger")
        else:
            self._area.assign(member.pid)
            self._service.world.processes.tell_stacks(member.pid)
            self._awaited = _Awaited(operator, member, self._service.world.now() + PATIENCE)

    def due(self) -> float:
        """When to look again (seconds, monotonic)."""
        return NEVER if self._awaited is None else self._service.world.now() + INTERVAL

    def look(self) -> None:
        """Answer the operator, if the worker has written all, or does not get to it."""
        if self._awaited is None:
            return
        text, is_whole = self._area.read()
        operator, member = self._awaited.operator, self._awaited.member
        if not is_whole and not operator.gone and self._service.world.now() < self._awaited.until:
            return
        self._awaited = None
        if not text:
            operator.refuse("failed", f"{member} has written no stacks; has it ended?")
        else:
            operator.result({"slot": member.slot + 1, "pid": member.pid, "complete": is_whole, "text": text})

    def _member(self, slot: int) -> Member | None:
        """Return the worker of a slot that serves, else one that is to, else one that leaves; None without any."""
        order = [WorkerPhase.READY, WorkerPhase.STARTING, WorkerPhase.DRAINING, WorkerPhase.CLOSING, WorkerPhase.KILLED]
        fleet = self._service.fleet
        found = [member for member in self._service.workers if member.slot == slot and member.pid]
        return min(found, key=lambda member: order.index(fleet.workers[member.worker].phase), default=None)
