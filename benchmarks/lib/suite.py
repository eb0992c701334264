"""The comparisons that are made, and how one of them is run."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.lib.autocannon import Autocannon
from benchmarks.lib.load import LoadTool
from benchmarks.lib.placement import Placement, place
from benchmarks.lib.process_tree import cpus_of
from benchmarks.lib.rounds import Round, Slice, visit_in_rounds
from benchmarks.lib.running_server import RunningServer, StartError, running
from benchmarks.lib.servers import LOG_SUFFIX, peer_of
from benchmarks.lib.workloads import WORKLOADS
from benchmarks.lib.wrk import Wrk

TOOLS: Mapping[str, LoadTool] = {tool.name: tool for tool in (Wrk(), Autocannon())}

# What is left of a section's time when its last round ends: the servers still have to stop.
_STOP_MARGIN = 0.7

# What starting and stopping a section takes beyond what grows with its servers, in visits.
_START_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Section:
    """Servers that are compared with each other: side by side, on one workload, by its name."""

    workload: str
    peers: tuple[str, ...]
    tool: str = "wrk"
    workers: int = 1

    @property
    def title(self) -> str:
        return f"{self.workload}, {self.workers} worker{'s' if self.workers > 1 else ''}, {self.tool}"

    def connections(self, pace: "Pace") -> int:
        """How many connections there are at once."""
        return min(pace.connections, WORKLOADS[self.workload].most_connections)

    def obstacles(self) -> dict[str, str]:
        """The peers that cannot take part, and why."""
        application = WORKLOADS[self.workload].application
        found = {name: peer_of(name).obstacle(application, access_log=name.endswith(LOG_SUFFIX)) for name in self.peers}
        return {name: reason for name, reason in found.items() if reason is not None}


# The servers that are compared wherever they serve the application.
_PEERS = ("corehttp", "uvicorn", "granian", "h2corn", "fastpysgi")
_FILES = ("corehttp", "uvicorn", "node-sync", "pm2-sync")
_FILES_IN_THREADS = ("corehttp", "uvicorn", "node", "pm2")

SUITE = (
    Section("hello", (*_PEERS, "gunicorn", "hypercorn", "node")),
    Section("hello", ("corehttp", "corehttp+log", "uvicorn", "uvicorn+log")),
    *(Section(name, _PEERS) for name in ("browser", "paths", "nothing-repeats", "post", "close")),
    *(Section(name, _PEERS) for name in ("starlette", "fastapi", "large", "stream", "upload")),
    *(Section("read-content", _FILES, "autocannon", workers) for workers in (1, 2)),
    *(Section("read-in-thread", _FILES_IN_THREADS, "autocannon", workers) for workers in (1, 2)),
)

# Fewer servers and fewer starts, for more rounds: one round alone says little on a machine shared with others.
SHORT_SUITE = (
    Section("hello", ("corehttp", "corehttp+log", "uvicorn", "uvicorn+log", "granian", "h2corn", "node")),
    Section("close", ("corehttp", "uvicorn", "granian")),
    Section("fastapi", ("corehttp", "uvicorn")),
    Section("read-content", ("corehttp", "uvicorn", "node-sync"), "autocannon", workers=1),
    Section("read-content", ("corehttp", "uvicorn", "node-sync"), "autocannon", workers=2),
)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long each server is looked at."""

    rounds: int
    connections: int
    seconds: int  # of one visit
    warm_up: float  # seconds
    total: float | None = None  # seconds for all sections together; then rounds are left out as needed


@dataclass(slots=True)
class Report:
    section: Section
    placement: Placement
    left_out: dict[str, str]
    failed: dict[str, str] = field(default_factory=dict)
    strayed: list[str] = field(default_factory=list)  # servers that run on other CPUs than they were given
    rounds: list[Round] = field(default_factory=list)


def run_suite(sections: Sequence[Section], pace: Pace, order: random.Random) -> Iterator[Report]:
    """A report for each section, as soon as it is there; raises LoadError."""
    end = None if pace.total is None else time.monotonic() + pace.total
    for done, section in enumerate(sections):
        yield run_section(section, pace, order, None if end is None else _deadline(sections[done:], end))


def run_section(section: Section, pace: Pace, order: random.Random, deadline: float | None) -> Report:
    report = Report(section, place(section.workers), section.obstacles())
    names = [name for name in section.peers if name not in report.left_out]
    workload = WORKLOADS[section.workload]
    with running(names, workload.application, section.workers, report.placement.server) as servers:
        ready = [server for server in servers if _prepare(server, pace, report)]
        if ready:
            piece = Slice(TOOLS[section.tool], workload, section.connections(pace), pace.seconds, report.placement.load)
            report.rounds = visit_in_rounds(ready, piece, order, rounds=pace.rounds, deadline=deadline)
            report.strayed = [server.name for server in ready if not cpus_of(server.pid) <= report.placement.server]
    return report


def _prepare(server: RunningServer, pace: Pace, report: Report) -> bool:
    try:
        server.wait_until_ready()
        server.warm_up(pace.warm_up)
    except StartError as failure:
        report.failed[server.name] = str(failure)
        return False
    return True


def _deadline(sections: Sequence[Section], end: float) -> float:
    """When the first of `sections` has to end so that each server of all of them gets the same share of the rest."""
    shares = [_share(section) for section in sections]
    now = time.monotonic()
    return now + (end - now) * shares[0] / sum(shares) - _STOP_MARGIN


def _share(section: Section) -> float:
    """The weight of a section: its servers, by what a visit with its tool takes, and their start and stop."""
    servers = len(section.peers) - len(section.obstacles())
    return servers * (1.5 if section.tool == Autocannon.name else 1.0) + _START_SHARE
