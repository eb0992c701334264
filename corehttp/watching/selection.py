"""Which files below a watched directory count, by patterns as uvicorn has them. Pure."""

from collections.abc import Sequence
from pathlib import PurePath

INCLUDED = ("*.py",)
EXCLUDED = (".*", ".py[cod]", ".sw.*", "~*")
# Directories that hold installed packages, or no code. These, and those whose names begin with a dot, are searched only
# if they are named as directories to watch.
PASSED_OVER = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})


class Selection:
    """Says which files count, and which directories are searched for them.

    `include` and `exclude` are patterns as `PurePath.match` takes them, in addition to INCLUDED and EXCLUDED. One of
    INCLUDED does not count if it is in `exclude`, and one of EXCLUDED does not if it is in `include`. `directories` are
    the full paths of those that are not searched.
    """

    def __init__(self, include: Sequence[str], exclude: Sequence[str], directories: Sequence[str] = ()) -> None:
        self._include = [pattern for pattern in INCLUDED if pattern not in exclude] + list(include)
        self._exclude = [pattern for pattern in EXCLUDED if pattern not in include] + list(exclude)
        self._directories = frozenset(directories)

    def counts(self, path: str) -> bool:
        """Whether the file at `path` counts; one that is included without a wildcard is not excluded by any."""
        file = PurePath(path)
        matching = [pattern for pattern in self._include if file.match(pattern)]
        if any(path.endswith(pattern) for pattern in matching):
            return True
        return bool(matching) and not any(map(file.match, self._exclude))

    def passes_over(self, path: str) -> bool:
        """Whether nothing counts of what is in the directory at `path`, which is none of those that are watched."""
        name = PurePath(path).name
        return name.startswith(".") or name in PASSED_OVER or path in self._directories
