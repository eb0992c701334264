"""From the samples of all rounds to one row for each server: medians, and ratios taken within each round."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.lib.rounds import Round, Sample
from benchmarks.lib.servers import LOG_SUFFIX


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over all rounds: its median, its least and its greatest value."""

    median: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Row:
    """What all rounds together show of one server: medians over the rounds, but sums of errors."""

    name: str
    requests_per_second: float
    cpu_us: float
    cpu_ratio: Spread | None  # to the baseline in the same round; None where the baseline was not measured
    speed_ratio: Spread | None
    p99_ms: float
    pss: float  # bytes
    socket_errors: int
    error_statuses: int
    server_cpus: float
    load_cpus: float
    other_cpus: float


@dataclass(frozen=True, slots=True)
class LogCost:
    """What the access log costs one server, as the medians of the differences in each round."""

    name: str
    cpu_us: float
    cpu_share: float
    bytes_per_request: float


def summarise(name: str, rounds: Sequence[Round], baseline: str) -> Row:
    """Return the row of the server called `name`, with ratios to that called `baseline`."""
    samples = [each[name] for each in rounds]
    return Row(
        name=name,
        requests_per_second=median(sample.requests_per_second for sample in samples),
        cpu_us=median(sample.cpu_us for sample in samples),
        cpu_ratio=_ratio(name, rounds, baseline, lambda sample: sample.cpu_us),
        speed_ratio=_ratio(name, rounds, baseline, lambda sample: sample.requests_per_second),
        p99_ms=median(sample.p99_ms for sample in samples),
        pss=median(sample.pss for sample in samples),
        socket_errors=sum(sample.socket_errors for sample in samples),
        error_statuses=sum(sample.error_statuses for sample in samples),
        server_cpus=median(sample.server_cpus for sample in samples),
        load_cpus=median(sample.load_cpus for sample in samples),
        other_cpus=median(sample.other_cpus for sample in samples),
    )


def log_costs(rounds: Sequence[Round]) -> list[LogCost]:
    """Return what the access log costs each server that was visited both with and without one."""
    names = [name.removesuffix(LOG_SUFFIX) for name in rounds[0] if name.endswith(LOG_SUFFIX)]
    return [_log_cost(name, rounds) for name in sorted(names) if name in rounds[0]]


def _log_cost(name: str, rounds: Sequence[Round]) -> LogCost:
    pairs = [(each[name], each[name + LOG_SUFFIX]) for each in rounds]
    return LogCost(
        name=name,
        cpu_us=median(logged.cpu_us - plain.cpu_us for plain, logged in pairs),
        cpu_share=median(logged.cpu_us / plain.cpu_us - 1 for plain, logged in pairs),
        bytes_per_request=median(logged.log_bytes / logged.requests for _, logged in pairs),
    )


def _ratio(name: str, rounds: Sequence[Round], baseline: str, value: Callable[[Sample], float]) -> Spread | None:
    pairs = [(value(each[name]), value(each[baseline])) for each in rounds if baseline in each]
    ratios = [own / other for own, other in pairs if other]
    return Spread(median(ratios), min(ratios), max(ratios)) if ratios else None
