"""The first bytes of a connection from a proxy: its PROXY header (`--proxy-protocol`), before anything else.

A header is read from the socket before that has a transport, and not a byte behind it. So whatever comes next, a TLS
handshake as well as a request, finds the connection as if there had been no header.
"""

import logging
import socket
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from corehttp.ipc.handed_socket import HandedSocket
from corehttp.ipc.parcel import Parcel
from corehttp.moments import NEVER
from corehttp.protocols.clock import Clock
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import Departure, HandOver, Request
from corehttp.protocols.leaving import leave_if_idle
from corehttp.protocols.peer import Peer, Trust, direct
from corehttp.protocols.proxy_protocol import parse
from corehttp.sockets.accept_queue import Accepted
from corehttp.windows import MSG_DONTWAIT
from corehttp.worker.adoptions import Admit

logger = logging.getLogger("corehttp.error")

SILENCE = 60.0  # seconds between two log lines of one kind of fault, since anybody who can connect can cause them
PEEK = 2048  # bytes that are looked at at once; a header is seldom longer than 300

_LONG = 3600.0  # seconds that a connection may wait in another worker if there is no limit

_PEEK, _READ = int(socket.MSG_PEEK) | MSG_DONTWAIT, MSG_DONTWAIT


class HeaderRules(NamedTuple):
    """Whose PROXY headers are read, where, and how soon they have to come."""

    versions: Mapping[int, frozenset[int]]  # by the number of an endpoint, which versions of a header are taken there
    trust: Trust  # who may send one
    timeout: float  # seconds in which it has to come


