"""Processes that have loaded the application, each for one generation, from which workers are forked (`--preload`)."""

import contextlib
from dataclasses import dataclass

from corehttp.ipc import messages
from corehttp.ipc.channel import Channel
from corehttp.supervisor import processes


@dataclass(slots=True)
class Template:
    generation: int
    pid: int
    channel: Channel

    def __str__(self) -> str:
        return f"the application's template (pid {self.pid})"


class Templates:
    """They are our children, and so are the workers that they fork."""

    def __init__(self) -> None:
        self._templates: dict[int, Template] = {}  # by generation
        self._adopting = False  # whether orphans become our children

    def load(self, generation: int, boot: dict[str, object], title: str) -> Template:
        """Start one; it says READY or FAILED over its channel. Raises OSError."""
        processes.adopt_orphans(True)
        self._adopting = True
        pid, channel = processes.spawn(processes.TEMPLATE, title)
        channel.send(messages.BOOT, {**boot, "version": messages.VERSION})
        self._templates[generation] = template = Template(generation, pid, channel)
        return template

    def fork(self, generation: int) -> Channel:
        """Ask for a new worker; answers our end of its channel. FORKED or NOT_FORKED follows.

        Raises OSError; if the template cannot be told anything any more, it ends.
        """
        template = self._templates[generation]
        ours, theirs = Channel.pair()
        template.channel.expect(messages.FORKED)
        template.channel.expect(messages.NOT_FORKED)
        template.channel.send(messages.FORK, fds=[theirs.fileno()])
        theirs.close()
        if template.channel.lost:
            ours.close()
            self.retire(generation)
            raise template.channel.lost
        return ours

    def __getitem__(self, generation: int) -> Template:
        return self._templates[generation]

    def retire(self, generation: int) -> None:
        """End one that is needed no more, whatever the application makes of signals: it has nothing to clean up."""
        processes.kill(self._templates[generation].pid)

    def pids(self) -> list[int]:
        return [template.pid for template in self._templates.values()]

    def ended(self, pid: int) -> Template | None:
        """The template that was this process."""
        return next((template for template in self._templates.values() if template.pid == pid), None)

    def dismiss(self, template: Template) -> None:
        """It has ended."""
        del self._templates[template.generation]
        template.channel.close()

    def kill_all(self) -> None:
        for template in self._templates.values():
            processes.kill(template.pid)
        if self._adopting:
            with contextlib.suppress(OSError):
                processes.adopt_orphans(False)
