"""Which directories are watched: those that are named, else those in which the application's code lies."""

import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec

from corehttp.watching.selection import PASSED_OVER


def named_directories(names: Iterable[str]) -> list[str]:
    """Return the full paths of those names that are directories."""
    return [os.path.abspath(name) for name in names if os.path.isdir(name)]


def watched_directories(named: Sequence[str], app: str, app_dir: str) -> list[str]:
    """Return the paths of the directories to watch. A directory within another one of them is left out.

    `named` are those that the options name. Without any, they are the current one, `app_dir`, and those in which the
    package or module of `app` (MODULE:ATTRIBUTE) really lies, whatever symbolic link or editable install leads there.
    `sys.path` must be that of the application.
    """
    if named:
        return _outermost(named)
    here = os.path.abspath(app_dir) if app_dir else os.getcwd()
    found = [os.getcwd(), here, *_homes(app.partition(":")[0].partition(".")[0], here)]
    # A container often starts in the root directory, in which everything lies.
    return _outermost([path for path in found if path != os.sep] or [os.sep])


def _homes(name: str, app_dir: str) -> list[str]:
    """Return the real directories of the package, or of the single module, that is imported by this name."""
    sys.path[:] = [app_dir, *(entry for entry in sys.path if entry != app_dir)]
    spec = _spec(name)
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [os.path.realpath(place) for place in spec.submodule_search_locations if os.path.isdir(place)]
    home = os.path.dirname(os.path.realpath(spec.origin)) if spec.has_location and spec.origin else ""
    return [home] if home and os.path.basename(home) not in PASSED_OVER else []


def _spec(name: str) -> ModuleSpec | None:
    """Return where a module without a parent would be imported from, without importing it; None if that is unknown."""
    try:
        return importlib.util.find_spec(name)
    except Exception:  # what an editable install adds to the import system may raise anything
        return None


def _outermost(directories: Iterable[str]) -> list[str]:
    """Return the directories that are within no other one of them, symbolic links followed, each once."""
    found: list[str] = []
    for path in sorted(dict.fromkeys(directories), key=lambda path: len(os.path.realpath(path))):
        real = os.path.join(os.path.realpath(path), "")
        if not any(real.startswith(os.path.join(os.path.realpath(other), "")) for other in found):
            found.append(path)
    return found
