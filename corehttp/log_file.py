"""Append whole lines to a log file that other processes append to as well, and that may be renamed at any time."""

import contextlib
import errno
import os
import stat
from collections.abc import Callable

from corehttp.line_writer import LineWriter
from corehttp.windows import O_NOCTTY, O_PLAIN, user

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | O_NOCTTY | O_PLAIN
MODE = 0o640  # the permissions of a file that is made, less those in the umask
_LOOKS = 10  # how often the end of a file to which others write is looked at

OnDropped = Callable[[int], object]
OnFault = Callable[[str], object]


def check(option: str, path: str, *, make: bool = True) -> str | None:
    """Return why lines cannot be appended to `path`, as a text that names the option and what helps; None if they can.

    The file is made if there is none; if `make` is False, it is only found out whether its directory is there.
    """
    try:
        os.close(os.open(path, _FLAGS if make else _FLAGS & ~os.O_CREAT, MODE))
    except OSError as error:
        if not make and error.errno == errno.ENOENT and os.path.isdir(os.path.dirname(path) or os.curdir):
            return None
        return f"{option} {path} cannot be opened: {reason(error, path)}"
    return None


def reason(error: OSError, path: str) -> str:
    """Return why the log file at `path` cannot be used, with what helps."""
    match error.errno:
        case errno.ENOENT:
            return f"there is no directory {os.path.dirname(path) or os.curdir}; make it, or name a file in another one"
        case errno.ENOTDIR:
            return f"{os.path.dirname(path)} is no directory; name a file in one"
        case errno.EISDIR:
            return "it is a directory; name a file in it"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"{os.strerror(error.errno)}; user {user()} must be allowed to make and to write it"
        case errno.ENXIO:
            return "it is a pipe that nobody reads, or a socket; name a file"
        case _:
            return error.strerror or str(error)


def open_lines(path: str, limit: int, on_dropped: OnDropped, on_fault: OnFault) -> "LogFile | LineWriter":
    """Return what appends lines to `path`: a LogFile, or, where that is a pipe or a terminal, a LineWriter.

    `limit` (bytes) and `on_dropped` are as in LineWriter, `on_fault` is as in LogFile. Nothing is raised: where the
    path cannot be opened, `on_fault` is called at the first line, and each line tries it again.
    """
    with contextlib.suppress(OSError):
        if not stat.S_ISREG(os.stat(path).st_mode):
            fd = os.open(path, _FLAGS, MODE)
            return LineWriter(fd, limit, on_dropped, lambda error: on_fault(_unwritable(path, error)), owned=True)
    return LogFile(path, on_dropped, on_fault)


class LogFile:
    """Appends lines to the regular file at `path`, each call of `write` as one piece that is not mixed with others.

    The file is opened at once, and made if need be. Before each write the path is looked at: if it leads to another
    file by now, or to none, it is opened anew. So a file that was renamed gets no line any more, whoever has renamed
    it. If the path cannot be opened, the lines go on into the file of before. A symbolic link is followed.

    Lines that cannot be written are dropped and counted. `on_fault` is called with what is wrong, in words for the
    operator, when that begins, and `on_dropped` with their number when lines can be written again. Both may log. Calls
    must not overlap in time, except that `on_dropped` and `on_fault` may call `write`.
    """

    has_room = True  # whether lines are worth making; a file takes them at once, or not at all
    pending = 0  # how many lines wait to be written; in a file none does

    def __init__(self, path: str, on_dropped: OnDropped, on_fault: OnFault) -> None:
        self._path = path
        self._on_dropped = on_dropped
        self._on_fault = on_fault
        self._fd = -1
        self._identity: tuple[int, int] | None = None  # device and inode of the open file; None if none is open
        self._told = ""  # what was told to `on_fault` last; empty since all is well
        self._doubtful = True  # whether the file may end within a line, which somebody could not write to its end
        self.dropped = 0  # how many lines were dropped since `on_dropped` was called
        self.follow()

    def write(self, lines: bytes) -> None:
        """Append whole lines; raises no OSError."""
        fault = self.follow()
        if self._identity is None:
            assert fault is not None
            self._lose(fault, lines)
            return
        if self._doubtful and self._ends_within_a_line():
            lines = b"\n" + lines
        self._doubtful = False
        while lines:
            try:
                lines = lines[os.write(self._fd, lines) :]
            except OSError as error:
                self._doubtful = True
                self._lose(error, lines)
                return
        if fault is None:
            self._told = ""
        else:
            why = reason(fault, self._path)
            self._tell(f"{self._path} cannot be opened anew: {why}. Lines go on into the file of before")
        if self.dropped:
            dropped, self.dropped = self.dropped, 0
            self._on_dropped(dropped)

    def drop(self, lines: int) -> None:
        """Count lines as dropped which the caller has not even made."""
        self.dropped += lines

    def flush(self, timeout: float) -> None:
        """Do nothing, since no line waits."""

    def close(self, timeout: float) -> None:
        """Close the file. A later write opens it again."""
        if self._is_open():
            os.close(self._fd)
        self._fd, self._identity = -1, None

    def reopen(self) -> str:
        """Open the file anew if it was renamed or removed.

        Returns why that is not possible, in words for the operator that name the path; empty text if all is well.
        """
        fault = self.follow()
        return "" if fault is None else f"{self._path}: {reason(fault, self._path)}"

    def follow(self) -> OSError | None:
        """Open the path anew if it leads to another file than the open one; return why it cannot be opened."""
        try:
            found = os.stat(self._path)
            if (found.st_dev, found.st_ino) == self._identity and self._is_open():
                return None
        except OSError:  # it was renamed, or removed
            pass
        try:
            self._open()
        except OSError as error:
            if not self._is_open():
                self._fd, self._identity = -1, None
            return error
        return None

    def _open(self) -> None:
        """Open the path in the place of the open file. Raises OSError."""
        fd = os.open(self._path, _FLAGS, MODE)
        if self._is_open():
            os.close(self._fd)
        found = os.fstat(fd)
        self._fd, self._identity, self._doubtful = fd, (found.st_dev, found.st_ino), True

    def _is_open(self) -> bool:
        """Whether the descriptor is still that of the file: an application may close what it does not know."""
        try:
            found = os.fstat(self._fd)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def _ends_within_a_line(self) -> bool:
        """Whether the last byte of the file is no end of a line; False if that cannot be read.

        While another process writes, the file may end within a line for a moment.
        """
        try:
            reader = os.open(self._path, os.O_RDONLY | O_PLAIN)
        except OSError:
            return False
        try:
            for _ in range(_LOOKS):
                size = os.fstat(self._fd).st_size
                os.lseek(reader, max(size - 1, 0), os.SEEK_SET)
                if not size or os.read(reader, 1) in (b"\n", b""):
                    return False
                with contextlib.suppress(OSError):
                    os.write(self._fd, b"")  # it waits for the end of a write that is going on, and writes nothing
                if os.fstat(self._fd).st_size == size:
                    return True
        except OSError:
            pass
        finally:
            os.close(reader)
        return False

    def _lose(self, error: OSError, lines: bytes) -> None:
        """Count lines that cannot be written; one of which only the end of the line is missing is none of them."""
        self.dropped += lines.removeprefix(b"\n").count(b"\n")
        self._tell(_unwritable(self._path, error))

    def _tell(self, fault: str) -> None:
        """Call `on_fault`, unless the same was told last."""
        if self._told != fault:
            self._told = fault
            self._on_fault(fault)


def _unwritable(path: str, error: OSError) -> str:
    return f"{path} cannot be written, lines are dropped: {reason(error, path)}"
