"""What messages between two machines take: `python -m benchmarks.machines redis://127.0.0.1`, where a Redis must run.

Both machines are services of one worker on this one. How many messages a second come from one to the other, and how
many are lost; how long one takes; and how much memory a worker has with `--bus` and without.
"""

import argparse
import os
import sys

from benchmarks.lib.applications import MACHINES
from benchmarks.lib.figures import ask, show
from benchmarks.lib.footprint import footprint
from benchmarks.lib.running_server import RunningServer, running

_SECONDS = 60.0  # in which a measurement must end
_VARIABLE = "COREHTTP_BUS"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("redis", help="the address of Redis, as --bus takes it")
    address = parser.parse_args().redis
    cpus = frozenset(os.sched_getaffinity(0))
    os.environ.pop(_VARIABLE, None)
    with running(["corehttp"], MACHINES, 1, cpus) as [server]:
        server.wait_until_ready()
        show("a worker without --bus", _footprint(server))
    os.environ[_VARIABLE] = address
    with running(["corehttp", "corehttp"], MACHINES, 1, cpus) as [one, other]:
        one.wait_until_ready()
        other.wait_until_ready()
        show("a worker with --bus", _footprint(one))
        show("without a pause", ask(one.port, "/rate", _SECONDS))
        show("one every 2 ms", ask(one.port, "/latency", _SECONDS))
    return 0


def _footprint(server: RunningServer) -> dict[str, float]:
    """Return what the worker of a server takes of memory."""
    return {"MB (PSS)": footprint(server.pid).worker.pss / 1e6}


if __name__ == "__main__":
    sys.exit(main())
