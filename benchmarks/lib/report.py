"""What the benchmark tells: tables for people, the same and every sample as JSON for programs."""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from benchmarks.lib.applications import ROOT
from benchmarks.lib.load import Load
from benchmarks.lib.servers import LOG_SUFFIX
from benchmarks.lib.suite import TOOLS, Pace, Report
from benchmarks.lib.summary import Row, Spread, log_costs, summarise
from benchmarks.lib.table import aligned, megabytes, ratio
from benchmarks.lib.workloads import WORKLOADS

_HEADER = (
    *("server", "requests/s", "ratio", "CPU us", "ratio", "least", "most"),
    *("p99 ms", "PSS MB", "errors", "busy: server", "load", "other"),
)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the figures were taken under."""

    date: str  # of the start, in UTC (ISO 8601)
    command: str
    pace: Pace
    versions: Mapping[str, str]
    seed: int  # of the order of the visits
    load_average: str  # of the machine, before the start


# CPUs that other processes keep busy. Above this, requests/s and p99 tell more about them than about the servers.
_QUIET_CPUS = 0.2

# Rounds of which a median says something.
_ENOUGH_ROUNDS = 3

# A port for command lines that are only shown; its digits occur nowhere else in them.
_SHOWN_PORT = 65535

# Seconds of load for each server after which a JIT compiler has done most of its work.
_ENOUGH_WARM_UP = 0.5

_METHOD = """\
Method
  All servers of a table run side by side, on the same application and the same CPUs; while one is visited the others
  idle, and one that never idles is paused. Before that all of them have the load at once, {warm_up:g} s for each, which
  is not measured. Then a round visits each once, in random order, for {seconds} s, with {connections} keep-alive
  connections; workloads with large bodies and WebSockets have fewer. A server that fails is named, and left out of the
  whole table.
  requests/s, CPU us, p99 and PSS are medians over the rounds; errors (of connections, and responses of 400 and above)
  are sums. A ratio is the median of the ratios to uvicorn in the same round, so that a slow moment of the machine
  weighs on both sides; "least" and "most" are those of the rounds.
  CPU us is CPU time, user and system, of the server's whole process tree, its exited children included, for each
  completed request or echoed message.
  PSS is taken right after the visit: pages shared with the other servers of the table count in part, so it understates.
  "busy" counts CPUs, the load generator's apart from the server's: when "load" is near the number of CPUs it was given
  and "server" is not, requests/s is the generator's limit, and only CPU us compares the servers. Where the generator
  has no CPU of its own, it takes from the server what it needs. "other" is all else, the idle servers included.
  Each server has its defaults, with uvloop and httptools where it lets one choose; access logs are off but for "{log}",
  which writes to a regular file. node is node:cluster with a primary and its workers, pm2 the same program under PM2 in
  cluster mode. read-content reads its file in the event loop, beside fs.readFileSync (-sync); read-in-thread in a
  thread, beside fs/promises."""


def method(conditions: Conditions) -> str:
    """Return how the figures were taken, when, by which command, on which machine and of which versions."""
    pace = conditions.pace
    text = _METHOD.format(connections=pace.connections, seconds=pace.seconds, warm_up=pace.warm_up, log=LOG_SUFFIX)
    when = f"  {conditions.date}: {conditions.command}"
    order = f"  Order seed {conditions.seed}; load average at the start {conditions.load_average}."
    versions = [f"  {name}: {version}" for name, version in conditions.versions.items()]
    return "\n".join([text, when, order, "", "Versions", *versions])


def command_lines(sections: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the command line of each server and load generator as it first occurs in a document's sections."""
    found: dict[str, str] = {}
    for section in sections:
        for name, command in (*section["commands"].items(), (section["tool"], section["load_command"])):
            found.setdefault(name, command)
    return found


def section_text(report: Report, pace: Pace) -> str:
    """Return the figures of one section as a table, with what is to be known of them."""
    connections = report.section.connections(pace)
    lines = [
        f"== {report.section.title}, {connections} connections, {len(report.rounds)} x {pace.seconds} s",
        f"   {report.placement}; {report.date}, load average {report.load_average}",
    ]
    if report.rounds:
        found = rows(report)
        lines.append(aligned(_HEADER, [_cells(row) for row in found]))
        lines += [f"note: {text}" for text in notes(report, pace, found)]
        lines += [
            f"access log of {cost.name}: {cost.cpu_us:+.2f} us a request ({cost.cpu_share:+.0%}), "
            f"{cost.bytes_per_request:.0f} bytes a request"
            for cost in log_costs(report.rounds)
        ]
    lines += [f"left out: {name}: {reason}" for name, reason in report.left_out.items()]
    lines += [f"failed: {reason}" for reason in report.failed.values()]
    lines += [f"note: {name} runs on other CPUs than it was given" for name in report.strayed]
    return "\n".join(lines)


