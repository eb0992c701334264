"""What an idle server and an idle keep-alive connection take of memory."""

import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.lib import descriptors
from benchmarks.lib.applications import APPLICATIONS
from benchmarks.lib.cost_report import CostReport
from benchmarks.lib.placement import place
from benchmarks.lib.process_tree import Memory, memory, tree
from benchmarks.lib.running_server import RunningServer, StartError, running
from benchmarks.lib.table import megabytes
from benchmarks.lib.workloads import BROWSER_FIELDS

# The servers that are measured unless others are named. hypercorn and gunicorn take a minute for 5,000 connections,
# granian serves about 1,000 at once, and h2corn closes idle ones before they can be counted.
MEMORY_PEERS = ("corehttp", "uvicorn")

# Longer than a measurement, or the first connections would be closed while the last are opened.
_KEEP_ALIVE_SECONDS = 120

_HEADER = (
    *("server", "supervisor PSS", "private", "worker PSS", "private"),
    *("connections", "closed", "bytes each", "and later"),
)

_METHOD = """\
Memory in MB of servers that run one after the other, each with one worker, on the hello application; the idle figures
are taken after {warm_up} requests. PSS counts a page that n processes share as 1/n of it in each, and this program
shares the interpreter's pages; "private" counts only what no other process has. A server without a supervisor is one
process. "bytes each" is how much the worker's PSS has grown when {connections} connections have had {requests} requests
answered, with the fields of a browser, and are open, divided by their number; "and later" is the same {settle:g} s
later. The kernel's socket buffers are not in it. "closed" counts connections that the server closed meanwhile."""


@dataclass(frozen=True, slots=True)
class Habit:
    """How memory is measured."""

    connections: int = 5000
    requests: int = 3  # that each connection has answered
    warm_up: int = 200  # requests on one connection, before anything is measured
    settle: float = 10.0  # seconds between the two looks at idle connections


@dataclass(frozen=True, slots=True)
class Footprint:
    """Memory of one server; `supervisor` is None where the worker is the main process."""

    supervisor: Memory | None
    worker: Memory


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """What one server and its idle connections take, in bytes."""

    name: str
    idle: Footprint
    connections: int
    closed: int
    bytes_per_connection: float | None  # None where the server has closed some
    bytes_per_connection_later: float | None


@dataclass(slots=True)
class MemoryReport(CostReport[MemoryRow]):
    """What came of measuring the memory of several servers."""

    habit: Habit


def measure_all(names: Sequence[str], habit: Habit) -> MemoryReport:
    """Measure one server after the other; one that fails is named in the report."""
    descriptors.allow(habit.connections)
    report = MemoryReport(habit)
    for name in report.measurable(names):
        try:
            report.rows.append(measure(name, habit))
        except (StartError, OSError) as failure:
            report.failed[name] = str(failure)
    return report


def measure(name: str, habit: Habit) -> MemoryRow:
    """Measure one server, idle and with idle connections; raises StartError, and OSError when a connection fails."""
    with running([name], APPLICATIONS["hello"], 1, place(1).server, _KEEP_ALIVE_SECONDS) as (server,):
        server.wait_until_ready()
        with _connect(server) as connection:
            _request(connection, server, habit.warm_up)
        idle = footprint(server.pid)
        with ExitStack() as stack:
            opened = [stack.enter_context(_connect(server)) for _ in range(habit.connections)]
            for connection in opened:
                _request(connection, server, habit.requests)
            loaded = footprint(server.pid)
            time.sleep(habit.settle)
            later = footprint(server.pid)
            closed = sum(map(_is_closed, opened))
    growth = [None if closed else (each.worker.pss - idle.worker.pss) / habit.connections for each in (loaded, later)]
    return MemoryRow(name, idle, habit.connections, closed, *growth)


def footprint(main_pid: int) -> Footprint:
    """Measure the main process apart from its children, which are the worker and what helps it."""
    children = [memory(process.pid) for process in tree(main_pid) if process.pid != main_pid]
    if not children:
        return Footprint(None, memory(main_pid))
    worker = Memory(sum(child.pss for child in children), sum(child.private for child in children))
    return Footprint(memory(main_pid), worker)


def memory_text(report: MemoryReport) -> str:
    """Return the figures as a table, with what they mean."""
    habit = report.habit
    method = _METHOD.format(
        connections=habit.connections, requests=habit.requests, warm_up=habit.warm_up, settle=habit.settle
    )
    failures = [f"{name}: {reason}" for name, reason in report.failed.items()]
    return report.framed("memory", _HEADER, [_cells(row) for row in report.rows], failures, method)


def _connect(server: RunningServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def _request(connection: socket.socket, server: RunningServer, times: int) -> None:
    fields = "".join(f"{name}: {value}\r\n" for name, value in BROWSER_FIELDS)
    request = f"GET {server.application.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n".encode()
    for _ in range(times):
        connection.sendall(request)
        received = b""
        while not received.endswith(server.application.body):
            part = connection.recv(65536)
            if not part:
                raise ConnectionResetError(f"{server.name} closed a connection after {received!r}")
            received += part


def _is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _cells(row: MemoryRow) -> list[str]:
    supervisor, worker = row.idle.supervisor, row.idle.worker
    return [
        row.name,
        *(["-", "-"] if supervisor is None else [megabytes(supervisor.pss), megabytes(supervisor.private)]),
        megabytes(worker.pss),
        megabytes(worker.private),
        str(row.connections),
        str(row.closed),
        _whole(row.bytes_per_connection),
        _whole(row.bytes_per_connection_later),
    ]


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
