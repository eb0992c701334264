"""The time as a worker's connections see it, and the header fields that every response carries."""

import time

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(wall: float) -> str:
    """Return `wall` (seconds since the epoch) as an IMF-fixdate (RFC 9110, 5.6.7), which is English in every locale."""
    year, month, day, hour, minute, second, weekday, _, _ = time.gmtime(wall)
    return f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04} {hour:02}:{minute:02}:{second:02} GMT"


class Clock:
    """The time to within one tick, and the header fields that every response carries.

    Connections only read attributes; the worker's ticker sets them at each tick. Between two ticks `now` is the time of
    the next tick, so that a deadline of some seconds from `now` on leaves these seconds, and up to a tick more.

    `now` and `ticked` are the worker's time, for deadlines. It stands still while the event loop does not run (the loop
    is blocked, the process is stopped, or the machine sleeps), since no client can be late for a server that does not
    read. `monotonic` is the same moment by time.monotonic(), for what other processes compare; it is `lost` seconds
    ahead of `now`.
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
        """Give every response a Date if `date`, the Server `server` unless it is empty, and `fields`.

        A Date or Server among `fields` takes the place of ours. The time is 0 until the first `update`.
        """
        names = {name.lower() for name, _ in fields}
        self._date = date and b"date" not in names
        self._server = [(b"server", server)] if server and b"server" not in names else []
        self._fixed = list(fields)
        self.lost = 0.0  # seconds in which the event loop did not run, so far
        self.monotonic = 0.0
        self.now = 0.0
        self.ticked = 0.0  # the time of the last tick, for what is done at a tick, however long that takes
        # What every response carries: Server, Date, and what the operator has set.
        self.fields: list[tuple[bytes, bytes]] = []
        self.lines = b""  # `fields` as lines of HTTP/1.1
        self.update(0.0, 0.0)

    def update(self, now: float, wall: float) -> None:
        """Set the time: `now` by time.monotonic(), `wall` in seconds since the epoch (RFC 9110, 5.6.7)."""
        self.monotonic = now
        self.now = self.ticked = now - self.lost
        date = [(b"date", http_date(wall).encode())] if self._date else []
        self.fields = [*self._server, *date, *self._fixed]
        self.lines = _lines(self.fields)

    def fields_without(self, *, date: bool, server: bool) -> list[tuple[bytes, bytes]]:
        """Return `fields` for a response whose application has set Date itself, if `date`, or Server, if `server`."""
        omitted = {b"date"} if date else set()
        if server:
            omitted.add(b"server")
        return [field for field in self.fields if field[0].lower() not in omitted]

    def lines_without(self, *, date: bool, server: bool) -> bytes:
        """Return what `fields_without` does, as lines of HTTP/1.1."""
        return _lines(self.fields_without(date=date, server=server))


def _lines(fields: list[tuple[bytes, bytes]]) -> bytes:
    """Return header fields as lines of HTTP/1.1."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])
