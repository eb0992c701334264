"""corehttp beside its peers: `python -m benchmarks.peers`, from the root of the repository.

Without arguments it runs the whole suite; with --only some of its entries, with --workload a comparison of one's own.
"""

import argparse
import json
import random
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from benchmarks.lib.footprint import MEMORY_PEERS, Habit, measure_all, memory_text
from benchmarks.lib.load import LoadError
from benchmarks.lib.report import Conditions, command_lines, document, method, rounded, section_text
from benchmarks.lib.servers import LOG_SUFFIX, PEERS, peer_names, peer_of
from benchmarks.lib.starting import START_PEERS, start_all, start_text
from benchmarks.lib.suite import SHORT_SUITE, SUITE, TOOLS, Pace, Report, Section, run_suite
from benchmarks.lib.versions import build_name, describe, load_average
from benchmarks.lib.websocket_load import EchoLoad
from benchmarks.lib.workloads import WORKLOADS

_SHORT_SECONDS = 60.0
_OWN = "corehttp"
# Entries of the suite that compare something else than requests.
_MEMORY, _STARTUP = "memory", "startup"
_OTHER_ENTRIES = (_STARTUP, _MEMORY)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run, and where its figures go."""

    sections: list[Section]
    others: list[str]  # of _OTHER_ENTRIES
    pace: Pace
    seed: int
    target: Path | None  # for the JSON
    command: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments say; returns 0 if corehttp served all of it without an error."""
    plan = plan_of(parse(arguments), sys.argv[1:] if arguments is None else arguments)
    # The servers are stopped by `finally`, which a default SIGTERM would skip.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return run(plan)
    except LoadError as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def run(plan: Plan) -> int:
    """Run and print a plan; returns 0 if corehttp served all of it without an error. Raises MissingToolError."""
    tools = [TOOLS[name] for name in dict.fromkeys(section.tool for section in plan.sections)]
    date = datetime.now(UTC).isoformat(timespec="seconds")
    conditions = Conditions(date, plan.command, plan.pace, describe(tools), plan.seed, load_average())
    order = random.Random(plan.seed)
    reports: list[Report] = []
    failed: set[str] = set()
    for report in run_suite(plan.sections, plan.pace, order):
        reports.append(report)
        print(section_text(report, plan.pace), end="\n\n", flush=True)
    found = document(reports, conditions)
    if _STARTUP in plan.others:
        started = start_all(START_PEERS, plan.pace.rounds, order)
        print(start_text(started), end="\n\n", flush=True)
        found[_STARTUP] = asdict(started)
        failed |= started.failed.keys()
    if _MEMORY in plan.others:
        footprints = measure_all(MEMORY_PEERS, Habit())
        print(memory_text(footprints), end="\n\n", flush=True)
        found[_MEMORY] = asdict(footprints)
        failed |= footprints.failed.keys()
    print(method(conditions))
    commands = command_lines(cast(list[dict[str, Any]], found["sections"]))
    print("\nCommand lines\n" + "\n".join(f"  {name}: {command}" for name, command in commands.items()))
    if plan.target is not None:
        plan.target.parent.mkdir(parents=True, exist_ok=True)
        plan.target.write_text(json.dumps(rounded(found), indent=1) + "\n")
        print(f"\nwritten: {plan.target}")
    return 0 if all(map(_is_sound, reports)) and _OWN not in failed else 1


