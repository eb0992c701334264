"""The server's log lines on standard error, as text or JSON, whatever the application does to logging."""

import atexit
import logging
import sys
import time
from types import TracebackType
from typing import Any, ClassVar

from corehttp.line_writer import LineWriter
from corehttp.standard_streams import is_terminal, output
from corehttp.tracebacks import formatted

_COLOURS = {"DEBUG": "36", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
_PENDING_LIMIT = 1024 * 1024  # bytes not yet taken by standard error before lines are dropped
_FLUSH = 1.0  # seconds that the end of the process waits for a reader of standard error

logger = logging.getLogger("corehttp.error")

_Info = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def set_up(level: str, form: str, who: str) -> None:
    """Send the `corehttp` loggers to standard error, each line with `who` said it; no other logger is touched.

    From now on they are `OwnLogger`s. What the program has given to the logger `corehttp` by itself stays, before the
    first call and between two of them (a worker that is forked after the application was loaded). One that had put
    something else in the place of `sys.stderr` before the first gets the lines there.
    """
    before = getattr(OwnLogger, "handler", None)
    if isinstance(before, LineHandler):
        before.writer.close(0)
    direct = isinstance(before, LineHandler) or sys.stderr is sys.__stderr__
    handler = LineHandler() if direct else logging.StreamHandler(sys.stderr)
    colour = direct and is_terminal(2)
    handler.setFormatter(JsonFormatter(who) if form == "json" else TextFormatter(who, colour=colour))
    OwnLogger.handler = handler
    own = logging.getLogger("corehttp")
    handlers, least, propagate = own.left if isinstance(own, OwnLogger) else ([], logging.NOTSET, True)
    for name in ("corehttp", "corehttp.error", "corehttp.supervisor"):
        logging.getLogger(name).__class__ = OwnLogger
    assert isinstance(own, OwnLogger)
    if own.handlers == handlers:
        own.handlers = [handler]
        if own.propagate == propagate:
            own.propagate = False
    if own.level == least:
        own.setLevel(level.upper())
    own.left = list(own.handlers), own.level, own.propagate


def flush() -> None:
    """Wait a moment for what is still to be written; to be called before the process ends other than by returning."""
    handler = getattr(OwnLogger, "handler", None)  # None: nothing was set up
    if isinstance(handler, LineHandler):
        handler.writer.flush(_FLUSH)


atexit.register(flush)


class OwnLogger(logging.Logger):
    """A logger that an application does not silence unless it names it.

    Who configures logging means the lines of the application; a request that fails would otherwise be a 500 without a
    word. So `disabled`, which `logging.config` sets on all loggers that it is not told of, and `logging.disable()` have
    no effect. Levels, handlers and `propagate` that are given to these loggers have, as long as that leaves them any
    handler, and nothing of the application that raises in a log call reaches the server.
    """

    handler: ClassVar[logging.Handler]  # for records that no other handler would get
    left: tuple[list[logging.Handler], int, bool]  # handlers, level and propagate, as `set_up` has left them

    @property
    def disabled(self) -> bool:
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        pass

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        return level >= self.getEffectiveLevel()

    def makeRecord(self, *arguments: Any, **more: Any) -> logging.LogRecord:  # noqa: N802
        try:
            record: object = super().makeRecord(*arguments, **more)
        except Exception:  # of the application's record factory
            record = None
        return record if isinstance(record, logging.LogRecord) else logging.LogRecord(*arguments[:7])

    def handle(self, record: logging.LogRecord) -> None:
        try:
            super().handle(record)
        except Exception:  # of a filter or a handler of the application
            self.handler.handle(record)

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802
        if self.hasHandlers():
            super().callHandlers(record)
        else:
            self.handler.handle(record)


class LineHandler(logging.Handler):
    """Writes to standard error without waiting for its reader. `close()` and `flush()` of logging do nothing to it."""

    def __init__(self) -> None:
        super().__init__()
        self.writer = LineWriter(
            output(2),
            _PENDING_LIMIT,
            lambda lines: logger.warning("standard error was not read in time: %d lines dropped", lines),
        )

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
        else:
            self.writer.write(f"{line}\n".encode(errors="backslashreplace"))


class TextFormatter(logging.Formatter):
    """Formats a record as text: `2026-11-22 10:00:00.000 INFO [worker 1] message`."""

    def __init__(self, who: str, *, colour: bool) -> None:
        super().__init__()
        self._who = who
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname:<8}"
        if self._colour:
            level = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{level}\x1b[0m"
        line = f"{local_timestamp(record.created)} {level} [{self._who}] {record.getMessage()}"
        return f"{line}\n{_traceback(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, worker, message and, after an exception, traceback."""

    def __init__(self, who: str) -> None:
        from json import dumps  # here, since most processes never need it: 0.7 MB in each

        super().__init__()
        self._who = who
        self._dumps = dumps

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": utc_timestamp(record.created),
            "level": record.levelname.lower(),
            "worker": self._who,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = _traceback(record.exc_info)
        return self._dumps(entry)


def _traceback(info: _Info) -> str:
    """What `logging.Formatter.formatException` answers, in a bounded time."""
    _, error, trace = info
    return formatted(error, trace).removesuffix("\n") if error is not None else "NoneType: None"


def local_timestamp(wall: float) -> str:
    """`wall`, seconds since the epoch, in local time to the millisecond, as log lines show it."""
    year, month, day, hour, minute, second, _, _, _ = time.localtime(wall)
    return f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{int(wall % 1 * 1000):03}"


def utc_timestamp(wall: float) -> str:
    """`wall`, seconds since the epoch, in UTC to the millisecond (RFC 3339), as machines like to read it."""
    year, month, day, hour, minute, second, _, _, _ = time.gmtime(wall)
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{int(wall % 1 * 1000):03}Z"
