"""The service's side of the control socket, in the supervisor's loop: no call waits, and every client is bounded."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

from corehttp.control.access import Access, Rules, caller_of
from corehttp.control.connection import OperatorConnection
from corehttp.control.control_socket import ControlSocket
from corehttp.control.messages import Fault
from corehttp.ipc.polling import DescriptorPoller
from corehttp.moments import NEVER
from corehttp.shortage import shortage

logger = logging.getLogger("corehttp.supervisor")

CLIENTS = 16  # how many may be connected at once
RETRY = 0.02  # seconds until the next try to send to a client that nobody watches
SILENT_SECONDS = 0.5  # seconds after which a client that has sent no request makes room for another one
PAUSE = 1.0  # seconds until the next try to accept where no descriptor is left


class ControlHost(DescriptorPoller, Protocol):
    """What the control server needs of the process that it runs in."""

    def now(self) -> float:
        """The time now (seconds, monotonic)."""


class ControlServer:
    """Accepts clients, takes in a request of each, and passes on those that may be made at all."""

    def __init__(self, sock: ControlSocket, rules: Rules, host: ControlHost) -> None:
        self._sock = sock
        self._rules = rules
        self._host = host
        self._clients: dict[int, OperatorConnection] = {}
        self._accept_at = NEVER  # when to accept again after a pause
        self._warned: set[int] = set()  # users who were refused, of which each is told once

    def begin(self, on_request: Callable[[OperatorConnection], object]) -> None:
        """Listen from now on; `on_request` is called with each client whose request is there."""
        self._on_request = on_request
        self._sock.listen()
        self._host.watch(self._sock.fileno(), self._accept)
        logger.debug("control socket: %s", self._sock.path)

    def due(self) -> float:
        """When `look` is to be called although nothing happens (seconds, monotonic); NEVER: not at all."""
        deadlines = [client.deadline for client in self._clients.values()]
        soon = self._host.now() + RETRY
        return min([self._accept_at, *(at or soon for at in deadlines if at is not None)])

    def look(self) -> None:
        """Let go of clients that have their answer, have left, or are too slow."""
        now = self._host.now()
        if self._accept_at <= now:
            self._accept_at = NEVER
            self._host.watch(self._sock.fileno(), self._accept)
        for client in tuple(self._clients.values()):
            if client.says_no_more:
                client.flush()
            client.look(now)
            if client.gone:
                self._drop(client)

    def hand_on(self) -> None:
        """Stop accepting clients, since another process does."""
        if self._sock.fileno() >= 0:
            self._host.forget(self._sock.fileno())
            self._accept_at = NEVER
            self._sock.close()

    def end(self) -> None:
        """Close everything, and remove the socket's path unless another process listens there."""
        for client in tuple(self._clients.values()):
            self._drop(client)
        self.hand_on()

    def _accept(self) -> None:
        """Accept a client, and take in what it has sent; one that may not connect, or finds no room, is told so."""
        try:
            sock = self._sock.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:  # no descriptor is left: the socket would stay readable
            logger.warning("the control socket takes nobody for a while: %s", shortage(error))
            self._host.forget(self._sock.fileno())
            self._accept_at = self._host.now() + PAUSE
            return
        try:
            caller = caller_of(sock)
        except OSError:
            sock.close()
            return
        client = OperatorConnection(sock, caller, self._rules, self._host.now())
        if not self._rules.allow(caller, Access.READ):
            client.refuse(Fault.FORBIDDEN.value, f"uid {caller.uid} may not use this service's control socket")
            self._warn(caller.uid, client.who)
        elif len(self._clients) >= CLIENTS and not self._make_room():
            client.refuse(Fault.BUSY.value, f"{CLIENTS} clients are connected already")
        if client.gone or client.congested:
            client.close()
            return
        self._clients[client.fileno()] = client
        self._host.watch_channel(client, partial(self._receive, client))
        self._receive(client)

    def _make_room(self) -> bool:
        """Drop the client that has sent no request for longest, if it has had time to. Returns whether there was one.

        A command sends its request as soon as it is connected, so that those that say nothing cannot keep it out.
        """
        latest = self._host.now() - SILENT_SECONDS
        silent = [client for client in self._clients.values() if client.request is None]
        oldest = min(silent, key=lambda client: client.connected_at, default=None)
        if oldest is None or oldest.connected_at > latest:
            return False
        oldest.refuse(Fault.BUSY.value, "another client needs the place of this one, which has sent no request")
        self._drop(oldest)
        return True

    def _receive(self, client: OperatorConnection) -> None:
        """Take in what a client has sent, and hand on its request once that is whole."""
        if client.receive():
            self._on_request(client)
        if client.gone:
            self._drop(client)
        elif client.says_no_more:
            self._host.forget(client.fileno())

    def _drop(self, client: OperatorConnection) -> None:
        if self._clients.pop(client.fileno(), None) is not None:
            self._host.forget(client.fileno())
        client.close()

    def _warn(self, uid: int, who: str) -> None:
        if uid not in self._warned and len(self._warned) < 100:
            self._warned.add(uid)
            logger.warning("control: %s is refused: neither root, nor this user, nor of --control-group", who)
