"""A worker's one ticker: the current time, the Date line, and what is done once a second."""

import time
from collections.abc import Callable

from corehttp.alarm import Alarm, MakeAlarm
from corehttp.periodic import Periodic
from corehttp.protocols.limits import NEVER

TICK = 1.0  # seconds
WOBBLE = 0.05  # seconds that a tick may come early or late: what is due so soon after it is due

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(wall: float) -> str:
    """`wall`, seconds since the epoch, as an IMF-fixdate (RFC 9110, 5.6.7); in English whatever the locale is."""
    year, month, day, hour, minute, second, weekday, _, _ = time.gmtime(wall)
    return f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04} {hour:02}:{minute:02}:{second:02} GMT"


class Clock:
    """The time, one tick exact, and the header lines that every response carries.

    Reading an attribute is all that a request pays; the ticker does the rest. Between two ticks `now` is when the next
    one comes: so whatever gets so many seconds from `now` on has them, and up to a tick more.

    `now` and `ticked` are the worker's time, for deadlines: it stands still while the event loop does not run (it is
    blocked, or stopped, or the machine sleeps), for nobody can be late for a server that does not read. `monotonic` is
    the same moment by time.monotonic(), for what others compare; it is `lost` seconds ahead.
    """

    __slots__ = (
        "_alarm",
        "_date",
        "_due",
        "_fixed",
        "_server",
        "_work",
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
        self._date = date
        self.server = b"server: %b\r\n" % server if server else b""
        self._fixed = b"".join([b"%b: %b\r\n" % field for field in fields])
        self._work: list[Periodic] = []
        self._alarm: Alarm | None = None
        self._due = NEVER  # when the next tick is to come, by time.monotonic()
        self.lost = 0.0  # seconds in which the event loop did not run
        self.monotonic = 0.0
        self.now = 0.0
        self.ticked = 0.0  # the time of the last tick: for what is done at a tick, though it may take a while
        self.date = b""
        self.lines = b""
        self.update(time.monotonic(), time.time())

    def each_tick(self, what: str, work: Callable[[float], object]) -> None:
        """Call `work(now)` once a second, whatever it raises; `what` names it in the log line about that."""
        self._work.append(Periodic(what, work))

    def start(self, make_alarm: MakeAlarm) -> None:
        """Begin to tick."""
        self._alarm = make_alarm(self._tick)
        self._tick()

    def stop(self) -> None:
        """Stop ticking, and let go of what was called."""
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None
        self._work.clear()

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

    def _tick(self) -> None:
        now, wall = time.monotonic(), time.time()
        late = now - self._due
        if late > WOBBLE:
            self.lost += late
        # Wake just after the wall clock's next full second, so that the Date line is never late.
        pause = TICK - wall % TICK + 0.001
        self._due = now + pause
        try:
            self.update(now + WOBBLE, wall)
            for work in self._work:
                work(self.ticked)
        finally:  # whatever is raised here, time goes on
            if self._alarm is not None:
                self._alarm.set(pause)
            self.monotonic = self._due
            self.now = self._due - self.lost
