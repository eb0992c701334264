"""How many workers `auto` means: the CPUs that this process may really use."""

import math
import os
from collections.abc import Callable
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
PROC_CGROUP = Path("/proc/self/cgroup")


def count_workers(wanted: str, affinity: int, quota: float | None) -> tuple[int, str]:
    """The number of workers for "3", "auto", "auto-1" or "auto/2", and how it was reached.

    `affinity` is the number of CPUs the process may run on, `quota` how many CPUs' time its control group may use.
    """
    if wanted.isdigit():
        return int(wanted), "as asked"
    limit = affinity if quota is None else min(affinity, math.ceil(quota))
    auto = max(1, limit)
    reason = f"{affinity} CPUs by affinity, " + ("no quota" if quota is None else f"a quota of {quota:g} CPUs")
    operator, number = wanted[4:5], int(wanted[5:] or 0)
    count = max(1, auto - number if operator == "-" else auto // number if operator == "/" else auto)
    return count, f"{wanted}: {reason}"


def available_cpus() -> int:
    """CPUs that this process may be scheduled on (sched_getaffinity(2))."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def cpu_quota(proc: Path = PROC_CGROUP, root: Path = CGROUP_ROOT) -> float | None:
    """The CPU quota of this process's control group or of one above it, in CPUs; None for no limit.

    cgroup v2: `cpu.max`; v1: `cpu.cfs_quota_us` and `cpu.cfs_period_us` (kernel docs, sched-bwc and cgroup-v2).
    """
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return None
    quotas: list[float] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            quotas += _quotas(root, path, _read_v2) + _quotas(root / "unified", path, _read_v2)
        elif "cpu" in controllers.split(","):
            quotas += _quotas(root / "cpu", path, _read_v1) + _quotas(root / controllers, path, _read_v1)
    return min(quotas, default=None)


def _quotas(mount: Path, path: str, read: Callable[[Path], float | None]) -> list[float]:
    """The quotas of the group at `path` and of all above it. In a container the path may lie outside the mount."""
    parts = [part for part in path.split("/") if part and part != ".."]
    groups = [mount.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]
    found = [read(group) for group in groups]
    return [quota for quota in found if quota is not None]


def _read_v2(group: Path) -> float | None:
    try:
        quota, period = (group / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _read_v1(group: Path) -> float | None:
    try:
        quota = int((group / "cpu.cfs_quota_us").read_text())
        period = int((group / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None
