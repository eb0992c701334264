"""What the parts of the supervisor share: the fleet, the processes and sockets, and who records and reports."""

from corehttp.ipc.balance import Load
from corehttp.ipc.scoreboard import Scoreboard
from corehttp.supervisor.children import Children
from corehttp.supervisor.events import FleetEvent, Resized
from corehttp.supervisor.fleet import Fleet
from corehttp.supervisor.generations import Generations
from corehttp.supervisor.observe import observe
from corehttp.supervisor.report import Report
from corehttp.supervisor.templates import Templates
from corehttp.supervisor.upgrade import Upgrade
from corehttp.supervisor.workers import Member, Workers
from corehttp.supervisor.world import World


class Service:
    """One service and everything that belongs to it. Raises OSError if the scoreboard cannot be had."""

    def __init__(self, world: World, fleet: Fleet, generations: Generations, upgrade: Upgrade) -> None:
        self.world = world
        self.slots = world.slots
        self.fleet = fleet
        self.generations = generations
        self.upgrade = upgrade
        self.board = Scoreboard.create()
        self.workers = Workers(world.processes, self.board)
        self.templates = Templates(world.processes)
        self.children = Children()
        self.report = Report(fleet, world.slots.urls, world.now())
        self.orphans = world.rescuer(self._loads, self._keep_alive)

    def observe(self, event: FleetEvent) -> None:
        """Record in the fleet that something has happened now."""
        observe(self.fleet, event, self.world.now())

    def kill(self, member: Member) -> None:
        """End a worker at once; if its template has not forked it yet, end the template.

        One that has ended is left alone: its pid may be another process's by now.
        """
        if member.pid in self.children:
            self.world.processes.kill(member.pid)
        elif not member.pid:
            self.templates.retire(member.generation)

    def resize_for(self, before: int, after: int) -> None:
        """Adopt the number of workers that generation `after` is configured to have, if it is not that of `before`."""
        size = self.generations.resized(before, after)
        if size is not None:
            self.observe(Resized(size))

    def tell_inbox(self, slot: int) -> None:
        """Give all workers the descriptor of a slot's new inbox."""
        for member in self.workers:
            self.workers.tell_inboxes(member, {slot: self.slots.inboxes()[slot]})

    def _loads(self) -> list[Load]:
        """The workers that take connections in, and how many connections each has."""
        members = [self.workers[worker.id] for worker in self.fleet.takes_in()]
        rows = [(member.slot, self.board.row(member.row)) for member in members]
        return [Load(slot, int(row.connections), int(row.limit)) for slot, row in rows]

    def _keep_alive(self) -> float:
        """Seconds that a connection may be idle."""
        return self.generations.config(self.fleet.generation).timeout_keep_alive
