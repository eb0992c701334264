"""What slow and lost clients cost the healthy ones, and what is left of them: `python -m benchmarks.slow_clients`."""

import argparse
import http.client
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.lib import descriptors
from benchmarks.lib.abandoned import abandon
from benchmarks.lib.applications import CENSUS
from benchmarks.lib.healthy import HealthyClient, Latencies
from benchmarks.lib.placement import Placement, pinned, place
from benchmarks.lib.process_tree import tree
from benchmarks.lib.running_server import RunningServer, StartError, free_port, stop_all
from benchmarks.lib.servers import Launch
from benchmarks.lib.slow_crowd import Slow, SlowCrowd
from benchmarks.lib.table import aligned, megabytes, ratio
from benchmarks.lib.versions import describe, load_average

_GRACE = 4.0  # seconds beyond the limit in which each slow client must be cut by a server that looks every second
_SETTLED = 90.0  # seconds for the server to see that an abandoned connection is lost
_WAVES = 2  # of slow clients
_PASSES = 2  # of abandoned connections
_PAGE = os.sysconf("SC_PAGE_SIZE")

_METHOD = """\
One worker on the application that counts, with {limit:g} s for a request's head and for a reader that takes nothing;
its CPU is not the clients' where there are two. The healthy client asks every 2 ms: alone before and after the slow
ones, beside them from when they are there to when all must be cut. These come in {waves} waves: {slowloris} connections
drip a field each 0.5 s into a head that never ends, {stalled} ask for 100 MB and never read. Then {abandoned}
connections, in {passes} passes, are opened and left: random parts of right and wrong requests, then FIN or RST. What is
left of them is counted by the application itself, after a garbage collection; descriptors are those of the worker.
RSS is in MB. Of what the first wave adds to it a part stays though nothing is left of the clients: the interpreter and
the C library keep memory for what comes next, and do not give back what lies below something that is still in use
(malloc_trim(3) would, of the heap). The second wave uses it again, and must not add to it."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How many slow clients there are, and for how long."""

    slowloris: int
    stalled: int
    abandoned: int
    limit: float  # seconds that the server allows
    seconds: float  # in which the healthy client is alone, before and after
    seed: int


@dataclass(slots=True)
class Siege:
    """The slow clients beside the healthy one."""

    alone: Latencies
    beside: Latencies
    kinds: list[Slow]  # of each wave
    memory: list[tuple[int, int, int]]  # before, at most, after; of each wave


@dataclass(frozen=True, slots=True)
class Remains:
    """What a worker holds while only the client that asks is connected."""

    objects: dict[str, int]
    descriptors: int
    memory: int


class Worker:
    """The worker of a server, seen from outside."""

    def __init__(self, server: RunningServer) -> None:
        self.port = server.port
        [self.pid] = [process.pid for process in tree(server.pid) if process.pid != server.pid]

    def memory(self) -> int:
        """Return the bytes of the worker that are in memory (proc(5), statm)."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE

    def remains(self) -> Remains:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", "/census")
        objects = json.loads(connection.getresponse().read())
        found = Remains(objects, len(os.listdir(f"/proc/{self.pid}/fd")), self.memory())
        connection.close()
        return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns 0 if each slow client was cut in time and nothing is left of abandoned connections."""
    trial = _parse(arguments)
    descriptors.allow(trial.slowloris + trial.stalled + 256)
    placement = place(1)
    print(f"{placement}; load average {load_average()}")
    try:
        siege, remains, seconds = measure(trial, placement)
    except (StartError, OSError, http.client.HTTPException) as failure:
        print(f"failed: {failure}")
        return 1
    print(aligned(("healthy client", "requests", "p50 ms", "p99 ms", "longest ms"), _healthy_rows(siege)))
    print("\n" + aligned(("slow clients", "opened", "cut", "first s", "median s", "last s"), _slow_rows(siege)))
    print("\n" + aligned(("RSS", "before", "most", "after"), _memory_rows(siege)))
    print("\n" + aligned(("left in the worker", *_names(remains)), _remaining_rows(remains)))
    print(f"\nAfter the last was abandoned it took {seconds:.1f} s until nothing of them was left.")
    print(
        "\n" + _METHOD.format(waves=_WAVES, passes=_PASSES, **{name: getattr(trial, name) for name in Trial.__slots__})
    )
    print("\nVersions\n" + "\n".join(f"  {name}: {version}" for name, version in describe([]).items()))
    return 0 if _is_sound(siege, remains, trial) else 1


def measure(trial: Trial, placement: Placement) -> tuple[Siege, list[Remains], float]:
    """Return what slow clients did, what was left before and after them and each pass, and how long the last took.

    Raises StartError, and OSError or HTTPException when the healthy client is not served.
    """
    with TemporaryDirectory(prefix="corehttp-bench-") as folder:
        limit = f"{trial.limit:g}"
        options = {"COREHTTP_TIMEOUT_REQUEST_HEADER": limit, "COREHTTP_TIMEOUT_WRITE_STALL": limit}
        launch = Launch(CENSUS, free_port())
        server = RunningServer("corehttp", launch, placement.server, Path(folder, "output"), options)
        try:
            server.wait_until_ready()
            server.warm_up(0.5)
            with pinned(placement.load):
                worker = Worker(server)
                first = worker.remains()
                siege = besiege(worker, trial)
                remains = [first, settled(worker, first)[0]]
                return siege, *abandoned(worker, trial, remains)
        finally:
            stop_all([server])


