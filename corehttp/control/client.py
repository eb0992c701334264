"""The operator's side of the control socket: ask a service, and wait for the end of its answer."""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum

from corehttp.control import messages
from corehttp.control.messages import Fault

ANSWER_SECONDS = 5.0  # seconds in which the first line of an answer must have come
LONGEST_LINE = 16 * 2**20  # bytes; no service sends so much


class VerbExit(IntEnum):
    """How a verb of the command ends."""

    DONE = 0  # also when nothing had to be done
    FAILED = 1  # the service has refused, or what was asked for has failed
    USAGE = 2
    NO_SERVICE = 3  # there is none, or more than one
    NOT_PERMITTED = 4
    TIMED_OUT = 5  # the service does not answer, or the wait was too long


class VerbError(Exception):
    """A verb cannot be done; the text says why, and `code` is the exit code.

    `fault` is what the service has given as the kind of error (`messages.Fault`); empty if it has given none.
    """

    def __init__(self, code: VerbExit, reason: str, fault: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.fault = fault

    @property
    def state(self) -> str:
        """What the error says of the service's state: `busy` with other operators, or `no answer`."""
        return "busy" if self.fault == Fault.BUSY.value else "no answer"


Reply = dict[str, object]  # a line of an answer

_CODES = {
    Fault.USAGE.value: VerbExit.USAGE,
    Fault.FORBIDDEN.value: VerbExit.NOT_PERMITTED,
    Fault.LATE.value: VerbExit.TIMED_OUT,
}


def ask(
    path: str,
    verb: str,
    arguments: Mapping[str, object] | None = None,
    *,
    on_progress: Callable[[Reply], object] = lambda line: None,
    timeout: float = 0.0,
    patience: float | None = None,
) -> Reply:
    """Ask the service behind the socket at `path`, and return its result.

    `on_progress` is called with each line that says how far it has come. `timeout`: seconds to wait for the end once
    the service has begun to answer; 0: as long as it takes. `patience`: seconds in which the answer must begin, after
    which the service passes the request over; None: ANSWER_SECONDS. Raises VerbError.
    """
    seconds = ANSWER_SECONDS if patience is None else patience
    sock = connect(path, seconds)
    deadline = time.monotonic() + timeout if timeout else None
    with sock:
        try:
            sock.sendall(messages.encode_request(verb, {**(arguments or {}), "expires": time.time() + seconds}))
        except OSError:
            pass  # what the service has said before it closed the connection tells more
        for line in _lines(sock, deadline, seconds):
            match line["kind"]:
                case "progress":
                    on_progress(line)
                case "result":
                    return {name: value for name, value in line.items() if name != "kind"}
                case "error":
                    fault = str(line.get("fault"))
                    reason = str(line.get("reason", "the service gives no reason"))
                    raise VerbError(_CODES.get(fault, VerbExit.FAILED), reason, fault)
                case _:
                    pass  # what a later release may add
    raise VerbError(VerbExit.FAILED, "the service has closed the connection before it had done what was asked for")


def connect(path: str, patience: float) -> socket.socket:
    """Return a socket that is connected to the service within `patience` (seconds). Raises VerbError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(patience)
    try:
        sock.connect(path)
    except PermissionError:
        sock.close()
        raise VerbError(VerbExit.NOT_PERMITTED, f"{path} may not be used by this user") from None
    except (TimeoutError, BlockingIOError):
        sock.close()
        raise VerbError(VerbExit.TIMED_OUT, f"the service at {path} takes nobody in; is it stopped?") from None
    except OSError as error:
        sock.close()
        raise VerbError(VerbExit.NO_SERVICE, f"no service listens at {path}: {error.strerror or error}") from None
    return sock


def _lines(sock: socket.socket, deadline: float | None, patience: float) -> Iterator[Reply]:
    """Yield the lines of an answer, which begins within `patience` (seconds), until its end. Raises VerbError."""
    received = bytearray()
    first_by = time.monotonic() + patience
    begun = False
    while True:
        line, end, rest = received.partition(b"\n")
        if end:
            received, begun = rest, True
            yield _parsed(bytes(line))
            continue
        if len(received) > LONGEST_LINE:
            raise VerbError(VerbExit.FAILED, "the service sends a line without an end")
        by = deadline if begun else first_by
        try:
            sock.settimeout(None if by is None else max(0.001, by - time.monotonic()))
            data = sock.recv(65536)
        except TimeoutError:
            raise VerbError(VerbExit.TIMED_OUT, _too_long(begun, patience)) from None
        except ConnectionError:
            data = b""
        if not data:
            return
        received += data


def _too_long(begun: bool, patience: float) -> str:
    if begun:
        return "it is not done yet, and goes on without being waited for (--timeout)"
    return f"the service has not answered within {patience:g} s; is it stopped?"


def _parsed(line: bytes) -> Reply:
    try:
        return messages.parse_answer(line)
    except ValueError:
        raise VerbError(VerbExit.FAILED, "what answers there is no corehttp, or one that is too new") from None
