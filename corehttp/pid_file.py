"""The file of `--pid`: it holds the process id of the service, for programs that send signals to it."""

import contextlib
import errno
import logging
import os
import stat
import sys
from collections.abc import Iterator
from typing import BinaryIO, TextIO

from corehttp.errors import StartupError

logger = logging.getLogger("corehttp.error")

# The file of each path, open and locked while this process runs: so a file that a killed service has left is known from
# that of one that runs, whoever has its process id by now. Children do not inherit such a lock (fcntl(2), F_SETLK).
_held: dict[str, TextIO] = {}


@contextlib.contextmanager
def kept(path: str | None, *, later: bool = False) -> Iterator[None]:
    """Write the id of this process to the file at `path`, and remove the file when the context is left.

    If `path` is None, nothing is done. With `later` the file is only removed: the caller writes it itself. A file that
    holds another id when the context is left stays, since a new supervisor has taken over. Raises StartupError if the
    file cannot be written, belongs to a service that runs, or holds anything but a process id.
    """
    if path is not None and not later:
        _check_free(path)
        write(path)
    try:
        yield
    finally:
        remove(path)


def write(path: str) -> None:
    """Write the id of this process to the file at `path`, in one step for whoever reads it. Raises StartupError."""
    if sys.platform == "win32":
        raise NotImplementedError
    import fcntl

    new = f"{path}.{os.getpid()}"
    try:
        file = open(new, "w", encoding="ascii")  # noqa: SIM115
        try:
            file.write(f"{os.getpid()}\n")
            file.flush()
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.replace(new, path)
        except BaseException:
            file.close()
            raise
        _held[path] = file
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise StartupError(f"pid: {path} cannot be written: {error.strerror}") from error


def _check_free(path: str) -> None:
    """Raise StartupError if the file at `path` is that of a service that runs, or holds anything but a process id."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            return  # it cannot be replaced, as `write` tells
        if not stat.S_ISREG(mode):
            raise StartupError(f"pid: {path} is no regular file, and is left as it is: name another file")
        with open(path, "rb") as file:
            content = file.read(32).strip()
            is_free = _is_unlocked(file)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StartupError(f"pid: {path} cannot be read: {error.strerror}") from error
    if not is_free:
        raise StartupError(
            f"pid: {path} is the file of process {content.decode(errors='replace')}, which runs: name another file"
        )
    if content and not content.isdigit():
        raise StartupError(f"pid: {path} holds no process id, and is left as it is: name another file")


def _is_unlocked(file: BinaryIO) -> bool:
    """Whether no other process has locked `file`; also where that cannot be found out."""
    if sys.platform == "win32":
        raise NotImplementedError
    import fcntl

    try:
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True


def rewrite(path: str) -> None:
    """Write the id of this process, which has taken over a service; log it if that is not possible."""
    try:
        write(path)
    except StartupError as error:
        logger.error("%s", error)


def remove(path: str | None) -> None:
    """Remove the file at `path` if it holds the id of this process. If `path` is None, nothing is done."""
    if path is None:
        return
    held = _held.pop(path, None)
    with contextlib.suppress(OSError, ValueError):
        with open(path, encoding="ascii") as file:
            is_ours = file.read(32) == f"{os.getpid()}\n"
        if is_ours:
            os.unlink(path)
    if held is not None:
        held.close()
