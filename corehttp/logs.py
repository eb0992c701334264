"""The server's log lines on standard error or in a file, as text or JSON, whatever the application does to logging."""

import atexit
import logging
import sys
import time
from types import TracebackType
from typing import Any, ClassVar

from corehttp.line_writer import LineWriter
from corehttp.log_file import LogFile, open_lines
from corehttp.standard_streams import is_terminal, output
from corehttp.tracebacks import formatted

TRACE = 5  # the level of `worker.event_trace`, below DEBUG, as uvicorn has it
_COLOURS = {"TRACE": "34", "DEBUG": "36", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
_PENDING_LIMIT = 1024 * 1024  # bytes that may wait for the reader of standard error; more lines are dropped
_FLUSH = 1.0  # seconds that the end of the process waits for the reader of standard error

logger = logging.getLogger("corehttp.error")

_Info = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def set_up(level: str, form: str, who: str, path: str | None = None, colours: bool | None = None) -> None:
    """Send the `corehttp` loggers to standard error, from the level on (in lower case), in the form "text" or "json".

    `colours` says whether text has colours (ECMA-48); None: where standard error is a terminal, and a file has none.
    If `path` is given they go to that file instead. Nothing is raised if it cannot be written: standard error says so,
    and lines are dropped until it can.

    Each line names this process as `who`. The loggers become `OwnLogger`s; no other logger is touched. Handlers, level
    and `propagate` that the program has given to the logger `corehttp` stay, whether it did so before the first call or
    between two calls (as in a worker that is forked after the application was loaded). If the program has replaced
    `sys.stderr` before the first call, the lines go there.
    """
    OwnLogger.handler = handler = _make_handler(form, who, path, colours)
    OwnLogger.who = who
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
        own.setLevel(TRACE if level == "trace" else level.upper())
    own.left = list(own.handlers), own.level, own.propagate


def _make_handler(form: str, who: str, path: str | None, colours: bool | None) -> logging.Handler:
    """Return the handler of the server's own lines, and close the one of before."""
    before = getattr(OwnLogger, "handler", None)
    if isinstance(before, LineHandler):
        before.writer.close(0)
    direct = isinstance(before, LineHandler) or path is not None or sys.stderr is sys.__stderr__
    handler = LineHandler(path) if direct else logging.StreamHandler(sys.stderr)
    colour = path is None and (direct and is_terminal(2) if colours is None else colours)
    handler.setFormatter(JsonFormatter(who) if form == "json" else TextFormatter(who, colour=colour))
    return handler


def reopen() -> str:
    """Open the file of the server's own lines anew if it was renamed or removed.

    Returns why that is not possible, in words for the operator; empty text if all is well, or there is no file.
    """
    handler = getattr(OwnLogger, "handler", None)  # None: nothing was set up
    return handler.reopen() if isinstance(handler, LineHandler) else ""


def flush() -> None:
    """Wait a moment for lines that are still to be written; to be called before the process ends by os._exit."""
    handler = getattr(OwnLogger, "handler", None)  # None: nothing was set up
    if isinstance(handler, LineHandler):
        handler.writer.flush(_FLUSH)


atexit.register(flush)


class OwnLogger(logging.Logger):
    """A logger that an application cannot silence by accident.

    An application that configures logging has its own lines in mind; without the server's, a request that fails would
    be a 500 without a word. So `disabled`, which `logging.config` sets on all loggers that it is not told of, and
    `logging.disable()` have no effect. Levels, handlers and `propagate` that are given to these loggers by name do have
    their effect, but a record that would reach no handler then goes to the server's own. What a handler, filter or
    record factory of the application raises does not reach the server.
    """

    handler: ClassVar[logging.Handler]  # gets the records that no other handler would get
    who: ClassVar[str]  # the process as its lines name it: the `worker` of each record, for the application's formats
    left: tuple[list[logging.Handler], int, bool]  # handlers, level and propagate as `set_up` has left them

    @property
    def disabled(self) -> bool:
        """Always False: what an application switches off is its own."""
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        pass

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        """Whether records of `level` are logged; `logging.disable()` has no say in it."""
        return level >= self.getEffectiveLevel()

    def makeRecord(self, *arguments: Any, **more: Any) -> logging.LogRecord:  # noqa: N802
        """Return a record of the application's record factory, or a plain one if that factory fails."""
        try:
            record: object = super().makeRecord(*arguments, **more)
        except Exception:  # raised by the application's record factory
            record = None
        if not isinstance(record, logging.LogRecord):
            record = logging.LogRecord(*arguments[:7])
        record.worker = self.who
        return record

    def handle(self, record: logging.LogRecord) -> None:
        """Filter and pass on a record; one at which a filter or handler fails goes to the server's own handler."""
        try:
            super().handle(record)
        except Exception:  # raised by a filter or a handler of the application
            self.handler.handle(record)

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Give a record to all handlers that there are for it, or, if there is none, to the server's own."""
        if self.hasHandlers():
            super().callHandlers(record)
        else:
            self.handler.handle(record)


class LineHandler(logging.Handler):
    """Writes records to standard error, or to the file at `path`, without waiting for a reader.

    `close()` and `flush()` have no effect.
    """

    def __init__(self, path: str | None = None) -> None:
        super().__init__()
        self._path = path
        self._standard: LineWriter | None = None  # standard error, once it was told what is wrong with the file
        self.writer: LineWriter | LogFile
        if path is None:
            self.writer = LineWriter(output(2), _PENDING_LIMIT, self._report_dropped)
        else:
            self.writer = open_lines(path, _PENDING_LIMIT, self._report_dropped, self._report_fault)

    def reopen(self) -> str:
        """Open the file anew if it was renamed or removed; return why that is not possible, or empty text."""
        self.acquire()
        try:
            return self.writer.reopen()
        finally:
            self.release()

    def _report_dropped(self, lines: int) -> None:
        if self._path is None:
            logger.warning("standard error was not read in time: %d lines dropped", lines)
        else:
            logger.warning("%s could not be written: %d lines dropped", self._path, lines)

    def _report_fault(self, fault: str) -> None:
        """Say on standard error what is wrong with the file, since the file may not take it."""
        if self._standard is None:
            self._standard = LineWriter(output(2), _PENDING_LIMIT, lambda lines: None)
        record = logger.makeRecord(logger.name, logging.ERROR, "", 0, "the log file %s", (fault,), None)
        self._standard.write(f"{self.format(record)}\n".encode(errors="backslashreplace"))

    def emit(self, record: logging.LogRecord) -> None:
        """Format a record and write it; never waits, and raises nothing."""
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
        """Return the lines of a record, without the last line break."""
        level = f"{record.levelname:<8}"
        if self._colour:
            level = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{level}\x1b[0m"
        line = f"{local_timestamp(record.created)} {level} [{self._who}] {record.getMessage()}"
        return f"{line}\n{_traceback(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object: time, level, worker, message and, if there was an exception, traceback.

    A record about a request, with `request_ids`, has those as well (`trace_ids`).
    """

    def __init__(self, who: str) -> None:
        from json import dumps  # imported here, because it takes 0.7 MB and most processes never need it

        super().__init__()
        self._who = who
        self._dumps = dumps

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a JSON object on one line, without a line break."""
        entry = {
            "time": utc_timestamp(record.created),
            "level": record.levelname.lower(),
            "worker": self._who,
            "message": record.getMessage(),
        }
        entry.update(getattr(record, "request_ids", {}))
        if record.exc_info:
            entry["traceback"] = _traceback(record.exc_info)
        return self._dumps(entry)


def _traceback(info: _Info) -> str:
    """Return what `logging.Formatter.formatException` returns, in a bounded time and size."""
    _, error, trace = info
    return formatted(error, trace).removesuffix("\n") if error is not None else "NoneType: None"


def local_timestamp(wall: float) -> str:
    """Return `wall` (seconds since the epoch) in local time to the millisecond, as log lines show it."""
    year, month, day, hour, minute, second, _, _, _ = time.localtime(wall)
    return f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{int(wall % 1 * 1000):03}"


def utc_timestamp(wall: float) -> str:
    """Return `wall` (seconds since the epoch) in UTC to the millisecond, as RFC 3339 writes it."""
    year, month, day, hour, minute, second, _, _, _ = time.gmtime(wall)
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{int(wall % 1 * 1000):03}Z"
