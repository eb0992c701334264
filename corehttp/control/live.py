"""What `corehttp top` shows: the status of a service again and again, on one screen where there is a terminal."""

import json
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import click

from corehttp.control import reports
from corehttp.control.client import Reply, VerbError, VerbExit, ask
from corehttp.control.messages import SCHEMA
from corehttp.control.process_figures import Measurement
from corehttp.control.services import silence
from corehttp.text import printable

Show = Callable[[Reply, float], object]

_COLOURS = {"serving": "green", "starting": "cyan", "leaving": "yellow", "paused": "yellow", "blocked": "red"}


def watch(path: str, *, as_json: bool, interval: float, count: int | None) -> None:
    """Show the service behind a control socket every `interval` seconds, `count` times or until Ctrl-C.

    A service that does not answer is waited for. Raises VerbError once it is gone.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # so that the terminal is put back
    measurement, looks = Measurement(), 0
    try:
        with _screen(as_json) as show:
            while True:
                show(_look(path, measurement), time.time())
                looks += 1
                if looks == count:
                    return
                time.sleep(interval)
    except KeyboardInterrupt:
        pass


def _look(path: str, measurement: Measurement) -> Reply:
    """Return what the service says of itself; one that does not answer has that as its state."""
    try:
        answer = ask(path, "status")
    except VerbError as error:
        if error.code not in (VerbExit.TIMED_OUT, VerbExit.FAILED):  # one that ends may close a connection at first
            raise
        answer = silence(path, error)
    measurement.add_to([answer])
    return answer


def _screen(as_json: bool) -> AbstractContextManager[Show]:
    """Return what shows a look: a line of JSON, one screen of a terminal, or a table beneath the one before."""
    if as_json:
        return nullcontext(lambda answer, now: click.echo(json.dumps({"schema": SCHEMA, **answer})))
    if sys.stdout.isatty():
        try:
            return _Terminal()
        except ImportError:
            click.echo("for one screen: pip install 'corehttp-server[standard]'", err=True)
    return nullcontext(lambda answer, now: click.echo(reports.status(answer, now) + "\n"))


class _Terminal(AbstractContextManager[Show]):
    """One screen, drawn by rich, which comes with the extra `standard`. Raises ImportError without it."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(screen=True, auto_refresh=False)

    def __enter__(self) -> Show:
        self._live.start()
        return self._show

    def __exit__(self, *raised: object) -> None:
        self._live.stop()

    def _show(self, answer: Reply, now: float) -> None:
        """Show one state of a service in the place of the last one."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for heading in reports.WORKER_COLUMNS:
            table.add_column(heading, justify="left" if heading in reports.LEFT else "right", no_wrap=True)
        state = reports.WORKER_COLUMNS.index("STATE")
        for row in reports.workers(answer, now):
            cells = [Text(printable(cell)) for cell in row]
            cells[state].stylize(_COLOURS.get(row[state], ""))
            table.add_row(*cells)
        lines = [Text(printable(line)) for line in reports.foot(answer, now)]
        head = Text(printable(reports.head(answer, now)), style="bold")
        self._live.update(Group(head, "", table, "", *lines, "", "Ctrl-C ends"), refresh=True)
