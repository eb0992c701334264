"""Errors, by whose fault they are, and the exit codes they end in."""

from enum import IntEnum


class ExitCode(IntEnum):
    """How the `corehttp` command ends."""

    CLEAN = 0
    USAGE = 2
    STARTUP = 3
    CRASH_LOOP = 4
    DRAIN = 5
    FORCED = 130


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
    """The client sent something we refuse; `status` is the answer, after which the connection closes."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class AppError(CorehttpError, RuntimeError):
    """The application broke the ASGI contract; the text says what was expected."""


class ClientDisconnectedError(CorehttpError, OSError):
    """Raised by `send()` once the client is gone (ASGI HTTP specification, "Disconnected Client")."""
