"""The comparisons that are made, and how one of them is run."""

import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from benchmarks.lib.autocannon import Autocannon
from benchmarks.lib.load import LoadError, LoadTool, MissingToolError
from benchmarks.lib.placement import Placement, place
from benchmarks.lib.process_tree import cpus_of
from benchmarks.lib.rounds import Round, Slice, put_load, visit_in_rounds
from benchmarks.lib.running_server import RunningServer, StartError, running
from benchmarks.lib.servers import LOG_SUFFIX, peer_of
from benchmarks.lib.versions import load_average
from benchmarks.lib.websocket_load import EchoLoad
from benchmarks.lib.workloads import WORKLOADS
from benchmarks.lib.wrk import Wrk

TOOLS: Mapping[str, LoadTool] = {tool.name: tool for tool in (Wrk(), Autocannon(), EchoLoad())}

# Seconds that stay of a section's time when its last round ends, since the servers still have to stop.
_STOP_MARGIN = 0.7

# What starting and stopping a section takes beyond what grows with its servers, in visits.
_START_SHARE = 0.5


# Seconds for servers to become idle, and to see whether they are.
_SETTLE_SECONDS = 0.3

# CPUs that a server which has nothing to do may keep busy; one that uses more is paused while others are visited.
_RESTLESS_CPUS = 0.1


@dataclass(frozen=True, slots=True)
class Section:
    """Servers that are compared with each other: side by side, on one workload, by its name."""

    name: str
    workload: str
    peers: tuple[str, ...]
    tool: str = "wrk"
    workers: int = 1

    @property
    def title(self) -> str:
        return f"{self.name}: {self.workers} worker{'s' if self.workers > 1 else ''}, {self.tool}"

    @property
    def baseline(self) -> str:
        """The server that the others are compared with: the first of uvicorn's, or else the first of all."""
        return next((name for name in self.peers if name.startswith("uvicorn")), self.peers[0])

    def connections(self, pace: "Pace") -> int:
        """Return how many connections there are at once."""
        return min(pace.connections, WORKLOADS[self.workload].most_connections)

    def obstacles(self) -> dict[str, str]:
        """Return the peers that cannot take part, and why."""
        application = WORKLOADS[self.workload].application
        found = {name: peer_of(name).obstacle(application, access_log=name.endswith(LOG_SUFFIX)) for name in self.peers}
        return {name: reason for name, reason in found.items() if reason is not None}


# The servers that are compared wherever they serve the application.
_PEERS = ("corehttp", "uvicorn", "granian", "h2corn", "fastpysgi")
_LOGGING = ("corehttp", "corehttp+log", "uvicorn", "uvicorn+log", "granian", "granian+log")
_FILES = ("corehttp", "uvicorn", "node-sync", "pm2-sync")
_FILES_IN_THREADS = ("corehttp", "uvicorn", "node", "pm2")
_WEBSOCKET_PEERS = ("corehttp", "uvicorn-sansio", "uvicorn-wsproto", "granian")

SUITE = (
    Section("hello", "hello", (*_PEERS, "gunicorn", "hypercorn", "node")),
    Section("access-log", "hello", _LOGGING),
    *(Section(name, name, _PEERS) for name in ("browser", "paths", "nothing-repeats", "post", "close")),
    *(Section(name, name, _PEERS) for name in ("starlette", "fastapi", "large", "stream", "upload")),
    Section("read-content", "read-content", _FILES, "autocannon"),
    Section("read-content-2", "read-content", _FILES, "autocannon", workers=2),
    Section("read-in-thread", "read-in-thread", _FILES_IN_THREADS, "autocannon"),
    Section("read-in-thread-2", "read-in-thread", _FILES_IN_THREADS, "autocannon", workers=2),
    *(
        Section(name, name, _WEBSOCKET_PEERS, EchoLoad.name)
        for name in ("websocket-125-1", "websocket-125-50", "websocket-16384-1", "websocket-16384-50")
    ),
)

