"""How long each step of a worker's end may take. Pure."""

from typing import Self

from corehttp.records import record, replaced

# Seconds. A client that sends a request while its connection is closed loses it: with 1 s, three reloads lost 15 of
# 9,705 requests of clients with pauses of about a second.
QUIET = 10.0


@record
class ShutdownTimes:
    """How long each step of a worker's end may take; all times in seconds."""

    delay: float  # the worker serves on for this time before it stops accepting
    graceful: float  # what is in flight may take this time
    idle_grace: float  # an idle connection is kept for this time, for a request on its way
    stream_grace: float  # after this time responses that never end by themselves are told to end
    reconnect_grace: float  # WebSockets are closed over this time, one after another
    lifespan: float  # the application's shutdown may take this time
    exit: float  # the application's exit handlers and threads may take this time

    @property
    def whole(self) -> float:
        """The time that all steps may take, from the order to leave to the end of the process."""
        return self.delay + self.graceful + self.lifespan + self.exit

    def patient(self) -> Self:
        """Return the times of a worker that leaves while others go on, and whose idle connections cannot go to these.

        They are kept for QUIET seconds, but a third of the graceful time at most, for their clients to use once more;
        the answer tells that it is the last one. Many clients close a connection themselves that was idle for so long.
        """
        return replaced(self, idle_grace=max(self.idle_grace, min(QUIET, self.graceful / 3)))

    def hurried(self, graceful: float) -> Self:
        """Return the times of a worker that leaves because somebody waits for the code which they have changed.

        WebSockets close at once, streams get half of the `graceful` time (seconds) before they are told to end, and
        threads that do not end hold up nobody. Only the lifespan shutdown has its usual time.
        """
        return replaced(
            self,
            graceful=graceful,
            stream_grace=min(self.stream_grace, graceful / 2),
            reconnect_grace=0.0,
            exit=min(self.exit, graceful),
        )
