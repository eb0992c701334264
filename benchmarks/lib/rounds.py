"""Rounds of visits: in each round every server, in random order, has all of the load for a short time."""

import random
import resource
import time
from collections.abc import Container, Sequence
from dataclasses import dataclass

from benchmarks.lib.load import Load, LoadError, LoadTool, MissingToolError, Outcome
from benchmarks.lib.placement import pinned
from benchmarks.lib.process_tree import cpu_nanoseconds, machine_busy_nanoseconds, tree_pss
from benchmarks.lib.running_server import RunningServer
from benchmarks.lib.workloads import Workload


@dataclass(frozen=True, slots=True)
class Sample:
    """What one visit showed of one server."""

    requests: int
    requests_per_second: float
    cpu_us: float  # of the server's whole tree, for each completed request
    p99_ms: float
    pss: int  # bytes of the whole tree, right after the visit
    socket_errors: int
    error_statuses: int
    server_cpus: float  # CPUs kept busy: 1.0 is one whole CPU
    load_cpus: float
    other_cpus: float  # what everything else on this machine keeps busy, the idle servers included
    log_bytes: int  # written by the server


Round = dict[str, Sample]

# A server that answers more of its requests with an error is not measured, since errors may be cheap.
_MOST_ERRORS = 0.01


@dataclass(frozen=True, slots=True)
class Slice:
    """The load of one visit, and the CPUs that it is made on."""

    tool: LoadTool
    workload: Workload
    connections: int
    seconds: int
    cpus: frozenset[int]


@dataclass(frozen=True, slots=True)
class Visits:
    """The samples of all rounds, of the servers that served in each of them, and why the others did not."""

    rounds: list[Round]
    failed: dict[str, str]


def visit_in_rounds(
    servers: Sequence[RunningServer],
    piece: Slice,
    order: random.Random,
    *,
    rounds: int,
    deadline: float | None = None,
    restless: Container[str] = (),
) -> Visits:
    """Visit all servers `rounds` times, in an order that is drawn anew for each round.

    There are fewer rounds, but at least one, where another would end after `deadline` on the monotonic clock. A server
    that fails is visited no more, and none of its samples are kept. Those called `restless` are paused while others are
    visited. Raises MissingToolError.
    """
    done: list[Round] = []
    failed: dict[str, str] = {}
    took = 0.0
    while len(done) < rounds and not (done and deadline is not None and time.monotonic() + took > deadline):
        began = time.monotonic()
        sound = [server for server in servers if server.name not in failed]
        samples: Round = {}
        for server in order.sample(sound, len(sound)):
            outcome = _visit_alone(server, piece, is_restless=server.name in restless)
            if isinstance(outcome, Sample):
                samples[server.name] = outcome
            else:
                failed[server.name] = str(outcome)
        done.append(samples)
        took = time.monotonic() - began
    kept = [{name: sample for name, sample in each.items() if name not in failed} for each in done]
    return Visits([each for each in kept if each], failed)


def _visit_alone(server: RunningServer, piece: Slice, *, is_restless: bool) -> Sample | LoadError:
    if is_restless:
        server.resume()
    try:
        return visit(server, piece)
    except MissingToolError:
        raise
    except LoadError as failure:
        return failure
    finally:
        if is_restless:
            server.pause()


def visit(server: RunningServer, piece: Slice) -> Sample:
    """Put the load on one server for one visit; raises LoadError."""
    log_before, cpu_before = server.output.stat().st_size, cpu_nanoseconds(server.pid)
    load_before, machine_before = _children_cpu_nanoseconds(), machine_busy_nanoseconds()
    outcome = put_load(server, piece)
    cpu = cpu_nanoseconds(server.pid) - cpu_before
    load_cpu, machine = _children_cpu_nanoseconds() - load_before, machine_busy_nanoseconds() - machine_before
    slice_nanoseconds = outcome.seconds * 1e9
    return Sample(
        requests=outcome.requests,
        requests_per_second=outcome.requests / outcome.seconds,
        cpu_us=cpu / 1e3 / outcome.requests,
        p99_ms=outcome.p99_ms,
        pss=tree_pss(server.pid),
        socket_errors=outcome.socket_errors,
        error_statuses=outcome.error_statuses,
        server_cpus=cpu / slice_nanoseconds,
        load_cpus=load_cpu / slice_nanoseconds,
        other_cpus=max(0.0, (machine - cpu - load_cpu) / slice_nanoseconds),
        log_bytes=server.output.stat().st_size - log_before,
    )


def put_load(server: RunningServer, piece: Slice) -> Outcome:
    """Put the load on one server without measuring it.

    Raises LoadError, also where the server answered nothing, or too many requests with an error.
    """
    try:
        with pinned(piece.cpus):
            outcome = piece.tool.run(Load(server.port, piece.workload, piece.connections, piece.seconds))
        if not outcome.requests or outcome.error_statuses > _MOST_ERRORS * outcome.requests:
            raise LoadError(
                f"{outcome.requests} requests were answered, {outcome.error_statuses} of them with an error, "
                f"and there were {outcome.socket_errors} failures of connections"
            )
    except MissingToolError:
        raise
    except LoadError as failure:
        raise LoadError(f"{server.name}: {failure}; its output:\n{server.tail()}") from failure
    return outcome


def _children_cpu_nanoseconds() -> int:
    """CPU time of the load generators that have ended; a server still running is not in it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((used.ru_utime + used.ru_stime) * 1e9)
