"""How much a client may send, and how long it may take. Pure."""

from corehttp.records import record

UNLIMITED = float("inf")  # a limit that nothing reaches
# Bytes per second below which a body that comes in, or a response that goes out, makes no progress. ASP.NET's Kestrel
# has the same; a modem of 1990 is faster.
MINIMUM_RATE = 240


@record
class Limits:
    """What the options say about requests: sizes in bytes, times in seconds; infinite if there is no limit."""

    request_line: int = 8192  # without its line break
    request_fields: int = 128  # about 100 of a client, and what a chain of proxies adds, such as addresses and traces
    request_head: int = 65536  # request line, fields and line breaks
    request_body: float = UNLIMITED
    keep_alive: float = 75.0  # from a response to the next request
    request_header: float = 15.0  # from the first byte of a head to its last
    request_body_stall: float = 60.0  # how long a body may make no progress
    write_stall: float = 60.0  # how long a client may take nothing of what is sent
    request: float = UNLIMITED  # from the begin of an application's call to the end of the response


class Pace:
    """Tells whether a peer makes progress: `due` is when it has made too little (seconds).

    It begins with some seconds. Each MINIMUM_RATE bytes give a further second, but never more than the seconds from the
    beginning lie ahead.
    """

    __slots__ = ("_seconds", "due")

    def __init__(self, seconds: float, now: float) -> None:
        self._seconds = seconds
        self.due = now + seconds

    def moved(self, size: int, now: float) -> None:
        """Note that `size` bytes have been moved, by `now` (seconds)."""
        self.due = min(now + self._seconds, self.due + size / MINIMUM_RATE)

    def kept_up(self, now: float) -> None:
        """Give the peer all seconds again, since what waited for it at the last look has been moved."""
        self.due = now + self._seconds
