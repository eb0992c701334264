"""What a client may send, and how long it may take. Pure."""

from dataclasses import dataclass

NEVER = float("inf")
# Bytes per second, below which a body that comes in or a response that goes out makes no progress. ASP.NET's Kestrel
# has the same; a modem of 1990 is faster.
MINIMUM_RATE = 240


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds; infinite where there is no limit."""

    request_line: int = 8192  # without its line break
    request_fields: int = 128  # 100 of a client, and what a chain of proxies adds: addresses, tracing, a mesh
    request_head: int = 65536  # request line, fields and line breaks
    request_body: float = NEVER
    keep_alive: float = 75.0
    request_header: float = 15.0  # for a whole head, from its first byte on
    request_body_stall: float = 60.0  # without progress
    write_stall: float = 60.0  # without progress
    request: float = NEVER  # for a whole exchange


class Pace:
    """Whether a peer makes progress: `due` is when it has made too little, in seconds.

    So many seconds without a byte are too long, and each `MINIMUM_RATE` bytes gain a second, up to that many.
    """

    __slots__ = ("_seconds", "due")

    def __init__(self, seconds: float, now: float) -> None:
        self._seconds = seconds
        self.due = now + seconds

    def moved(self, size: int, now: float) -> None:
        """The peer has moved `size` bytes."""
        self.due = min(now + self._seconds, self.due + size / MINIMUM_RATE)

    def kept_up(self, now: float) -> None:
        """Nothing waits for the peer any more that did when it was last looked at: it has all the time again."""
        self.due = now + self._seconds
