"""The directory of `--prometheus-multiproc`, in which metrics of an application's processes are (prometheus_client)."""

import contextlib
import os
import stat
import sys

from corehttp.errors import StartupError
from corehttp.patterns import pattern
from corehttp.shortage import shortage

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # where prometheus_client finds its path
# The files that prometheus_client makes there: the type of a metric, for a gauge how it is merged, and the process.
FILE = pattern(r"(?P<kind>counter|histogram|summary|gauge_[a-z]+)_(?P<pid>[0-9]+)\.db")
NEW, JOURNAL = ".new", "merging.json"  # the end of the name of a file that is being written; what is done with it


def prepare(path: str, *, wipe: bool) -> None:
    """Make the directory if it is not there; with `wipe` remove what an earlier service has left in it.

    Nothing else than files of metrics is removed. Raises StartupError if the directory cannot be used.
    """
    if sys.platform == "win32":
        raise NotImplementedError
    try:
        os.makedirs(path, 0o700, exist_ok=True)
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode) or not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise StartupError(f"prometheus-multiproc {path} is no directory that this user may write to")
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise StartupError(
                f"prometheus-multiproc {path} must belong to this user, and nobody else may write to it (chmod go-w)"
            )
        for name in os.listdir(path) if wipe else ():
            if FILE().fullmatch(name) or name.endswith(NEW) or name == JOURNAL:
                with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                    os.unlink(os.path.join(path, name))
    except OSError as error:
        raise StartupError(f"prometheus-multiproc {path} cannot be used: {shortage(error)}") from error
