"""Lines of log files: which process says them, when and how grave they are, and how they are shown. Pure."""

import json
import re
from collections.abc import Collection, Iterable
from datetime import datetime

from corehttp.records import record
from corehttp.text import printable

_TIME = r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3})"
_OWN = re.compile(_TIME + r" (?P<level>[A-Z]+) +\[(?P<who>[^]]+)\] (?P<text>.*)")
_REQUEST = re.compile(_TIME + r" \[(?P<who>[^]]+)\] (?P<text>.*)")
_STATUS = re.compile(r'" (\d{3}) ')
_COLOURS = {"debug": "36", "warning": "33", "error": "31", "critical": "1;31"}
_WIDTH = 10  # characters of the column that says who speaks: `supervisor`


@record
class LogLine:
    """One line of a log file. What a line does not say itself, such as one of a traceback, is that of the one above."""

    source: str  # "log" for the server's own lines, "access" for those of requests
    time: float  # seconds since the epoch; 0.0 if nothing says it
    who: str  # the process, such as `worker 2`; empty if nothing says it
    level: str  # `debug`, `info`, `warning`, `error` or `critical`; for a request it follows from its status
    text: str  # what is shown beside that
    raw: str  # the line as it is in the file
    begins: bool  # whether an entry begins with it


def parse(holds: str, raw: str, above: LogLine | None) -> LogLine:
    """Return what a line of a file says; `above` is the line before it in the file.

    `holds` says which lines the file has: "log", "access", or "both".
    """
    if raw.startswith('{"time": "') and (line := _parse_json(raw)) is not None:
        return line
    if match := _OWN.fullmatch(raw):
        return LogLine("log", _seconds(match["time"]), match["who"], match["level"].lower(), _shown(match), raw, True)
    if match := _REQUEST.fullmatch(raw):
        level = _level_of(match["text"])
        return LogLine("access", _seconds(match["time"]), match["who"], level, _shown(match), raw, True)
    if holds == "access":  # a form of its own (--access-log-format)
        return LogLine("access", 0.0 if above is None else above.time, "", "info", raw, raw, True)
    if above is None:
        return LogLine("log", 0.0, "", "info", raw, raw, False)
    return LogLine(above.source, above.time, above.who, above.level, raw, raw, False)


def _parse_json(raw: str) -> LogLine | None:
    """Return what a line in JSON says; None if it is not one of the server's."""
    try:
        entry = json.loads(raw)
        time, who, level = entry["time"], entry["worker"], entry["level"]
        status = entry.get("status")
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not (isinstance(time, str) and isinstance(who, str) and isinstance(level, str)):
        return None
    source = "log" if "message" in entry else "access"
    grave = _grave(status) if isinstance(status, int) else level
    return LogLine(source, _seconds(time), who, grave, raw, raw, True)


def _level_of(request: str) -> str:
    """Return how grave a request is, by its status."""
    match = _STATUS.search(request)
    return "info" if match is None else _grave(int(match[1]))


def _grave(status: int) -> str:
    if status >= 500:
        return "error"
    return "warning" if status >= 400 else "info"


def _seconds(time: str) -> float:
    """Return a time of a log line, local where it names no zone, in seconds since the epoch; 0.0 if it is none."""
    try:
        return datetime.fromisoformat(time).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0


def _shown(match: re.Match[str]) -> str:
    level = f"{match['level']:<8} " if "level" in match.re.groupindex else ""
    return f"{match['time']} {level}{match['text']}"


def rendered(line: LogLine, *, colour: bool) -> str:
    """Return a line as it is shown: who says it, and what; in a terminal in the colour of its level."""
    text = f"{printable(line.who) or line.source:<{_WIDTH}} | {printable(line.text)}"
    code = _COLOURS.get(line.level)
    return f"\x1b[{code}m{text}\x1b[0m" if colour and code else text


def as_json(line: LogLine) -> dict[str, object]:
    """Return a line as `corehttp logs --json` shows it."""
    return {"source": line.source, "worker": line.who or None, "level": line.level, "line": line.raw}


def is_wanted(line: LogLine, sources: Collection[str], worker: int | None) -> bool:
    """Whether a line is to be shown, if only those of these sources and of a worker are; None: of all processes."""
    return line.source in sources and (worker is None or line.who == f"worker {worker}")


def last_entries(lines: list[LogLine], count: int) -> list[LogLine]:
    """Return the lines of the last entries; an entry is a line that begins one, with those of its traceback below."""
    begins = [index for index, line in enumerate(lines) if line.begins]
    if count == 0:
        return []
    return lines[begins[-count] :] if len(begins) > count else lines


def merged(files: Iterable[list[LogLine]]) -> list[LogLine]:
    """Return the lines of several files by their times; those of one file keep their order."""
    timed = [entry for lines in files for entry in _rising(lines)]
    return [line for _, line in sorted(timed, key=lambda entry: entry[0])]


def _rising(lines: list[LogLine]) -> list[tuple[float, LogLine]]:
    """Return each line with a time that is not before that of the line above, as the order of the file says."""
    found: list[tuple[float, LogLine]] = []
    time = 0.0
    for line in lines:
        time = max(time, line.time)
        found.append((time, line))
    return found


def place(where: dict[str, object], pid: int) -> str:
    """Return where lines go that are not in a log file, with what shows them; `pid` is that of the supervisor."""
    match where.get("kind"):
        case "journal":
            unit = where.get("unit")
            return f"to the journal: journalctl -f {f'-u {unit}' if unit else f'_PID={pid}'}"
        case "terminal":
            return f"to the terminal {where.get('path')}, where the service was started"
        case "pipe" | "socket":
            reader = "`docker logs`, `kubectl logs`, or what started the service"
            return f"to a {where['kind']}, whose reader has them: {reader}"
        case "off":
            return "nowhere: --no-access-log"
        case _:
            return "nowhere: the stream is closed, or /dev/null"
