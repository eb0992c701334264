"""The server's log lines on standard error, as text or JSON."""

import logging
import sys
import time

_COLOURS = {"DEBUG": "36", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def set_up(level: str, form: str, who: str) -> None:
    """Send the `corehttp` loggers to standard error, each line with `who` said it; no other logger is touched."""
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(JsonFormatter(who) if form == "json" else TextFormatter(who, colour=sys.stderr.isatty()))
    root = logging.getLogger("corehttp")
    root.handlers[:] = [stream]
    root.setLevel(level.upper())
    root.propagate = False


class TextFormatter(logging.Formatter):
    """`2026-11-22 10:00:00.000 INFO [worker 1] message`"""

    def __init__(self, who: str, *, colour: bool) -> None:
        super().__init__()
        self._who = who
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname:<8}"
        if self._colour:
            level = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{level}\x1b[0m"
        line = f"{local_timestamp(record.created)} {level} [{self._who}] {record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


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
            entry["traceback"] = self.formatException(record.exc_info)
        return self._dumps(entry)


def local_timestamp(wall: float) -> str:
    """`wall`, seconds since the epoch, in local time to the millisecond, as log lines show it."""
    year, month, day, hour, minute, second, _, _, _ = time.localtime(wall)
    return f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{int(wall % 1 * 1000):03}"


def utc_timestamp(wall: float) -> str:
    """`wall`, seconds since the epoch, in UTC to the millisecond (RFC 3339), as machines like to read it."""
    year, month, day, hour, minute, second, _, _, _ = time.gmtime(wall)
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{int(wall % 1 * 1000):03}Z"