# The sections of a minute: fewer servers and fewer starts, so that there is time for more than one round.
SHORT_SUITE = (
    Section("hello", "hello", ("corehttp", "corehttp+log", "uvicorn", "uvicorn+log", "granian", "h2corn", "node")),
    Section("close", "close", ("corehttp", "uvicorn", "granian")),
    Section("fastapi", "fastapi", ("corehttp", "uvicorn")),
    Section("read-content", "read-content", ("corehttp", "uvicorn", "node-sync"), "autocannon"),
    Section("read-content-2", "read-content", ("corehttp", "uvicorn", "node-sync"), "autocannon", workers=2),
)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long each server is looked at."""

    rounds: int
    connections: int
    seconds: int  # of one visit
    warm_up: float  # seconds of load for each server, before anything is measured
    total: float | None = None  # seconds for all sections together, for which rounds are left out as needed


@dataclass(slots=True)
class Report:
    """What came of one section."""

    section: Section
    placement: Placement
    left_out: dict[str, str]
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    load_average: str = field(default_factory=load_average)  # of the machine, before the servers were started
    failed: dict[str, str] = field(default_factory=dict)
    strayed: list[str] = field(default_factory=list)  # servers that run on other CPUs than they were given
    restless: dict[str, float] = field(default_factory=dict)  # servers that are never idle, and the CPUs they use then
    commands: dict[str, list[str]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)


def run_suite(sections: Sequence[Section], pace: Pace, order: random.Random) -> Iterator[Report]:
    """Yield a report for each section as soon as it is there; raises MissingToolError."""
    end = None if pace.total is None else time.monotonic() + pace.total
    for done, section in enumerate(sections):
        yield run_section(section, pace, order, None if end is None else _deadline(sections[done:], end))


def run_section(section: Section, pace: Pace, order: random.Random, deadline: float | None) -> Report:
    """Start the servers of one section, visit them in rounds, and stop them; raises MissingToolError."""
    report = Report(section, place(section.workers), section.obstacles())
    names = [name for name in section.peers if name not in report.left_out]
    workload = WORKLOADS[section.workload]
    with running(names, workload.application, section.workers, report.placement.server) as servers:
        report.commands = {server.name: server.command for server in servers}
        report.ports = {server.name: server.port for server in servers}
        started = [server for server in servers if _is_started(server, report)]
        piece = Slice(TOOLS[section.tool], workload, section.connections(pace), pace.seconds, report.placement.load)
        warm = _warmed_up(started, piece, pace.warm_up, report)
        if warm:
            report.restless = _restless(warm)
            visits = visit_in_rounds(
                warm, piece, order, rounds=pace.rounds, deadline=deadline, restless=report.restless
            )
            report.rounds = visits.rounds
            report.failed |= visits.failed
            report.strayed = [server.name for server in warm if not cpus_of(server.pid) <= report.placement.server]
    return report


def _is_started(server: RunningServer, report: Report) -> bool:
    try:
        server.wait_until_ready()
    except StartError as failure:
        report.failed[server.name] = str(failure)
        return False
    return True


def _warmed_up(servers: Sequence[RunningServer], piece: Slice, seconds: float, report: Report) -> list[RunningServer]:
    """Put the load on all servers at once, `seconds` for each of them, and return those that stood it.

    What an interpreter specialises or compiles while it runs is done then. All at once take no longer than one after
    the other, since they share their CPUs, and load generators count whole seconds.
    """
    if not servers:
        return []
    together = Slice(
        piece.tool, piece.workload, piece.connections, max(1, math.ceil(seconds * len(servers))), piece.cpus
    )
    with ThreadPoolExecutor(len(servers)) as threads:
        loads = [(server, threads.submit(put_load, server, together)) for server in servers]
    warm = []
    for server, load in loads:
        try:
            load.result()
        except MissingToolError:
            raise
        except LoadError as failure:
            report.failed[server.name] = str(failure)
        else:
            warm.append(server)
    return warm


def _restless(servers: Sequence[RunningServer]) -> dict[str, float]:
    """Return the servers that take CPU time from the others while nobody asks them anything, and pause them."""
    time.sleep(_SETTLE_SECONDS)
    with ThreadPoolExecutor(len(servers)) as threads:
        idle = list(threads.map(lambda server: server.idle_cpus(_SETTLE_SECONDS), servers))
    found = {server.name: cpus for server, cpus in zip(servers, idle, strict=True) if cpus > _RESTLESS_CPUS}
    for server in servers:
        if server.name in found:
            server.pause()
    return found


def _deadline(sections: Sequence[Section], end: float) -> float:
    """Return when the first of `sections` has to end so that each server of all has the same share of the time."""
    shares = [_share(section) for section in sections]
    now = time.monotonic()
    return now + (end - now) * shares[0] / sum(shares) - _STOP_MARGIN


def _share(section: Section) -> float:
    """Return the weight of a section: its servers, by what a visit with its tool takes, and their start and stop."""
    servers = len(section.peers) - len(section.obstacles())
    return servers * (1.5 if section.tool == Autocannon.name else 1.0) + _START_SHARE
