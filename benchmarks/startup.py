"""How long servers take until they answer, from their exec on: `python -m benchmarks.startup`."""

import argparse
import random
import sys
from collections.abc import Sequence

from benchmarks.lib.servers import peer_names
from benchmarks.lib.starting import START_PEERS, start_all, start_text
from benchmarks.lib.versions import describe


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns 1 where corehttp itself failed."""
    options = _parse(arguments)
    report = start_all(options.peers, options.rounds, random.Random(options.seed))
    print(start_text(report))
    print("\nVersions\n" + "\n".join(f"  {name}: {version}" for name, version in describe([]).items()))
    return 1 if "corehttp" in report.failed else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.startup",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--peers", type=peer_names, default=",".join(START_PEERS), help="comma-separated")
    parser.add_argument("--rounds", type=int, default=5, help="starts of each, with each number of workers")
    parser.add_argument("--seed", type=int, default=1, help="of the order of the starts")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
