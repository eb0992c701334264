"""What `corehttp list`, `status` and `requests` print of a service's answers. Pure."""

from collections.abc import Sequence

from corehttp.control.tables import NOTHING, Content, age, contents, moment, number, size, table, text
from corehttp.text import printable

IN_FLIGHT = 24  # the most requests that a worker's table holds: so many may be more

_SERVICES = ("NAME", "PID", "STATE", "WORKERS", "GEN", "UP", "ADDRESS", "REQ/S", "ERR/S", "RSS", "RELOADS")
WORKER_COLUMNS = (
    *("W", "PID", "GEN", "STATE", "UP", "CPU", "RSS", "CONN", "WS", "INFL", "REQ/S", "ERR/S", "P50", "P99", "LAG"),
    *("STARTS", "LAST-EXIT"),
)
_REQUESTS = ("W", "PID", "STATE", "AGE", "METHOD", "PATH")
_OPTIONS = ("OPTION", "VALUE", "SOURCE")
_CHANGES = ("OPTION", "NOW", "NEXT", "SOURCE", "NEEDS")
LEFT = frozenset({*_OPTIONS, *_CHANGES, "NAME", "STATE", "ADDRESS", "LAST-EXIT", "METHOD", "PATH"})


def services(found: Sequence[Content], now: float) -> str:
    """Return the table of all services; `now` in seconds since the epoch."""
    return table(_SERVICES, [_service(service, now) for service in found], LEFT)


def status(service: Content, now: float) -> str:
    """Return the table of one service's workers, with what is to be said of the service itself."""
    rows = table(WORKER_COLUMNS, workers(service, now), LEFT)
    return "\n".join([head(service, now), "", rows, "", *foot(service, now)])


def head(service: Content, now: float) -> str:
    """Return the line that says what a service is and does, or why it tells nothing."""
    if "reason" in service:
        return f"{text(service.get('name'))}: {text(service.get('state'))}: {text(service.get('reason'))}"
    return (
        f"{text(service.get('name'))}: {text(service.get('state'))}, pid {number(service.get('pid'))}, "
        f"generation {number(service.get('generation'))}, up {age(service.get('started_at'), now)}, "
        f"corehttp {text(service.get('version'))}"
    )


def workers(service: Content, now: float) -> list[list[str]]:
    """Return the rows of a service's workers, under the headings WORKER_COLUMNS."""
    return [_worker(worker, now) for worker in contents(service.get("workers"))]


def foot(service: Content, now: float) -> list[str]:
    """Return the lines that say where a service listens, until when with which certificates, and of its reload."""
    listeners = [
        f"listens on {text(one.get('address'))}, {number(one.get('backlog'))} waiting"
        for one in contents(service.get("listeners"))
    ]
    admin = [f"admin listener on {text(service['admin'])}"] if service.get("admin") else []
    certificates = [_certificate(one) for one in contents(service.get("certificates"))]
    return [*listeners, *admin, *certificates, _last_reload(service.get("last_reload"), now)]


def requests(answer: Content) -> str:
    """Return the table of requests in flight."""
    rows = [
        [
            number(one.get("slot")),
            number(one.get("pid")),
            text(one.get("state")),
            number(one.get("age"), ".1f") + "s",
            text(one.get("method")),
            text(one.get("path")),
        ]
        for one in contents(answer.get("requests"))
    ]
    return table(_REQUESTS, rows, LEFT) if rows else "nothing is in flight"


def config(answer: Content) -> str:
    """Return the table of the options in force."""
    rows = [
        [text(one.get("name")), _value(one.get("value")), text(one.get("source"))]
        for one in contents(answer.get("options"))
    ]
    return table(_OPTIONS, rows, LEFT)


def config_changes(answer: Content) -> str:
    """Return the table of what a reload would find changed."""
    rows = [
        [
            text(one.get("name")),
            _value(one.get("value")),
            _value(one.get("next")),
            text(one.get("source")),
            "a restart" if one.get("needs_restart") is True else "a reload",
        ]
        for one in contents(answer.get("changes"))
    ]
    return table(_CHANGES, rows, LEFT) if rows else "no option is given otherwise by now"


