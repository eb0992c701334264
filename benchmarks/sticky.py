"""What `--sticky` costs: `python -m benchmarks.sticky`, in four minutes.

Connections that are kept send requests one after the other, to four workers: without the option; with it and the same
key on each connection, so that each stays at its worker; and with keys of all workers in turn, so that the connection
moves with each request. What is shown is the CPU time of the whole service for a request, the median of some rounds.

The same is shown for clients with addresses of their own that connect for each request: without the option; with
`--sticky ip` where the kernel gives each connection to the worker of its client; and where it does not, so that workers
pass on three of four.
"""

import argparse
import asyncio
import os
import statistics
import sys
from collections.abc import Callable, Iterable

from benchmarks.lib.process_tree import cpu_nanoseconds
from benchmarks.spreading import Client, serving

WORKERS = 4
CONNECTIONS = 16
REQUESTS = 1000  # of each connection in a round
CASES = ("without --sticky", "the same key each time", "another worker each time")
SHORT = 300  # connections of each client in a round
# The kernel leaves the choice to the workers where connections are limited.
PARTED = ("--socket", "reuseport")
SHORT_CASES = {
    "without --sticky": PARTED,
    "the kernel chooses": ("--sticky", "ip", *PARTED),
    "workers pass on": ("--sticky", "ip", "--limit-connections", "100000", *PARTED),
}


async def _owners(port: int) -> list[bytes]:
    """Return the paths of requests of which each belongs to another worker."""
    found: dict[bytes, bytes] = {}
    client = await Client.connect(port)
    for number in range(1000):
        path = b"/?key=%d" % number
        found.setdefault(await client.get(path), path)
        if len(found) == WORKERS:
            break
    client.close()
    return list(found.values())


async def _ask(port: int, paths: list[bytes], *, moves: bool) -> None:
    """Send REQUESTS requests over each of some connections: with one of the paths, or with all of them in turn."""

    async def ask(number: int) -> None:
        client = await Client.connect(port)
        for turn in range(REQUESTS):
            await client.get(paths[(number + moves * turn) % len(paths)])
        client.close()

    await asyncio.gather(*map(ask, range(CONNECTIONS)))


def measure(case: str) -> float:
    """Return the CPU time of the service for a request in microseconds."""
    options = () if case == CASES[0] else ("--sticky", "query:key")
    with serving(WORKERS, *options) as (port, pid):
        paths = asyncio.run(_owners(port)) if options else [b"/?key=1"]
        before = cpu_nanoseconds(pid)
        asyncio.run(_ask(port, paths, moves=case == CASES[2]))
        return (cpu_nanoseconds(pid) - before) / (CONNECTIONS * REQUESTS) / 1000


async def _connect_each_time(port: int) -> None:
    """Have clients with addresses of their own send requests, each over a connection of its own."""

    async def ask(number: int) -> None:
        for _ in range(SHORT):
            client = await Client.connect(port, f"127.0.2.{number + 1}")
            await client.get(b"/")
            client.close()

    await asyncio.gather(*map(ask, range(CONNECTIONS)))


def measure_short(case: str) -> float:
    """Return the CPU time of the service for a connection with one request in microseconds."""
    with serving(WORKERS, *SHORT_CASES[case]) as (port, pid):
        before = cpu_nanoseconds(pid)
        asyncio.run(_connect_each_time(port))
        return (cpu_nanoseconds(pid) - before) / (CONNECTIONS * SHORT) / 1000


def report(title: str, rounds: int, cases: Iterable[str], measure: Callable[[str], float]) -> None:
    """Measure all cases in turn, so many times, and print their medians."""
    figures: dict[str, list[float]] = {case: [] for case in cases}
    for _ in range(rounds):
        for case in figures:
            figures[case].append(measure(case))
    print(title)
    for case, found in figures.items():
        print(f"{case:26} {statistics.median(found):6.1f} us of CPU ({min(found):.1f} to {max(found):.1f})", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(f"{len(os.sched_getaffinity(0))} CPUs, load average {os.getloadavg()[0]:.1f}")
    report("a request over a kept connection", rounds, CASES, measure)
    report("a connection with one request", rounds, SHORT_CASES, measure_short)
    return 0


if __name__ == "__main__":
    sys.exit(main())
