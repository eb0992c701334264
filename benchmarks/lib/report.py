"""What the benchmark tells: tables for people, the same and every sample as JSON for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from benchmarks.lib.servers import LOG_SUFFIX
from benchmarks.lib.suite import Pace, Report
from benchmarks.lib.summary import BASELINE, Row, log_costs, summarise
from benchmarks.lib.table import aligned, megabytes, ratio

_HEADER = (
    "server",
    "requests/s",
    "CPU us/req",
    "CPU ratio",
    "req/s ratio",
    "p99 ms",
    "PSS MB",
    "sock.err",
    "4xx/5xx",
    "busy: server",
    "load",
    "other",
)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the figures were taken under."""

    pace: Pace
    versions: Mapping[str, str]
    seed: int  # of the order of the visits
    load_average: str  # of the machine, before the start


# Above this, requests/s and p99 tell more about the neighbours than about the servers.
_QUIET_CPUS = 0.2

# A median of fewer is no median.
_ENOUGH_ROUNDS = 3

_METHOD = """\
Method
  All servers of a table run side by side, on the same application and the same CPUs; while one is visited the others
  idle. A round visits each once, in random order, for {seconds} s, with {connections} keep-alive connections, fewer
  where bodies are large.
  requests/s, CPU, p99 and PSS are medians over the rounds; a ratio is the median of the ratios to {baseline} that each
  round gave, so that a slow moment of the machine weighs on both sides. Errors are sums over all rounds.
  CPU is that of the server's whole process tree, its exited children included, divided by the completed requests.
  PSS is taken right after the visit: pages shared with the other servers of the table count in part, so it understates.
  "busy" counts CPUs: when "load" is near the number it was given and "server" is not, requests/s is the generator's
  limit and only CPU per request compares the servers. "other" is all else on the machine, the idle servers included.
  Each server has its defaults, with uvloop and httptools where it lets one choose; access logs are off but for "{log}",
  which writes to a regular file. node is node:cluster with a primary and its workers, pm2 the same program under PM2 in
  cluster mode. read-content reads its file in the event loop, beside fs.readFileSync (-sync); read-in-thread in a
  thread, beside fs/promises."""


def method(conditions: Conditions) -> str:
    pace = conditions.pace
    text = _METHOD.format(connections=pace.connections, seconds=pace.seconds, baseline=BASELINE, log=LOG_SUFFIX)
    order = f"  Order seed {conditions.seed}; load average at the start {conditions.load_average}."
    versions = [f"  {name}: {version}" for name, version in conditions.versions.items()]
    return "\n".join([text, order, "", "Versions", *versions])


def section_text(report: Report, pace: Pace) -> str:
    connections = report.section.connections(pace)
    lines = [f"== {report.section.title}, {connections} connections, {len(report.rounds)} x {pace.seconds} s"]
    lines.append(f"   {report.placement}")
    if report.rounds:
        found = rows(report)
        lines.append(aligned(_HEADER, [_cells(row) for row in found]))
        if len(report.rounds) < _ENOUGH_ROUNDS:
            lines.append(
                f"note: too few rounds ({len(report.rounds)}): the machine's moods weigh as much as the servers"
            )
        if max(row.other_cpus for row in found) > _QUIET_CPUS:
            lines.append("note: the machine was not quiet: other processes took CPU time that the servers lacked")
        lines += [
            f"access log of {cost.name}: {cost.cpu_us:+.2f} us a request ({cost.cpu_share:+.0%}), "
            f"{cost.bytes_per_request:.0f} bytes a request"
            for cost in log_costs(report.rounds)
        ]
    lines += [f"left out: {name}: {reason}" for name, reason in report.left_out.items()]
    lines += [f"failed: {reason}" for reason in report.failed.values()]
    lines += [f"note: {name} runs on other CPUs than it was given" for name in report.strayed]
    return "\n".join(lines)


def rows(report: Report) -> list[Row]:
    return [summarise(name, report.rounds) for name in report.section.peers if name in report.rounds[0]]


def document(reports: Sequence[Report], conditions: Conditions) -> dict[str, object]:
    """All figures and every sample, in types that JSON has."""
    return {**asdict(conditions), "sections": [_section_document(report) for report in reports]}


def _section_document(report: Report) -> dict[str, object]:
    measured = bool(report.rounds)
    return {
        "title": report.section.title,
        **asdict(report.section),
        "server_cpus": sorted(report.placement.server),
        "load_cpus": sorted(report.placement.load),
        "left_out": report.left_out,
        "failed": report.failed,
        "rows": [asdict(row) for row in rows(report)] if measured else [],
        "access_log": [asdict(cost) for cost in log_costs(report.rounds)] if measured else [],
        "rounds": [{name: asdict(sample) for name, sample in each.items()} for each in report.rounds],
    }


def _cells(row: Row) -> list[str]:
    return [
        row.name,
        f"{row.requests_per_second:,.0f}",
        f"{row.cpu_us:.1f}",
        ratio(row.cpu_ratio),
        ratio(row.speed_ratio),
        f"{row.p99_ms:.1f}",
        megabytes(row.pss),
        str(row.socket_errors),
        str(row.error_statuses),
        f"{row.server_cpus:.2f}",
        f"{row.load_cpus:.2f}",
        f"{row.other_cpus:.2f}",
    ]
