"""The directory in which the service was started, by the name under which a deployment may put another one.

Releases are often switched by a symbolic link (`current -> releases/7`). The kernel knows the directory of a process,
not the name by which it came there; a shell leaves that in PWD (POSIX, cd). So names are resolved anew for each
generation.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from corehttp.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Release:
    """Where the workers of one generation run and find the application; both without symbolic links."""

    directory: str
    app_dir: str

    @property
    def exists(self) -> bool:
        """Whether both are still there."""
        return os.path.isdir(self.directory) and os.path.isdir(self.app_dir)


class Deployment:
    """To be made at the start; raises ConfigError where the current directory is gone by then."""

    def __init__(self) -> None:
        self.start = _start_directory()
        self._first = os.path.realpath(self.start)

    def release(self, app_dir: str) -> Release:
        """Where the names lead now; `app_dir` as in the configuration.

        Where the service was started is needed only if `app_dir` does not stand for itself. Raises ConfigError.
        """
        found = Release(os.path.realpath(self.start), os.path.realpath(os.path.join(self.start, app_dir)))
        if os.path.isdir(found.directory):
            return found
        if os.path.isabs(app_dir) and os.path.isdir(found.app_dir):
            return Release(found.app_dir, found.app_dir)
        raise ConfigError(
            f"the directory {self.start}, in which the service was started, is gone: put one in its place, "
            "or restart the service in one that stays"
        )

    def import_path(self, path: Iterable[str], release: Release, keep: Iterable[str]) -> list[str]:
        """The import path, with the directories of the first release replaced by those of this one.

        All below `keep` stays: an environment with its packages belongs to the interpreter that runs.
        """
        kept = tuple(os.path.join(one, "") for one in keep)
        first = os.path.join(self._first, "")
        return [
            os.path.join(release.directory, entry[len(first) :]).rstrip(os.sep)
            if os.path.join(entry, "").startswith(first) and not os.path.join(entry, "").startswith(kept)
            else entry
            for entry in path
        ]

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Meanwhile the current directory is the one that the name leads to now; raises OSError."""
        before = os.open(os.curdir, os.O_RDONLY)
        try:
            os.chdir(self.start)
            try:
                yield
            finally:
                os.fchdir(before)
        finally:
            os.close(before)


def enter(directory: str) -> None:
    """Make it the current directory; raises OSError."""
    with contextlib.suppress(OSError):
        if os.path.samefile(os.curdir, directory):
            return  # which needs no permission to enter it anew
    os.chdir(directory)


def _start_directory() -> str:
    try:
        here = os.getcwd()
    except OSError as error:  # a deployment has removed it
        raise ConfigError(f"the current directory is gone ({error.strerror}): start from one that stays") from error
    name = os.environ.get("PWD", "")
    with contextlib.suppress(OSError):
        if os.path.isabs(name) and os.path.samefile(name, here):
            return name
    return here
