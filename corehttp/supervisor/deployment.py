"""The directory in which the service was started, by the name under which a deployment may put another one.

Deployments often switch releases by a symbolic link (`current -> releases/7`). The kernel knows the directory of a
process, but not the name by which the process came there; a shell leaves that in the variable PWD (POSIX, cd). So the
names are resolved anew for each generation of workers.
"""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator

from corehttp.errors import ConfigError
from corehttp.records import record


@record
class Release:
    """Where the workers of one generation run and find the application. Both paths are free of symbolic links."""

    directory: str  # the working directory of the workers
    app_dir: str  # the directory from which they import the application

    @property
    def exists(self) -> bool:
        """Whether both directories exist still."""
        return os.path.isdir(self.directory) and os.path.isdir(self.app_dir)


class Deployment:
    """Knows the directory in which this process was started, by its name, and finds the release that is there now.

    To be made before anything else than --chdir changes the current directory. `origin` is the directory in which the
    command was given, if --chdir names another one. Raises ConfigError if the current directory has been removed.
    """

    def __init__(self, origin: str = "") -> None:
        self.start = start_directory()
        self._origin = origin or self.start
        self._first = os.path.realpath(self.start)

    def current_release(self, app_dir: str) -> Release:
        """Return the release to which the names lead now; `app_dir` is that of the configuration.

        If the directory of the start is gone, an absolute `app_dir` stands for both. Raises ConfigError if it is not
        absolute, or is gone as well.
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
        """Return an import path with each directory of the first release replaced by the same one of this release.

        Directories below those in `keep` stay as they are: an environment with its packages belongs to the interpreter
        that runs.
        """
        kept = tuple(os.path.join(directory, "") for directory in keep)
        first = os.path.join(self._first, "")
        return [
            os.path.join(release.directory, entry[len(first) :]).rstrip(os.sep)
            if os.path.join(entry, "").startswith(first) and not os.path.join(entry, "").startswith(kept)
            else entry
            for entry in path
        ]

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Make the directory in which the command was given the current one while the context is entered.

        Its name is followed to where it leads now. The directory of --chdir stands for one that this user may not
        enter. Raises OSError.
        """
        if sys.platform == "win32":
            raise NotImplementedError
        # With O_PATH, which only Linux has, no permission to read the directory is needed (open(2)).
        before = os.open(os.curdir, getattr(os, "O_PATH", os.O_RDONLY))
        try:
            try:
                os.chdir(self._origin)
            except PermissionError:
                os.chdir(self.start)
            try:
                yield
            finally:
                os.fchdir(before)
        finally:
            os.close(before)


def enter(directory: str) -> None:
    """Make a directory the current one. Raises OSError.

    If it is the current one already, nothing is done, so that no permission to enter it is needed.
    """
    with contextlib.suppress(OSError):
        if os.path.samefile(os.curdir, directory):
            return
    os.chdir(directory)


def change_directory(name: str, origin: str) -> None:
    """Make the directory of --chdir the current one; a relative `name` begins in `origin`. Raises ConfigError.

    PWD in the environment gets its name, as from a shell, so that a symbolic link in it is followed anew at a reload.
    """
    path = os.path.join(origin, name)
    try:
        os.chdir(path)
    except OSError as error:
        raise ConfigError(f"chdir: {path} cannot be entered ({error.strerror}): name a directory that exists") from None
    os.environ["PWD"] = os.path.normpath(path)


def start_directory() -> str:
    """Return the name of the current directory: PWD if that leads there, else its path. Raises ConfigError."""
    try:
        here = os.getcwd()
    except OSError as error:
        raise ConfigError(f"the current directory is gone ({error.strerror}): start from one that stays") from error
    name = os.environ.get("PWD", "")
    with contextlib.suppress(OSError):
        if os.path.isabs(name) and os.path.samefile(name, here):
            return name
    return here
