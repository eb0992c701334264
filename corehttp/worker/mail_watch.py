"""Watch this worker's mailbox: the bus is imported when the application uses it, or another worker does."""

import asyncio
import sys

from corehttp import membership
from corehttp.forks import protect
from corehttp.ipc.mailbox import Mail


class MailWatch:
    """Has the worker greeted by others, from its making until `close`. It owns `mail`.

    If the application has imported `corehttp.bus`, this worker greets all others at once, so that it counts among
    those who take what is published.
    """

    def __init__(self, mail: Mail, loop: asyncio.AbstractEventLoop) -> None:
        self._mail = mail
        self._loop = loop
        membership.current.mail, membership.current.loop = mail, loop
        self._unprotect = protect(self._descriptors)
        loop.add_reader(mail.mailbox.fileno(), self._read)
        if "corehttp.bus" in sys.modules:
            self._read()

    def close(self) -> None:
        """End the channels to other workers; a second call does nothing."""
        if self._mail.mailbox.fileno() < 0:
            return
        self._loop.remove_reader(self._mail.mailbox.fileno())
        if "corehttp.bus" in sys.modules:
            from corehttp.bus import hubs

            hubs.disconnect()
        self._mail.close()
        self._unprotect()

    def _read(self) -> None:
        """Act on what has come, or on nothing; stop to watch when nothing can come any more."""
        from corehttp.bus import hubs

        transport = hubs.hub().transport
        if transport is None or not transport.read_mailbox():
            self._loop.remove_reader(self._mail.mailbox.fileno())

    def _descriptors(self) -> list[int]:
        """Return the descriptors of all mailboxes and channels, which no process that is forked may keep."""
        if "corehttp.bus" not in sys.modules:
            return self._mail.descriptors()
        from corehttp.bus import hubs

        return [*self._mail.descriptors(), *hubs.descriptors()]
