"""What the log says of a stop: how to have one, that it begins, and what came of it. Pure."""

from collections.abc import Sequence

from corehttp.errors import ExitCode


def how_to_stop(pid: int) -> str:
    """How an operator ends the service whose first process this is."""
    return f"to stop: Ctrl-C or kill -TERM {pid}"


def pids(numbers: Sequence[int]) -> str:
    """The processes of workers, in the order of their slots."""
    return f"pid{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers))}"


def stopping(signal_name: str, delay: float, graceful: float) -> str:
    """A stop has begun; times in seconds."""
    first = f"serving on for {delay:g} s, then " if delay else ""
    return f"{signal_name}: {first}finishing what is in flight, for at most {graceful:g} s"


def stopped(seconds: float, answered: int, cut: int, code: ExitCode) -> str:
    """A stop is over: how long it took, and how many requests were answered and cut in that time."""
    requests = f"{answered} request{'' if answered == 1 else 's'}"
    return f"stopped after {seconds:.1f} s: {requests} answered meanwhile, {cut} cut; exit code {code:d}"
