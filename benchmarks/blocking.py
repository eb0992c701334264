"""What one request that computes costs the others of its worker, by where it computes: `python -m benchmarks.blocking`.

One worker serves. One client asks for computations, one after the other; another one asks for something that is there
at once, with a pause between, and the time until each of its answers is told. It takes half a minute.
"""

import argparse
import asyncio
import os
import statistics
import sys
import time

from benchmarks.spreading import Client, serving

PLACES = ("nowhere", "loop", "thread", "process", "interpreter")
PAUSE = 0.005  # seconds between two quick requests
_APPLICATION = "benchmarks.lib.blocking_app:app"


async def _measure(port: int, place: str, milliseconds: float, seconds: float) -> tuple[list[float], list[float]]:
    """Return how long quick requests have waited for their answer, and how long those that compute (seconds)."""
    quick, computing = await Client.connect(port), await Client.connect(port)
    waits: list[float] = []
    took: list[float] = []
    path = f"/{place}?{milliseconds}".encode()
    if place != "nowhere":
        await computing.get(f"/{place}?1".encode())  # makes the thread, the process or the interpreter
    end = time.monotonic() + seconds

    async def compute() -> None:
        while place != "nowhere" and time.monotonic() < end:
            took.append(await _timed(computing, path))

    work = asyncio.create_task(compute())
    while time.monotonic() < end:
        waits.append(await _timed(quick, b"/"))
        await asyncio.sleep(PAUSE)
    await work
    quick.close()
    computing.close()
    return sorted(waits), took


async def _timed(client: Client, path: bytes) -> float:
    """Return the seconds until the answer."""
    before = time.monotonic()
    await client.get(path)
    return time.monotonic() - before


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--milliseconds", type=float, default=200.0, help="of CPU time for each computation")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each place")
    arguments = parser.parse_args()
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"{len(os.sched_getaffinity(0))} CPUs, load average {os.getloadavg()[0]:.1f}, Python {version}")
    print(f"one worker; a request computes for {arguments.milliseconds:g} ms of CPU time, again and again")
    print(f"{'computes':12}{'others wait: half':>20}{'99 %':>10}{'longest':>10}{'it takes itself':>18}")
    for place in PLACES:
        if place == "interpreter" and sys.version_info < (3, 14):
            print(f"{place:12}{'not measured: needs Python 3.14':>40}")
            continue
        with serving(1, "--blocked-warn", "0", application=_APPLICATION) as (port, _):
            waits, took = asyncio.run(_measure(port, place, arguments.milliseconds, arguments.seconds))
        figures = (statistics.median(waits), waits[int(len(waits) * 0.99)], waits[-1])
        half, most, longest = (f"{1000 * figure:.1f} ms" for figure in figures)
        itself = f"{1000 * statistics.median(took):.0f} ms" if took else ""
        print(f"{place:12}{half:>20}{most:>10}{longest:>10}{itself:>18}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
