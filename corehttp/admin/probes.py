"""What the probes of Kubernetes and of load balancers are answered. Pure.

Each judges what the supervisor has said last of its service (`supervisor.overview`), and how long it has said nothing.
"""

from corehttp.admin.content import Content, number, numbers, status_of, workers_of
from corehttp.records import record

BLOCKED_AFTER = 1.5  # seconds that an event loop may not run before it counts as blocked, as in `supervisor.status`
SILENT = 10.0  # seconds after which a supervisor that does not answer counts as stuck


@record
class ProbeResult:
    """Whether a probe succeeds, and why, a line for each reason."""

    ok: bool
    reasons: tuple[str, ...]


def live(overview: Content | None, silent: float) -> ProbeResult:
    """Return whether the service is alive: restarting its container would help if not.

    It is alive unless all workers have been blocked for longer than --timeout-worker-healthcheck, or the supervisor has
    not answered for SILENT seconds. `silent` is for how long it has not.
    """
    if silent >= SILENT:
        return ProbeResult(False, (f"the supervisor has not answered for {silent:.0f} s",))
    told = overview or {}
    limit, blocked = number(told.get("healthcheck")), numbers(told.get("silent"))
    if limit and blocked and min(blocked) > limit:
        return ProbeResult(False, (f"all {len(blocked)} workers have been blocked for more than {limit:g} s",))
    return ProbeResult(True, ("the supervisor answers", f"workers whose event loop runs: {_running(blocked)}"))


def ready(overview: Content | None, silent: float) -> ProbeResult:
    """Return whether the service is to be sent requests: enough workers serve, and it does not stop."""
    if overview is None or silent >= SILENT:
        return ProbeResult(False, (_unheard(silent),))
    state, least = str(status_of(overview).get("state")), max(1, int(number(overview.get("ready_min_workers"))))
    serving = count_serving(overview)
    reasons = (f"the service is {state}", f"workers that serve: {serving}, needed: {least} (--ready-min-workers)")
    return ProbeResult(state != "stopping" and serving >= least, reasons)


def started(overview: Content | None, silent: float) -> ProbeResult:
    """Return whether all workers have been ready once."""
    if overview is None:
        return ProbeResult(False, (_unheard(silent),))
    complete = overview.get("complete") is True
    return ProbeResult(
        complete, ("all workers have been ready" if complete else "not all workers have been ready yet",)
    )


def count_serving(overview: Content) -> int:
    """Return how many workers serve."""
    return sum(worker.get("state") == "serving" for worker in workers_of(overview))


def _unheard(silent: float) -> str:
    return f"the supervisor has not answered for {silent:.1f} s"


def _running(blocked: list[float]) -> str:
    return f"{sum(seconds < BLOCKED_AFTER for seconds in blocked)} of {len(blocked)}"