def _is_sound(report: Report) -> bool:
    own = [name for name in report.section.peers if peer_of(name) is PEERS[_OWN]]
    samples = [each[name] for each in report.rounds for name in own if name in each]
    return not any(name in report.failed for name in own) and not any(
        sample.socket_errors or sample.error_statuses for sample in samples
    )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the arguments; exits with code 2 where they are wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--only", type=_entries, help=f"comma-separated entries of the suite: {', '.join(_names())}")
    parser.add_argument("--workload", choices=WORKLOADS, help="compare on this workload only")
    parser.add_argument("--peers", type=peer_names, help=f"comma-separated, of {', '.join(PEERS)}, each also with +log")
    parser.add_argument("--rounds", type=_positive, help="visits to each server (default 5)")
    parser.add_argument("--slice", type=_positive, help="seconds of a visit (default 1)")
    parser.add_argument("--connections", type=_positive, default=64, help="keep-alive connections (default 64)")
    parser.add_argument("--workers", type=_positive, help="with --workload: workers of each server (default 1)")
    parser.add_argument("--tool", choices=TOOLS, help="with --workload: the load generator")
    parser.add_argument("--access-log", action="store_true", help="with --workload: each with its access log, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and samples to FILE")
    parser.add_argument(
        "--record", type=Path, metavar="DIRECTORY", help="the same, to a file there that is named for this interpreter"
    )
    parser.add_argument("--short", action="store_true", help=f"a smaller suite, in {_SHORT_SECONDS:.0f} s")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the order of the visits")
    options = parser.parse_args(arguments)
    if options.workload is None and (options.workers or options.tool or options.access_log):
        parser.error("--workers, --tool and --access-log need --workload: the suite has its own")
    if sum((options.workload is not None, options.short, options.only is not None)) > 1:
        parser.error("--workload, --only and --short are three choices of what to run: give one of them")
    if options.workload is not None and options.tool and not TOOLS[options.tool].can(WORKLOADS[options.workload]):
        parser.error(f"--tool {options.tool} cannot make the requests of {options.workload}")
    if options.json is not None and options.record is not None:
        parser.error("--json and --record are two places for the same: give one of them")
    return options


def plan_of(options: argparse.Namespace, arguments: Sequence[str]) -> Plan:
    """Return what is to be run for parsed options; `arguments` are those that they were parsed from."""
    others = list(_OTHER_ENTRIES)
    if options.workload is not None or options.short or options.peers:
        others = []
    elif options.only is not None:
        others = [name for name in _OTHER_ENTRIES if name in options.only]
    target = options.json
    if options.record is not None:
        target = options.record / f"{build_name()}.json"
    command = shlex.join(["python", "-m", "benchmarks.peers", *arguments])
    return Plan(sections_of(options), others, pace_of(options), options.seed, target, command)


def sections_of(options: argparse.Namespace) -> list[Section]:
    """Return the comparisons that parsed options ask for."""
    if options.workload is None:
        suite = [_only(section, options.peers) for section in (SHORT_SUITE if options.short else SUITE)]
        return [section for section in suite if section.peers and (not options.only or section.name in options.only)]
    workload = WORKLOADS[options.workload]
    names = options.peers or [name for name, peer in PEERS.items() if peer.serves(workload.application)]
    if options.access_log:
        names = [variant for name in names for variant in (name, name + LOG_SUFFIX) if not name.endswith(LOG_SUFFIX)]
    tool = options.tool or (EchoLoad.name if workload.is_websocket else "wrk")
    return [Section(workload.name, workload.name, tuple(names), tool, options.workers or 1)]


def pace_of(options: argparse.Namespace) -> Pace:
    """Return how long each server is looked at, by parsed options."""
    if options.short:
        return Pace(options.rounds or 3, options.connections, options.slice or 1, 0.15, _SHORT_SECONDS)
    return Pace(options.rounds or 5, options.connections, options.slice or 1, 0.5)


def _only(section: Section, names: Sequence[str] | None) -> Section:
    kept = tuple(name for name in section.peers if names is None or name in names)
    return Section(section.name, section.workload, kept, section.tool, section.workers)


def _names() -> list[str]:
    return [*(section.name for section in SUITE), *_OTHER_ENTRIES]


def _entries(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in _names():
            raise argparse.ArgumentTypeError(f"unknown entry {name!r}; choose from {', '.join(_names())}")
    return names


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
