"""What a load generator is asked for and what it tells: the same for every generator."""

import shutil
import subprocess
from dataclasses import dataclass
from typing import Protocol

from benchmarks.lib.workloads import Workload

# How long a load generator may take beyond the seconds that it was given, which a sound one never does.
_GRACE_SECONDS = 20


class LoadError(Exception):
    """A load generator failed, or said something that cannot be read."""


class MissingToolError(LoadError):
    """A load generator is not installed."""


@dataclass(frozen=True, slots=True)
class Load:
    """A number of connections that send the requests of a workload to the server at `port` for some seconds."""

    port: int
    workload: Workload
    connections: int
    seconds: int

    @property
    def url(self) -> str:
        """The URL that is asked for, where all requests are alike."""
        scheme = "https" if self.workload.application.over_tls else "http"
        return f"{scheme}://127.0.0.1:{self.port}{self.workload.target}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a load generator counted in one run."""

    requests: int
    seconds: float
    p99_ms: float
    socket_errors: int
    error_statuses: int


class LoadTool(Protocol):
    """A load generator. Its `version`, `command` and `run` raise MissingToolError where it is not installed."""

    @property
    def name(self) -> str: ...

    def version(self) -> str: ...

    def can(self, workload: Workload) -> bool:
        """Whether the load generator can make the requests of the workload."""
        ...

    def command(self, load: Load) -> list[str]:
        """Return the command line that makes the load."""
        ...

    def run(self, load: Load) -> Outcome:
        """Make the load and return what came of it; raises LoadError."""
        ...


def program(name: str) -> str:
    """Return the path of an installed load generator; raises MissingToolError."""
    path = shutil.which(name)
    if path is None:
        raise MissingToolError(f"{name} is not on PATH: install it, or leave out what needs it by --only")
    return path


def output_of(command: list[str], seconds: int) -> str:
    """Run a load generator that is to take `seconds`, and return what it prints; raises LoadError."""
    try:
        bound = seconds + _GRACE_SECONDS
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=bound)
    except subprocess.TimeoutExpired as error:
        raise LoadError(f"{command[0]} did not end {_GRACE_SECONDS} s after its time") from error
    if done.returncode != 0:
        raise LoadError(f"{command[0]} exited with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def first_line(command: list[str]) -> str:
    """Return the first line that a program prints on either stream, whatever its exit code: made for --version."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_GRACE_SECONDS)
    return (done.stdout or done.stderr).partition("\n")[0].strip()
