"""How evenly connections and requests are spread over workers, and what that costs: `python -m benchmarks.spreading`.

Each figure is shown for `--spread least` and for `--spread kernel`. What the busiest worker has is told as a multiple
of the mean. It takes ten minutes; `--only` chooses a part.
"""

import argparse
import asyncio
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager

from benchmarks.lib.applications import ROOT
from benchmarks.lib.load import program
from benchmarks.lib.passing_on import PassingOn
from benchmarks.lib.process_tree import cpu_nanoseconds
from benchmarks.lib.running_server import free_port

SPREADS = ("least", "kernel")
CONNECTIONS = (8, 32, 100)
WORKERS = (4, 8)
BLOCKED = 5.0  # seconds
_START = 120.0  # seconds in which all workers must serve
_REQUEST = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_LIGHT = (b"/", 0.1)  # the path, and the pause between the requests of a connection in seconds
_BUSY = (b"/cpu?5", 0.0)


@contextmanager
def serving(
    workers: int, *options: str, application: str = "benchmarks.lib.spreading_app:app"
) -> Iterator[tuple[int, int]]:
    """Serve with so many workers; yields the port and the process id, and ends the service."""
    port = free_port()
    command = [sys.executable, "-m", "corehttp", application, "--port", str(port)]
    command += ["--workers", str(workers), "--no-access-log", "--log-level", "error", *options]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        asyncio.run(_all_serve(port, workers))
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait()


async def _all_serve(port: int, workers: int) -> None:
    """Wait until so many workers have answered."""
    deadline, seen = time.monotonic() + _START, set[bytes]()
    while len(seen) < workers:
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {len(seen)} of {workers} workers serve")
        try:
            # From several addresses, as one would reach the same worker each time with `--sticky ip`.
            client = await Client.connect(port, f"127.0.1.{random.randint(1, 250)}")
            seen.add(await client.get(b"/"))
            client.close()
        except OSError:
            pass
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)


class Client:
    """One connection to the service."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int, address: str = "127.0.0.1") -> "Client":
        """Connect from this address. Raises OSError."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0)))

    async def get(self, path: bytes) -> bytes:
        """Return the body of the answer, the process id of the worker. Raises OSError."""
        self._writer.write(_REQUEST % path)
        head = await self._reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"content-length: (\d+)", head)
        return await self._reader.readexactly(int(found[1]) if found else 0)

    def close(self) -> None:
        self._writer.close()


async def _measure(
    port: int, connections: int, at_once: bool, load: tuple[bytes, float], seconds: float
) -> tuple[Counter[bytes], Counter[bytes]]:
    """Return how many requests each worker answers from the first connection on, and how many connections it has."""
    path, pause = load
    requests: Counter[bytes] = Counter()
    end = time.monotonic() + seconds

    async def ask(client: Client) -> None:
        while time.monotonic() < end:
            requests[await client.get(path)] += 1
            await asyncio.sleep(pause)

    if at_once:
        clients = list(await asyncio.gather(*(Client.connect(port) for _ in range(connections))))
        tasks = [asyncio.create_task(ask(client)) for client in clients]
    else:
        clients, tasks = [], []
        for _ in range(connections):
            clients.append(await Client.connect(port))
            tasks.append(asyncio.create_task(ask(clients[-1])))
            await asyncio.sleep(0.005)
    await asyncio.gather(*tasks)
    owners = Counter(await asyncio.gather(*(client.get(b"/") for client in clients)))
    for client in clients:
        client.close()
    return requests, owners


