"""The service manager that has started the service, systemd for example: where it listens, and how it is told."""

import contextlib
import logging
import socket
from collections.abc import Iterator, MutableMapping
from typing import Protocol

from corehttp.moments import NEVER
from corehttp.supervisor.notices import Notices, ServiceFigures
from corehttp.supervisor.service import Service

logger = logging.getLogger("corehttp.supervisor")

AGAIN = 1.0  # seconds until a text is told again for which the manager had no room
_SOCKET, _USEC, _PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"


class Manager(Protocol):
    """What is needed of a service manager."""

    @property
    def watchdog(self) -> float:
        """Seconds between two signs of life; infinity if it wants none."""

    def tell(self, text: str) -> bool:
        """Send a text of sd_notify(3). Does not wait and raises nothing.

        Returns False if the manager has no room for it now, so that it is to be told again.
        """


class ServiceManager:
    """A service manager's socket for datagrams, as sd_notify(3) has it. Telling never waits and never raises."""

    def __init__(self, path: str, watchdog: str = "") -> None:
        """`path` begins with @ for an abstract name; `watchdog` is the text of WATCHDOG_USEC, or empty."""
        self._path = path
        self._usec = int(watchdog) if watchdog.isascii() and watchdog.isdigit() else 0
        self._failed = False  # whether a failure was logged

    @property
    def watchdog(self) -> float:
        """Seconds between two signs of life: half of what the manager allows; infinity if it wants none."""
        return self._usec / 2_000_000 if self._usec else NEVER

    def tell(self, text: str) -> bool:
        """Send a datagram; a failure is logged once. Returns False if the manager's socket is full."""
        address = "\0" + self._path[1:] if self._path[:1] == "@" else self._path
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.sendto(text.encode(), socket.MSG_DONTWAIT, address)
        except BlockingIOError:
            return False
        except (OSError, ValueError) as error:
            if not self._failed:
                self._failed = True
                path, cause = self._path, getattr(error, "strerror", error)
                logger.warning("the service manager hears nothing at %s (NOTIFY_SOCKET): %s", path, cause)
        return True

    def bequeath(self) -> tuple[dict[str, str], list[int]]:
        """Return the variables with which a new supervisor finds the manager, and no descriptors."""
        return {_SOCKET: self._path, **({_USEC: str(self._usec)} if self._usec else {})}, []


@contextlib.contextmanager
def service_manager(env: MutableMapping[str, str], pid: int, *, keeps: bool) -> Iterator[ServiceManager | None]:
    """Yield the service manager that the environment of the process `pid` names; None if it names none.

    Meanwhile its variables are not in `env`, so that no worker and no program that a worker starts takes them for its
    own; with `keeps` they are put back afterwards. A watchdog of another process is not ours.
    """
    before = {name: env.pop(name) for name in (_SOCKET, _USEC, _PID) if name in env}
    path = before.get(_SOCKET, "")
    manager = None
    if path[:1] in ("/", "@") and len(path) > 1:
        is_ours = before.get(_PID, str(pid)) == str(pid)
        manager = ServiceManager(path, before.get(_USEC, "") if is_ours else "")
    try:
        yield manager
    finally:
        if keeps:
            env.update(before)


class Telling:
    """Tells a service manager, if there is one, what becomes of a service.

    A text for which the manager has no room is kept and told AGAIN seconds later, since systemd would wait in vain for
    a READY=1 that is lost. Until then no other text is made: the next one tells how things are by then.
    """

    def __init__(self, service: Service, manager: Manager | None) -> None:
        self._service = service
        self._manager = manager
        self._notices = Notices(service.world.pid, NEVER if manager is None else manager.watchdog)
        self._unsent = ""  # the text for which there was no room
        self._again_at = NEVER  # when that is to be told again (seconds, monotonic)

    def reload_asked(self) -> None:
        """Tell that a reload was asked for; what has come of it is told by `look`."""
        if not self._unsent:
            self._tell(self._notices.reload_asked(self._service.world.now()))

    def look(self) -> None:
        """Tell what is to be told now."""
        if self._manager is None:
            return
        service = self._service
        if self._unsent:
            self._tell(self._unsent)
        if not self._unsent:
            rows = (service.board.row(member.row) for member in service.workers)
            figures = ServiceFigures(sum(int(row.connections) for row in rows), service.upgrade.successor)
            self._tell(self._notices.next(service.fleet, figures, service.world.now()))

    def due(self) -> float:
        """When `look` is to be called (seconds, monotonic)."""
        if self._unsent:
            return self._again_at
        return NEVER if self._manager is None else self._notices.due()

    def _tell(self, text: str) -> None:
        """Send a text, unless it is empty; keep it if there is no room for it."""
        is_full = bool(text) and self._manager is not None and not self._manager.tell(text)
        self._unsent = text if is_full else ""
        self._again_at = self._service.world.now() + AGAIN
