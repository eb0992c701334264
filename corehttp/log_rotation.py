"""Rotate log files that have grown too large: FILE becomes FILE.1, that FILE.2, and so on; the oldest one goes.

Whoever writes to the file looks at its path before each line (`log_file`), so no line is lost or torn by a rename.
"""

import contextlib
import logging
import os
import stat
import sys
from collections.abc import Callable

from corehttp.log_file import reason
from corehttp.records import record
from corehttp.windows import O_NOCTTY, O_PLAIN

logger = logging.getLogger("corehttp.error")


@record
class RotationRule:
    """Which files are rotated, and when."""

    paths: tuple[str, ...]
    max_size: int  # bytes from which on a file is rotated; 0: never
    keep: int  # how many rotated files are kept of each

    @property
    def applies(self) -> bool:
        """Whether there is anything to rotate, now or later."""
        return bool(self.paths and self.max_size)


def renames(keep: int, is_taken: Callable[[int], bool]) -> list[tuple[int, int]]:
    """Return which number becomes which, in the order in which it is to be done; 0 stands for the file itself.

    `is_taken` says whether there is a rotated file with a number. What is behind a gap stays as it is, and so is what
    has a higher number than `keep`; the file with the number `keep` is replaced.
    """
    free = next((number for number in range(1, keep) if not is_taken(number)), keep)
    return [(number - 1, number) for number in range(free, 0, -1)]


class Rotation:
    """Rotates the files of a rule whenever `look` finds one that is too large. A failure is logged once."""

    def __init__(self, rule: RotationRule) -> None:
        self._rule = rule
        self._told: dict[str, str] = {}  # by its path, why a file could not be rotated, as was logged

    def look(self) -> bool:
        """Rotate the files that are too large; returns whether there was one. Raises nothing."""
        rotated = False
        for path in self._rule.paths if self._rule.max_size else ():
            try:
                rotated |= rotate(path, self._rule.max_size, self._rule.keep)
            except OSError as error:
                self._tell(path, reason(error, path))
            else:
                self._told.pop(path, None)
        return rotated

    def _tell(self, path: str, why: str) -> None:
        if self._told.get(path) != why:
            self._told[path] = why
            logger.warning("%s is too large and cannot be rotated: %s", path, why)


def rotate(path: str, max_size: int, keep: int) -> bool:
    """Rotate the file at `path` if it has at least `max_size` bytes; returns whether it was. Raises OSError.

    A symbolic link stays; what it leads to is renamed. Of two processes that try at the same time one does.
    """
    if sys.platform == "win32":
        raise NotImplementedError
    import fcntl

    path = os.path.realpath(path)
    try:
        if os.stat(path).st_size < max_size:
            return False
        fd = os.open(path, os.O_RDONLY | O_NOCTTY | O_PLAIN)
    except FileNotFoundError:
        return False
    try:
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            found = os.fstat(fd)
            # Two services may have the same file, and two supervisors during an upgrade. Who has the lock of the file
            # that is at the path is alone, and who gets it later finds another file there.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if stat.S_ISREG(found.st_mode) and os.path.samestat(found, os.stat(path)):
                _rename(path, keep)
                return True
        return False
    finally:
        os.close(fd)


def _rename(path: str, keep: int) -> None:
    names = {0: path, **{number: f"{path}.{number}" for number in range(1, keep + 1)}}
    for source, target in renames(keep, lambda number: os.path.lexists(names[number])):
        os.replace(names[source], names[target])
