"""The metrics of a service as Prometheus takes them: a snapshot becomes families, and these become text. Pure.

It needs the package prometheus_client (the extra `metrics`).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from corehttp.admin.snapshot import Snapshot
from corehttp.ipc.counters import ABORTS, EXITS, REFUSALS, Histogram

One = TypeVar("One")
Values = Mapping[Any, float]  # by the values of the labels, a tuple of text


class _Families(Collector):
    """Families that were made before. Implements prometheus_client's `Collector`."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterable[Metric]:
        """Return them."""
        return self._families


def text(families: Iterable[Metric], accept: str) -> tuple[bytes, str]:
    """Return the text of families in the form that the field Accept asks for, and its Content-Type."""
    encode, kind = choose_encoder(accept)
    return encode(_Families(families)), kind


def families(snapshot: Snapshot) -> Iterable[Metric]:
    """Yield all metrics of a service."""
    yield from _service(snapshot)
    yield from _certificates(snapshot)
    yield from _requests(snapshot)
    yield from _connections(snapshot)
    yield from _workers(snapshot)


def process_families(pid: int) -> Iterable[Metric]:
    """Return the metrics process_* of a process; none where there is no /proc."""
    return ProcessCollector(pid=lambda: pid, registry=None).collect()


def _service(snapshot: Snapshot) -> Iterable[Metric]:
    service, build = snapshot.service, snapshot.build
    yield _gauge(
        "corehttp_build_info",
        "What serves; always 1.",
        {(build.version, build.python, build.loop, build.http): 1},
        "version",
        "python",
        "loop",
        "http",
    )
    states = {(state,): count for state, count in snapshot.states.items()}
    yield _gauge("corehttp_workers", "Worker processes by what they do.", states, "state")
    yield _gauge("corehttp_workers_target", "Worker processes that are wanted.", {(): snapshot.target})
    yield _counter("corehttp_worker_starts", "Worker processes that were started.", {(): service.starts})
    causes = {(cause,): service.exits.get(cause, 0) for cause in EXITS}
    yield _counter("corehttp_worker_exits", "Worker processes that have ended, by the cause.", causes, "cause")
    reloads = {("success",): service.reloads_done, ("failure",): service.reloads_failed}
    yield _counter("corehttp_reloads", "Reloads that have ended, by their result.", reloads, "result")
    yield _gauge(
        "corehttp_config_last_reload_successful",
        "Whether the last reload has succeeded; 1 before the first one.",
        {(): int(not service.last_reload_failed)},
    )
    yield _gauge(
        "corehttp_config_last_reload_success_timestamp_seconds",
        "When the configuration that is in force was loaded, in seconds since the epoch.",
        {(): service.last_reload_done_at or snapshot.started_at},
    )


def _certificates(snapshot: Snapshot) -> Iterable[Metric]:
    """Yield when the certificates end that are served; nothing for a service in cleartext."""
    if snapshot.certificates:
        yield _gauge(
            "corehttp_tls_certificate_not_after_timestamp_seconds",
            "When a certificate that is served expires, in seconds since the epoch.",
            {(path,): end for path, end in snapshot.certificates.items()},
            "certificate",
        )


def _requests(snapshot: Snapshot) -> Iterable[Metric]:
    totals = snapshot.totals
    by_status = {(method, str(status)): count for (method, status), count in sorted(totals.requests.items())}
    yield _counter("corehttp_http_requests", "Requests that have had a whole response.", by_status, "method", "status")
    yield _histogram(
        "corehttp_http_request_duration_seconds",
        "Seconds from the end of a request's head to the end of its response.",
        totals.duration,
    )
    yield _histogram(
        "corehttp_http_request_queue_seconds",
        "Seconds from the end of a request's head to the call of the application.",
        totals.queue_time,
    )
    in_flight = _by_slot(snapshot.slots, lambda one: one.in_flight)
    yield _gauge("corehttp_http_requests_in_flight", "Requests that have not ended.", in_flight, "worker")
    queued = _by_slot(snapshot.slots, lambda one: one.queued)
    yield _gauge("corehttp_http_requests_queued", "Requests that wait in --limit-queue.", queued, "worker")
    refused = {(reason,): totals.refused.get(reason, 0) for reason in REFUSALS}
    yield _counter(
        "corehttp_http_requests_rejected", "Requests that were answered without the application.", refused, "reason"
    )
    aborted = {(reason,): totals.aborted.get(reason, 0) for reason in ABORTS}
    yield _counter("corehttp_http_requests_aborted", "Requests that have had no whole response.", aborted, "reason")