def notes(report: Report, pace: Pace, found: Sequence[Row]) -> list[str]:
    """Return what a reader of the table has to know beside the method."""
    texts = []
    if len(report.rounds) < _ENOUGH_ROUNDS:
        texts.append(f"too few rounds ({len(report.rounds)}): the machine's moods weigh as much as the servers")
    if pace.warm_up < _ENOUGH_WARM_UP and any(row.name.startswith(("node", "pm2")) for row in found):
        texts.append("the warm-up was too short for the JIT compiler of Node.js, whose figures are too high")
    if report.placement.is_shared:
        texts.append("the load generator has no CPU of its own: requests/s is what is left beside it")
    texts += [
        f"{name} keeps CPUs busy while nobody asks it anything: it was paused while others were visited"
        for name in report.restless
    ]
    if max(row.other_cpus for row in found) > _QUIET_CPUS:
        texts.append("the machine was not quiet: other processes took CPU time that the servers lacked")
    return texts


def rows(report: Report) -> list[Row]:
    """Return a row for each server that was measured, in the order of the section."""
    baseline = report.section.baseline
    return [summarise(name, report.rounds, baseline) for name in report.section.peers if name in report.rounds[0]]


def document(reports: Sequence[Report], conditions: Conditions) -> dict[str, object]:
    """Return all figures and every sample, in types that JSON has."""
    return {**asdict(conditions), "sections": [_section_document(report, conditions.pace) for report in reports]}


def rounded(value: Any) -> Any:
    """Return the same figures to six significant digits, which is more than they mean."""
    match value:
        case float():
            return float(f"{value:.6g}")
        case dict():
            return {key: rounded(each) for key, each in value.items()}
        case list() | tuple():
            return [rounded(each) for each in value]
        case _:
            return value


def shown(command: Sequence[str], port: int) -> str:
    """Return a command line as anybody would type it, whatever the directories and the port of this run."""
    words = ["python" if word == sys.executable else word for word in command]
    return without_directories(shlex.join([Path(words[0]).name, *words[1:]])).replace(str(port), "PORT")


def without_directories(text: str) -> str:
    """Return a text with paths relative to the root of the repository, and with the servers' directories unnamed."""
    return re.sub(rf"{re.escape(gettempdir())}/corehttp-bench-[^/\s]+", "DIRECTORY", text.replace(f"{ROOT}/", ""))


def _section_document(report: Report, pace: Pace) -> dict[str, object]:
    section = report.section
    found = rows(report) if report.rounds else []
    load = Load(_SHOWN_PORT, WORKLOADS[section.workload], section.connections(pace), pace.seconds)
    return {
        **asdict(section),
        "baseline": section.baseline,
        "connections": load.connections,
        "date": report.date,
        "load_average": report.load_average,
        "server_cpus": sorted(report.placement.server),
        "load_cpus": sorted(report.placement.load),
        "commands": {name: shown(command, report.ports[name]) for name, command in report.commands.items()},
        "load_command": shown(TOOLS[section.tool].command(load), load.port),
        "restless": report.restless,
        "left_out": report.left_out,
        "failed": {name: without_directories(reason) for name, reason in report.failed.items()},
        "notes": notes(report, pace, found) if found else [],
        "rows": [asdict(row) for row in found],
        "access_log": [asdict(cost) for cost in log_costs(report.rounds)] if found else [],
        "rounds": [{name: asdict(sample) for name, sample in each.items()} for each in report.rounds],
    }


def _cells(row: Row) -> list[str]:
    cpu = row.cpu_ratio
    return [
        row.name,
        f"{row.requests_per_second:,.0f}",
        _median(row.speed_ratio),
        f"{row.cpu_us:.1f}",
        _median(cpu),
        "-" if cpu is None else f"{cpu.least:.2f}",
        "-" if cpu is None else f"{cpu.most:.2f}",
        f"{row.p99_ms:.1f}",
        megabytes(row.pss),
        str(row.socket_errors + row.error_statuses),
        f"{row.server_cpus:.2f}",
        f"{row.load_cpus:.2f}",
        f"{row.other_cpus:.2f}",
    ]


def _median(spread: Spread | None) -> str:
    return ratio(None if spread is None else spread.median)
