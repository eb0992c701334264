"""Processes that have loaded the application, each for one generation, from which workers are forked (`--preload`)."""

import contextlib
import errno

from corehttp.ipc.messages import Boot, Fork, Forked, NotForked, Reopen
from corehttp.records import mutable_record
from corehttp.supervisor.processes import TEMPLATE
from corehttp.supervisor.world import ChildChannel, Processes


@mutable_record
class Template:
    """One template process."""

    generation: int
    pid: int
    channel: ChildChannel
    is_ready: bool = False  # whether it has loaded the application

    def __str__(self) -> str:
        return f"the application's template (pid {self.pid})"


class Templates:
    """All template processes, by generation.

    A template is a child of the supervisor. So is a worker that it has forked, whose direct parent has ended by then:
    the supervisor adopts orphans (`Processes.adopt_orphans`).
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._templates: dict[int, Template] = {}
        self._adopting = False  # whether orphans become children of the supervisor

    def __getitem__(self, generation: int) -> Template:
        return self._templates[generation]

    def load(self, generation: int, boot: Boot, title: str) -> Template:
        """Start a template, which sends Ready or StartFailed. Raises OSError; no process is left then."""
        self._processes.adopt_orphans(True)
        self._adopting = True
        pid, channel = self._processes.spawn(TEMPLATE, title)
        try:
            channel.send(boot)
        except ValueError as error:  # the configuration or the import path is beyond all measure
            self._processes.kill(pid)
            channel.close()
            raise OSError(errno.EMSGSIZE, str(error)) from error
        self._templates[generation] = template = Template(generation, pid, channel)
        return template

    def fork(self, generation: int) -> ChildChannel:
        """Ask a template for a new worker, and return our end of the worker's channel. Forked or NotForked follows.

        Raises OSError. A template that cannot be told anything any more is ended then.
        """
        template = self._templates[generation]
        ours, theirs = self._processes.pair()
        template.channel.expect(Forked)
        template.channel.expect(NotForked)
        template.channel.send(Fork(), [theirs.fileno()])
        theirs.close()
        if template.channel.lost:
            ours.close()
            self.retire(generation)
            raise template.channel.lost
        return ours

    def tell(self, message: Reopen) -> None:
        """Send a message to all templates that have loaded the application."""
        for template in self._templates.values():
            if template.is_ready and template.channel.lost is None:
                template.channel.send(message)

    def retire(self, generation: int) -> None:
        """End a template at once, whatever the application makes of signals: it has nothing to clean up."""
        self._processes.kill(self._templates[generation].pid)

    def dismiss(self, template: Template) -> None:
        """Forget a template that has ended, and close its channel."""
        del self._templates[template.generation]
        template.channel.close()

    def stop_adopting(self) -> None:
        """Leave orphans to the system again, if a template was ever started."""
        if self._adopting:
            with contextlib.suppress(OSError):
                self._processes.adopt_orphans(False)