def besiege(worker: Worker, trial: Trial) -> Siege:
    kinds: list[Slow] = []
    memory: list[tuple[int, int, int]] = []
    beside: list[float] = []
    with HealthyClient(worker.port) as healthy:
        alone = list(healthy.ask(trial.seconds).result().values)
        for _ in range(_WAVES):
            seen = [worker.memory()]
            crowd = SlowCrowd(worker.port, trial.slowloris, trial.stalled)
            latencies = healthy.ask(trial.limit + _GRACE)
            crowd.hold(trial.limit + _GRACE, partial(_note_memory, worker, seen))
            crowd.close()
            beside += latencies.result().values
            memory.append((seen[0], max(seen), worker.memory()))
            kinds += crowd.kinds
        alone += healthy.ask(trial.seconds).result().values
    return Siege(Latencies(sorted(alone)), Latencies(sorted(beside)), kinds, memory)


def _note_memory(worker: Worker, seen: list[int]) -> None:
    seen.append(worker.memory())


def abandoned(worker: Worker, trial: Trial, remains: list[Remains]) -> tuple[list[Remains], float]:
    """Abandon connections in passes; returns what is left after each, and the seconds until the last was settled."""
    chance = random.Random(trial.seed)
    seconds = 0.0
    for _ in range(_PASSES):
        abandon(worker.port, trial.abandoned // _PASSES, chance)
        found, seconds = settled(worker, remains[0])
        remains.append(found)
    return remains, seconds


def settled(worker: Worker, first: Remains) -> tuple[Remains, float]:
    """Wait until no more is left than at `first`, or time is up; returns what is left and the seconds that took."""
    began = time.monotonic()
    while _differs(found := worker.remains(), first) and time.monotonic() < began + _SETTLED:
        time.sleep(0.2)
    return found, time.monotonic() - began


def _differs(found: Remains, first: Remains) -> bool:
    return found.objects != first.objects or found.descriptors != first.descriptors


def _is_sound(siege: Siege, remains: list[Remains], trial: Trial) -> bool:
    cut = all(len(slow.cut) == slow.count and trial.limit <= min(slow.cut, default=trial.limit) for slow in siege.kinds)
    return cut and not any(_differs(found, remains[0]) for found in remains)


def _healthy_rows(siege: Siege) -> list[list[str]]:
    alone, beside = (
        [each.percentile(50), each.percentile(99), each.values[-1]] for each in (siege.alone, siege.beside)
    )
    return [
        ["alone", str(len(siege.alone.values)), *(f"{value:.2f}" for value in alone)],
        ["beside slow ones", str(len(siege.beside.values)), *(f"{value:.2f}" for value in beside)],
        ["ratio", "", *(ratio(one / other) for one, other in zip(beside, alone, strict=True))],
    ]


def _memory_rows(siege: Siege) -> list[list[str]]:
    return [[f"wave {number}", *map(megabytes, memory)] for number, memory in enumerate(siege.memory, 1)]


def _slow_rows(siege: Siege) -> list[list[str]]:
    rows = []
    for slow in siege.kinds:
        cut = sorted(slow.cut)
        when = [f"{cut[at]:.1f}" for at in (0, len(cut) // 2, -1)] if cut else ["-"] * 3
        rows.append([slow.kind, str(slow.count), str(len(cut)), *when])
    return rows


def _names(remains: list[Remains]) -> list[str]:
    return [*remains[0].objects, "descriptors", "RSS"]


def _remaining_rows(remains: list[Remains]) -> list[list[str]]:
    names = ["at first", "after the slow ones", *(f"after pass {number + 1}" for number in range(_PASSES))]
    return [
        [name, *map(str, found.objects.values()), str(found.descriptors), megabytes(found.memory)]
        for name, found in zip(names, remains, strict=True)
    ]


def _parse(arguments: Sequence[str] | None) -> Trial:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slow_clients", description=__doc__)
    parser.add_argument("--slowloris", type=int, default=500, help="clients that drip a head (default 500)")
    parser.add_argument("--stalled", type=int, default=100, help="clients that never read (default 100)")
    parser.add_argument("--abandoned", type=int, default=10_000, help="connections that are left (default 10000)")
    parser.add_argument("--limit", type=float, default=5.0, help="seconds that the server allows (default 5)")
    parser.add_argument("--seconds", type=float, default=5.0, help="alone, before and after (default 5)")
    parser.add_argument("--seed", type=int, default=1, help="of what is abandoned where (default 1)")
    return Trial(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