def stacks(answer: Content) -> str:
    """Return the stacks of a worker, line by line as they are."""
    lines = "\n".join(map(printable, str(answer.get("text", "")).rstrip().split("\n")))
    if answer.get("complete") is True:
        return lines
    return f"{lines}\n\nThe interpreter does not get to tell its tasks: something blocks it, or the list is too long."


def total(service: Content, key: str) -> float | None:
    """Return the sum of a figure over all workers; None if no worker has it."""
    values = [worker.get(key) for worker in contents(service.get("workers"))]
    known = [value for value in values if isinstance(value, int | float)]
    return sum(known) if known else None


def _service(service: Content, now: float) -> list[str]:
    """Return the row of a service."""
    serving = sum(worker.get("state") == "serving" for worker in contents(service.get("workers")))
    addresses = [text(one.get("address")) for one in contents(service.get("listeners"))]
    return [
        text(service.get("name")),
        number(service.get("pid")),
        text(service.get("state")),
        f"{serving}/{number(service.get('target'))}" if "target" in service else NOTHING,
        number(service.get("generation")),
        age(service.get("started_at"), now),
        ", ".join(addresses) or NOTHING,
        number(total(service, "requests_per_second"), ".1f"),
        number(total(service, "errors_per_second"), ".1f"),
        size(service.get("rss_bytes")),
        number(service.get("reloads")),
    ]


def _worker(worker: Content, now: float) -> list[str]:
    """Return the row of a worker, under the headings WORKER_COLUMNS."""
    in_flight = worker.get("in_flight")
    more = "+" if isinstance(in_flight, int) and in_flight >= IN_FLIGHT else ""
    return [
        number(worker.get("slot")),
        number(worker.get("pid")),
        number(worker.get("generation")),
        text(worker.get("state")),
        age(worker.get("started_at"), now),
        _with_unit(worker.get("cpu_percent"), ".0f", "%"),
        size(worker.get("rss_bytes")),
        number(worker.get("connections")),
        number(worker.get("websockets")),
        number(in_flight) + more,
        number(worker.get("requests_per_second"), ".1f"),
        number(worker.get("errors_per_second"), ".1f"),
        _with_unit(worker.get("p50_ms"), ".1f", "ms"),
        _with_unit(worker.get("p99_ms"), ".1f", "ms"),
        _with_unit(worker.get("lag_ms"), ".1f", "ms"),
        number(worker.get("starts")),
        _last_exit(worker.get("last_exit"), now),
    ]


def _certificate(certificate: Content) -> str:
    """Return until when a certificate is valid, as a line."""
    path, days, until = text(certificate.get("path")), certificate.get("days"), moment(certificate.get("not_after"))
    if isinstance(days, int) and days < 0:
        return f"certificate {path} has expired: {until}"
    return f"certificate {path} is valid for {number(days)} days, until {until}"


def _value(value: object) -> str:
    """Return the value of an option as a flag has it; nothing for None and empty text."""
    match value:
        case None | "":
            return ""
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
        case list():
            return ", ".join(map(str, value))
        case _:
            return str(value)


def _with_unit(value: object, form: str, unit: str) -> str:
    shown = number(value, form)
    return shown if shown == NOTHING else shown + unit


def _last_exit(exit: object, now: float) -> str:
    """Return why the last worker of a slot ended, and how long ago."""
    if not isinstance(exit, dict):
        return NOTHING
    return f"{text(exit.get('cause'))} ({text(exit.get('status'))}) {age(exit.get('at'), now)} ago"


def _last_reload(reload: object, now: float) -> str:
    """Return how the last reload has ended, as a line."""
    if not isinstance(reload, dict):
        return "no reload yet"
    when = f"{moment(reload.get('at'))}, {age(reload.get('at'), now)} ago"
    match reload.get("ok"):
        case True:
            return f"last reload: {when}: done"
        case False:
            return f"last reload: {when}: failed: {text(reload.get('reason'))}"
        case _:
            return f"last reload: {when}: goes on"
