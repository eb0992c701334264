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
        "_server",
        "fields",
        "lines",
        "lost",
        "monotonic",
        "now",
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
        self._server = [(b"server", server)] if server else []
        self._fixed = list(fields)
        self.lost = 0.0  # seconds in which the event loop did not run so far
        self.monotonic = 0.0
        self.now = 0.0
        self.ticked = 0.0  # the time of the last tick, for what is done at a tick, though that may take a while
        self.fields: list[tuple[bytes, bytes]] = []  # that every response carries: Server, Date, and the operator's own
        self.lines = b""  # the same as lines of HTTP/1.1
        self.update(0.0, 0.0)

    def update(self, now: float, wall: float) -> None:
        """Set the time: `now` by time.monotonic(), `wall` in seconds since the epoch (RFC 9110, 5.6.7)."""
        self.monotonic = now
        self.now = self.ticked = now - self.lost
        date = [(b"date", http_date(wall).encode())] if self._date else []
        self.fields = [*self._server, *date, *self._fixed]
        self.lines = _lines(self.fields)

    def fields_without(self, *, date: bool, server: bool) -> list[tuple[bytes, bytes]]:
        """The fields for a response whose application has set Date or Server, as `date` and `server` say, itself."""
        server_and_date = len(self.fields) - len(self._fixed)
        omitted = {b"date"} if date else set()
        if server:
            omitted.add(b"server")
        return [field for field in self.fields[:server_and_date] if field[0] not in omitted] + self._fixed

    def lines_without(self, *, date: bool, server: bool) -> bytes:
        """The same as lines of HTTP/1.1."""
        return _lines(self.fields_without(date=date, server=server))


def _lines(fields: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%b: %b\r\n" % field for field in fields])
