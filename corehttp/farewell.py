"""Texts of log lines about a stop: how to begin one, that it has begun, and what has come of it. Pure."""

import sys
from collections.abc import Sequence

from corehttp.errors import ExitCode
from corehttp.text import counted


def what_next(pid: int) -> str:
    """Return where an operator finds help, and how to end the service whose first process is `pid`."""
    otherwise = "" if sys.platform == "win32" else f" or kill -TERM {pid}"
    return f"help: corehttp --help; to stop: Ctrl-C{otherwise}"


def pids(numbers: Sequence[int]) -> str:
    """Return "pid" or "pids", and these numbers in their order."""
    return f"pid{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers))}"


def stopping(signal_name: str, delay: float, graceful: float) -> str:
    """Return that a stop has begun, with its times: `delay` and `graceful`, both in seconds."""
    first = f"serving on for {delay:g} s, then " if delay else ""
    return f"{signal_name}: {first}finishing what is in flight, for at most {graceful:g} s"


def stopped(seconds: float, answered: int, cut: int, code: ExitCode) -> str:
    """Return that a stop is over: its time in seconds, and how many requests were answered and cut meanwhile."""
    requests = counted(answered, "request")
    return f"stopped after {seconds:.1f} s: {requests} answered meanwhile, {cut} cut; exit code {code:d}"
