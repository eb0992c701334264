"""Read a log file from its end, and what is appended to it, over rotations."""

import os
import stat
import time

from corehttp.control.client import VerbError, VerbExit
from corehttp.control.log_lines import LogLine, last_entries, parse
from corehttp.moments import NEVER

FIRST = 64 * 1024  # bytes that are read first from the end of a file
MOST = 8 * 1024 * 1024  # bytes that are read at most from the end of a file
AT_ONCE = 256 * 1024  # bytes that are read at once of what is appended, so that a file that is renamed is noticed soon
LATE = 2.0  # seconds in which somebody may still write to a file that was renamed
ROTATED = 9  # how many rotated files are looked at


class _Open:
    """One open file, and what of it was read."""

    def __init__(self, fd: int) -> None:
        found = os.fstat(fd)
        self.fd = fd
        self.identity = (found.st_dev, found.st_ino)
        self.replaced_at = NEVER  # when another file was found at the path (seconds, monotonic)
        self._offset = 0
        self._rest = b""  # the beginning of a line whose end has not been written yet

    @property
    def has_more(self) -> bool:
        """Whether something was appended that was not read, or the file was emptied."""
        return os.fstat(self.fd).st_size != self._offset

    def lines(self) -> list[str]:
        """Return whole lines that were appended since the last call, AT_ONCE bytes at most.

        If the file was emptied, that is all that is in it.
        """
        if os.fstat(self.fd).st_size < self._offset:
            self._offset, self._rest = 0, b""
        data = os.pread(self.fd, AT_ONCE, self._offset)
        self._offset += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [_decoded(line) for line in whole]

    def before(self, size: int) -> list[str]:
        """Return the whole lines among the last bytes, `size` at most, and go on behind them."""
        end = os.fstat(self.fd).st_size
        begin = max(0, end - size)
        data = os.pread(self.fd, end - begin, begin)
        *whole, self._rest = data.split(b"\n")
        self._offset = begin + len(data)
        return [_decoded(line) for line in whole[1 if begin else 0 :]]


class LogReader:
    """Reads the lines of the log file at `path`; `holds` says which lines it has, as in `log_lines.parse`."""

    def __init__(self, path: str, holds: str) -> None:
        self._path = path
        self._holds = holds
        self._above: LogLine | None = None
        # Those that were at the path, from the oldest on; each may still grow for a while.
        self._files: list[_Open] = []

    def close(self) -> None:
        """Close what is open."""
        for file in self._files:
            os.close(file.fd)
        self._files = []

    def last(self, count: int) -> list[LogLine]:
        """Return the lines of the last `count` entries, of rotated files where the newest one has fewer.

        `more` goes on behind them. Raises VerbError if the file may not be read.
        """
        self.notice()
        found = self._tail(self._files[-1], count) if self._files else []
        for number in range(1, ROTATED + 1):
            if sum(line.begins for line in found) >= count or (file := self._opened(f"{self._path}.{number}")) is None:
                break
            found = self._tail(file, count) + found
            os.close(file.fd)
        self._above = found[-1] if found else None
        return last_entries(found, count)

    def notice(self) -> None:
        """Open the file that is at the path, if that is another one than at the last call, and those in between.

        To be called often: a file that comes and goes between two calls is found only if it is named as one that was
        rotated. Raises VerbError if the file may not be read.
        """
        newest = self._files[-1] if self._files else None
        try:
            found = os.stat(self._path)
        except OSError:
            return
        if newest is not None and (found.st_dev, found.st_ino) == newest.identity:
            return
        file = self._opened(self._path)
        if file is None:
            return
        if newest is not None:
            self._files += self._between(newest)
        for older in self._files:
            older.replaced_at = min(older.replaced_at, time.monotonic())
        self._files.append(file)

    @property
    def has_more(self) -> bool:
        """Whether there are lines that `more` would return now."""
        return any(file.has_more for file in self._files)

    def more(self) -> list[LogLine]:
        """Return lines that were appended since the last call. Raises VerbError if the file may not be read."""
        self.notice()
        found: list[LogLine] = []
        for file in self._files:
            found += self._parsed(file.lines())
            if file.has_more:
                break  # what comes later is read later
        self._close_old()
        return found

    def _between(self, before: _Open) -> list[_Open]:
        """Return the files that were at the path between `before` and the one of now, from the oldest on."""
        found: list[_Open] = []
        for number in range(1, ROTATED + 1):
            file = self._opened(f"{self._path}.{number}")
            if file is None:
                break
            if file.identity == before.identity:
                os.close(file.fd)
                return found[::-1]
            found.append(file)
        for file in found:  # that file is none of them, so nobody knows which come after it
            os.close(file.fd)
        return []

    def _close_old(self) -> None:
        """Close the files that were replaced a while ago, and are read to their end."""
        now = time.monotonic()
        while self._files and self._files[0].replaced_at + LATE <= now and not self._files[0].has_more:
            os.close(self._files.pop(0).fd)

    def _tail(self, file: _Open, count: int) -> list[LogLine]:
        """Return the last lines of a file, with `count` entries if it has so many within `MOST` bytes."""
        size = FIRST
        while True:
            self._above = None  # what was read before stands behind these lines
            lines = self._parsed(file.before(size))
            if sum(line.begins for line in lines) > count or size >= min(MOST, os.fstat(file.fd).st_size):
                return lines
            size *= 2

    def _parsed(self, lines: list[str]) -> list[LogLine]:
        found: list[LogLine] = []
        for raw in lines:
            self._above = parse(self._holds, raw, self._above)
            found.append(self._above)
        return found

    def _opened(self, path: str) -> _Open | None:
        """Open a file; None if there is none. Raises VerbError if it may not be read."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except FileNotFoundError:
            return None
        except OSError as error:
            code = VerbExit.NOT_PERMITTED if isinstance(error, PermissionError) else VerbExit.FAILED
            raise VerbError(code, f"{path} cannot be read: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise VerbError(VerbExit.FAILED, f"{path} is no regular file, so its lines cannot be read again")
        return _Open(fd)


def _decoded(line: bytes) -> str:
    return line.decode(errors="backslashreplace").rstrip("\r")
