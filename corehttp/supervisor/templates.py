"""Processes that have loaded the application, each for one generation, from which workers are forked (`--preload`)."""

import errno
from dataclasses import dataclass

from corehttp.supervisor import channel as messages
from corehttp.supervisor import processes
from corehttp.supervisor.channel import Channel, Message

REPLY = 5.0  # seconds that a template has for a fork: it does nothing else


@dataclass(slots=True)
class Template:
    generation: int
    pid: int
    channel: Channel


class Templates:
    """They are our children, and so are the workers that they fork."""

    def __init__(self) -> None:
        self._templates: dict[int, Template] = {}  # by generation

    def load(self, generation: int, boot: dict[str, object], title: str) -> Channel:
        """Start one; it says READY or FAILED over the channel. Raises OSError."""
        processes.adopt_orphans()
        pid, channel = processes.spawn(processes.TEMPLATE, title)
        channel.send(messages.BOOT, boot)
        self._templates[generation] = Template(generation, pid, channel)
        return channel

    def fork(self, generation: int) -> tuple[int, Channel]:
        """A new worker: its pid and our end of its channel. Raises OSError."""
        template = self._templates[generation]
        ours, theirs = Channel.pair()
        template.channel.send(messages.FORK, fds=[theirs.fileno()])
        theirs.close()
        while template.channel.wait(REPLY):
            received, gone = template.channel.receive()
            for kind, *details in received:
                if kind == messages.FORKED and isinstance(details[0], int):
                    return details[0], ours
                if kind == messages.FAILED:  # it goes on, and may succeed later
                    ours.close()
                    raise OSError(errno.EAGAIN, str(details[0]))
            if gone:
                break
        ours.close()
        processes.kill(template.pid)
        raise OSError(errno.ECHILD, "the application's template forks no more")

    def receive(self, generation: int) -> tuple[list[Message], bool]:
        """What it says, and whether that was its last word."""
        return self._templates[generation].channel.receive()

    def fileno(self, generation: int) -> int:
        return self._templates[generation].channel.fileno()

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
