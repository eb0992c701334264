"""Options that are settled, which is to say read and checked: what follows from several of them. Pure."""

import sys
from typing import Any

DEVELOPMENT_GRACE = 0.5  # seconds that requests in flight may take when --reload has the code replaced


class Settled:
    """The base of `Config`, which reads and checks the options."""

    app: Any
    supervise: bool
    reload: bool
    timeout_graceful_shutdown: float
    control: str
    admin: str | None

    @property
    def supervised(self) -> bool:
        """Whether worker processes under a supervisor serve the application, which must be named by a string then.

        On Windows there are none: one worker serves in the process of the command.
        """
        has_processes = sys.platform != "win32"
        return has_processes and self.supervise and (self.app is None or issubclass(type(self.app), str))

    @property
    def graceful_replaced(self) -> float:
        """Seconds that requests in flight may take in a worker whose place another one takes."""
        longest = DEVELOPMENT_GRACE if self.reload else self.timeout_graceful_shutdown
        return min(longest, self.timeout_graceful_shutdown)

    @property
    def counts(self) -> bool:
        """Whether workers count what they do: only if somebody can ask for it, by --control or --admin."""
        return self.control != "off" or self.admin is not None
