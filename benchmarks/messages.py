"""What messages between two workers take: `python -m benchmarks.messages`.

How many a second go from one to the other, and how many are lost; how long one takes, also while the service answers
requests as fast as it can; and how many a subscriber loses while the other worker is replaced again and again.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.lib.applications import MESSAGES
from benchmarks.lib.figures import ask, show
from benchmarks.lib.load import program
from benchmarks.lib.running_server import running

_SECONDS = 120.0  # in which a measurement must end
_PACED = str(Path(__file__).parent / "lib" / "paced_requests.lua")
_LOAD_SECONDS = 30  # of requests, in which the measurement of latency ends


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--restarts", type=int, default=100, help="how often the other worker is replaced")
    restarts = parser.parse_args().restarts
    with running(["corehttp"], MESSAGES, 2, frozenset(os.sched_getaffinity(0))) as [server]:
        server.wait_until_ready()
        show("without a pause", ask(server.port, "/rate", _SECONDS))
        show("beside nothing", ask(server.port, "/latency", _SECONDS))
        for name, script in (("2,500 to 3,000 requests a second", [_PACED]), ("all requests that it can answer", [])):
            with subprocess.Popen(_load(server.url, script), stdout=subprocess.DEVNULL) as load:
                time.sleep(1)
                show(f"beside {name}", ask(server.port, "/latency", _SECONDS))
                load.terminate()
        for number in range(restarts):
            subprocess.run(
                [sys.executable, "-m", "corehttp", "restart", "2", "--pid", str(server.pid)],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            if sys.stderr.isatty():
                print(f"restart {number + 1} of {restarts}", end="\r", file=sys.stderr)
        show(f"over {restarts} restarts", _losses(ask(server.port, "/journal", _SECONDS)))
    return 0


def _load(url: str, scripts: list[str]) -> list[str]:
    """Return the command that sends requests over 32 connections, paced by a script of wrk, or without a pause."""
    command = [program("wrk"), "--threads", "1", "--connections", "32", "--duration", f"{_LOAD_SECONDS}s", url]
    return command + [text for path in scripts for text in ("--script", path)]


def _losses(journal: dict[str, list[int]]) -> dict[str, float]:
    """Return how many messages all processes that have ended have sent, and how many of them have not come.

    The first process may have begun before the other worker subscribed; of all others the first message counts, too.
    """
    (_, begun, _), *_ = journal.values()
    ended = [entry for entry in journal.values() if entry[2]]
    sent, came = sum(entry[2] for entry in ended) - (begun - 1), sum(entry[0] for entry in ended)
    return {"processes that have ended": len(ended), "sent": sent, "lost": sent - came}


if __name__ == "__main__":
    sys.exit(main())
