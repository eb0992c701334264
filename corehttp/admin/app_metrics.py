"""The metrics of the application itself, where it uses prometheus_client in several processes.

Each process writes into files of its own. Those of processes that have ended would stay, so that a directory grows with
each reload; here their counts are added up in one file for each kind of metric, under the process number 0.
"""

import contextlib
import json
import logging
import os
import struct
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from corehttp.metrics_directory import FILE, JOURNAL, NEW

logger = logging.getLogger("corehttp.error")

CORRUPT = (RuntimeError, ValueError, struct.error)  # what reading a file raises that no metrics are in

Value = tuple[float, float]  # a number, and when it was set (seconds since the epoch; 0: nobody knows)
Merge = Callable[[Value, Value], Value]


def _sum(one: Value, other: Value) -> Value:
    return one[0] + other[0], 0.0


# How the values of ended processes are merged. Other gauges are those of one process, and end with it.
_MERGES: Mapping[str, Merge] = {
    **dict.fromkeys(("counter", "histogram", "summary", "gauge_sum"), _sum),
    "gauge_min": min,
    "gauge_max": max,
    "gauge_mostrecent": lambda one, other: max(one, other, key=lambda value: value[1]),
}


class AppMetrics:
    """The files in a directory. Only one process may use this at a time."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        """Return what all processes have counted so far, those that have ended included.

        Raises OSError, and one of CORRUPT if a file holds no metrics.
        """
        self.prune()
        files = [self._path(name) for name in sorted(os.listdir(self._directory)) if FILE().fullmatch(name)]
        return list(MultiProcessCollector.merge(filter(_has_values, files)))

    def prune(self) -> None:
        """Merge the files of processes that have ended. Raises OSError."""
        self._finish_merge()
        ended: dict[str, list[str]] = {}
        for name in sorted(os.listdir(self._directory)):
            match = FILE().fullmatch(name)
            if match is not None and int(match["pid"]) and not _runs(int(match["pid"])):
                ended.setdefault(match["kind"], []).append(name)
        for kind, names in ended.items():
            if kind in _MERGES:
                self._merge(kind, names)
            else:
                self._remove(names)

    def _merge(self, kind: str, names: list[str]) -> None:
        """Add these files to the one that is kept of their kind, and remove them; a crash in between loses nothing."""
        kept = f"{kind}_0.db"
        values: dict[str, Value] = {}
        for name in (kept, *names):
            for key, value in self._read(name):
                values[key] = _MERGES[kind](values[key], value) if key in values else value
        new = self._path(kept + NEW)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        file = MmapedDict(new)
        for key, (number, at) in values.items():
            file.write_value(key, number, at)
        file.close()
        # If this process ends before the files are removed, their values must not be added again.
        self._write_journal({"kept": kept, "inode": os.stat(new).st_ino, "merged": names})
        os.rename(new, self._path(kept))
        self._finish_merge()

    def _finish_merge(self) -> None:
        """Remove the files that were merged into the kept one, if they were."""
        try:
            with open(self._path(JOURNAL)) as file:
                journal = json.load(file)
        except FileNotFoundError:
            return
        except ValueError:
            journal = None
        match journal:
            case {"kept": str(kept), "inode": int(inode), "merged": [*names]}:
                with contextlib.suppress(FileNotFoundError):
                    if os.stat(self._path(kept)).st_ino == inode:
                        self._remove(name for name in map(str, names) if FILE().fullmatch(name))
            case _:
                pass  # it is nothing of ours
        os.unlink(self._path(JOURNAL))

    def _write_journal(self, content: Mapping[str, object]) -> None:
        with open(self._path(JOURNAL + NEW), "w") as file:
            json.dump(content, file)
        os.rename(self._path(JOURNAL + NEW), self._path(JOURNAL))

    def _read(self, name: str) -> list[tuple[str, Value]]:
        """Return the keys and values of a file; none if there is no such file, or if it holds none."""
        try:
            found = MmapedDict.read_all_values_from_file(self._path(name))
            return [(_checked(key), (number, at)) for key, number, at, _ in found]
        except FileNotFoundError:
            return []
        except CORRUPT as error:
            logger.warning("%s holds no metrics, and is left out: %s", self._path(name), error)
            return []

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(name))

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)


def _has_values(path: str) -> bool:
    """Whether a process has written a value into a file: in one that is just being made there is none."""
    try:
        with open(path, "rb") as file:
            return any(file.read(4))  # how many bytes are in use
    except FileNotFoundError:  # the application has removed it
        return False


def _checked(key: str) -> str:
    """Return a key of a file, since one that is none would spoil the kept file for good. Raises ValueError."""
    match json.loads(key):
        case [str(), str(), dict(), str()]:
            return key
        case _:
            raise ValueError(f"{key[:40]!r} is no key")


def _runs(pid: int) -> bool:
    """Whether there is a process of this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
