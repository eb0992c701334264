"""Rounds of visits: in each round every server, in random order, has all of the load for one short slice."""

import random
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.lib.load import Load, LoadError, LoadTool, Outcome
from benchmarks.lib.placement import pinned
from benchmarks.lib.process_tree import cpu_nanoseconds, machine_busy_nanoseconds, tree_pss
from benchmarks.lib.running_server import RunningServer
from benchmarks.lib.workloads import Workload


@dataclass(frozen=True, slots=True)
class Sample:
    """What one slice showed of one server."""

    requests: int
    requests_per_second: float
    cpu_us: float  # of the server's whole tree, for each completed request
    p99_ms: float
    pss: int  # bytes, of the whole tree, right after the slice
    socket_errors: int
    error_statuses: int
    server_cpus: float  # CPUs kept busy: 1.0 is one whole CPU
    load_cpus: float
    other_cpus: float  # by everything else on this machine, the idle servers included
    log_bytes: int  # written by the server


Round = dict[str, Sample]


@dataclass(frozen=True, slots=True)
class Slice:
    """The load of one visit, and the CPUs that it is made on."""

    tool: LoadTool
    workload: Workload
    connections: int
    seconds: int
    cpus: frozenset[int]


def visit_in_rounds(
    servers: Sequence[RunningServer], piece: Slice, order: random.Random, *, rounds: int, deadline: float | None = None
) -> list[Round]:
    """`rounds` rounds; fewer, but one at least, if another would end after `deadline` on the monotonic clock."""
    done: list[Round] = []
    took = 0.0
    while len(done) < rounds and not (done and deadline is not None and time.monotonic() + took > deadline):
        began = time.monotonic()
        done.append({server.name: visit(server, piece) for server in order.sample(servers, len(servers))})
        took = time.monotonic() - began
    return done


def visit(server: RunningServer, piece: Slice) -> Sample:
    """One slice of load on one server; raises LoadError."""
    log_before, cpu_before = server.output.stat().st_size, cpu_nanoseconds(server.pid)
    load_before, machine_before = _children_cpu_nanoseconds(), machine_busy_nanoseconds()
    outcome = _load(server, piece)
    cpu = cpu_nanoseconds(server.pid) - cpu_before
    load_cpu, machine = _children_cpu_nanoseconds() - load_before, machine_busy_nanoseconds() - machine_before
    slice_nanoseconds = outcome.seconds * 1e9
    return Sample(
        requests=outcome.requests,
        requests_per_second=outcome.requests / outcome.seconds,
        cpu_us=cpu / 1e3 / max(1, outcome.requests),
        p99_ms=outcome.p99_ms,
        pss=tree_pss(server.pid),
        socket_errors=outcome.socket_errors,
        error_statuses=outcome.error_statuses,
        server_cpus=cpu / slice_nanoseconds,
        load_cpus=load_cpu / slice_nanoseconds,
        other_cpus=max(0.0, (machine - cpu - load_cpu) / slice_nanoseconds),
        log_bytes=server.output.stat().st_size - log_before,
    )


def _load(server: RunningServer, piece: Slice) -> Outcome:
    try:
        with pinned(piece.cpus):
            return piece.tool.run(Load(server.port, piece.workload, piece.connections, piece.seconds))
    except LoadError as failure:
        raise LoadError(f"while {server.name} was visited: {failure}; its output:\n{server.tail()}") from failure


def _children_cpu_nanoseconds() -> int:
    """CPU time of the load generators that have ended; a server still running is not in it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((used.ru_utime + used.ru_stime) * 1e9)
