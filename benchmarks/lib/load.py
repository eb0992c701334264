"""What a load generator is asked for and what it tells: the same for every generator."""

import shutil
import subprocess
from dataclasses import dataclass
from typing import Protocol

from benchmarks.lib.workloads import Workload

# A load generator ends by itself; this is the bound for one that does not.
_GRACE_SECONDS = 20


class LoadError(Exception):
    """The load generator is missing, failed or said something that cannot be read."""


@dataclass(frozen=True, slots=True)
class Load:
    """A number of connections that send the requests of a workload to the server at `port` for some seconds."""

    port: int
    workload: Workload
    connections: int
    seconds: int

    @property
    def url(self) -> str:
        """What is asked for, where all requests are alike."""
        return f"http://127.0.0.1:{self.port}{self.workload.target}"


@dataclass(frozen=True, slots=True)
class Outcome:
    requests: int
    seconds: float
    p99_ms: float
    socket_errors: int
    error_statuses: int


class LoadTool(Protocol):
    @property
    def name(self) -> str: ...

    def version(self) -> str: ...

    def can(self, workload: Workload) -> bool:
        """Whether it can make these requests."""
        ...

    def run(self, load: Load) -> Outcome:
        """Raises LoadError."""
        ...


def program(name: str) -> str:
    """The path of an installed load generator; raises LoadError."""
    path = shutil.which(name)
    if path is None:
        raise LoadError(f"{name} is not on PATH; install it first")
    return path


def output_of(command: list[str], seconds: int) -> str:
    """What a load generator prints in a run of `seconds`; raises LoadError."""
    try:
        bound = seconds + _GRACE_SECONDS
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=bound)
    except subprocess.TimeoutExpired as error:
        raise LoadError(f"{command[0]} did not end {_GRACE_SECONDS} s after its time") from error
    if done.returncode != 0:
        raise LoadError(f"{command[0]} exited with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def first_line(command: list[str]) -> str:
    """The first line that a program prints, wherever and however it exits: what --version is good for."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_GRACE_SECONDS)
    return (done.stdout or done.stderr).partition("\n")[0].strip()