class FaultLog:
    """Logs why connections without a proper PROXY header are cut: each kind of fault once in SILENCE seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._silent_until: dict[str, float] = {}  # by the option that the kind is about (seconds, by the clock)

    def note(self, proxy: Peer, option: str, reason: str) -> None:
        """Log that the connection of `proxy` is cut, for a `reason` that follows "it".

        `option` is the one that an operator has to look at, and stands for the kind of fault.
        """
        now = self._clock.now
        if now < self._silent_until.get(option, -NEVER):
            return
        self._silent_until[option] = now + SILENCE
        who = "a peer on the unix socket" if proxy.is_local else proxy.name
        logger.warning("cut the connection of %s: it %s (%s; said once a minute)", who, reason, option)


class ProxyOpenings:
    """Decides which connections wait for a PROXY header; implements `adoptions.Openings`."""

    def __init__(self, context: WorkerContext, rules: HeaderRules) -> None:
        self._context = context
        self._rules = rules
        self._faults = FaultLog(context.clock)

    def await_header(self, connection: Accepted, admit: Admit) -> bool:
        """Take charge of a connection if its PROXY header has to be read first; answers whether that is so.

        One that another worker has begun to serve has no header any more. One of a peer that is not trusted to send a
        header is closed.
        """
        versions = self._rules.versions.get(connection.endpoint)
        if versions is None:
            return False
        clock = self._context.clock
        deadline = clock.now + self._rules.timeout
        if isinstance(connection, HandedSocket) and connection.parcel is not None:
            parcel = connection.parcel
            if parcel.announced or parcel.held:
                return False
            deadline = min(deadline, parcel.keep_until - clock.lost)  # a header gets no more time by being passed on
        ProxyOpening(connection, admit, versions, self._context, self._rules, self._faults, deadline).begin()
        return True


class ProxyOpening:
    """A connection whose PROXY header is not whole yet.

    It implements `contracts.Connection`: as one of the worker's connections it is cut when its header is late, and
    leaves with the worker.
    """

    __slots__ = (
        "_admit",
        "_connection",
        "_context",
        "_faults",
        "_proxy",
        "_read",
        "_rules",
        "_sock",
        "_versions",
        "deadline",
    )

    unanswered: Sequence[Request] = ()
    _proxy: Peer  # the peer of the socket

    def __init__(
        self,
        connection: Accepted,
        admit: Admit,
        versions: frozenset[int],
        context: WorkerContext,
        rules: HeaderRules,
        faults: FaultLog,
        deadline: float,
    ) -> None:
        """`deadline` is when its header is late, in seconds by the worker's clock."""
        self._connection = connection
        self._admit = admit
        self._versions = versions
        self._context = context
        self._rules = rules
        self._faults = faults
        self._read = b""  # what has come of the header
        # The same socket as one of Python's, which closes nothing.
        self._sock: socket.socket | None = socket.socket(connection.family, socket.SOCK_STREAM, 0, connection.fileno())
        self._sock.setblocking(False)
        self.deadline = deadline

    def __repr__(self) -> str:
        state = "closed" if self._sock is None else f"{len(self._read)} bytes of its PROXY header have come"
        return f"<ProxyOpening: {state}>"

    def begin(self) -> None:
        """Read the header if it has come; else wait for it, as one of the worker's connections."""
        assert self._sock is not None, "it has just been made"
        try:
            self._proxy = direct(self._sock.getpeername(), self._sock.getsockname())
        except OSError:  # the client has left already
            self._close()
            return
        if not self._rules.trust.believes(self._proxy):
            client = self._proxy.client
            who = "unix" if client is None else client[0].partition("%")[0]
            self._fail("--proxy-allow-from", f"may not send a PROXY header; if it is your proxy, add {who}")
        elif not self._is_decided(self._sock):
            self._context.connection_begun(self)
            self._context.loop.add_reader(self._sock.fileno(), self._look)

    def _look(self) -> None:
        """Read on, now that more has come."""
        if self._sock is not None:
            self._is_decided(self._sock)

    def _is_decided(self, sock: socket.socket) -> bool:
        """Read what has come of the header; answers whether the connection is admitted or closed now."""
        while True:
            try:
                seen = sock.recv(PEEK, _PEEK)
                header = parse(self._read + seen, self._versions)
                if seen:
                    taken = len(seen) if header is None else header.size - len(self._read)
                    self._read += sock.recv(taken, _READ)
            except BlockingIOError:
                return False
            except OSError:
                self._close()
                return True
            except ValueError as error:
                self._fail(f"--proxy-protocol {_mode(self._versions)}", str(error))
                return True
            if not seen:
                self._end()
                return True
            if header is not None and len(self._read) == header.size:
                connection, admit = self._connection, self._admit
                self._release()
                admit(connection, header.origin)
                return True

    def _end(self) -> None:
        """Close the connection of a client that has ended its side; one that has said nothing may have only looked."""
        if self._read:
            self._fail(f"--proxy-protocol {_mode(self._versions)}", "ends within its PROXY header")
        else:
            self._close()

    def _fail(self, option: str, reason: str) -> None:
        if self._context.tally is not None:
            self._context.tally.openings["proxy_failed"] += 1
        self._faults.note(self._proxy, option, reason)
        self._close()

    def _close(self) -> None:
        """Close the connection; if the kernel has something of it that was not read, the client gets a reset."""
        if self._sock is not None:
            self._release()
            self._connection.close()

    def _release(self) -> None:
        """Let go of the socket, and be no connection of the worker any more."""
        assert self._sock is not None, "a connection is released once"
        sock, self._sock = self._sock, None
        if self in self._context.connections:
            self._context.loop.remove_reader(sock.fileno())
            self._context.connection_ended(self)
        sock.detach()

    # What the worker calls.

    @property
    def idle(self) -> bool:
        """Whether nothing has come."""
        return self._sock is not None and not self._read

    def fileno(self) -> int:
        """The descriptor of the connection's socket; -1 if it is closed, or has a protocol now."""
        return -1 if self._sock is None else self._sock.fileno()

    def expire(self) -> None:
        """Cut the connection, whose header is late."""
        self._fail("--proxy-protocol-timeout", f"has sent no whole PROXY header in {self._rules.timeout:g} s")

    def pass_on(self, hand_over: HandOver) -> bool:
        """Give the connection, of which nothing was read, to another worker; answers whether that one has it.

        One that is late stays: else it would go to and fro between workers that have the same number of connections.
        """
        clock = self._context.clock
        if not self.idle or self.deadline <= clock.now:
            return False
        until = min(self.deadline, clock.now + _LONG) + clock.lost
        if not hand_over(Parcel(self.fileno(), until, self._connection.endpoint)):
            return False
        self._close()
        return True

    def close(self) -> None:
        """Close the connection, unless something has come meanwhile."""
        if self._sock is not None and not self._is_decided(self._sock) and self.idle:
            self._close()

    def leave(self, now: float, departure: Departure) -> None:
        """Pass the connection on if nothing has come, or close it when it has waited long enough."""
        leave_if_idle(self, now, departure)

    def suspect(self) -> None:
        """Do nothing: the end of the client's side is seen as soon as it comes."""

    def cut(self) -> None:
        """Close the connection."""
        self._close()


def _mode(versions: frozenset[int]) -> str:
    """Return the value of `--proxy-protocol` that stands for these versions."""
    return "auto" if len(versions) > 1 else f"v{min(versions)}"
