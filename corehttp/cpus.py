"""How many workers `auto` means: the CPUs that this process may really use."""

import math
import os
from collections.abc import Callable

StrPath = str | os.PathLike[str]

AS_ASKED = "as asked"  # the reason for a number that was given
CGROUP_ROOT = "/sys/fs/cgroup"
PROC_CGROUP = "/proc/self/cgroup"


def count_workers(wanted: str, affinity: int, quota: float | None) -> tuple[int, str]:
    """Return the number of workers for "3", "auto", "auto-1" or "auto/2", and the reason for it, for the log.

    `affinity` is the number of CPUs that this process may run on. `quota` is how much time its control group may use,
    in CPUs; None for no limit.
    """
    if wanted.isdigit():
        return int(wanted), AS_ASKED
    limit = affinity if quota is None else min(affinity, math.ceil(quota))
    auto = max(1, limit)
    reason = f"{affinity} CPUs by affinity, " + ("no quota" if quota is None else f"a quota of {quota:g} CPUs")
    operator, number = wanted[4:5], int(wanted[5:] or 0)
    match operator:
        case "-":
            count = auto - number
        case "/":
            count = auto // number
        case _:
            count = auto
    return max(1, count), f"{wanted}: {reason}"


def available_cpus() -> int:
    """Return the number of CPUs that this process may run on (sched_getaffinity(2))."""
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    return (os.cpu_count() or 1) if affinity is None else len(affinity(0))  # macOS and Windows have none


def cpu_quota(proc: StrPath = PROC_CGROUP, root: StrPath = CGROUP_ROOT) -> float | None:
    """Return the least CPU quota of this process's control group and of those above it, in CPUs; None for no limit.

    Version 2 of control groups has it in `cpu.max`, version 1 in `cpu.cfs_quota_us` and `cpu.cfs_period_us` (kernel
    documentation, sched-bwc and cgroup-v2).
    """
    try:
        lines = _read(proc).splitlines()
    except OSError:
        return None
    quotas: list[float] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            quotas += _quotas(root, path, _read_v2) + _quotas(os.path.join(root, "unified"), path, _read_v2)
        elif "cpu" in controllers.split(","):
            quotas += _quotas(os.path.join(root, "cpu"), path, _read_v1) + _quotas(
                os.path.join(root, controllers), path, _read_v1
            )
    return min(quotas, default=None)


def _quotas(mount: StrPath, path: str, read: Callable[[str], float | None]) -> list[float]:
    """Return the quotas of the group at `path` and of all above it.

    In a container the path may lead out of the `mount` by "..", which is left out.
    """
    parts = [part for part in path.split("/") if part and part != ".."]
    groups = [os.path.join(mount, *parts[:depth]) for depth in range(len(parts), -1, -1)]
    found = [read(group) for group in groups]
    return [quota for quota in found if quota is not None]


def _read_v2(group: str) -> float | None:
    try:
        quota, period = _read(os.path.join(group, "cpu.max")).split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _read_v1(group: str) -> float | None:
    try:
        quota = int(_read(os.path.join(group, "cpu.cfs_quota_us")))
        period = int(_read(os.path.join(group, "cpu.cfs_period_us")))
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None


def _read(path: StrPath) -> str:
    with open(path) as file:
        return file.read()
