"""The metrics, as Prometheus' own parsers read them."""

from collections.abc import Callable, Iterable

import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from corehttp.admin import metrics
from corehttp.admin.snapshot import STATES, Build, SlotFigures, Snapshot
from corehttp.ipc.counters import (
    ABORTS,
    BUCKETS,
    EXITS,
    PUBLISHED,
    REFUSALS,
    Counters,
    Histogram,
    ServiceCounters,
    total,
)

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
SERVICE = Counters(
    requests={("GET", 200): 7, ("GET", 503): 2, ("_OTHER", 405): 1},
    refused={"overload": 2},
    aborted={"client": 3, "cut": 1},
    received=1000,
    sent=2000,
    accepted=5,
    handed_over=4,
    blocked=1.5,
    duration=Histogram((1,) * BUCKETS, 12.5),
    queue_time=Histogram((2,) + (0,) * (BUCKETS - 1), 0.001),
    cpu=3.25,
    openings={"tls_done": 8, "tls_failed": 2, "proxy_failed": 3},
)
OTHER = Counters(requests={("GET", 200): 1}, accepted=1, received=10)


def snapshot(**changed: object) -> Snapshot:
    content: dict[str, object] = {
        "build": Build("0.1.0", "3.13.0", "uvloop", "httptools"),
        "states": {**dict.fromkeys(STATES, 0), "serving": 1, "blocked": 1},
        "target": 3,
        "started_at": 1e9,
        "backlogs": {"http://127.0.0.1:80": 6},
        "slots": {1: SlotFigures(5, 1, 2, 3, 0.25, 1 << 20, 30, 1.1e9), 2: SlotFigures()},
        "counters": {1: SERVICE, 2: OTHER, 3: Counters()},
        "totals": total((SERVICE, OTHER)),
        "service": ServiceCounters({"crash": 2}, 5, 3, 1, True, 1.2e9),
        "certificates": {"/a.crt": 1.8e9},
        **changed,
    }
    return Snapshot(**content)  # type: ignore[arg-type]


Parse = Callable[[str], Iterable[Metric]]
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def published(taken: Snapshot, accept: str = "", parse: Parse = parse_text) -> Samples:
    """The samples that a parser finds, by name and labels."""
    body, _ = metrics.text(metrics.families(taken), accept)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(body.decode())
        for sample in family.samples
    }


BOTH = pytest.mark.parametrize(("accept", "parse"), [("", parse_text), (OPENMETRICS, parse_openmetrics)])


@BOTH
@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("corehttp_build_info", {"version": "0.1.0", "python": "3.13.0", "loop": "uvloop", "http": "httptools"}, 1),
        ("corehttp_workers", {"state": "serving"}, 1),
        ("corehttp_workers", {"state": "starting"}, 0),
        ("corehttp_workers_target", {}, 3),
        ("corehttp_worker_starts_total", {}, 5),
        ("corehttp_worker_exits_total", {"cause": "crash"}, 2),
        ("corehttp_worker_exits_total", {"cause": "oom"}, 0),
        ("corehttp_reloads_total", {"result": "success"}, 3),
        ("corehttp_reloads_total", {"result": "failure"}, 1),
        ("corehttp_config_last_reload_successful", {}, 0),
        ("corehttp_config_last_reload_success_timestamp_seconds", {}, 1.2e9),
        ("corehttp_http_requests_total", {"method": "GET", "status": "200"}, 8),
        ("corehttp_http_requests_total", {"method": "_OTHER", "status": "405"}, 1),
        ("corehttp_http_request_duration_seconds_bucket", {"le": "0.005"}, 5),
        ("corehttp_http_request_duration_seconds_bucket", {"le": "10.0"}, BUCKETS - 1),
        ("corehttp_http_request_duration_seconds_bucket", {"le": "+Inf"}, BUCKETS),
        ("corehttp_http_request_duration_seconds_count", {}, BUCKETS),
        ("corehttp_http_request_duration_seconds_sum", {}, 12.5),
        ("corehttp_http_request_queue_seconds_count", {}, 2),
        ("corehttp_http_requests_in_flight", {"worker": "1"}, 2),
        ("corehttp_http_requests_queued", {"worker": "1"}, 3),
        ("corehttp_http_requests_rejected_total", {"reason": "overload"}, 2),
        ("corehttp_http_requests_aborted_total", {"reason": "client"}, 3),
        ("corehttp_http_requests_aborted_total", {"reason": "timeout"}, 0),
        ("corehttp_connections", {"worker": "1"}, 5),
        ("corehttp_websockets", {"worker": "1"}, 1),
        ("corehttp_connections_accepted_total", {"worker": "1"}, 5),
        ("corehttp_connections_accepted_total", {"worker": "3"}, 0),
        ("corehttp_tls_handshakes_total", {"result": "success"}, 8),
        ("corehttp_tls_handshakes_total", {"result": "failure"}, 2),
        ("corehttp_proxy_headers_rejected_total", {}, 3),
        ("corehttp_connections_handed_over_total", {"worker": "1"}, 4),
        ("corehttp_listen_backlog", {"listener": "http://127.0.0.1:80"}, 6),
        ("corehttp_tls_certificate_not_after_timestamp_seconds", {"certificate": "/a.crt"}, 1.8e9),
        ("corehttp_received_bytes_total", {}, 1010),
        ("corehttp_sent_bytes_total", {}, 2000),
        ("corehttp_worker_event_loop_lag_seconds", {"worker": "1"}, 0.25),
        ("corehttp_worker_blocked_seconds_total", {"worker": "1"}, 1.5),
        ("corehttp_worker_cpu_seconds_total", {"worker": "1"}, 3.25),
        ("corehttp_worker_resident_memory_bytes", {"worker": "1"}, 1 << 20),
        ("corehttp_worker_open_fds", {"worker": "1"}, 30),
        ("corehttp_worker_start_time_seconds", {"worker": "1"}, 1.1e9),
    ],
)
def test_each_metric_has_its_name_its_labels_and_its_value(
    accept: str, parse: Parse, name: str, labels: dict[str, str], value: float
) -> None:
    assert published(snapshot(), accept, parse)[name, tuple(sorted(labels.items()))] == value


