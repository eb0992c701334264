"""One client of the control socket: its request comes in, and the answer goes out, while the supervisor never waits."""

import select
import socket
from collections.abc import Mapping

from corehttp.control import messages
from corehttp.control.access import Access, Caller, Rules
from corehttp.control.messages import ControlRequest, Fault, RequestError

SAY_SECONDS = 5.0  # seconds in which a client must have sent its request
TAKE_SECONDS = 5.0  # seconds that a client may take nothing of its answer
LONGEST_QUEUE = 4 * 2**20  # bytes of an answer that wait for a client, before it is given up
_PIECE = 65536


class OperatorConnection:
    """A client, from its connecting to the end of its answer. Times are in seconds, monotonic."""

    def __init__(self, sock: socket.socket, caller: Caller, rules: Rules, now: float) -> None:
        self._sock = sock
        self._fd = sock.fileno()
        self._rules = rules
        self._received = bytearray()
        self._queue = bytearray()
        self._answered = False  # whether the last line of the answer was queued
        self._deadline: float | None = now + SAY_SECONDS
        self._stalled_at = 0  # how many bytes waited when the deadline was set
        self.caller = caller
        self.connected_at = now
        self.request: ControlRequest | None = None
        self.says_no_more = False  # whether the client has ended its side, so that the descriptor stays readable
        self.gone = False  # whether it is to be closed: the client has left, or has its answer

    def fileno(self) -> int:
        """The number of the descriptor, also after the end, so that it can be forgotten."""
        return self._fd

    @property
    def congested(self) -> bool:
        """Whether a part of the answer waits until the client takes it."""
        return bool(self._queue) and not self.gone

    @property
    def deadline(self) -> float | None:
        """When the client is to be looked at again, although nothing happens; None: not at all."""
        if self.says_no_more and self.congested:
            return 0.0  # nobody watches whether it takes more of its answer
        return None if self.gone else self._deadline

    @property
    def verb(self) -> str:
        """What is asked for."""
        return self.request.verb if self.request else ""

    @property
    def arguments(self) -> Mapping[str, object]:
        """What comes with the verb."""
        return self.request.arguments if self.request else {}

    @property
    def who(self) -> str:
        """Who asks, for log lines."""
        return str(self.caller)

    def may(self, *, change: bool) -> bool:
        """Whether this client may change the service, or look at it."""
        return self._rules.allow(self.caller, Access.CHANGE if change else Access.READ)

    def receive(self) -> bool:
        """Take in what has come. Returns whether the request is there, which is said once."""
        try:
            data = self._sock.recv(_PIECE)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data and self.request is not None and not self._has_left():
            self.says_no_more = True
            return False
        if self.request is not None or not (data or self._received):  # one request is all that there may be
            self.gone = True
            return False
        self._received += data
        line, end, _ = self._received.partition(b"\n")
        if data and not end and len(line) <= messages.LIMIT:  # the last line may have no end
            return False
        try:
            self.request = messages.parse_request(bytes(line))
        except RequestError as error:
            self.refuse(Fault.USAGE.value, str(error))
            return False
        self._deadline = None
        return True

    def progress(self, content: Mapping[str, object]) -> None:
        """Tell the client how far its request has come."""
        self._send(messages.progress(content))

    def result(self, content: Mapping[str, object]) -> None:
        """Tell the client that its request is done. That ends the answer."""
        self._finish(messages.result(content))

    def refuse(self, fault: str, reason: str) -> None:
        """Tell the client why its request is not done; `fault` is the value of a Fault. That ends the answer."""
        self._finish(messages.error(Fault(fault), reason))

    def flush(self) -> None:
        """Send what waits, as far as the client takes it at once."""
        try:
            while self._queue:
                del self._queue[: self._sock.send(self._queue)]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.gone = True
        self.gone = self.gone or self._answered

    def look(self, now: float) -> None:
        """Give up a client that has said nothing, or has taken nothing, for too long."""
        if self.gone:
            return
        if self.request is None and not self._answered:
            if self._deadline is not None and self._deadline <= now:
                self.refuse(Fault.LATE.value, f"no request has come within {SAY_SECONDS:g} s")
        elif not self._queue:
            self._deadline = None
        elif self._deadline is None or len(self._queue) != self._stalled_at:
            self._deadline, self._stalled_at = now + TAKE_SECONDS, len(self._queue)
        elif self._deadline <= now:
            self.gone = True

    def _has_left(self) -> bool:
        """Whether the client has closed the connection, and not only its own side of it (POLLHUP of poll(2))."""
        poll = select.poll()
        poll.register(self._sock, 0)
        return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))

    def close(self) -> None:
        """Close the connection. A second call does nothing."""
        self.gone = True
        self._sock.close()

    def _finish(self, line: bytes) -> None:
        """Send the last line of the answer; the client is to be closed once it has taken all."""
        if not self._answered:
            self._send(line)
            self._answered = True
            self.gone = self.gone or not self._queue

    def _send(self, line: bytes) -> None:
        """Send a line, now or by `flush`; a client for which too much waits is given up."""
        if self.gone or self._answered:
            return
        self._queue += line
        if len(self._queue) > LONGEST_QUEUE:
            self.gone = True
        else:
            self.flush()
