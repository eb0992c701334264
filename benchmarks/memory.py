"""What an idle server and an idle keep-alive connection cost in memory: `python -m benchmarks.memory`."""

import argparse
import sys
from collections.abc import Sequence

from benchmarks.lib.footprint import MEMORY_PEERS, Habit, measure_all, memory_text
from benchmarks.lib.servers import peer_names
from benchmarks.lib.versions import describe


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns 1 where corehttp itself failed."""
    options = _parse(arguments)
    report = measure_all(options.peers, Habit(options.connections, options.requests, options.warm_up, options.settle))
    print(memory_text(report))
    print("\nVersions\n" + "\n".join(f"  {name}: {version}" for name, version in describe([]).items()))
    return 1 if "corehttp" in report.failed else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    default = Habit()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--peers", type=peer_names, default=",".join(MEMORY_PEERS), help="comma-separated")
    parser.add_argument("--connections", type=int, default=default.connections, help="idle connections")
    parser.add_argument("--requests", type=int, default=default.requests, help="that each of them has answered")
    parser.add_argument("--warm-up", type=int, default=default.warm_up, help="requests before anything is measured")
    parser.add_argument("--settle", type=float, default=default.settle, help="seconds until the second look")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
