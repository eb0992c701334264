"""corehttp beside its peers: `python -m benchmarks.peers`, from the root of the repository.

Without arguments it runs the whole suite; with --workload one comparison of one's own.
"""

import argparse
import json
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.lib.load import LoadError
from benchmarks.lib.report import Conditions, document, method, section_text
from benchmarks.lib.servers import LOG_SUFFIX, PEERS, peer_names, peer_of
from benchmarks.lib.suite import SHORT_SUITE, SUITE, TOOLS, Pace, Report, Section, run_suite
from benchmarks.lib.versions import describe, load_average
from benchmarks.lib.workloads import WORKLOADS

_SHORT_SECONDS = 60.0
_OWN = "corehttp"


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    # The servers are stopped by `finally`, which a default SIGTERM would skip.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return run(sections_of(options), pace_of(options), options.seed, options.json)
    except LoadError as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def run(sections: Sequence[Section], pace: Pace, seed: int, target: Path | None) -> int:
    """Runs and prints `sections`; 0 if corehttp served all of them without an error. Raises LoadError."""
    tools = [TOOLS[name] for name in dict.fromkeys(section.tool for section in sections)]
    conditions = Conditions(pace, describe(tools), seed, load_average())
    reports: list[Report] = []
    for report in run_suite(sections, pace, random.Random(seed)):
        reports.append(report)
        print(section_text(report, pace), end="\n\n", flush=True)
    print(method(conditions))
    if target is not None:
        target.write_text(json.dumps(document(reports, conditions), indent=2) + "\n")
    return 0 if all(map(_is_sound, reports)) else 1


def _is_sound(report: Report) -> bool:
    """Figures of failing requests would measure nothing."""
    own = [name for name in report.section.peers if peer_of(name) is PEERS[_OWN]]
    samples = [each[name] for each in report.rounds for name in own if name in each]
    return not any(name in report.failed for name in own) and not any(
        sample.socket_errors or sample.error_statuses for sample in samples
    )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--workload", choices=WORKLOADS, help="compare on this workload only")
    parser.add_argument("--peers", type=peer_names, help=f"comma-separated, of {', '.join(PEERS)}, each also with +log")
    parser.add_argument("--rounds", type=_positive, help="visits to each server (default 5)")
    parser.add_argument("--slice", type=_positive, help="seconds of a visit (default 2)")
    parser.add_argument("--connections", type=_positive, default=64, help="keep-alive connections (default 64)")
    parser.add_argument("--workers", type=_positive, help="with --workload: workers of each server (default 1)")
    parser.add_argument("--tool", choices=TOOLS, help="with --workload: the load generator (default wrk)")
    parser.add_argument("--access-log", action="store_true", help="with --workload: each with its access log, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to FILE")
    parser.add_argument("--short", action="store_true", help=f"a smaller suite, in {_SHORT_SECONDS:.0f} s")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the order of the visits")
    options = parser.parse_args(arguments)
    if options.workload is None and (options.workers or options.tool or options.access_log):
        parser.error("--workers, --tool and --access-log need --workload: the suite has its own")
    if options.workload is not None and options.short:
        parser.error("--short is a form of the suite: it does not go with --workload")
    return options


def sections_of(options: argparse.Namespace) -> list[Section]:
    if options.workload is None:
        suite = [_only(section, options.peers) for section in (SHORT_SUITE if options.short else SUITE)]
        return [section for section in suite if section.peers]
    names = options.peers or [
        name for name, peer in PEERS.items() if peer.serves(WORKLOADS[options.workload].application)
    ]
    if options.access_log:
        names = [variant for name in names for variant in (name, name + LOG_SUFFIX) if not name.endswith(LOG_SUFFIX)]
    return [Section(options.workload, tuple(names), options.tool or "wrk", options.workers or 1)]


def pace_of(options: argparse.Namespace) -> Pace:
    if options.short:
        return Pace(options.rounds or 3, options.connections, options.slice or 1, 0.1, _SHORT_SECONDS)
    return Pace(options.rounds or 5, options.connections, options.slice or 2, 0.5)


def _only(section: Section, names: Sequence[str] | None) -> Section:
    kept = tuple(name for name in section.peers if names is None or name in names)
    return Section(section.workload, kept, section.tool, section.workers)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
