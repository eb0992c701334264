"""What `corehttp logs` shows: the last lines of the log files, and on demand those that are appended."""

import json
import signal
import sys
import time
from collections.abc import Iterable

import click

from corehttp.control.client import Reply, VerbError, VerbExit, ask
from corehttp.control.log_lines import LogLine, as_json, is_wanted, last_entries, merged, place, rendered
from corehttp.control.log_reader import LogReader
from corehttp.control.messages import SCHEMA

PAUSE = 0.1  # seconds between two looks at files that do not grow
NAMES = {"log": "the server's lines go", "access": "requests go"}


def show(path: str, *, count: int, follow: bool, worker: int | None, own: bool, in_json: bool) -> None:
    """Print the last `count` entries of each log file of the service behind a control socket.

    With `follow` go on until Ctrl-C. `worker`: only lines of that worker; `own`: only the server's lines, not those of
    requests. Raises VerbError if there is no file, or one may not be read.
    """
    sources = ("log",) if own else ("log", "access")
    readers = _readers(ask(path, "logs"), sources)

    def chosen(lines: list[LogLine]) -> list[LogLine]:
        return [line for line in lines if is_wanted(line, sources, worker)]

    try:
        # What is chosen may be rare among the rest, so more is read.
        wanted = count if worker is None else count * 50
        _print(merged(last_entries(chosen(reader.last(wanted)), count) for reader in readers), in_json=in_json)
        if follow:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        while follow:
            _print(merged(chosen(reader.more()) for reader in readers), in_json=in_json)
            if not any(reader.has_more for reader in readers):
                time.sleep(PAUSE)
    except KeyboardInterrupt:
        pass
    finally:
        for reader in readers:
            reader.close()


def _readers(answer: Reply, sources: Iterable[str]) -> list[LogReader]:
    """Return what reads the files that a service names, and say where other lines go. Raises VerbError if all do."""
    files: dict[str, str] = {}  # what each file holds, by its path
    elsewhere: list[str] = []
    pid = answer.get("pid")
    for source in sources:
        where = answer.get(source)
        where = where if isinstance(where, dict) else {}
        file = where.get("path") if where.get("kind") == "file" else None
        if isinstance(file, str) and file:
            files[file] = "both" if file in files else source
        else:
            elsewhere.append(f"{NAMES[source]} {place(where, pid if isinstance(pid, int) else 0)}")
    readers = [LogReader(file, holds) for file, holds in files.items()]
    if not readers:
        raise VerbError(VerbExit.FAILED, "there is no log file: " + "; ".join(elsewhere))
    for text in elsewhere:
        click.echo(text, err=True)
    return readers


def _print(lines: Iterable[LogLine], *, in_json: bool) -> None:
    colour = sys.stdout.isatty()
    shown = [
        json.dumps({"schema": SCHEMA, **as_json(line)}) if in_json else rendered(line, colour=colour) for line in lines
    ]
    if shown:
        click.echo("\n".join(shown))