@BOTH
def test_every_reason_cause_state_and_bucket_is_there_from_the_beginning(accept: str, parse: Parse) -> None:
    empty = snapshot(counters={}, totals=Counters(), service=ServiceCounters(), slots={}, backlogs={})
    names = published(empty, accept, parse)
    for name, label, values in (
        ("corehttp_workers", "state", STATES),
        ("corehttp_worker_exits_total", "cause", EXITS),
        ("corehttp_http_requests_rejected_total", "reason", REFUSALS),
        ("corehttp_http_requests_aborted_total", "reason", ABORTS),
    ):
        assert {key for found, key in names if found == name} == {((label, value),) for value in values}
    buckets = [dict(key)["le"] for name, key in names if name == "corehttp_http_request_duration_seconds_bucket"]
    assert [float(bound) for bound in buckets] == [*PUBLISHED, float("inf")]


def test_before_the_first_reload_the_start_counts_as_a_success() -> None:
    found = published(snapshot(service=ServiceCounters()))
    assert found["corehttp_config_last_reload_successful", ()] == 1
    assert found["corehttp_config_last_reload_success_timestamp_seconds", ()] == 1e9


def test_what_the_kernel_does_not_tell_is_left_out() -> None:
    found = published(snapshot())
    assert ("corehttp_connections", (("worker", "2"),)) in found
    assert ("corehttp_worker_open_fds", (("worker", "2"),)) not in found
    assert ("corehttp_worker_resident_memory_bytes", (("worker", "2"),)) not in found


def test_types_are_those_of_the_names() -> None:
    body, _ = metrics.text(metrics.families(snapshot()), "")
    for family in parse_text(body.decode()):
        total = any(sample.name.endswith("_total") for sample in family.samples)
        histogram = any(sample.name.endswith("_bucket") for sample in family.samples)
        assert family.type == ("counter" if total else "histogram" if histogram else "gauge")
        assert family.name.startswith("corehttp_")
        assert family.documentation


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (f"{OPENMETRICS};q=0.5,text/plain;version=0.0.4;q=0.2", "application/openmetrics-text; version=1.0.0"),
        ("\xff;;;,=", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_the_form_is_the_one_that_is_asked_for(accept: str, kind: str) -> None:
    body, said = metrics.text(metrics.families(snapshot()), accept)
    assert said.startswith(kind)
    assert body.endswith(b"# EOF\n") is said.startswith("application/openmetrics")


def test_the_supervisors_own_figures_are_those_of_its_process() -> None:
    import os

    names = {family.name for family in metrics.process_families(os.getpid())}
    assert {"process_resident_memory_bytes", "process_cpu_seconds", "process_open_fds"} <= names
