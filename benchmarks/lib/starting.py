"""How long servers take from their exec to their first answer, and what CPU time that costs."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.lib.applications import APPLICATIONS
from benchmarks.lib.cost_report import CostReport
from benchmarks.lib.placement import place
from benchmarks.lib.process_tree import cpu_nanoseconds
from benchmarks.lib.running_server import RunningServer, StartError, free_port, stop_all
from benchmarks.lib.servers import Launch
from benchmarks.lib.summary import Spread

START_PEERS = ("corehttp", "uvicorn", "granian")
START_WORKERS = (1, 2)

_ASK_EVERY = 0.002  # seconds
_HEADER = ("server", "workers", "ready ms", "least", "most", "CPU ms", "least", "most")

_METHOD = """\
The time from the start of the process to the first answer of the hello application, asked for every {every:.0f} ms, and
the CPU time of the whole process tree until then: medians, least and most of {rounds} starts of each, in random order,
one at a time, on one CPU for each worker. Before them each was started once, so that its modules were compiled."""


@dataclass(frozen=True, slots=True)
class Start:
    """One start: seconds until the first answer, and seconds of CPU time until then."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class StartRow:
    """All starts of one server with a number of workers."""

    name: str
    workers: int
    seconds: Spread
    cpu_seconds: Spread
    starts: list[Start]


@dataclass(slots=True)
class StartReport(CostReport[StartRow]):
    """What came of starting several servers several times."""

    rounds: int


def start_all(names: Sequence[str], rounds: int, order: random.Random) -> StartReport:
    """Start each server `rounds` times with each number of workers; one that fails is named in the report."""
    report = StartReport(rounds)
    found: dict[tuple[str, int], list[Start]] = {
        (name, workers): [] for name in report.measurable(names) for workers in START_WORKERS
    }
    for number in range(rounds + 1):
        for name, workers in order.sample(list(found), len(found)):
            if name in report.failed:
                continue
            try:
                started = start(name, workers)
            except StartError as failure:
                report.failed[name] = str(failure)
            else:
                if number:
                    found[name, workers].append(started)
    report.rows = [
        StartRow(
            name,
            workers,
            _spread([each.seconds for each in starts]),
            _spread([each.cpu_seconds for each in starts]),
            starts,
        )
        for (name, workers), starts in found.items()
        if name not in report.failed
    ]
    return report


def start(name: str, workers: int) -> Start:
    """Start a server once, and stop it when it has answered; raises StartError."""
    with TemporaryDirectory(prefix="corehttp-bench-") as folder:
        launch = Launch(APPLICATIONS["hello"], free_port(), workers, directory=folder)
        began = time.monotonic()
        server = RunningServer(name, launch, place(workers).server, Path(folder, "output"))
        try:
            server.wait_until_ready(_ASK_EVERY)
            return Start(time.monotonic() - began, cpu_nanoseconds(server.pid) / 1e9)
        finally:
            stop_all([server])


def start_text(report: StartReport) -> str:
    """Return the figures as a table, with what they mean."""
    method = _METHOD.format(every=_ASK_EVERY * 1e3, rounds=report.rounds)
    # Each reason names its server.
    return report.framed("startup", _HEADER, [_cells(row) for row in report.rows], report.failed.values(), method)


def _spread(values: Sequence[float]) -> Spread:
    return Spread(median(values), min(values), max(values))


def _cells(row: StartRow) -> list[str]:
    figures = [
        f"{value * 1e3:.0f}"
        for spread in (row.seconds, row.cpu_seconds)
        for value in (spread.median, spread.least, spread.most)
    ]
    return [row.name, str(row.workers), *figures]
