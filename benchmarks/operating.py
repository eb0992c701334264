"""What it costs requests that a service can be seen and steered: `python -m benchmarks.operating`.

First what counting costs: CPU per request with it and without (`--control off`), in alternating visits. Then what a
thousand status calls a second cost a service that has 2,500 to 3,000 requests a second to answer. There the workers
have a CPU of their own; supervisors, who asks, and wrk share the others, and wrk goes first (it needs root). In turn
the calls go to that service, and to another one that has nothing to do, since a busy CPU slows its neighbour. So what
differs is what the service does to requests, and not a lack of CPUs.
"""

import argparse
import os
import random
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.lib.applications import APPLICATIONS
from benchmarks.lib.load import program
from benchmarks.lib.placement import pinned
from benchmarks.lib.process_tree import cpu_nanoseconds, own_cpu_nanoseconds
from benchmarks.lib.rounds import Round, Slice, visit_in_rounds
from benchmarks.lib.running_server import RunningServer, running
from benchmarks.lib.workloads import WORKLOADS
from benchmarks.lib.wrk import Wrk

RATE = 1000  # status calls a second
_SECONDS = 3  # of each measurement beside status calls
_PACED = str(Path(__file__).parent / "lib" / "paced_requests.lua")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="how often each way is measured")
    parser.add_argument("--starts", type=int, default=10, help="how often servers are started anew for counting")
    parser.add_argument("--only", choices=("counting", "status"), help="measure only this")
    arguments = parser.parse_args()
    if arguments.only != "status":
        _compare_counting(arguments.rounds, arguments.starts)
    if arguments.only != "counting":
        _compare_status_calls(arguments.rounds)
    return 0


def _places() -> tuple[frozenset[int], frozenset[int]]:
    """Return the CPUs for what is measured, and those for everything else."""
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        raise SystemExit("this needs two CPUs")
    return frozenset({first}), frozenset(others)


def _compare_counting(rounds: int, starts: int) -> None:
    served, load = _places()
    piece = Slice(Wrk(), WORKLOADS["hello"], 64, 1, load)
    samples: list[Round] = []
    for start in range(starts):  # since one process may have a better place in memory than another, all its life
        with running(["corehttp", "corehttp-uncounted"], APPLICATIONS["hello"], 1, served) as servers:
            for server in servers:
                server.wait_until_ready()
                server.warm_up(1)
            visits = visit_in_rounds(servers, piece, random.Random(start), rounds=max(1, rounds // starts))
        if visits.failed:
            raise SystemExit("\n".join(visits.failed.values()))
        samples += visits.rounds
    counted = [each["corehttp"].cpu_us for each in samples]
    uncounted = [each["corehttp-uncounted"].cpu_us for each in samples]
    _show("CPU per request in us, uncounted and counted", uncounted, counted)


def _compare_status_calls(rounds: int) -> None:
    served, others = _places()
    here, elsewhere = _Figures(), _Figures()
    answers = 0
    with running(["corehttp", "corehttp"], APPLICATIONS["hello"], 2, served) as servers, pinned(others):
        for server in servers:
            server.wait_until_ready()
            os.sched_setaffinity(server.pid, others)
        measured, other = servers
        measured.warm_up(1)
        before = own_cpu_nanoseconds(measured.pid)
        for _ in range(rounds):
            with subprocess.Popen(_status_calls(other), stdout=subprocess.DEVNULL):
                elsewhere.measure(measured)
            with subprocess.Popen(_status_calls(measured), stdout=subprocess.PIPE, text=True) as calls:
                here.measure(measured)
                answers += int(calls.communicate()[0])
        supervisor = own_cpu_nanoseconds(measured.pid) - before
    print(
        f"{answers / (rounds * _SECONDS):,.0f} status calls a second were answered;"
        f" the supervisor took {supervisor / 1e3 / answers:.0f} us of CPU for each"
    )
    for name in vars(here):
        _show(f"{name.replace('_', ' ')}, asked elsewhere and here", getattr(elsewhere, name), getattr(here, name))


class _Figures:
    """What requests took in several measurements."""

    def __init__(self) -> None:
        self.p50_in_ms: list[float] = []
        self.p99_in_ms: list[float] = []
        self.workers_CPU_per_request_in_us: list[float] = []

    def measure(self, server: RunningServer) -> None:
        """Put paced requests on the server, and note what they took."""
        command = [
            "chrt",
            "-f",
            "1",
            program("wrk"),
            "--threads",
            "1",
            "--connections",
            "32",
            "--duration",
            f"{_SECONDS}s",
            server.url,
        ]
        before = _workers_cpu(server)
        done = subprocess.run([*command, "--script", _PACED], check=True, capture_output=True, text=True)
        cpu = _workers_cpu(server) - before
        [(requests, p50, p99)] = re.findall(r"paced (\d+) (\d+) (\d+)", done.stdout)
        self.p50_in_ms.append(int(p50) / 1e3)
        self.p99_in_ms.append(int(p99) / 1e3)
        self.workers_CPU_per_request_in_us.append(cpu / 1e3 / int(requests))


def _status_calls(server: RunningServer) -> list[str]:
    return [sys.executable, "-m", "benchmarks.lib.status_calls", str(server.pid), str(RATE), str(_SECONDS)]


def _workers_cpu(server: RunningServer) -> int:
    """Return the CPU time of the server's processes without its main one (nanoseconds)."""
    return cpu_nanoseconds(server.pid) - own_cpu_nanoseconds(server.pid)


def _show(name: str, before: Sequence[float], after: Sequence[float]) -> None:
    """Print the medians, and the ratio of each two that were measured one after the other with its quartiles."""
    ratios = [one / other for one, other in zip(after, before, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(
        f"{name}: {statistics.median(before):.2f} -> {statistics.median(after):.2f},"
        f" ratio {middle:.3f} (quartiles {low:.3f} to {high:.3f})",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
