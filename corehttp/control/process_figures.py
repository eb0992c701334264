"""What the kernel tells of processes: the CPU time and the memory of each (proc(5))."""

import contextlib
import os
import time
from collections.abc import Callable, Iterable

from corehttp.records import record

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@record
class Figures:
    """The figures of one process."""

    cpu_seconds: float  # the seconds that it has run since its start, in user and kernel mode
    rss_bytes: int


def figures(pids: Iterable[int]) -> dict[int, Figures]:
    """Return the figures of those processes that run and can be seen. There are none where there is no /proc."""
    found: dict[int, Figures] = {}
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            # utime and stime are fields 14 and 15, rss in pages is field 24; the first one here is field 3.
            found[pid] = Figures((int(fields[11]) + int(fields[12])) / _TICKS, int(fields[21]) * _PAGE)
    return found


class Measurement:
    """Adds to what services say of themselves what the kernel tells of their processes.

    `clock` is in seconds. The use of CPUs is that since the last call for the same process, so the first call for a
    process leaves it unknown.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._before: dict[int, Figures] = {}
        self._measured_at = 0.0

    def add_to(self, services: Iterable[dict[str, object]]) -> None:
        """Add `rss_bytes` to each service, that of all its processes, and `rss_bytes` and `cpu_percent` to each worker.

        A service is what its status says. 100 % is one CPU.
        """
        services = list(services)
        now, found = self._clock(), figures(_pids(services))
        seconds = now - self._measured_at
        for service in services:
            known = [found[pid].rss_bytes for pid in _pids([service]) if pid in found]
            service["rss_bytes"] = sum(known) if known else None
            for worker in _workers(service):
                pid = worker.get("pid")
                if isinstance(pid, int) and pid in found:
                    worker["rss_bytes"] = found[pid].rss_bytes
                    if pid in self._before and seconds > 0:
                        spent = found[pid].cpu_seconds - self._before[pid].cpu_seconds
                        worker["cpu_percent"] = round(100 * max(0.0, spent) / seconds, 1)
        self._before, self._measured_at = found, now


def _pids(services: Iterable[dict[str, object]]) -> list[int]:
    """The processes of these services."""
    rows = [row for service in services for row in (service, *_workers(service))]
    return [pid for pid in (row.get("pid") for row in rows) if type(pid) is int and pid > 0]


def _workers(service: dict[str, object]) -> list[dict[str, object]]:
    workers = service.get("workers")
    return [worker for worker in workers if isinstance(worker, dict)] if isinstance(workers, list) else []