def _connections(snapshot: Snapshot) -> Iterable[Metric]:
    connections = _by_slot(snapshot.slots, lambda one: one.connections)
    yield _gauge("corehttp_connections", "Open connections.", connections, "worker")
    websockets = _by_slot(snapshot.slots, lambda one: one.websockets)
    yield _gauge("corehttp_websockets", "Open WebSockets.", websockets, "worker")
    accepted = _by_slot(snapshot.counters, lambda one: one.accepted)
    yield _counter("corehttp_connections_accepted", "Connections that were accepted.", accepted, "worker")
    openings = snapshot.totals.openings
    handshakes = {("success",): openings.get("tls_done", 0), ("failure",): openings.get("tls_failed", 0)}
    yield _counter("corehttp_tls_handshakes", "TLS handshakes that have ended, by their result.", handshakes, "result")
    cut = {(): openings.get("proxy_failed", 0)}
    yield _counter("corehttp_proxy_headers_rejected", "Connections that were cut without a right PROXY header.", cut)
    handed_over = _by_slot(snapshot.counters, lambda one: one.handed_over)
    yield _counter(
        "corehttp_connections_handed_over", "Connections that were passed to other workers.", handed_over, "worker"
    )
    backlogs = {(listener,): waiting for listener, waiting in snapshot.backlogs.items()}
    yield _gauge("corehttp_listen_backlog", "Connections that wait to be accepted.", backlogs, "listener")
    yield _counter("corehttp_received_bytes", "Bytes from clients.", {(): snapshot.totals.received})
    yield _counter("corehttp_sent_bytes", "Bytes to clients.", {(): snapshot.totals.sent})


def _workers(snapshot: Snapshot) -> Iterable[Metric]:
    lag = _by_slot(snapshot.slots, lambda one: one.lag)
    yield _gauge(
        "corehttp_worker_event_loop_lag_seconds", "By how much the event loop was late at most of late.", lag, "worker"
    )
    blocked = _by_slot(snapshot.counters, lambda one: one.blocked)
    yield _counter("corehttp_worker_blocked_seconds", "Seconds in which the event loop was blocked.", blocked, "worker")
    cpu = _by_slot(snapshot.counters, lambda one: one.cpu)
    yield _counter("corehttp_worker_cpu_seconds", "Seconds of CPU time that was used.", cpu, "worker")
    rss = _by_slot(snapshot.slots, lambda one: one.rss)
    yield _gauge("corehttp_worker_resident_memory_bytes", "Resident memory.", rss, "worker")
    descriptors = _by_slot(snapshot.slots, lambda one: one.descriptors)
    yield _gauge("corehttp_worker_open_fds", "Open file descriptors.", descriptors, "worker")
    started = _by_slot(snapshot.slots, lambda one: one.started_at)
    yield _gauge(
        "corehttp_worker_start_time_seconds",
        "When the worker was started, in seconds since the epoch.",
        started,
        "worker",
    )


def _by_slot(found: Mapping[int, One], figure: Callable[[One], float | None]) -> Values:
    """Return a figure of each slot, except of those where it is not known (None)."""
    return {(str(slot),): value for slot, one in found.items() if (value := figure(one)) is not None}


def _gauge(name: str, help: str, values: Values, *labels: str) -> Metric:
    family = GaugeMetricFamily(name, help, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counter(name: str, help: str, values: Values, *labels: str) -> Metric:
    """Return a counter, to whose name the forms of text add _total."""
    family = CounterMetricFamily(name, help, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(name: str, help: str, histogram: Histogram) -> Metric:
    buckets = [(str(floatToGoString(bound)), float(count)) for bound, count in histogram.cumulative()]
    family = HistogramMetricFamily(name, help)
    family.add_metric((), [*buckets, ("+Inf", float(histogram.count))], histogram.seconds)
    return family
