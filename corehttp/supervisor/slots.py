"""What outlives a worker: the listening sockets of its place."""

import socket
from dataclasses import dataclass

from corehttp import listeners


@dataclass(slots=True)
class Slot:
    """The sockets that the occupant of one place listens on; with a shared port, the same in every slot.

    `inherited` ones belong to who started us as well (systemd, say): they are never made to refuse or shut down, so
    that what comes in after our end waits there for our successor.
    """

    sockets: list[socket.socket]
    inherited: bool = False

    def filenos(self) -> list[int]:
        """The descriptors that a worker inherits."""
        return [sock.fileno() for sock in self.sockets]

    def refuse_new(self) -> None:
        """Let no new connection into the accept queues."""
        for sock in self.sockets if not self.inherited else ():
            listeners.refuse_new(sock)

    def close(self, *, last: bool) -> None:
        """Let go of the sockets; `last` ends them for any worker that still holds them."""
        if last:
            for sock in self.sockets:
                if self.inherited:
                    sock.close()
                else:
                    listeners.shut(sock)
        self.sockets = []
