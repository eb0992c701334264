"""What the parts of the supervisor share: the fleet, the processes and sockets, and who records and reports."""

import logging
from typing import TYPE_CHECKING

from corehttp.chance import node_number
from corehttp.ipc import sticky_area
from corehttp.ipc.balance import Load
from corehttp.ipc.counters import ServiceCounters
from corehttp.ipc.message_stream import GarbledError
from corehttp.ipc.scoreboard import Scoreboard
from corehttp.log_paths import rotation_rule
from corehttp.records import values
from corehttp.supervisor.aftermath import Aftermath
from corehttp.supervisor.binds import Binds
from corehttp.supervisor.children import Children
from corehttp.supervisor.events import FleetEvent, Resized
from corehttp.supervisor.fleet import Fleet
from corehttp.supervisor.generations import Generations
from corehttp.supervisor.history import History
from corehttp.supervisor.log_files import LogFiles
from corehttp.supervisor.mishaps import survived
from corehttp.supervisor.observe import observe
from corehttp.supervisor.report import Report
from corehttp.supervisor.spare import Spare
from corehttp.supervisor.templates import Templates
from corehttp.supervisor.tls_sessions import TlsSessions
from corehttp.supervisor.upgrade import Upgrade
from corehttp.supervisor.workers import Member, Workers
from corehttp.supervisor.world import ChildChannel, World

if TYPE_CHECKING:
    from corehttp.sockets.address_choice import AddressRule

logger = logging.getLogger("corehttp.supervisor")


class Service:
    """One service and everything that belongs to it. Raises OSError if no scoreboard can be made."""

    def __init__(self, world: World, fleet: Fleet, generations: Generations, upgrade: Upgrade) -> None:
        self.world = world
        self.slots = world.slots
        self.fleet = fleet
        self.generations = generations
        self.upgrade = upgrade
        self.admin_urls = ""  # where clients find the admin listener; empty if there is none
        self.board = Scoreboard.create()
        self.node = node_number(world.jitter())
        self._shown = ServiceCounters()
        self.workers = Workers(world.processes, self.board)
        self.templates = Templates(world.processes)
        self.children = Children()
        self.aftermath = Aftermath(world, self.children, self.workers)
        self.spare = Spare(world, fleet, self.children)
        self.log_files = LogFiles(
            world, self.workers, self.templates, lambda: rotation_rule(generations.config(fleet.generation))
        )
        self.history = History(world.wall_clock())
        self.report = Report(fleet, world.slots.urls, world.now())
        self.rescuer = world.rescuer(self._loads, self._keep_alive)
        self.tls_sessions = TlsSessions(
            self.board.fd, world.now(), lambda: bool(generations.config(fleet.generation).ssl_certfile)
        )
        self.binds = Binds(world.slots, self.rescuer, lambda: fleet.rescued)

    def observe(self, event: FleetEvent) -> None:
        """Record in the fleet that something has happened now."""
        observe(self.fleet, event, self.world.now())

    def kill(self, member: Member) -> None:
        """End a worker at once; if its template has not forked it yet, end the template."""
        if member.pid:
            self.kill_child(member.pid)
        else:
            self.templates.retire(member.generation)

    def kill_child(self, pid: int) -> None:
        """End a child at once. One that has ended is left alone: its pid may belong to another process by now."""
        if pid in self.children:
            self.world.processes.kill(pid)

    def distrust(self, child: str, channel: ChildChannel, error: GarbledError) -> None:
        """Stop listening to a child that is killed because its messages cannot be understood, and log why."""
        logger.warning("%s is killed: it has sent %s over its channel to the supervisor", child, error)
        self.hang_up(channel)

    def hang_up(self, channel: ChildChannel) -> None:
        """Stop listening to a child, and close the channel to it. A second call does nothing."""
        self.world.forget(channel.fileno())
        channel.close()

    def prepare_spare(self) -> None:
        """Have a process ready for the next change of code under development. Raises OSError."""
        self.spare.look(self.generations.title(self.fleet.generation))

    def resize_for(self, before: int, after: int) -> None:
        """Adopt the number of workers that generation `after` is configured to have, if it is not that of `before`."""
        size = self.generations.resized(before, after)
        if size is not None:
            self.observe(Resized(size))

    def tie_addresses(self, generation: int) -> None:
        """Have the kernel choose by the addresses of clients where the options of a generation that serves want that.

        Its endpoints are those that `binds` says serve. A failure is logged: workers pass connections on in any case.
        """
        survived("tying addresses to workers", lambda: self.slots.tie(self._address_rule(generation)))

    def _address_rule(self, generation: int) -> "AddressRule | None":
        """Return where the options of a generation have the kernel choose by address; None if nowhere."""
        options = values(self.generations.config(generation))
        if not options["sticky"]:
            return None
        from corehttp.sticky_addresses import address_rule  # here, since few services need it

        return address_rule(options, self.binds.named(of_rollout=False), sticky_area.read_secret(self.board.fd))

    def tell_inbox(self, slot: int) -> None:
        """Give all workers the descriptor of a slot's new inbox."""
        for member in self.workers:
            self.workers.tell_inboxes(member, {slot: self.slots.inboxes()[slot]})

    def show_counters(self) -> None:
        """Show on the scoreboard what the supervisor has counted."""
        counters = self.history.counters()
        if counters != self._shown:
            self.board.service = self._shown = counters

    def _loads(self) -> list[Load]:
        """Return how each worker that accepts connections is loaded."""
        members = [self.workers[worker.id] for worker in self.fleet.accepting()]
        rows = [(member.slot, self.board.row(member.row)) for member in members]
        return [Load(slot, int(row.connections), int(row.limit)) for slot, row in rows]

    def _keep_alive(self) -> float:
        """Return how many seconds a connection may be idle in the generation that serves."""
        return self.generations.config(self.fleet.generation).timeout_keep_alive
