"""The time as a worker's connections see it, and the header lines that follow from it."""

import time

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(wall: float) -> str:
    """`wall`, seconds since the epoch, as an IMF-fixdate (RFC 9110, 5.6.7); in English whatever the locale is."""
    year, month, day, hour, minute, second, weekday, _, _ = time.gmtime(wall)
    return f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04} {hour:02}:{minute:02}:{second:02} GMT"


class Clock:
    """The time to within one tick, and the header lines that every response carries.

    A request only reads attributes; the ticker sets them. Between two ticks `now` is the time of the next tick, so that
    a deadline of some seconds from `now` on leaves these seconds, and up to a tick more.

    `now` and `ticked` are the worker's time, for deadlines. It stands still while the event loop does not run (the loop
    is blocked, the process is stopped, or the machine sleeps), since no client can be late for a server that does not
    read. `monotonic` is the same moment by time.monotonic(), for what other processes compare; it is `lost` seconds
    ahead.
    """

    __slots__ = (
        "_date",
        "_fixed",
        "date",
        "lines",
        "lost",
        "monotonic",
        "now",
        "server",
        "ticked",
    )

    def __init__(
        self,
        *,
        date: bool = True,
        server: bytes = b"",
        fields: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        """Send `date`, `server` and further `fields` with every response. The time is 0 until the first `update`."""
        self._date = date
        self.server = b"server: %b\r\n" % server if server else b""
        self._fixed = b"".join([b"%b: %b\r\n" % field for field in fields])
        self.lost = 0.0  # seconds in which the event loop did not run so far
        self.monotonic = 0.0
        self.now = 0.0
        self.ticked = 0.0  # the time of the last tick, for what is done at a tick, though that may take a while
        self.date = b""
        self.lines = b""
        self.update(0.0, 0.0)

    def update(self, now: float, wall: float) -> None:
        """Set the time: `now` by time.monotonic(), `wall` in seconds since the epoch (RFC 9110, 5.6.7)."""
        self.monotonic = now
        self.now = self.ticked = now - self.lost
        if self._date:
            self.date = b"date: %b\r\n" % http_date(wall).encode()
        self.lines = self.server + self.date + self._fixed

    def lines_without(self, *, date: bool, server: bool) -> bytes:
        """The header lines for a response whose application set Date or Server itself."""
        return (b"" if server else self.server) + (b"" if date else self.date) + self._fixed
