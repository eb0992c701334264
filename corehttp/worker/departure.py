"""When each connection of a worker that leaves may close: one after another, and not before its client had a moment."""

from corehttp.protocols.contracts import Connection, HandOver

UNTAKEN = 2.0  # seconds after which an idle connection is closed that no other worker takes


class WorkerDeparture:
    """Tells the connections of one worker that leaves whether they may be passed on, or close by now."""

    def __init__(self, now: float, *, hand_over: HandOver | None, idle_grace: float, reconnect_grace: float) -> None:
        """`now` is when the worker begins to leave (seconds, monotonic).

        `hand_over` gives an idle connection to another worker; None if no other worker goes on. `idle_grace` is for how
        many seconds an idle connection is kept where it cannot be passed on. `reconnect_grace` is the time in seconds
        over which the connections close whose clients are likely to come back at once.
        """
        self.hand_over = hand_over
        self._idle_grace = idle_grace if hand_over is None else UNTAKEN
        self._idle_since: dict[Connection, float] = {}
        self._began = now
        self._reconnect_grace = reconnect_grace
        self._turns: dict[Connection, int] = {}

    def ask_to_leave(self, connection: Connection, now: float) -> None:
        """Have a connection leave if it is time (`now` in seconds, monotonic); to be called until it has left."""
        if not connection.idle:
            self._idle_since.pop(connection, None)
        connection.leave(now, self)

    def has_waited(self, connection: Connection, now: float) -> bool:
        """Whether the idle `connection` was kept long enough, for a request that its client might have sent, to close.

        The wait begins with the first call for a connection, and anew whenever the connection has not been idle.
        """
        return now - self._idle_since.setdefault(connection, now) >= self._idle_grace

    def is_turn_of(self, connection: Connection, now: float) -> bool:
        """Whether it is the turn of `connection` to close, though its client is likely to come back at once.

        The first call for a connection gives it its turn: of n connections, the one with number k (from 0) has it after
        (k + 1/2)/n of the grace. All are called for before the first has its turn, half of the grace for one alone.
        """
        number = self._turns.setdefault(connection, len(self._turns))
        passed = now - self._began
        return passed >= self._reconnect_grace * (number + 0.5) / len(self._turns)
