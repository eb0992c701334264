"""Errors, one class for each side that may be at fault, and the exit codes of the command."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of the `corehttp` command."""

    CLEAN = 0  # every request was finished
    USAGE = 2  # an option is wrong
    STARTUP = 3  # the service could not start
    CRASH_LOOP = 4  # all workers kept dying
    DRAIN = 5  # requests were cut at the end of the graceful time
    FORCED = 130  # the operator ended the service at once


# What an operator on Windows is told where something is not there: sockets that processes pass to each other, and
# fork(2), signals and file descriptors as a supervisor and its workers use them.
ELSEWHERE = "use WSL 2 (wsl --install, then install it there) or a container (examples/docker)"


class CorehttpError(Exception):
    """Base of every error that corehttp raises on purpose."""


class ConfigError(CorehttpError, ValueError):
    """An option has a wrong value; the text names the option, what was given and what is allowed."""


class StartupError(CorehttpError):
    """The service cannot start: the application, its lifespan or the address is at fault.

    `detail` is a traceback to show below the message, or empty where the message says it all.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class InterruptedStart(KeyboardInterrupt):
    """Ctrl-C before the service runs, as opposed to a KeyboardInterrupt that the application raises by itself."""


class PeerError(CorehttpError):
    """The client has sent something that is refused; it is answered with `status`, then the connection closes."""

    def __init__(self, status: int, reason: str, fields: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        """`fields` are those that the answer has beside the usual ones."""
        super().__init__(reason)
        self.status = status
        self.fields = fields


class AppError(CorehttpError, RuntimeError):
    """The application broke the ASGI contract; the text says what was expected."""


class ClientDisconnectedError(CorehttpError, OSError):
    """Raised by `send()` once the client is gone (ASGI HTTP specification, "Disconnected Client")."""


class MessageError(CorehttpError):
    """A message between workers was not sent, or not answered."""


class MessageTooLargeError(MessageError, ValueError):
    """A message between workers has more than 64 KiB."""


class BusDownError(MessageError):
    """A message that was meant for all machines has reached the workers of this one alone; the text says why."""


class NoReplyError(MessageError):
    """A request between workers has no reply, and will get none; the text says why."""