def evenness(rounds: int, seconds: float) -> None:
    """Print how much the busiest worker has, as a multiple of the mean; the worst of some rounds."""
    print(f"\nbusiest over mean, by requests (by connections), worst of {rounds} rounds of {seconds:g} s")
    print(f"{'workers, connections, opened, load':44}" + "".join(f"{spread:>20}" for spread in SPREADS))
    for workers in WORKERS:
        lines: dict[str, list[str]] = {}
        for spread in SPREADS:
            with serving(workers, "--spread", spread) as (port, _):
                for connections in CONNECTIONS:
                    for at_once in (True, False):
                        for name, load in (("light", _LIGHT), ("5 ms of CPU", _BUSY)):
                            label = f"{workers}, {connections}, {'at once' if at_once else 'one by one'}, {name}"
                            cell = _worst(port, workers, connections, at_once, load, rounds, seconds)
                            lines.setdefault(label, []).append(cell)
        for label, cells in lines.items():
            print(f"{label:44}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


def _worst(
    port: int, workers: int, connections: int, at_once: bool, load: tuple[bytes, float], rounds: int, seconds: float
) -> str:
    """Return the worst figures of some rounds as a cell of the table."""
    found = [asyncio.run(_measure(port, connections, at_once, load, seconds)) for _ in range(rounds)]
    requests, owners = (
        max(max(counts.values()) * workers / counts.total() for counts in column) for column in zip(*found, strict=True)
    )
    return f"{requests:.2f} ({owners:.2f})"


def cost(rounds: int) -> None:
    """Print the CPU time that it takes to pass a connection on."""

    async def measure(siblings: int) -> list[tuple[float, float]]:
        with closing(PassingOn(asyncio.get_running_loop(), siblings)) as passing_on:
            return [passing_on.seconds() for _ in range(rounds)]

    for workers in WORKERS:
        figures = asyncio.run(measure(workers - 1))
        extra = sorted((passed - kept) * 1e6 for kept, passed in figures)
        print(f"\n{workers} workers: to pass a connection on takes {statistics.median(extra):.1f} us of CPU")
        print(
            f"of its two workers together (median of {rounds} rounds; {extra[0]:.1f} at least, {extra[-1]:.1f} at most)"
        )


def short_connections(rounds: int, seconds: int) -> None:
    """Print what clients get that connect for every request."""
    for connections in (16, 100):
        found: dict[str, list[tuple[float, float]]] = {spread: [] for spread in SPREADS}
        for spread in SPREADS * rounds:
            with serving(4, "--spread", spread) as (port, pid):
                before = cpu_nanoseconds(pid)
                command = [program("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "-H", "Connection: close"]
                output = subprocess.run([*command, f"http://127.0.0.1:{port}/"], capture_output=True, text=True)
                total = int(re.search(r"(\d+) requests in", output.stdout)[1])  # type: ignore[index]
                found[spread].append((total / seconds, (cpu_nanoseconds(pid) - before) / total / 1000))
        print(
            f"\na connection for each request, {connections} at a time, 4 workers, {rounds} rounds of {seconds} s each"
        )
        for spread, figures in found.items():
            rates, cpu = zip(*figures, strict=True)
            print(f"{spread:8} {statistics.median(rates):8.0f} requests/s {statistics.median(cpu):6.1f} us of CPU each")


def blocked(spread: str, rescue_after: str) -> None:
    """Print how long new connections wait for their answer while one of four workers is blocked."""

    async def wait(port: int) -> list[float]:
        holder = await Client.connect(port)
        holding = asyncio.create_task(holder.get(b"/block?%g" % BLOCKED))
        began = time.monotonic()

        async def newcomer() -> float:
            before = time.monotonic()
            client = await Client.connect(port)
            await client.get(b"/")
            client.close()
            return time.monotonic() - before

        tasks = []
        while time.monotonic() < began + BLOCKED - 0.5:
            tasks.append(asyncio.create_task(newcomer()))
            await asyncio.sleep(0.02)
        waits = await asyncio.gather(*tasks)
        await holding
        holder.close()
        return sorted(waits)

    with serving(4, "--spread", spread, "--rescue-after", rescue_after, "--blocked-warn", "0") as (port, _):
        waits = asyncio.run(wait(port))
    print(
        f"--spread {spread} --rescue-after {rescue_after}: of {len(waits)} new connections half wait"
        f" {statistics.median(waits) * 1000:.1f} ms, 95 % {waits[int(len(waits) * 0.95)] * 1000:.0f} ms,"
        f" the longest {waits[-1] * 1000:.0f} ms",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = ("evenness", "cost", "short", "blocked")
    parser.add_argument("--only", choices=parts, action="append", help="this part; may be repeated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round")
    arguments = parser.parse_args()
    chosen = arguments.only or parts
    print(f"{len(os.sched_getaffinity(0))} CPUs, load average {os.getloadavg()[0]:.1f}")
    if "evenness" in chosen:
        evenness(arguments.rounds, arguments.seconds)
    if "cost" in chosen:
        cost(50)
    if "short" in chosen:
        short_connections(arguments.rounds, int(arguments.seconds))
    if "blocked" in chosen:
        print(f"\none of four workers is blocked for {BLOCKED:g} s")
        for spread in SPREADS:
            for rescue_after in ("0.5", "0"):
                blocked(spread, rescue_after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
