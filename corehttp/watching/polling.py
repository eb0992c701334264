"""Find the files that have changed, by comparing all files with how they were at the last look."""

import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence

from corehttp.watching.selection import Selection

QUIET = 0.05  # seconds without another change after which a burst of changes is over
MANY_QUIET = 0.2  # the same where several files have changed: as by a change of branch, which takes longer
QUICK = 0.03  # seconds of a CPU that a look may take to be done unasked: once a second that is 3 %
LONGEST_BURST = 1.6  # seconds after which a burst is told though it goes on
FILE_CLOCK = 0.01  # seconds that the times of files may be behind the clock: the kernel takes that of its last tick
REMEMBERED = 1 << 16  # paths

Stamp = tuple[int, int, int]  # of a file: its time of modification in nanoseconds, its size in bytes, its inode


class Polling:
    """The files that count in some directories, as they were at the last look."""

    def __init__(self, directories: Sequence[str], selection: Selection) -> None:
        self._directories = directories
        # Remembered by path, since to match patterns takes longer than to look at a file (760 files: 4 ms, else 29).
        self._counts = functools.lru_cache(REMEMBERED)(selection.counts)
        self._passes_over = functools.lru_cache(REMEMBERED)(selection.passes_over)
        self._took = 0.0  # the seconds of a CPU that the last look took
        self._seen = self._look()

    def changed_since(self, since: float) -> set[str]:
        """Return the files that were modified from `since` (seconds since the epoch) until now, by the last look.

        A time in the future is that of another machine's clock, and tells nothing.
        """
        first, now = (since - FILE_CLOCK) * 1e9, time.time_ns()
        return {path for path, (modified, _, _) in self._seen.items() if first <= modified <= now}

    def changed(self) -> set[str]:
        """Look at all files, and return those that are new, other or gone since the last look."""
        before, self._seen = self._seen, self._look()
        return {path for path in before.keys() | self._seen.keys() if before.get(path) != self._seen.get(path)}

    def wait(self, pause: float, sleep: Callable[[float], object]) -> set[str]:
        """Look every `pause` seconds until there are changes, and return all of the burst that begins with them."""
        while not (found := self.changed()):
            sleep(pause)
        return self._whole_burst(found, sleep)

    def burst(self, sleep: Callable[[float], object]) -> set[str]:
        """Look once the system has told of a burst of changes, and return all changes of the burst.

        The system tells of it when no other change has followed for QUIET seconds.
        """
        found = self.changed()
        return self._whole_burst(found, sleep) if len(found) > 1 else found

    def glance(self, sleep: Callable[[float], object]) -> set[str]:
        """Return the changes of a burst that goes on just now; none if a look takes too long to be done unasked."""
        found = self.changed() if self._took < QUICK else set[str]()
        return self._whole_burst(found, sleep) if found else found

    def _whole_burst(self, found: set[str], sleep: Callable[[float], object]) -> set[str]:
        """Return the changes `found` and those that follow, until a look finds none or LONGEST_BURST is over."""
        left = LONGEST_BURST
        while left > 0:
            pause = QUIET if len(found) == 1 else MANY_QUIET
            sleep(pause)
            left -= pause
            more = self.changed()
            if not more:
                break
            found |= more
        return found

    def _look(self) -> dict[str, Stamp]:
        """Return the files that count with their stamps, and note what CPU time that took."""
        visited: set[tuple[int, int]] = set()
        began = time.thread_time()
        found = {path: stamp for root in self._directories for path, stamp in self._files(root, visited)}
        self._took = time.thread_time() - began
        return found

    def _files(self, directory: str, visited: set[tuple[int, int]]) -> Iterator[tuple[str, Stamp]]:
        """Yield the files that count below a directory, through symbolic links too; `visited` keeps out of circles."""
        try:
            known = os.stat(directory)
            if (known.st_dev, known.st_ino) in visited:
                return
            visited.add((known.st_dev, known.st_ino))
            with os.scandir(directory) as entries:
                found = list(entries)
        except OSError:
            return  # it is gone by now, or may not be read
        for entry in found:
            try:
                if entry.is_dir():
                    if not self._passes_over(entry.path):
                        yield from self._files(entry.path, visited)
                elif self._counts(entry.path):
                    stat = entry.stat()
                    yield entry.path, (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            except OSError:
                continue
